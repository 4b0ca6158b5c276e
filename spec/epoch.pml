/* Rule 36, several holds: the names of one project need two holds to go (n1 the project directory, n2 a tool pointer),
   and a work derives a new name n3 from whatever old name it saw.  "epoch" is an older word for generation.

   Checked: a look-up begun after clean returned finds neither an old name nor one derived from it.
   Wrong form: B_BUMP_ONCE bumps the generation in the first hold only.                                               */

bit n1 = 1, n2 = 1;             /* names from before the clean */
bit n3old;                      /* a name derived from one of them */
byte gen = 1, glob = 1;         /* generation of the project, of everything */
byte fresh = 1;                 /* the last random value given out */
bit returned;

proctype Work() {
  bit saw; byte g, all;
  atomic { saw = n1 || n2; g = gen; all = glob };                           /* look-up, one shared hold */
  atomic { if :: saw && g == gen && all == glob -> n3old = 1 :: else fi }   /* publish the derived name */
}

proctype Look() {
  atomic { returned -> skip };
  atomic { assert(!(n1 || n2 || n3old)) }
}

active proctype Clean() {
  atomic { fresh++; gen = fresh; n1 = 0; n3old = 0 };                       /* first hold */
  atomic {                                                                  /* second hold */
#ifndef B_BUMP_ONCE
    fresh++; gen = fresh;
#endif
    n2 = 0; n3old = 0
  };
  returned = 1
}

init { atomic { run Work(); run Work(); run Look() } }
