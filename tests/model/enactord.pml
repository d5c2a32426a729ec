/* How enactord applies, repairs and prunes plans: the order of steps, and what is compared in each.
 *
 * One zone, two endpoints, three plans, two enactors, a repairer, a pruner, and the world's faults. Every block
 * marked `atomic` is one transaction of the store, one transaction of the DNS server, or one read; between any two
 * blocks a process may be paused for as long as it takes. Faults are bounded, and may stop at any moment.
 *
 * Left out, because others check it (tests/simulation, tests/unit): names that are new or removed, the guards' own
 * arithmetic, batches, watches (a process that is late stands for a watch that is late), a store set back to a backup.
 *
 * The zone's record in the store holds the generation opened and the TXT that is to stand in the zone. With QUIET,
 * where some plan changes nothing, the two may differ: the store compares the whole record, the DNS server the TXT.
 *
 * Each mechanism is a flag, 1 as shipped. check.py sets the flags; variants.py lists the variants.
 */

/* -- what enactord does: 1 as shipped, 0 switched off */
#ifndef FENCE
#define FENCE 1          /* the DNS server compares the fence on every write */
#endif
#ifndef OPEN_COMPARE
#define OPEN_COMPARE 1   /* raising the zone's fence requires exactly the fence that was read */
#endif
#ifndef OWN_OPEN
#define OWN_OPEN 1       /* the ledger is looked at after one's own open, not before */
#endif
#ifndef PENDING
#define PENDING 1        /* a mark in the ledger before a write */
#endif
#ifndef REVISION
#define REVISION 1       /* begin and hold require the ledger's entry to be as it was judged */
#endif
#ifndef CLAIMS
#define CLAIMS 1         /* store transactions of a plan require the claim to live */
#endif
#ifndef READ_BACK
#define READ_BACK 1      /* after an unknown answer: read; 0: take it for done */
#endif
#ifndef TOTAL
#define TOTAL 1          /* a plan's write works whatever it replaces; 0: only where something stands */
#endif
#ifndef BY_VALUE
#define BY_VALUE 1       /* a name holds its records itself; 0: it refers to records that go with their plan */
#endif
#ifndef GUARD
#define GUARD 1          /* content that a guard refuses is held, not written */
#endif
#ifndef REPAIR_FENCE
#define REPAIR_FENCE 1   /* the server compares the fence of a repair, too */
#endif
#ifndef REPAIR_VALUE
#define REPAIR_VALUE 1   /* a repair requires the name to be exactly as it was read */
#endif
#ifndef REPAIR_LEDGER
#define REPAIR_LEDGER 1  /* before a repair is written the store is asked whether the ledger is as it was judged */
#endif
#ifndef REPAIR_PLANNED
#define REPAIR_PLANNED 1 /* a name that serves what the plan at the fence says is let be, though a guard refuses it */
#endif
#ifndef REPAIR_OWN
#define REPAIR_OWN 1     /* with the store, only what the ledger has is put back; what a plan changes is left to it */
#endif
#ifndef REOPEN
#define REOPEN 1         /* a fence that was lost is raised again */
#endif
#ifndef KEEP_RECORD
#define KEEP_RECORD 1    /* a plan that changes nothing is settled only on the zone's record that it was judged by, */
#endif
#ifndef KEEP_APPLIED
#define KEEP_APPLIED 1   /* ... only where the plan that is opened there is applied, too, */
#endif
#ifndef KEEP_LEDGER
#define KEEP_LEDGER 1    /* ... and only where the ledger has not changed since */
#endif
#ifndef KEEP_TEXT
#define KEEP_TEXT 1      /* a lost TXT is raised again to the record's TXT; 0: to the generation opened */
#endif
#ifndef RETEXT
#define RETEXT 1         /* a TXT that is found above the record's gives way to the plan's own */
#endif
#ifndef PRUNE_FENCE
#define PRUNE_FENCE 1    /* prune only below the fence */
#endif
#ifndef PRUNE_ACTIVE
#define PRUNE_ACTIVE 1   /* ... and only what no endpoint is active on, has pending, or as last known good */
#endif
#ifndef PRUNE_CLAIMS
#define PRUNE_CLAIMS 1   /* the delete requires that no claim on the plan lives */
#endif
#ifndef PRUNE_LEDGER
#define PRUNE_LEDGER 1   /* the delete requires the whole ledger to be as it was judged */
#endif

/* -- who takes part, and what goes wrong, at most so many times */
#ifndef N
#define N 2              /* enactors */
#endif
#ifndef REPAIR
#define REPAIR 0         /* 1: a repairer with the store; 2: one that is cut off from it */
#endif
#ifndef PRUNE
#define PRUNE 0
#endif
#ifndef UNKNOWN
#define UNKNOWN 0        /* answers to writes that get lost: the write landed, or did not, or lands late */
#endif
#ifndef LEASES
#define LEASES 0         /* leases that run out */
#endif
#ifndef DEATH
#define DEATH 0          /* 1: the first enactor may be killed, anywhere */
#endif
#ifndef EDITS
#define EDITS 0          /* names that somebody else empties */
#endif
#ifndef LOST_FENCE
#define LOST_FENCE 0     /* times that somebody else deletes the zone's fence */
#endif
#ifndef LOOKS
#define LOOKS 1          /* looks of the repairer that begin before there is anything to repair */
#endif
#ifndef HOLD
#define HOLD 0           /* 1: a guard refuses plan 3's content of endpoint 1 until its window is over;
                            2: that content is empty, and refused for ever */
#endif
#ifndef SLOW_CLOCK
#define SLOW_CLOCK 0     /* 1: the repairer's clock is slow, it thinks that the window is not over */
#endif
#ifndef QUIET
#define QUIET 0          /* 1: plan 3 equals plan 1; 2: plan 2 equals plan 1; 3: plan 3 equals plan 2;
                            4: all are equal */
#endif
#ifndef TXT_AHEAD
#define TXT_AHEAD 0      /* 1: the zone's TXT is found to be plan 2's, of which the store's record has nothing */
#endif
#ifndef UNSEEN
#define UNSEEN 0         /* 1: a write may be committed without having been seen served */
#endif

/* -- what must hold */
#ifndef RULES
#define RULES 255        /* the rules that a search looks at: bit n for In */
#endif
#define I1 1  /* served content never returns to an older generation's */
#define I2 2  /* enactord leaves no name empty */
#define I3 3  /* no write lands under a fence that does not stand, and the fence never falls */
#define I4 4  /* a plan that is in use is not deleted */
#define I5 5  /* when all comes to rest, the newest plan is served, applied and alone in the store */
#define I6 6  /* what the ledger calls applied was written, and what a zone is said to conform to is there */
#define MUST(rule, condition) \
  if :: ((RULES >> rule) & 1) && !(condition) -> printf("| VIOLATED I%d\n", rule); assert(false) :: else fi

#define E 2
#define G 3
#define LOST 9

/* What an enactor does about an endpoint. */
#define PASS 1
#define TAKE 2
#define KEEP 3
#define BEGIN 4

/* What a plan says: endpoint 0 is changed by plan 2 and put back by plan 3, endpoint 1 changed by plan 3 alone.
 * With QUIET, some plan says what another says. A content is named by the first plan that has it; 0 is empty. */
#if HOLD == 2
#define LAST 0
#else
#define LAST 3
#endif
#if QUIET == 1
#define CONTENT(g, e) (e == 0 && g == 2 -> 2 : 1)
#elif QUIET == 2
#define CONTENT(g, e) (e == 1 && g == 3 -> LAST : 1)
#elif QUIET == 3
#define CONTENT(g, e) (e == 0 && g >= 2 -> 2 : 1)
#elif QUIET == 4
#define CONTENT(g, e) 1
#else
#define CONTENT(g, e) (e == 0 -> (g == 2 -> 2 : 1) : (g == 3 -> LAST : 1))
#endif
/* The newest of the generations up to f that has this content. */
#define NEWEST(c, e, f) \
  (f >= 3 && CONTENT(3, e) == c -> 3 : (f >= 2 && CONTENT(2, e) == c -> 2 : (CONTENT(1, e) == c -> 1 : 0)))

/* -- the store. It starts with plan 1 applied everywhere */
byte head = 1;             /* the newest plan */
bool plan[G + 1];          /* the plans that are there */
byte opened = 1;           /* fences/<zone>: the generation opened */
#if QUIET
byte text = 1;             /* fences/<zone>: the TXT in the zone, an older plan's where a plan changed nothing */
bool sealed[N];            /* the ledger is as an enactor judged it */
#define TXT text
#define OWN_TXT t
#else
#define TXT opened
#define OWN_TXT g
#endif
byte conforms = 1;         /* applied/<zone> */
byte claim[N];             /* claims: the generation that an enactor's live claim names */
byte applied[E] = 1;       /* ledger: the generation that wrote the entry */
byte pending[E];           /* ledger: the generation whose write has no known end */
byte held[E];              /* ledger: the generation that a guard refused */
#if UNSEEN
byte good[E] = 1;          /* ledger: last known good */
#define GOOD(e) good[e]
#else
#define GOOD(e) applied[e]
#endif

/* -- the zone */
byte fence = 1;
byte served[E] = 1;
#if !BY_VALUE
byte owner[E] = 1;         /* the plan whose records a name refers to */
#endif
#if UNKNOWN
byte late_t; byte late_c; byte late_before; bit late_e; bool late_repair;  /* a message still on the wire */
byte unknowns;
#endif

/* -- time, and what the rules above need to remember */
bool window_over = (HOLD == 0);
byte newest[E] = 1;        /* the newest generation that a name's content has belonged to */
#if QUIET
byte kept;                 /* the newest generation that was settled under an older TXT */
#define REACHED (fence > kept -> fence : kept)
#else
#define REACHED fence
#endif
bool edited[E];            /* somebody else changed the name since enactord, with the store, last wrote it */
bool judging; bool moved;  /* the pruner is between judging and deleting; what it judged has moved since */
bool looking; bool stirred;/* the same for the repairer and the ledger's entry that it looks at */
byte looked_at;
#if DEATH
bool killed;
#endif

#define LIVES(i, g) (!CLAIMS || claim[i] == g)
#define PERMIT(i, g) (LIVES(i, g) && opened == g && TXT == OWN_TXT)
#define REFUSED(g, e) (HOLD && g == 3 && e == 1 && !window_over)
#define SAME(e, g) (CONTENT(applied[e], e) == CONTENT(g, e))
#define CONFORMS(e, g) (pending[e] == 0 && held[e] == 0 && SAME(e, g))
#if QUIET
#define UNSEAL ; sealed[0] = false; sealed[N - 1] = false
#define AHEAD_OF_RECORD (TXT_AHEAD && RETEXT && fence > text)
#else
#define UNSEAL
#define AHEAD_OF_RECORD false
#endif
#define TOUCHED(e) moved = moved || (judging && PRUNE_LEDGER); stirred = stirred || (looking && looked_at == e) UNSEAL
#define TOUCHED_ZONE moved = moved || judging
#define WORK (head != conforms || AHEAD_OF_RECORD || pending[0] || pending[1] || \
  ((held[0] || held[1]) && window_over && HOLD != 2))

/* The server puts content `what` at a name, for an update of plan `by` under the TXT `under`. */
inline put(at, what, by, under, by_repair) {
  MUST(I3, under == fence);
  MUST(I2, what != 0);
  MUST(I1, NEWEST(what, at, REACHED) >= newest[at]);
  served[at] = what;
  newest[at] = NEWEST(what, at, REACHED);
  edited[at] = edited[at] && by_repair && REPAIR == 2;
#if !BY_VALUE
  owner[at] = by
#endif
}

/* From now on, what is served belongs to this generation, too. */
#define BELONG(to) \
  newest[0] = (served[0] && NEWEST(served[0], 0, to) > newest[0] -> NEWEST(served[0], 0, to) : newest[0]); \
  newest[1] = (served[1] && NEWEST(served[1], 1, to) > newest[1] -> NEWEST(served[1], 1, to) : newest[1])

inline raise(to) {
  MUST(I3, to > fence);
  fence = to;
  BELONG(to)
}

proctype Planner() {
  do
  :: atomic { head < G -> head++; plan[head] = true; printf("| planner: publishes plan %d\n", head) }
  :: head == G -> break
  od
}

/* One enactor. `restart` lets go of the claim and begins anew; to let go at once, and not a step
 * later, gives prune more room than it has. */
proctype Enactor(bit i) {
  byte g; byte z; byte want; byte act; bit e; bit k; bool done[E];
#if QUIET
  byte t;                                      /* the record's TXT */
#endif
#if !OWN_OPEN
  bool sound[E];
#endif
#if !REVISION
  byte was;
#endif
  {
  k = 0;                                       /* a label cannot stand first in a block */
end_idle:
  atomic { WORK -> g = head; printf("| enactor %d: sees work on plan %d\n", i, g) }
#if QUIET
  /* A plan that changes nothing is judged by the zone's record, what is applied, and the ledger. */
  atomic {
    if
    :: opened < g && CONFORMS(0, g) && CONFORMS(1, g) && (!KEEP_APPLIED || conforms == opened) ->
       z = opened; t = text; sealed[i] = KEEP_LEDGER;
       printf("| enactor %d: judges that plan %d changes nothing\n", i, g)
    :: else
    fi
  }
#endif
#if !OWN_OPEN
  atomic { sound[0] = CONFORMS(0, g); sound[1] = CONFORMS(1, g) }
#endif
  atomic {
    if
    :: plan[g] -> claim[i] = g; printf("| enactor %d: claims plan %d\n", i, g)
    :: else -> goto restart
    fi
  }

#if QUIET
  /* keep: the zone is settled, and its TXT stays */
  atomic {
    if
    :: z && LIVES(i, g) && plan[g] && (!KEEP_RECORD || (opened == z && text == t)) &&
       (!KEEP_APPLIED || conforms == z) && (!KEEP_LEDGER || sealed[i]) ->
       printf("| enactor %d: plan %d is applied, the TXT of plan %d stays\n", i, g, t);
       MUST(I6, CONFORMS(0, g) && (served[0] == CONTENT(g, 0) || edited[0]));
       MUST(I6, CONFORMS(1, g) && (served[1] == CONTENT(g, 1) || edited[1]));
       opened = g; text = t; conforms = g; TOUCHED_ZONE;
       kept = (g > kept -> g : kept); BELONG(g); goto restart
    :: else -> z = 0; t = 0; sealed[i] = false
    fi
  }
#endif

  /* open, the store's half */
  atomic {
    if
#if QUIET
    :: opened == g -> t = text
#else
    :: opened == g
#endif
    :: opened < g && LIVES(i, g) && plan[g] ->
       opened = g; TOUCHED_ZONE; printf("| enactor %d: opens %d in the store\n", i, g);
#if QUIET
       text = g; t = g
#endif
    :: else -> goto restart
    fi
  }

  /* open, the zone's half */
read_fence:
  atomic {
    if
    :: fence == OWN_TXT -> goto open
#if QUIET
    :: RETEXT && fence > t && fence <= g -> goto retext
    :: fence > t && !(RETEXT && fence <= g) ->
       printf("| enactor %d: finds fence %d above the record's %d\n", i, fence, t); goto restart
#else
    :: fence > g -> printf("| enactor %d: finds fence %d above its %d\n", i, fence, g); goto restart
#endif
    :: else -> z = fence; printf("| enactor %d: reads fence %d\n", i, z)
    fi
  }
  atomic {
    if
    :: fence == z || !OPEN_COMPARE ->
       printf("| enactor %d: raises the zone's fence from %d to %d\n", i, fence, OWN_TXT); raise(OWN_TXT);
       z = 0
    :: else -> z = 0; goto read_fence
    fi
  }
#if QUIET
  goto open;
retext:
  atomic {
    if
    :: PERMIT(i, g) -> text = g; t = g; TOUCHED_ZONE;
       printf("| enactor %d: records that the TXT is to be %d\n", i, g)
    :: else -> goto restart
    fi;
    goto read_fence
  }
#endif
open:
  k = 0;

  /* diff, begin, write, verify, commit: an endpoint at a time, each enactor in an order of its own */
look:
  atomic {
    e = (k + i) % E;
    if
#if !OWN_OPEN
    :: sound[e] -> act = PASS
    :: !sound[e] && CONFORMS(e, g) -> act = PASS
#else
    :: CONFORMS(e, g) -> act = PASS
#endif
    :: else ->
       if
       :: pending[e] == g -> act = TAKE
       :: pending[e] != g && REFUSED(g, e) && GUARD -> act = (held[e] == g -> PASS : KEEP)
       :: else -> act = BEGIN
       fi
    fi;
#if !REVISION
    was = applied[e]
  };
  atomic {
#endif
    /* The transaction requires the entry to be as it was judged, so both are one step; without that, they are two,
     * and the second puts back the entry that the first has read. */
    if
    :: act == PASS -> act = 0; done[e] = true; goto next
    :: act == TAKE -> act = 0; printf("| enactor %d: takes endpoint %d over\n", i, e)
    :: act > TAKE && !PERMIT(i, g) ->
       printf("| enactor %d: the store refuses it, plan %d is over\n", i, g); goto restart
    :: act == KEEP && PERMIT(i, g) ->
#if !REVISION
       applied[e] = was; pending[e] = 0;
#endif
       act = 0; held[e] = g; TOUCHED(e);
       printf("| enactor %d: holds endpoint %d at its content of plan %d\n", i, e, applied[e]);
       MUST(I6, served[e] == CONTENT(applied[e], e) || edited[e]);
       done[e] = true; goto next
    :: act == BEGIN && PERMIT(i, g) ->
#if !REVISION
       applied[e] = was;
#endif
       act = 0;
#if PENDING
       MUST(I4, plan[g]);
       pending[e] = g; TOUCHED(e);
#endif
       printf("| enactor %d: begins endpoint %d for plan %d\n", i, e, g)
    fi
  }
write:
  atomic {
    (TOTAL || served[e] != 0);
    want = CONTENT(g, e);
    if
    :: FENCE && fence != OWN_TXT -> printf("| enactor %d: write of plan %d refused by the fence\n", i, g); goto restart
    :: else
    fi;
    if
    :: printf("| enactor %d: writes endpoint %d of plan %d\n", i, e, g); put(e, want, g, OWN_TXT, false)
#if UNKNOWN
    :: unknowns < UNKNOWN -> unknowns++;
       printf("| enactor %d: writes endpoint %d of plan %d, the answer is lost\n", i, e, g);
       put(e, want, g, OWN_TXT, false); goto unknown
    :: unknowns < UNKNOWN -> unknowns++;
       printf("| enactor %d: sends endpoint %d of plan %d, the message is lost\n", i, e, g); goto unknown
    :: unknowns < UNKNOWN && late_t == 0 -> unknowns++;
       printf("| enactor %d: sends endpoint %d of plan %d, the message stays on the wire\n", i, e, g);
       late_t = OWN_TXT; late_e = e; late_c = want; goto unknown
#endif
    fi
  }
#if UNKNOWN
  goto commit;
unknown:
  atomic {
    if
    :: !READ_BACK
    :: READ_BACK && FENCE && fence != OWN_TXT -> goto restart
    :: READ_BACK && fence == OWN_TXT && served[e] == CONTENT(g, e)
    :: READ_BACK && (!FENCE || fence == OWN_TXT) && served[e] != CONTENT(g, e) ->
       printf("| enactor %d: reads back, it did not land\n", i); goto write
    fi
  }
#endif
commit:
  atomic {
    if
    :: PERMIT(i, g) && (pending[e] == g || !PENDING) ->
       printf("| enactor %d: commits endpoint %d as of plan %d\n", i, e, g);
       MUST(I6, served[e] == CONTENT(g, e) || edited[e]);
       applied[e] = g; pending[e] = 0; held[e] = 0; TOUCHED(e); done[e] = true;
#if UNSEEN
       if :: good[e] = g :: skip fi
#endif
    :: PERMIT(i, g) && pending[e] != g && PENDING -> goto look   /* another enactor has committed it */
    :: else -> printf("| enactor %d: the store refuses the commit of plan %d\n", i, g); goto restart
    fi
  }
next:
  if
  :: k == 0 -> k = 1; goto look
  :: else
  fi;

  /* settle: every endpoint conforms or is held */
  atomic {
    if
    :: PERMIT(i, g) && done[0] && done[1] ->
       if
       :: conforms != g -> printf("| enactor %d: plan %d is applied\n", i, g);
          MUST(I6, held[0] == g || (CONFORMS(0, g) && (served[0] == CONTENT(g, 0) || edited[0])));
          MUST(I6, held[1] == g || (CONFORMS(1, g) && (served[1] == CONTENT(g, 1) || edited[1])));
          conforms = g; TOUCHED_ZONE
       :: else
       fi
    :: else
    fi
  }
restart:
  atomic {
    claim[i] = 0; g = 0; z = 0; want = 0; act = 0; e = 0; k = 0; done[0] = false; done[1] = false;
#if QUIET
    t = 0; sealed[i] = false;
#endif
#if !OWN_OPEN
    sound[0] = false; sound[1] = false;
#endif
#if !REVISION
    was = 0;
#endif
    goto end_idle
  }
#if DEATH
  } unless { atomic { killed && i == 0 -> printf("| enactor 0: is killed\n") } }
#else
  }
#endif
}

#if PRUNE
#define CLAIMED(g) (claim[0] == g || (N > 1 && claim[N - 1] == g))
#define NEEDS(e, g) (pending[e] == g || (held[e] && applied[e] == g) || (applied[e] == g && g > conforms) \
  || (GOOD(e) == g && GOOD(e) != applied[e]))
/* The plan that an endpoint is active on, or has pending, or as a last known good that is not what is applied. */
#define ACTIVE(e) (held[e] || applied[e] > conforms -> applied[e] : conforms)
#define IN_USE(g) (CLAIMED(g) || opened <= g || pending[0] == g || pending[1] == g || ACTIVE(0) == g || ACTIVE(1) == g \
  || (GOOD(0) == g && GOOD(0) != applied[0]) || (GOOD(1) == g && GOOD(1) != applied[1]))
#define MAY_GO(g) (plan[g] && g != head && (!PRUNE_FENCE || opened > g) && !CLAIMED(g) \
  && (!PRUNE_ACTIVE || (conforms != g && !NEEDS(0, g) && !NEEDS(1, g))))

proctype Pruner() {
  byte g;
end:
  do
  :: atomic {                                  /* the whole store, as of one revision */
       if
       :: MAY_GO(1) -> g = 1
       :: MAY_GO(2) -> g = 2
       fi;
       judging = true; moved = false; printf("| pruner: judges that plan %d may go\n", g)
     };
     atomic {
       if
       :: !moved && (!PRUNE_CLAIMS || !CLAIMED(g)) ->
          printf("| pruner: deletes plan %d\n", g);
          MUST(I4, !IN_USE(g));
          plan[g] = false;
#if !BY_VALUE
          if :: owner[0] == g -> served[0] = 0 :: else fi;
          if :: owner[1] == g -> served[1] = 0 :: else fi;
          MUST(I2, served[0] != 0 && served[1] != 0)
#endif
       :: else -> printf("| pruner: the store has changed, plan %d stays\n", g)
       fi;
       g = 0; judging = false; moved = false
     }
  od
}
#endif

#if REPAIR
/* What a name should serve, by the plan at fence f and an entry (a: applied, h: held, p: pending), judged with what
 * the repairer's clock says of the guard's window; LOST: it is not said. */
#define THINKS_REFUSED(f, e) (HOLD && f == 3 && e == 1 && (SLOW_CLOCK || !window_over))
#define SUITS(f, e, a, h, p) (!p && CONTENT(a, e) == CONTENT(f, e))
#define DESIRED(f, e, a, h, p, v) \
  (p && REPAIR == 1 -> LOST : \
  (v == CONTENT(a, e) -> LOST : \
  (SUITS(f, e, a, h, p) -> CONTENT(a, e) : \
  (!THINKS_REFUSED(f, e) || p == f -> PLANNED(f, e, a, v) : \
  (p -> (v == 0 -> CONTENT(a, e) : LOST) : \
  ((REPAIR == 1 && h != f) || (REPAIR_PLANNED && v && v == CONTENT(f, e)) -> LOST : CONTENT(a, e)))))))
#define PLANNED(f, e, a, v) ((REPAIR == 1 && REPAIR_OWN) || v == CONTENT(f, e) -> LOST : CONTENT(f, e))
#define DRIFTED(e) (DESIRED(opened, e, applied[e], held[e], pending[e], served[e]) != LOST \
  && DESIRED(opened, e, applied[e], held[e], pending[e], served[e]) != served[e])

#if QUIET
#define REC_TXT r
#else
#define REC_TXT f
#endif
#if KEEP_TEXT
#define RAISE_TO REC_TXT
#else
#define RAISE_TO f
#endif

proctype Repairer() {
#if QUIET
  byte r;                                      /* the record's TXT */
#endif
  byte f; byte a; byte h; byte p; byte v; byte w; bit e; byte looks;
end:
  do
  :: atomic {                                  /* the fence and the ledger, as the cache or the local copy has them */
       if
       :: looks < LOOKS -> looks++; if :: e = 0 :: e = 1 fi
       :: DRIFTED(0) -> e = 0
       :: DRIFTED(1) -> e = 1
       :: REOPEN && fence < TXT -> e = 0
       fi;
#if QUIET
       r = text;
#endif
       f = opened; a = applied[e]; h = held[e]; p = pending[e];
       looking = true; stirred = false; looked_at = e;
       printf("| repairer: looks at endpoint %d, under fence %d\n", e, f)
     };
     /* the zone's fence: above ours, nothing is done; below, it is raised */
refence:
     atomic {
       if
       :: fence > REC_TXT -> goto done
       :: fence == REC_TXT
       :: fence < REC_TXT && REOPEN -> v = fence + 1
       :: fence < REC_TXT && !REOPEN -> goto done
       fi
     };
     atomic {
       if
       :: v && fence == v - 1 -> printf("| repairer: raises the fence again, to %d\n", RAISE_TO);
          raise(RAISE_TO); v = 0
       :: v && fence != v - 1 -> v = 0; goto refence
       :: v == 0
       fi
     };
     atomic {
       v = served[e];
       w = DESIRED(f, e, a, h, p, v);
       if
       :: w == LOST || w == v -> goto done
       :: else -> printf("| repairer: reads content %d, content %d belongs there\n", v, w)
       fi
     };
#if REPAIR == 1 && REPAIR_LEDGER
     atomic {
       if
       :: opened != f || TXT != REC_TXT || stirred -> printf("| repairer: the ledger has changed\n"); goto done
       :: else
       fi
     };
#endif
     atomic {
       if
       :: (REPAIR_FENCE && fence != REC_TXT) || (REPAIR_VALUE && served[e] != v) -> printf("| repairer: is refused\n")
       :: else ->
          if
          :: printf("| repairer: puts content %d back at endpoint %d\n", w, e); put(e, w, f, REC_TXT, true)
#if UNKNOWN
          :: unknowns < UNKNOWN && late_t == 0 -> unknowns++;
             printf("| repairer: sends content %d for endpoint %d, the message stays on the wire\n", w, e);
             late_t = REC_TXT; late_e = e; late_c = w; late_before = v; late_repair = true
#endif
          fi
       fi
     };
done:
     atomic {
       f = 0; a = 0; h = 0; p = 0; v = 0; w = 0; e = 0;
#if QUIET
       r = 0;
#endif
       looking = false; stirred = false; looked_at = 0
     }
  od
}
#endif

#if UNKNOWN
/* A message that was given up arrives all the same. */
proctype Wire() {
end:
  do
  :: atomic {
       late_t ->
       if
       :: (fence == late_t || (late_repair && !REPAIR_FENCE) || (!late_repair && !FENCE)) &&
          (!late_repair || !REPAIR_VALUE || served[late_e] == late_before) ->
          printf("| wire: the late message under TXT %d arrives, content %d for endpoint %d\n", late_t, late_c, late_e);
          put(late_e, late_c, late_t, late_t, late_repair)
       :: else -> printf("| wire: the late message under TXT %d is refused\n", late_t)
       fi;
       late_t = 0; late_c = 0; late_before = 0; late_e = 0; late_repair = false
     }
  od
}
#endif

#if LEASES || DEATH
proctype Leases() {
  byte n;
  do
#if LEASES
  :: atomic { n < LEASES && claim[0] -> n++; claim[0] = 0; printf("| enactor 0: its lease runs out\n") }
#if N > 1
  :: atomic { n < LEASES && claim[1] -> n++; claim[1] = 0; printf("| enactor 1: its lease runs out\n") }
#endif
#endif
#if DEATH
  :: atomic { !killed -> killed = true }
#endif
  :: break
  od;
#if DEATH
  atomic { if :: killed -> claim[0] = 0 :: else fi }   /* the lease of the dead runs out by itself */
#endif
}
#endif

#if EDITS || LOST_FENCE || TXT_AHEAD
proctype Stranger() {
  byte n; byte m;
  do
#if EDITS
  :: atomic { n < EDITS && served[0] -> n++; served[0] = 0; edited[0] = true;
              printf("| stranger: empties endpoint 0\n") }
  :: atomic { n < EDITS && served[1] -> n++; served[1] = 0; edited[1] = true;
              printf("| stranger: empties endpoint 1\n") }
#endif
#if LOST_FENCE
  :: atomic { m < LOST_FENCE -> m++; fence = 0; printf("| stranger: deletes the zone's fence\n") }
#endif
#if TXT_AHEAD
  :: atomic { m == 0 && fence < 2 && plan[2] -> m++; fence = 2;
              printf("| stranger: sets the zone's fence to plan 2's\n") }
#endif
  :: break
  od
}
#endif

proctype Time() {
  atomic { !window_over && HOLD != 2 -> window_over = true; printf("| time: the guard's window is over\n") }
}

/* Nobody has anything left to do: the newest plan is served, whatever happened. */
proctype Rest() {
  atomic {
    timeout -> printf("| all is at rest: %d %d served, fence %d of %d opened, applied %d\n",
                      served[0], served[1], fence, opened, conforms);
    MUST(I5, head == G && opened == G && fence == TXT && conforms == G);
    MUST(I5, pending[0] == 0 && pending[1] == 0);
    MUST(I5, served[0] == CONTENT(G, 0));
#if HOLD == 2
    MUST(I5, held[1] == G && served[1] == 1)
#else
    MUST(I5, held[0] == 0 && held[1] == 0 && served[1] == CONTENT(G, 1));
#if PRUNE && !UNSEEN
    MUST(I5, !plan[1] && !plan[2])
#endif
#endif
  }
}

init {
  atomic {
    plan[1] = true;
    run Planner();
    run Enactor(0);
#if N > 1
    run Enactor(1);
#endif
#if PRUNE
    run Pruner();
#endif
#if REPAIR
    run Repairer();
#endif
#if UNKNOWN
    run Wire();
#endif
#if LEASES || DEATH
    run Leases();
#endif
#if EDITS || LOST_FENCE || TXT_AHEAD
    run Stranger();
#endif
#if HOLD == 1
    run Time();
#endif
    run Rest()
  }
}
