/* Rules 1-4, 14-20, 23-26, 28-36: one file name (pointer) and the archive it leads to.  NI installers into environments by
   symlink, NCL cleaners, NP pruners, NUSER users who delete an environment in two steps, up to MAXC crashes anywhere; start
   empty, warm, or with what a crash left; at the end one more prune, and a look at what is left.  Here an archive's id is its
   wheel's hash and every making of it counts as an incarnation; names.pml has the random ids and the hash names.

   Checked: a leased archive is never detached (I1), nor one that a live symlink environment leads to (I4); a look-up begun
   after clean returned finds nothing of before (I3); a last quiet prune frees what nothing reaches (I5); a note left for the
   last lease has done its work when nobody crashed (I6); no name leads nowhere at rest; nobody is stuck.
   -DB_xxx switches ONE step to its wrong form; README.md lists them.  -DNOLINK: fetch only.  -DROUNDS0=n: the first installer
   installs n times.                                                                                                  */
#ifndef NI
#define NI 2
#endif
#ifndef NP
#define NP 1
#endif
#ifndef NCL
#define NCL 1
#endif
#ifndef MAXC
#define MAXC 1
#endif
#ifndef ROUNDS0
#define ROUNDS0 1
#endif
#ifndef NUSER
#define NUSER 1
#endif
#define LOOKS 2
#define PASSES 3

byte readers; bit writer;           /* main lock                                       */
byte key;                           /* key lock: 0 free, 1+i held                       */
byte inc; byte nextinc = 1;         /* visible incarnation of A; 0 = none               */
byte trash;                         /* incarnation in trash (0/n), unique names         */
bit  ptr; byte ptrborn;             /* pointer; ghost: cleans begun when publisher began */
byte used; byte nonce;              /* `used` stamp of the visible archive              */
byte gen; byte started, returned;   /* generation; ghosts: cleans begun, cleans returned */
bit  marker;                        /* condemned note: "free me when the last lease ends" */
bit  linkedflag;                    /* archive was linked once (policy: environments gone)*/
bit  lease[NI], envx[NI], refd[NI], dist[NI], jour[NI], deleting[NI];
byte lnk[NI];                       /* incarnation the environment's symlinks lead to    */
byte ncrash, ndone; bit touched, userdel, waslinked;

#define STEP(x) if :: atomic { x } :: atomic { ncrash < MAXC -> ncrash++; goto dead } fi
#define SH   atomic { writer == 0 -> readers++; sh = 1 }
#define UNSH atomic { readers--; sh = 0 }
#define EX   atomic { writer == 0 && readers == 0 -> writer = 1; ex = 1 }
#define UNEX atomic { writer = 0; ex = 0 }
#ifdef B_STAMP_COARSE
#define STAMP if :: nonce++ :: skip fi; used = nonce; touched = 1   /* clock tick may not have moved */
#else
#define STAMP nonce++; used = nonce; touched = 1
#endif
#ifdef B_LINKED_BY_REFERRER
#define LINKED ((refd[0] && !envx[0]) || (refd[NI-1] && !envx[NI-1]))
#else
#define LINKED linkedflag
#endif
#define NOLEASE (lease[0] == 0 && (NI < 2 || lease[NI-1] == 0))

inline take_lease() {      /* inside a shared hold: lease, then stamp */
#ifdef B_STAMP_BEFORE_LEASE
  STEP(STAMP); STEP(lease[i] = 1)
#else
  STEP(lease[i] = 1); STEP(STAMP)
#endif
}

inline detach() {          /* inside the exclusive hold */
  atomic {
    k = 0;
    do :: k < NI ->
          assert(!lease[k]);                                            /* I1 leased object removed */
          assert(!(envx[k] && !deleting[k] && lnk[k] == inc));           /* I4 in use by live symlink env */
          k++
       :: else -> break od;
    k = 0; 
    trash = inc; inc = 0; linkedflag = 0; waslinked = 0; marker = 0
  }
}

/* one collector pass: out c_res 0 nothing/kept, 1 freed, 2 again */
inline collect(aggr) {
  c_res = 0; c_leased = 0; c_ref = 0; c_used = 0;
  STEP(c_inc = inc);
  if :: c_inc == 0 -> skip
     :: else ->
#ifdef B_STAMP_READ_LAST
#else
    STEP(c_used = used);
#endif
#ifdef B_NAMES_FIRST
    STEP(c_ptr = ptr; c_lk = LINKED);
    k = 0; do :: k < NI -> STEP(if :: refd[k] && envx[k] && (dist[k] || jour[k]) -> c_ref = 1 :: else fi; k++) :: else -> break od;
#endif
#ifndef B_NO_LEASE_SCAN
    k = 0; do :: k < NI -> STEP(if :: lease[k] -> c_leased = 1 :: else fi; k++) :: else -> break od;
#endif
#ifndef B_NAMES_FIRST
    STEP(c_ptr = ptr; c_lk = LINKED);
    k = 0; do :: k < NI -> STEP(if :: refd[k] && envx[k] && (dist[k] || jour[k]) -> c_ref = 1 :: else fi; k++) :: else -> break od;
#endif
#ifdef B_STAMP_READ_LAST
    STEP(c_used = used);
#endif
    k = 0;
    if :: (c_ref || (c_ptr && !(aggr && c_lk))) -> skip      /* reachable */
       :: else ->
#ifdef B_PTR_LAST
          EX;
          STEP(c_go = (inc != 0 && used == c_used && NOLEASE && !c_leased));
          if :: c_go -> detach() :: else fi; UNEX;
          EX; if :: c_go -> STEP(ptr = 0) :: else fi; UNEX;
#else
          c_go = 1;
          if :: c_ptr ->                                            /* batch 1: the name */
                EX; STEP(c_go = (inc != 0 && used == c_used && NOLEASE && !c_leased));
                if :: c_go -> STEP(ptr = 0) :: else fi; UNEX
             :: else fi;
          if :: c_go ->
            EX;                                                      /* batch 2: the object */
#ifdef B_NO_RECHECK
            if :: inc != 0 -> detach(); c_res = 1 :: else fi;
#else
            if :: inc == 0 -> c_res = 0
               :: else ->
#ifdef B_MARKER_AFTER
                  STEP(c_go = NOLEASE);
                  if :: !c_go -> STEP(marker = 1)
#else
                  if :: !NOLEASE -> STEP(marker = 1) :: else fi;     /* note first, then read leases */
                  STEP(c_go = NOLEASE);
                  if :: !c_go -> skip
#endif
#ifdef B_NO_STAMP
                     :: else -> if :: !c_leased -> detach(); c_res = 1
#else
                     :: else -> if :: used == c_used && !c_leased -> detach(); c_res = 1
#endif
                                   :: else -> c_res = 2 fi
                  fi
            fi;
#endif
            UNEX
             :: else -> c_res = 2 fi;
#endif
    fi
  fi;
  k = 0; c_inc = 0; c_used = 0; c_ptr = 0; c_lk = 0; c_ref = 0; c_leased = 0; c_go = 0
}

inline sweep() { STEP(trash = 0) }

inline forget() {
  k = 0;
  do :: k < NI ->
#ifdef B_FORGET_NOLOCK
        STEP(c_go = (refd[k] && !envx[k])); if :: c_go -> STEP(refd[k] = 0) :: else fi;
#else
        if :: refd[k] && !envx[k] -> EX; STEP(if :: refd[k] && !envx[k] -> refd[k] = 0 :: else fi); UNEX :: else fi;
#endif
        k++
     :: else -> break od;
  k = 0; c_go = 0
}

proctype Installer(byte i; byte rounds) {
  bit sh, ex; byte ep, born, mine, k; bit have, c_lk, c_ptr, c_ref, c_leased, c_go; byte c_inc, c_used, c_res, ret0;
again:
  STEP(ret0 = returned; have = 0);
  SH;
#ifndef B_EPOCH_LATE_READ
  STEP(born = started; ep = gen);     /* 'begun' = its first look-up */
#else
  STEP(born = started);
#endif
  if :: ptr && inc != 0 ->
        assert(ptrborn >= ret0);                                       /* I3 old thing found after clean */
#ifdef B_LOOKUP_THEN_LEASE
        UNSH; SH;
#endif
        take_lease(); STEP(mine = inc; have = 1)
     :: else ->
#ifdef A_NO_DANGLING
        assert(!(ptr && inc == 0));
#endif
        skip
  fi;
  UNSH;
  if :: !have ->
     atomic { key == 0 -> key = i + 1 };
     SH;                                                               /* look again */
     if :: ptr && inc != 0 -> take_lease(); STEP(mine = inc; have = 1) :: else fi;
     UNSH;
     if :: !have ->
#ifdef B_EPOCH_LATE_READ
        STEP(ep = gen);
#endif
        /* download + unpack into staging, no lock */
        SH;
#ifdef B_LEASE_AFTER_PUBLISH
        STEP(if :: inc == 0 -> inc = nextinc; nextinc++; nonce++; used = nonce :: else fi);
        UNSH; SH;
        take_lease();
        STEP(mine = inc)
#else
        STEP(lease[i] = 1);
        STEP(if :: inc == 0 -> inc = nextinc; nextinc++; STAMP :: else -> STAMP fi; mine = inc);   /* rename or adopt */
#endif
        if :: ep == gen -> STEP(ptr = 1; ptrborn = born) :: else fi;
        UNSH
     :: else fi;
     atomic { key = 0 }
  :: else fi;
  /* install into own environment (env lock implied: one installer per environment) */
  assert(mine == inc && mine != 0);                                    /* I1' leased object is still there */
#ifndef NOLINK
#ifdef B_MKDIR_LATE
  SH; STEP(refd[i] = 1; linkedflag = 1; waslinked = 1); UNSH;
  STEP(if :: !envx[i] -> envx[i] = 1; deleting[i] = 0 :: else fi);
#else
  STEP(if :: !envx[i] -> envx[i] = 1; deleting[i] = 0 :: else fi);
#ifndef B_REF_LATE
  SH; STEP(refd[i] = 1; linkedflag = 1; waslinked = 1); UNSH;
#endif
#endif
#ifndef B_NO_JOURNAL
  STEP(if :: envx[i] && !deleting[i] -> jour[i] = 1 :: else fi);
#endif
  STEP(if :: envx[i] && !deleting[i] -> dist[i] = 0 :: else fi);
  STEP(if :: envx[i] && !deleting[i] -> lnk[i] = inc; assert(mine == inc) :: else fi);
  STEP(if :: envx[i] && !deleting[i] -> dist[i] = 1 :: else fi);
#ifdef B_REF_LATE
  SH; STEP(refd[i] = 1; linkedflag = 1; waslinked = 1); UNSH;
#endif
  STEP(jour[i] = 0);
#endif
  /* lease end */
#ifdef B_CHECK_BEFORE_RELEASE
  STEP(c_go = marker);
  if :: c_go -> collect(0); sweep() :: else fi;
  STEP(lease[i] = 0);
#else
  STEP(lease[i] = 0);
  do :: marker ->
        collect(0); 
        if :: c_res == 2 -> skip
           :: c_res == 1 -> sweep(); break
           :: else -> break fi
     :: else -> break od;
#endif
  if :: rounds > 1 -> rounds--; goto again :: else fi;
  goto fin;
dead: atomic {
    lease[i] = 0; if :: sh -> readers-- :: else fi; if :: ex -> writer = 0 :: else fi; if :: key == i + 1 -> key = 0 :: else fi }
fin:  atomic { ndone++ }
}

proctype Cleaner() {
  bit sh, ex; byte k, n; bit c_lk, c_ptr, c_ref, c_leased, c_go; byte c_inc, c_used, c_res;
  STEP(started++);
  EX;
#ifdef B_EPOCH_BUMP_LAST
  STEP(ptr = 0); UNEX; EX; STEP(gen++);
#else
  STEP(gen++); STEP(ptr = 0);
#endif
  UNEX;
  STEP(touched = 0);
  n = 0;
  do :: n < PASSES -> collect(0); n++; if :: c_res == 2 -> skip :: else -> break fi
     :: else -> break od;
  sweep();
  STEP(returned++);
  goto fin;
dead: atomic { if :: ex -> writer = 0 :: else fi }
fin:  atomic { ndone++ }
}

proctype Pruner() {
  bit sh, ex; byte k, n; bit c_lk, c_ptr, c_ref, c_leased, c_go; byte c_inc, c_used, c_res;
#ifdef B_FORGET_FIRST
  forget();
#endif
  n = 0;
  do :: n < PASSES -> collect(1); n++; if :: c_res == 2 -> skip :: else -> break fi
     :: else -> break od;
  sweep();
#ifndef B_FORGET_FIRST
  forget();
#endif
  goto fin;
dead: atomic { if :: ex -> writer = 0 :: else fi }
fin:  atomic { ndone++ }
}

proctype User() {      /* rm -rf of one environment, dist-info first, at any time */
  byte i;
  if :: i = 0 :: i = NI - 1 fi;
  if :: atomic { envx[i] -> deleting[i] = 1; dist[i] = 0; userdel = 1 };
        atomic { jour[i] = 0; lnk[i] = 0; envx[i] = 0; deleting[i] = 0 }
     :: skip fi;
  atomic { ndone++ }
}

#define TOTAL (NI + NCL + NP + NUSER)
init {
  byte k; bit anyref;
  atomic {
    /* start empty, or warm: pointer + archive already there */
    if :: skip
       :: inc = 1; nextinc = 2; ptr = 1; nonce = 1; used = 1; linkedflag = 1
       :: inc = 1; nextinc = 2; nonce = 1; used = 1        /* left by a crash: archive, no pointer */
    fi;
    run Installer(0, ROUNDS0);
#if NI > 1
    run Installer(1, 1);
#endif
#if NCL > 0
    run Cleaner();
#endif
#if NP > 0
    run Pruner();
#endif
#if NP > 1
    run Pruner();
#endif
#if NUSER > 0
    run User()
#endif
  }
  atomic {
  ndone == TOTAL ->
  assert(readers == 0 && writer == 0 && key == 0);
  assert(!(ptr && inc == 0));                                   /* no dangling pointer at rest */
  k = 0; do :: k < NI -> assert(!lease[k]); 
        assert(!(envx[k] && lnk[k] != 0 && lnk[k] != inc));       /* live environment broken */
        assert(!(envx[k] && lnk[k] != 0 && !refd[k]));            /* live environment unregistered */
        if :: envx[k] && (lnk[k] != 0 || jour[k]) -> anyref = 1 :: else fi; k++ :: else -> break od;
  /* I6 deferred free worked when nobody crashed: marked, unleased, unreachable must be gone */
  assert(ncrash > 0 || userdel || !(marker && inc != 0 && !ptr && !anyref));
  }
  /* I5 a last quiet prune frees what is unreachable, and what only dead environments used */
  ncrash = MAXC; run Pruner(); anyref = 0; k = 0;
  do :: k < NI -> if :: envx[k] && (lnk[k] != 0 || jour[k]) -> anyref = 1 :: else fi; k++ :: else -> break od;
  ndone == TOTAL + 1 ->
  assert(trash == 0 && readers == 0 && writer == 0);
  assert(anyref || inc == 0 || (ptr && !waslinked));
  assert(!(ptr && inc == 0));
}
