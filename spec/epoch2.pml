/* Rule 5, the global value: at first the project has no generation file; a clean of the project makes one; a full clean
   removes it.  A work that began before both sees "no file" again.  "epoch" is an older word for generation.

   Checked: a work publishes only if nothing was cleaned since it began.
   Wrong form: B_NO_GLOBAL has no value that outlives the project's file.                                             */

byte gen = 0;                   /* of the project; 0: no file */
byte glob = 1;                  /* of everything; never removed */
byte fresh = 1;                 /* the last random value given out */
byte cleans;                    /* ghost: cleans so far */
bit name;

proctype Work() {
  byte g, all, c;
  atomic { g = gen; all = glob; c = cleans };
  atomic { if :: g == gen && all == glob -> assert(c == cleans); name = 1 :: else fi }
}

active proctype Clean() {
  atomic { fresh++; gen = fresh; cleans++ };                                /* clean of the project */
  atomic {                                                                  /* clean of everything */
    gen = 0; cleans++;
#ifndef B_NO_GLOBAL
    fresh++; glob = fresh
#endif
  }
}

init { run Work() }
