/* Rules 7-10: birth, test and end of one lease file.  Two collectors test it and remove it without any hold; inside an
   exclusive hold they then take the object if no live lease is seen.

   Checked: no object in use is taken; a dead lease is not taken for a live one for ever.
   Wrong forms: B_CREATE_THEN_LOCK makes the file under its final name and locks it then; B_REWRITE_BY_RENAME updates it by
   a fresh file renamed over it; B_PROBE_EX tests with LOCK_EX.                                                       */

byte vis;                       /* inode at the visible name; 0: none */
byte lk;                        /* inode that the holder has locked */
bit probeEX;                    /* a tester holds LOCK_EX on it */
bit use, removed;               /* the object is in use; was taken while in use */
bit main;                       /* the main lock; every hold in this model is exclusive to keep it small */
bit held; byte dead1;

#ifdef B_PROBE_EX
#define PROBE(r) \
  if \
  :: vis == 0 -> r = 0 \
  :: vis != 0 && (lk == vis || probeEX) -> r = 1 \
  :: else -> probeEX = 1; mine = 1; r = 0 \
  fi
#define UNPROBE if :: mine -> probeEX = 0; mine = 0 :: else fi
#else
#define PROBE(r) if :: vis != 0 && lk == vis -> r = 1 :: else -> r = 0 fi
#define UNPROBE skip
#endif

proctype Holder() {
  atomic { !main -> main = 1 };
#ifdef B_CREATE_THEN_LOCK
  vis = 1; lk = 1;
#else
  lk = 1; vis = 1;              /* temporary name, lock, then rename into leases */
#endif
  use = 1; main = 0;
#ifdef B_REWRITE_BY_RENAME
  vis = 2;                      /* the name now leads to an inode that nobody has locked */
#endif
  assert(!removed);
  use = 0; lk = 0
}

proctype Coll() {
  bit r, mine; byte v;
  atomic { v = vis; PROBE(r) };
  atomic { UNPROBE };
  if :: !r && v != 0 -> atomic { if :: vis == v -> vis = 0 :: else fi } :: else fi;   /* remove what looked dead */
  atomic { !main -> main = 1 };
  atomic { PROBE(r) };
  if
  :: !r -> atomic { if :: use -> removed = 1; assert(false) :: else fi }
  :: else
#ifdef B_PROBE_EX
     -> atomic { assert(lk != 0 || vis == 0) }
#endif
  fi;
  atomic { UNPROBE };
  main = 0
}

init { atomic { run Holder(); run Coll(); run Coll() } }
