/* The enactor of the outage, and half measures against it.
 *
 * Names refer to records that belong to a plan. An enactor checks once that its plan is newer than what is
 * applied, then writes the endpoints one by one; old plans are cleaned up. One step is one `atomic` block;
 * between two of them a process may be paused for as long as it takes.
 */

#ifndef LOCK
#define LOCK 0        /* 1: a correct lock on an endpoint, held around each write */
#endif
#ifndef FENCE
#define FENCE 0       /* 1: the write itself compares generations; 2: and that the plan still exists, in one step */
#endif
#ifndef TOTAL
#define TOTAL 1       /* 0: a write also points a rollback record at the current target, which must exist */
#endif
#ifndef PINS
#define PINS 0        /* clean-up. 0: by age; 1: what no endpoint refers to and no enactor has pinned, in one step */
#endif
#ifndef LEASES
#define LEASES 0      /* leases, hence pins, that run out */
#endif
#ifndef FAILURES
#define FAILURES 0    /* writes that fail, after which the enactor goes on with the next endpoint */
#endif
#ifndef RULES
#define RULES 255        /* the rules that a search looks at: bit n for In */
#endif

#define I1 1  /* served content never returns to an older generation's */
#define I2 2  /* no name is left empty */
#define I5 5  /* when all comes to rest, the newest plan is served */
#define MUST(rule, condition) \
  if :: ((RULES >> rule) & 1) && !(condition) -> printf("| VIOLATED I%d\n", rule); assert(false) :: else fi

#define G 4
#define KEEP 1

bool plan[G + 1];     /* the plans whose records are there */
byte head;            /* the newest plan */
byte refers[2];       /* the plan that an endpoint's name refers to; 0: not made yet */
byte pin[2];          /* the plan that an enactor works on, under its lease */
bool locked[2];
byte failures;

#define LIVE(e) (refers[e] == 0 || plan[refers[e]])
#define BEHIND(g) (g > refers[0] || g > refers[1] || !LIVE(0) || !LIVE(1))

inline delete(old) {
  printf("| clean-up: deletes plan %d\n", old);
  plan[old] = false;
  MUST(I2, LIVE(0) && LIVE(1))
}

inline write(e) {
#if LOCK
  atomic { !locked[e] -> locked[e] = true };
#endif
  atomic {
    (TOTAL || LIVE(e));
    if
    :: FENCE && (refers[e] >= g || (FENCE == 2 && !plan[g])) ->
       printf("| enactor %d: endpoint %d of plan %d is refused\n", i, e, g)
    :: else ->
       if
       :: printf("| enactor %d: writes endpoint %d of plan %d\n", i, e, g);
          MUST(I1, g >= refers[e]);
          refers[e] = g;
          MUST(I2, LIVE(e))
       :: failures < FAILURES -> failures++; printf("| enactor %d: endpoint %d of plan %d fails\n", i, e, g)
       fi
    fi;
    locked[e] = false
  }
}

proctype Planner() {
  do
  :: atomic { head < G -> head++; plan[head] = true; printf("| planner: publishes plan %d\n", head) }
  :: head == G -> break
  od
}

proctype Enactor(bit i) {
  byte g; byte old;
end:
  do
  :: atomic { head && BEHIND(head) -> g = head; pin[i] = g; printf("| enactor %d: takes plan %d\n", i, g) };
     if
     :: atomic { BEHIND(g) -> printf("| enactor %d: plan %d is newer than what is applied\n", i, g) };
        write(0);
        write(1);
#if !PINS
        old = 1;
        do
        :: atomic { old + KEEP < g -> if :: plan[old] -> delete(old) :: else fi; old++ }
        :: else -> break
        od
#endif
     :: else
     fi;
     atomic { pin[i] = 0; g = 0; old = 0 }
  od
}

#if PINS
#define FREE(g) (plan[g] && g + KEEP < head && refers[0] != g && refers[1] != g && pin[0] != g && pin[1] != g)
proctype Cleaner() {
end:
  do
  :: atomic { FREE(1) -> delete(1) }
  :: atomic { FREE(2) -> delete(2) }
  od
}
#endif

#if LEASES
proctype Leases() {
  byte n;
  do
  :: atomic { n < LEASES && pin[0] -> n++; pin[0] = 0; printf("| enactor 0: its lease runs out\n") }
  :: break
  od
}
#endif

proctype Rest() {
  atomic {
    timeout -> printf("| all is at rest: plans %d %d, newest %d\n", refers[0], refers[1], head);
    MUST(I5, refers[0] == G && refers[1] == G && plan[G])
  }
}

init {
  atomic {
    run Planner();
    run Enactor(0);
    run Enactor(1);
#if PINS
    run Cleaner();
#endif
#if LEASES
    run Leases();
#endif
    run Rest()
  }
}
