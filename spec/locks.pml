/* Rule 3 and the lock itself: gate, then main; two key locks X and Y; an environment lock; the wait of `clean --wait`.
   Two installs, two fetches, two cleans (one with --wait inside a lease), all at once.

   Checked: a writer is alone, and nobody is stuck for ever (an invalid end state).
   Wrong forms: B_NESTED_FILL keeps one key lock while it waits for another (build X needs Y, build Y needs X);
   B_NESTED_READ takes a shared hold inside a shared hold; B_FILL_UNDER_MAIN waits for a key lock inside a hold;
   B_WAIT_OWN lets `clean --wait` wait for the lease that it runs in.                                                 */

byte gateR; bit gateW;          /* readers and writer of the gate */
byte mainR; bit mainW;          /* readers and writer of the main lock */
bit fx, fy;                     /* key locks */
bit env;                        /* environment lock */
bit lease;

inline rd()  { atomic { !gateW -> gateR++ }; atomic { !mainW -> mainR++ }; atomic { gateR-- } }
inline urd() { atomic { mainR-- } }
inline wr()  { atomic { !gateW && gateR == 0 -> gateW = 1 };
               atomic { !mainW && mainR == 0 -> mainW = 1; assert(mainR == 0) } }
inline uwr() { atomic { mainW = 0; gateW = 0 } }

proctype Inst(bit first) {
  atomic { !env -> env = 1 };
  rd(); urd();                                          /* look-up */
#ifdef B_NESTED_FILL
  if
  :: first -> atomic { !fx -> fx = 1 }; atomic { !fy -> fy = 1 }
  :: else  -> atomic { !fy -> fy = 1 }; atomic { !fx -> fx = 1 }
  fi;
  rd(); urd();
  atomic { fx = 0; fy = 0 };
#else
  if :: first -> atomic { !fx -> fx = 1 } :: else -> atomic { !fy -> fy = 1 } fi;
  rd(); urd();                                          /* look again, publish */
  if :: first -> fx = 0 :: else -> fy = 0 fi;
#endif
  rd();                                                 /* register */
#ifdef B_NESTED_READ
  rd(); urd();
#endif
#ifdef B_FILL_UNDER_MAIN
  if :: first -> atomic { !fx -> fx = 1 }; fx = 0 :: else -> atomic { !fy -> fy = 1 }; fy = 0 fi;
#endif
  urd();
  env = 0
}

proctype Plain(bit first) {                             /* fetch: no environment lock */
  if :: first -> atomic { !fx -> fx = 1 } :: else -> atomic { !fy -> fy = 1 } fi;
#ifdef B_NESTED_FILL
  if :: first -> atomic { !fy -> fy = 1 } :: else -> atomic { !fx -> fx = 1 } fi;
#endif
  rd(); urd();
#ifdef B_NESTED_FILL
  atomic { fx = 0; fy = 0 }
#else
  if :: first -> fx = 0 :: else -> fy = 0 fi
#endif
}

proctype Clean(bit inside) {                            /* clean --wait; `inside`: within a lease of its own */
  wr(); uwr();
#ifdef B_WAIT_OWN
  if :: inside -> lease = 1; !lease; :: else -> !lease fi;
#else
  if :: inside -> lease = 1; lease = 0 :: else -> !lease fi;
#endif
  wr(); uwr()
}

init { atomic { run Inst(1); run Inst(0); run Plain(1); run Plain(0); run Clean(0); run Clean(1) } }
