/* Rules 15, 20, 27-31, 36: a cached environment E that links into archive A, and a tool pointer TP that leads to E.

   Runner   looks up and leases, execs the tool (the lease goes with it); the tool may start a child that does not inherit
            the lease, ends, and the child goes on
   Maker    builds E under a lease and publishes E and TP if the generations allow it
   Pruner   `prune --tools`: takes TP, E and A
   Cleaner  `clean X`, where X is in E
   A crash anywhere (-DMAXC=0: none).

   Checked: neither a tool nor its child loses E or A; a look-up begun after clean returned finds no tool environment of
   before; no archive goes before an environment that leads to it.
   Wrong forms: B_TOOL_EPOCH_ONLY checks the tool's generation, not that of the projects in it; B_ENVS_LISTED_FIRST lists the
   environments before the leases only; B_PS_BEFORE_LEASES looks for processes before the leases; B_LEASE_ENDED_SINCE takes
   what was leased at the scan; B_NO_PARENTS takes A although E was skipped; B_NO_CLOSURE leases E but not A: alone it
   holds, since A goes only after E.                                                                                  */

byte readers; bit writer;       /* main lock */
byte TP, E, A;                  /* there or not */
byte leaseR, leaseM;            /* of the runner (and its tool), of the maker */
byte child;                     /* a process of the tool, without the lease */
byte stampE, stampA, nonce;     /* `used` of both; the last random value */
byte genX, genT;                /* generation of project X, of the tool */
byte ncrash, started, returned; /* ghosts: crashes, cleans begun, cleans returned */
byte tpborn;                    /* ghost: cleans begun when the publisher of TP began */
bit nochild;

#ifndef MAXC
#define MAXC 1
#endif
#define STEP(x) if :: atomic { x } :: atomic { ncrash < MAXC -> ncrash++; goto dead } fi
#define SH   atomic { writer == 0 -> readers++; sh = 1 }
#define UNSH atomic { readers--; sh = 0 }
#define EX   atomic { writer == 0 && readers == 0 -> writer = 1; ex = 1 }
#define UNEX atomic { writer = 0; ex = 0 }

proctype Runner() {
  bit sh, hit; byte ret0;
  atomic { ret0 = returned };
  SH;
  if
  :: TP && E ->
     assert(A); assert(tpborn >= ret0);
     STEP(leaseR = 1);
     STEP(nonce++; stampE = nonce);
#ifndef B_NO_CLOSURE
     STEP(nonce++; stampA = nonce);                     /* the lease covers E and everything in its manifest */
#endif
     hit = 1
  :: else -> skip
  fi;
  UNSH;
  if
  :: hit ->                                             /* exec: the tool runs */
     STEP(assert(E && A));
     if :: atomic { child = 1 } :: skip fi;             /* it starts a child that drops the descriptor, or not */
     STEP(assert(E && A));
  :: else
  fi;
dead:
  atomic { leaseR = 0; if :: sh -> readers-- :: else fi };
  if :: child -> atomic { assert(E && A) }; atomic { assert(E && A); child = 0 } :: else fi
}

proctype Maker() {
  bit sh; byte gX, gT, born;
  SH;
  STEP(born = started; gX = genX; gT = genT);
#ifdef B_TOOL_EPOCH_ONLY
#define OK (gT == genT)
#else
#define OK (gT == genT && gX == genX)
#endif
  if
  :: A    -> STEP(leaseM = 1); STEP(nonce++; stampA = nonce)
  :: else -> STEP(leaseM = 1); STEP(A = 1; nonce++; stampA = nonce)
  fi;
  UNSH;
  STEP(assert(A));                                      /* E is made in staging: no hold */
  SH;
  STEP(if :: !E -> E = 1; nonce++; stampE = nonce :: else -> nonce++; stampE = nonce fi);
  if :: OK -> STEP(TP = 1; tpborn = born) :: else fi;
  UNSH;
  STEP(assert(E && A));
dead:
  atomic { leaseM = 0; if :: sh -> readers-- :: else fi }
}

inline collect(tools) {                                 /* stamps, leases, names, processes (28) */
  STEP(cE = E; cA = A; sE = stampE);
  STEP(sA = stampA);
#ifdef B_PS_BEFORE_LEASES
  STEP(ch = child);
#endif
  STEP(lz = (leaseR || leaseM));
  STEP(tp = TP && !tools);
#ifndef B_ENVS_LISTED_FIRST
  STEP(new = (E && !cE));                               /* containers are listed again after the leases (2) */
#endif
#ifndef B_PS_BEFORE_LEASES
  STEP(ch = child);
#endif
  if
  :: cA && !new && !(cE && tp) && !ch ->
     if
     :: tools && TP -> EX; STEP(if :: stampE == sE && !leaseR && !leaseM && !lz -> TP = 0 :: else fi); UNEX
     :: else
     fi;
     okE = 1;
     if
     :: cE ->
        EX;
        STEP(if :: E && stampE == sE && !TP && !leaseR && !leaseM
#ifndef B_LEASE_ENDED_SINCE
            && !lz
#endif
            -> assert(!leaseR && !leaseM); assert(!child); E = 0 :: else -> okE = 0 fi);
        UNEX
     :: else
     fi;
#ifndef B_NO_PARENTS
     if :: okE ->
#else
     if :: true ->
#endif
        EX;
        STEP(if :: A && stampA == sA && !leaseM
#ifndef B_NO_CLOSURE
            && !leaseR
#endif
#ifndef B_LEASE_ENDED_SINCE
            && !lz
#endif
            -> assert(!leaseM); assert(!(E && (TP || leaseR || child))); A = 0 :: else fi);
        UNEX
     :: else
     fi
  :: else
  fi
}

proctype Pruner() {
  bit ex, cE, cA, lz, tp, ch, okE, new; byte sE, sA;
  collect(1);
  goto fin;
dead:
  atomic { if :: ex -> writer = 0 :: else fi };
fin:
  skip
}

proctype Cleaner() {
  bit ex, cE, cA, lz, tp, ch, okE, new; byte sE, sA;
  atomic { started++ };
  EX; STEP(genX++); STEP(TP = 0); UNEX;                 /* bump, then the names (36) */
  collect(0);
  atomic { returned++ };
  goto fin;
dead:
  atomic { if :: ex -> writer = 0 :: else fi };
fin:
  skip
}

init {
  atomic {
    if :: skip :: TP = 1; E = 1; A = 1; nonce = 1; stampE = 1; stampA = 1 fi;   /* empty, or all there */
    run Runner(); run Maker(); run Pruner(); run Cleaner()
  }
}
