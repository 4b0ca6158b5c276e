/* Pins (rules 1, 14-20, 28-33, 36, 37).  One file of one wheel: a pointer and a hash name; archives have ids 1..MAXA, never
   used twice.  NI fetchers without a key lock, one who pins what the pointer leads to, NU who take the pin off again, one
   clean of the project in as many holds as it takes, NP pruners, a crash anywhere.

   Checked: what is pinned is never detached, and its pointer leads to it (P1); after a clean returned, no name that was
   written by a work begun before leads anywhere but to what was pinned in its last hold (P2); a leased archive is never
   detached; no name leads nowhere at rest; a last quiet prune frees what nothing reaches; nobody is stuck.
   -DB_xxx switches ONE step to its wrong form.                                                                            */
#ifndef NI
#define NI 1            /* fetchers   */
#endif
#ifndef NU
#define NU 1            /* take the pin off */
#endif
#ifndef NCL
#define NCL 1           /* cleaner    */
#endif
#ifndef NP
#define NP 1            /* pruner     */
#endif
#ifndef MAXC
#define MAXC 1          /* crashes    */
#endif
#define MAXA (NI + 1)   /* one from before, one for each fill */
#define PASSES 3
#define PINNER 2        /* whose lease it is */

byte readers; bit writer;                       /* main lock                                                */
byte ptr, hash, pin;                            /* pointer, hash name, pin: the id each leads to; 0 = no such file */
bit  here[MAXA+1], linked[MAXA+1];              /* archive visible; `linked`: prune gives its pointer up     */
byte watch[MAXA+1];                             /* stamps: bit c = collector c has read `used`, and nobody has stamped since */
byte nextid = 1, gen;
byte lease[3];                                  /* of two fetchers and of who pins                           */
byte pborn, hborn;                              /* ghosts: the generation with which the work began that wrote the name */
byte ncrash, ndone; bit rest;                   /* the clean has other projects to take, too                 */

#define STEP(x)    if :: atomic { x } :: atomic { ncrash < MAXC -> ncrash++; goto dead } fi
#define SH         atomic { writer == 0 -> readers++; sh = 1 }
#define UNSH       atomic { readers--; sh = 0 }
#define EX         atomic { writer == 0 && readers == 0 -> writer = 1; ex = 1 }
#define UNEX       atomic { writer = 0; ex = 0 }
#define NOLEASE(a) (lease[0] != a && lease[1] != a && lease[PINNER] != a)
#define STAMP(a)   watch[a] = 0
#define WHOLE      assert(pin == 0 || (here[pin] && ptr == pin))      /* P1 */
#define VARS       bit sh, ex, leased, pinned, go, lk; byte names, res, n

inline take(i, a) { STEP(lease[i] = a); STEP(STAMP(a)) }

inline detach(a) { atomic { assert(NOLEASE(a)); here[a] = 0; linked[a] = 0; watch[a] = 0; WHOLE } }
#define OK(c, a) (here[a] && ((watch[a] >> c) & 1) && NOLEASE(a))
/* rules 28-31 for one candidate.  res: 0 kept or not there, 1 gone, 2 scan again */
inline collect(c, a, policy) {
  res = 0;
  STEP(if :: here[a] -> go = 1; watch[a] = watch[a] | (1 << c) :: else fi);                 /* stamps   */
  if
  :: !go -> skip
  :: else ->
    go = 0;
#ifdef B_PINS_BEFORE_LEASES
    STEP(pinned = (pin == a));
#endif
    STEP(if :: !NOLEASE(a) -> leased = 1 :: else fi);                                       /* leases   */
    STEP(if :: hash == a -> names = names | 2 :: else fi);                                  /* names    */
    STEP(if :: ptr == a  -> names = names | 1 :: else fi);
    STEP(lk = linked[a]);
#ifndef B_PINS_BEFORE_LEASES
    STEP(pinned = (pin == a));                                                              /* and pins */
#endif
    if
    :: pinned || leased || ((names & 1) && !(policy && lk)) -> skip
    :: else ->
       EX;
       go = 1;
       if :: names & 1 -> STEP(go = OK(c, a) && ptr == a; if :: go -> ptr = 0; WHOLE :: else fi) :: else fi;
       if :: go && (names & 2) -> STEP(go = OK(c, a) && hash == a; if :: go -> hash = 0 :: else fi) :: else fi;
       if :: go -> STEP(go = OK(c, a)); if :: go -> detach(a); res = 1 :: else -> res = 2 fi :: else -> res = 2 fi;
       UNEX
    fi;
    atomic { watch[a] = watch[a] & ~(1 << c) }
  fi;
  atomic { leased = 0; pinned = 0; go = 0; lk = 0; names = 0 }
}
#define COLLECT(c, a, policy) n = 0; do :: n < PASSES -> collect(c, a, policy); n++; if :: res == 2 -> skip :: else -> break fi :: else -> break od

#ifdef B_PTR_OVERWRITE
#define PUT STEP(ptr = mine; pborn = g; WHOLE)
#else                                                                   /* one that leads to another archive of this wheel stays */
#define PUT STEP(if :: ptr && here[ptr] -> skip :: else -> ptr = mine; pborn = g fi)
#endif
proctype Fetcher(byte i) {
  VARS; byte g, x, mine;
  STEP(writer == 0 -> g = gen);                                        /* first look-up (14) */
  SH;                                                                  /* look-up (15) */
  STEP(if :: ptr && here[ptr] -> x = ptr :: else -> x = 0 fi);
  if :: x -> take(i, x); mine = x
     :: else ->
        STEP(if :: hash && here[hash] -> x = hash :: else -> x = 0 fi);
        if :: x -> take(i, x); mine = x; if :: g == gen -> PUT :: else fi
           :: else fi
  fi;
  UNSH;
  if :: mine -> skip
     :: else ->                                                        /* fill; publish (19, 20) */
        SH;
        STEP(if :: hash && here[hash] -> x = hash :: else -> x = 0 fi);
        if :: x -> take(i, x); mine = x                                /* adopt */
           :: else -> STEP(mine = nextid; nextid++; assert(mine <= MAXA); lease[i] = mine); STEP(here[mine] = 1);
                      if :: g == gen -> STEP(if :: hash && here[hash] -> skip :: else -> hash = mine; hborn = g fi) :: else fi
        fi;
        if :: g == gen -> PUT :: else fi;
        UNSH
  fi;
  STEP(assert(here[mine]); lease[i] = 0);
  goto end;
dead: atomic { lease[i] = 0; if :: sh -> readers-- :: else fi; if :: ex -> writer = 0 :: else fi }
end:  atomic { ndone++ }
}

proctype Pinner() {
  VARS; byte a;
  STEP(a = ptr);                                                       /* found without a hold */
  if :: a == 0 -> skip
     :: else ->
        SH;
        STEP(go = here[a]);
#ifndef B_PIN_NO_LEASE
        if :: go -> STEP(lease[PINNER] = a) :: else fi;
#endif
#ifndef B_PIN_NO_STAMP
        if :: go -> STEP(STAMP(a)) :: else fi;
#endif
        UNSH;
#ifdef B_PIN_LATE
        STEP(lease[PINNER] = 0);
#endif
        SH;                                                            /* the last hold: still there, and still so called? */
#ifdef B_PIN_UNCHECKED
        if :: go -> STEP(pin = a; WHOLE) :: else fi;
#else
        STEP(go = go && here[a] && ptr == a);
        if :: go -> STEP(pin = a; WHOLE) :: else fi;
#endif
        UNSH;
        STEP(lease[PINNER] = 0)
  fi;
  goto end;
dead: atomic { lease[PINNER] = 0; if :: sh -> readers-- :: else fi }
end:  atomic { ndone++ }
}

proctype Unpinner() {
  bit sh;
  SH; STEP(pin = 0); UNSH;
  goto end;
dead: atomic { if :: sh -> readers-- :: else fi }
end:  atomic { ndone++ }
}

#define GIVE(name) if :: name -> cand = cand | (1 << name); name = 0 :: else fi
#define OVER       if :: !is_over && holds < 3 -> is_over = 1 :: skip fi   /* 10 ms are over */

proctype Cleaner() {
  VARS; byte a, cand, seen, settled_at, holds; bit settled, is_over, done;
#ifdef B_PINS_READ_BEFORE
  STEP(seen = pin);
#endif
  do
  :: done -> break
  :: else ->
     EX; holds++; is_over = 0;
#ifndef B_PINS_READ_BEFORE
#ifdef B_PINS_READ_ONCE
     if :: holds == 1 -> STEP(seen = pin) :: else fi;
#else
#ifdef B_SETTLED_FOR_GOOD
     STEP(seen = pin);
#else
     STEP(if :: seen != pin -> settled = 0 :: else fi; seen = pin);    /* read in every hold; what was settled is so no more */
#endif
#endif
#endif
     STEP(gen++);                                                      /* and bump, before the first name goes */
     if
     :: settled -> skip
     :: else ->
        if :: ptr != seen -> STEP(GIVE(ptr); WHOLE); OVER :: else fi;
#ifdef B_SETTLED_UNLISTED
        settled = 1;
#endif
        if :: !is_over && hash != seen -> STEP(GIVE(hash)); OVER :: else fi;
        if :: !settled && ptr == seen * (ptr > 0) && hash == seen * (hash > 0) -> settled = 1 :: else fi;
        settled_at = gen
     fi;
     if :: !is_over && rest -> rest = 0; OVER :: else fi;              /* the other projects of this clean */
     if :: settled && !rest && !is_over -> done = 1;
           assert((ptr == 0 || ptr == pin || pborn >= settled_at) && (hash == 0 || hash == pin || hborn >= settled_at))   /* P2 */
        :: else fi;
     UNEX
  od;
  for (a : 1 .. MAXA) { if :: (cand >> a) & 1 -> COLLECT(2, a, 0) :: else fi }                       /* (37) */
  goto end;
dead: atomic { if :: ex -> writer = 0 :: else fi }
end:  atomic { ndone++ }
}

proctype Pruner() {
  VARS; byte a;
  for (a : 1 .. MAXA) { COLLECT(3, a, 1) }
  goto end;
dead: atomic { if :: ex -> writer = 0 :: else fi }
end:  atomic { ndone++ }
}

#define TOTAL (NI + 1 + NU + NCL + NP)
init {
  byte k;
  atomic {
    rest = 1;
    if :: skip                                                           /* empty */
       :: here[1] = 1; nextid = 2; hash = 1; ptr = 1                     /* fetched */
       :: here[1] = 1; nextid = 2; hash = 1; ptr = 1; linked[1] = 1      /* once linked, environments gone */
       :: here[1] = 1; nextid = 2; hash = 1; ptr = 1; pin = 1            /* pinned */
       :: here[1] = 1; nextid = 2; ptr = 1; linked[1] = 1                /* without a hash name, after two who published at once */
    fi;
    run Fetcher(0);
#if NI > 1
    run Fetcher(1);
#endif
    run Pinner();
#if NU > 0
    run Unpinner();
#endif
#if NCL > 0
    run Cleaner();
#endif
#if NP > 0
    run Pruner()
#endif
  }
  atomic { ndone == TOTAL ->
    assert(readers == 0 && writer == 0);
    WHOLE;
    assert((hash == 0 || here[hash]) && (ptr == 0 || here[ptr]));        /* no dangling name */
    ncrash = MAXC; run Pruner() }                                        /* a last prune, no work left */
  atomic { ndone == TOTAL + 1 ->
    WHOLE;
    for (k : 1 .. MAXA) { assert(!here[k] || pin == k || (ptr == k && !linked[k])) } }
}
