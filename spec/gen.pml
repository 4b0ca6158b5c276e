/* Rule 5: the generation file keeps its last lines, each with what was cleaned; two versions of one project.  A full clean
   bumps the global value and removes the project's file.  Every hold is one step.  -DBUMPS=n: so many cleans.

   Checked: what was cleaned since the work began is never published by it; a work is refused only for what was cleaned, or
   because lines fell off.
   Wrong forms: B_LAST_ONLY looks at the last line alone; B_MISSING_ALLOWS lets a value that fell off allow; B_NONE_FIRST
   takes "no file" for "before the first line", whatever fell off; B_NO_NONE_LINE makes the file without its first line
   "none"; B_NO_GLOBAL has no global value.  (B_ONE_VALUE drops the second check.)                                    */

#define L 3                     /* lines kept (the design: 256) */
#define ALL 3
#ifndef BUMPS
#define BUMPS 4
#endif

byte val[L], what[L], cnt;      /* the project's file, oldest line first; cnt 0: no file.  what: version 1, 2 or ALL; 0: "none" */
byte glob = 1, fresh = 1;       /* global value; the last random value given out */
bit dropped;
byte cleaned[3];                /* ghost: how many cleans have matched version v */
byte drops;                     /* ghost: how often a line fell off */

inline line(w) {
  if
  :: cnt == L -> val[0] = val[1]; what[0] = what[1]; val[1] = val[2]; what[1] = what[2]; cnt--; drops++
  :: else
  fi;
  fresh++; val[cnt] = fresh; what[cnt] = w; cnt++
}

proctype Work(byte v) {
  byte g, p, c, d, k; bit there, allow;
  atomic {                                              /* first look-up */
    g = glob; c = cleaned[v]; d = drops;
    if :: cnt -> p = val[cnt-1] :: else -> p = 0 fi
  };
  atomic {                                              /* publish */
#ifdef B_LAST_ONLY
    allow = (cnt == 0 && p == 0) || (cnt && (val[cnt-1] == p || !(what[cnt-1] & v)));
#else
    there = (cnt == 0 && p == 0); allow = 1; k = 0;
    do
    :: k < cnt ->
       if :: there && (what[k] & v) -> allow = 0 :: else fi;
#ifdef B_MISSING_ALLOWS
       if :: what[k] & v && !there && val[k] != p -> skip :: else fi;
#endif
       if :: val[k] == p -> there = 1 :: else fi;
       k++
    :: else -> break
    od;
#ifdef B_MISSING_ALLOWS
    if :: !there -> allow = 1 :: else fi;
#else
#ifdef B_NONE_FIRST
    if
    :: p == 0 ->
       allow = 1; k = 0;
       do :: k < cnt -> if :: what[k] & v -> allow = 0 :: else fi; k++ :: else -> break od
    :: else -> allow = allow && there
    fi;
#else
    allow = allow && there;
#endif
#endif
#endif
#ifndef B_NO_GLOBAL
    allow = allow && g == glob;
#endif
    assert(!allow || c == cleaned[v]);                  /* old things never come back */
#ifndef B_ONE_VALUE
    assert(allow || c != cleaned[v] || d != drops)      /* refused only for what was cleaned, or after L lines */
#endif
  }
}

active proctype Clean() {
  byte n, w;
  do
  :: n < BUMPS ->
     n++;
     if :: w = 1 :: w = 2 :: w = ALL :: w = 4 fi;       /* 4: everything, the global value */
     atomic {
       if
       :: w == 4 ->
          fresh++; glob = fresh; cnt = 0;
          val[0] = 0; val[1] = 0; val[2] = 0; what[0] = 0; what[1] = 0; what[2] = 0
       :: else ->
#ifndef B_NO_NONE_LINE
          if :: cnt == 0 -> val[0] = 0; what[0] = 0; cnt = 1 :: else fi;
#endif
          line(w)
       fi;
       if :: w & 1 || w == 4 -> cleaned[1]++ :: else fi;
       if :: w & 2 || w == 4 -> cleaned[2]++ :: else fi
     }
  :: break
  od
}

init { atomic { run Work(1); run Work(2) } }
