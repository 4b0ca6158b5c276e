/* Rules 8, 31 and 33: the mark that tells a collector whether any lease grew.  A collector reads the lease files one after
   the other in NO hold, after a hold in which it read the mark, and goes by them in later holds in which it finds that mark.

   Two adders, who may crash anywhere: adder 0 puts object 1 on lease 0, its own, which dies with it; adder 1 puts both
   objects on lease 1, a pipeline's, which outlives it, and may give one up again.  The pipeline ends when it likes.  A user
   who removes the file of the mark whenever it is there.  A collector with one object for each of two holds, that compares
   NO stamps: here leases alone protect.  Of a mark it matters only whether it is the one that the collector read.

   Checked: what is found and leased in one hold is not taken as long as a live lease says so; without a crash, what a
   collector notes because of a lease is found by who gives it up last; nobody is stuck.  Wrong forms: -DB_xxx.            */
#ifndef MAXC
#define MAXC 1
#endif
#ifndef MAXR
#define MAXR 1          /* times that the file is removed */
#endif
#define OBJECTS 2
#define TRIES 1         /* how often a collector reads in no hold for one that takes; then it reads in it */

byte readers; bit writer;
byte file;                      /* which file stands there; 0: none */
byte nextfile = 1;
byte mark, m0;                  /* what is in it, and what the collector read in its hold; 0: nothing yet */
bit says[2 * OBJECTS];          /* lines of the two lease files */
bit alive[2]; bit here[OBJECTS]; bit noted[OBJECTS]; bit found[OBJECTS];
byte ncrash, nremoved, ndone;

#define LINE(l, o) says[(l) * OBJECTS + (o)]
#define STEP(x) if :: atomic { x } :: atomic { ncrash < MAXC -> ncrash++; goto dead } fi
#define SH      atomic { writer == 0 -> readers++; sh = 1 }
#define UNSH    atomic { readers--; sh = 0 }
#define EX      atomic { writer == 0 && readers == 0 -> writer = 1; ex = 1 }
#define UNEX    atomic { writer = 0; ex = 0 }
#define LEASED(o) ((alive[0] && LINE(0, o)) || (alive[1] && LINE(1, o)))

#ifdef B_COUNTER                /* numbers instead of random values: a new file begins with the first again */
#define FRESH mark = mark + 1
#define NOTE  m0 = mark
#else
#define FRESH mark = 1          /* any other than the collector's */
#define NOTE  m0 = (mark != 0) * 2; mark = m0
#endif
#ifdef B_NONE_IS_EQUAL          /* no file then, none now: nothing was added */
#define CAN_TELL true
#else
#define CAN_TELL (mark != 0)
#endif
#define IS_SAME (CAN_TELL && is_read && mark == m0)

#define MADE if :: file == 0 -> file = nextfile; nextfile++ :: else fi
#ifdef B_KEPT_FILE              /* opened once, and written through that descriptor ever after */
#define OPEN if :: fd == 0 -> MADE; fd = file :: else fi
#define SHUT skip
#else
#define OPEN MADE; fd = file
#define SHUT fd = 0
#endif
#define WRITE STEP(OPEN); STEP(if :: fd == file -> FRESH :: else fi; SHUT)

/* one look-up: found, and leased, in one hold */
inline add(l, o) {
  SH;
  STEP(has = here[o]);
  if
  :: has ->
#ifdef B_ADD_FIRST
     STEP(LINE(l, o) = 1);
     WRITE;
#else
     WRITE;
#ifdef B_MARK_EARLIER
     UNSH; SH;                  /* marked in one hold, added in the next */
     STEP(has = here[o]);
#endif
     STEP(if :: has -> LINE(l, o) = 1 :: else fi);
#endif
  :: else
  fi;
  UNSH
}

proctype Adder(byte l) {
  bit sh, has; byte fd, o;
  for (o : 1 - l .. OBJECTS - 1) { add(l, o) }
  if
  :: l == 1 -> if
     :: STEP(LINE(1, 0) = 0); STEP(if :: noted[0] && !LEASED(0) -> found[0] = 1 :: else fi)   /* given up, then looked for notes */
     :: skip
     fi
  :: else -> STEP(alive[0] = 0);                                                              /* its end; then notes */
     for (o : 0 .. OBJECTS - 1) { STEP(if :: noted[o] && !LEASED(o) -> found[o] = 1 :: else fi) }
  fi;
  goto end;
dead: atomic { if :: l == 0 -> alive[0] = 0 :: else fi; if :: sh -> readers-- :: else fi }
end:  atomic { ndone++ }
}

proctype Pipeline() {
  byte o;
  if
  :: atomic { alive[1] = 0 };
     for (o : 0 .. OBJECTS - 1) { atomic { if :: noted[o] && !LEASED(o) -> found[o] = 1 :: else fi } }
  :: skip
  fi;
  atomic { ndone++ }
}

proctype User() {
  do
  :: atomic { file != 0 && nremoved < MAXR -> nremoved++; file = 0; mark = 0 }
  :: break
  od;
  atomic { ndone++ }
}

#define LOOK(l, o) STEP(seen[(l) * OBJECTS + (o)] = LINE(l, o))
#define READ LOOK(0, 0); LOOK(0, 1); LOOK(1, 0); LOOK(1, 1)
#ifdef B_STALE_NOTE             /* what a lease said before the note was written, without asking it again */
#define KEEPS(l) (seen[(l) * OBJECTS + (o)] && alive[l])
#else
#define KEEPS(l) (seen[(l) * OBJECTS + (o)] && alive[l] && LINE(l, o))
#endif
proctype Collector() {
  bit ex, is_read, go; bit seen[2 * OBJECTS]; byte o, tries;
#ifdef B_UNHELD
  STEP(NOTE); READ; is_read = 1;                              /* the mark is first read in no hold */
#endif
#ifdef B_READ_FIRST
  READ; EX; STEP(NOTE); is_read = 1; UNEX;                    /* the leases are read before the mark */
#endif
  do
  :: o == OBJECTS -> break
  :: else ->
     EX;
     STEP(if
          :: IS_SAME -> go = 1
#ifdef B_COMPARED_ONCE
          :: is_read && o > 0 -> go = 1                       /* what an earlier hold found is trusted */
#endif
          :: !IS_SAME && tries < TRIES && CAN_TELL -> NOTE; tries++; go = 0; is_read = 0
          :: !IS_SAME && !(tries < TRIES && CAN_TELL) -> NOTE; go = 1; is_read = 0
          fi);
     if :: go && !is_read -> READ; is_read = 1 :: else fi;    /* in the hold: slow, and always right */
     if
     :: go && here[o] ->
        if :: noted[o] = 1 :: skip fi;                        /* leased at the scan: the note, then the leases */
        STEP(if
             :: KEEPS(0) || KEEPS(1) -> skip
             :: else -> if :: noted[o] -> found[o] = 1 :: else -> assert(!LEASED(o)); here[o] = 0 fi
             fi)
     :: else
     fi;
     UNEX;
     if
     :: go -> o++; tries = 0
     :: else -> READ; is_read = 1                             /* in no hold */
     fi
  od;
  goto end;
dead: atomic { if :: ex -> writer = 0 :: else fi }
end:  atomic { ndone++ }
}

init {
  byte k;
  atomic {
    here[0] = 1; here[1] = 1; alive[0] = 1; alive[1] = 1;
    if
    :: skip
    :: file = nextfile; nextfile++; mark = 1
    fi;
    run Adder(0); run Adder(1); run Pipeline(); run User(); run Collector()
  }
  atomic { ndone == 5 ->
    assert(readers == 0 && writer == 0);
    for (k : 0 .. OBJECTS - 1) { assert(ncrash || !noted[k] || LEASED(k) || found[k]) } }
}
