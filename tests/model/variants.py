"""The variants that are checked, each with what must be found."""

from collections.abc import Mapping
from dataclasses import dataclass, field

ALL = ("I1", "I2", "I3", "I4", "I5", "I6")


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A model with flags set, and the rules that must be found broken there; the others must hold.

    `large`: too many states for the tests of every change. `full`: checked only where that is asked for.
    """

    name: str
    what: str
    group: str
    flags: Mapping[str, int] = field(default_factory=dict)
    breaks: tuple[str, ...] = ()
    large: bool = False
    full: bool = False

    @property
    def model(self) -> str:
        return "naive" if self.group == NAIVE else "enactord"

    @property
    def rules(self) -> tuple[str, ...]:
        """The rules that the model has."""
        return ("I1", "I2", "I5") if self.group == NAIVE else ALL

    @property
    def keeps(self) -> tuple[str, ...]:
        return tuple(rule for rule in self.rules if rule not in self.breaks)


SHIPPED = "as shipped"
OFF = "one mechanism off"
LIMIT = "beyond what is promised"
NAIVE = "naive"
GROUPS = (SHIPPED, OFF, LIMIT, NAIVE)


def _shipped(name: str, what: str, *, large: bool = False, full: bool = False, **flags: int) -> Variant:
    return Variant(name=name, what=what, group=SHIPPED, flags=flags, large=large, full=full)


def _off(name: str, what: str, *breaks: str, large: bool = False, **flags: int) -> Variant:
    return Variant(name=name, what=what, group=OFF, flags=flags, breaks=breaks, large=large)


def _naive(name: str, what: str, *breaks: str, **flags: int) -> Variant:
    return Variant(name=name, what=what, group=NAIVE, flags=flags, breaks=breaks)


VARIANTS: tuple[Variant, ...] = (
    _shipped("apply", "two enactors, three plans"),
    _shipped("unknown", "an answer is lost: the write landed, did not, or lands late", UNKNOWN=1),
    _shipped("killed", "an enactor is killed anywhere, leases run out", DEATH=1, LEASES=1, large=True),
    _shipped("hold", "a guard holds an endpoint until its window is over", HOLD=1),
    _shipped("hold-empty", "the newest plan empties an endpoint; prune", HOLD=2, PRUNE=1),
    _shipped("prune", "prune with no plan kept back, leases run out", PRUNE=1, LEASES=1),
    _shipped("prune-hold", "prune while an endpoint is held, then written", PRUNE=1, HOLD=1),
    _shipped("prune-unseen", "prune while writes are not seen served", PRUNE=1, UNSEEN=1),
    _shipped("repair", "a name is emptied; repair beside an enactor", REPAIR=1, EDITS=1, N=1),
    _shipped("repair-leases", "the same, leases run out", REPAIR=1, EDITS=1, LEASES=1, N=1, large=True),
    _shipped("repair-hold", "repair, with a hold", REPAIR=1, EDITS=1, HOLD=1, N=1),
    _shipped("repair-clock", "the same, and a slow clock", REPAIR=1, EDITS=1, HOLD=1, SLOW_CLOCK=1, N=1),
    _shipped("repair-late", "repair, and a write lands late", REPAIR=1, EDITS=1, UNKNOWN=1, N=1, large=True),
    _shipped("repair-two", "repair beside two enactors", REPAIR=1, large=True),
    _shipped("cut-off", "repair without the store, beside two enactors", REPAIR=2, large=True),
    _shipped("cut-off-hold", "the same beside one, a name is emptied, a hold", REPAIR=2, EDITS=1, HOLD=1, N=1),
    _shipped("cut-off-clock", "the same with a slow clock, nothing emptied", REPAIR=2, HOLD=1, SLOW_CLOCK=1, N=1),
    _shipped("fence-lost", "somebody deletes the zone's fence", REPAIR=1, LOST_FENCE=1, N=1),
    _shipped("keep", "plan 3 equals plan 1: a zone that a plan does not change keeps its TXT", QUIET=1),
    _shipped("keep-unknown", "the same, an answer is lost", QUIET=1, UNKNOWN=1),
    _shipped("keep-leases", "the same, leases run out; prune", QUIET=1, PRUNE=1, LEASES=1, large=True),
    _shipped("keep-killed", "the same, an enactor is killed, leases run out", QUIET=1, DEATH=1, LEASES=1, large=True),
    _shipped("keep-first", "plan 2 equals plan 1; a guard holds plan 3's endpoint", QUIET=2, HOLD=1),
    _shipped("keep-prune", "plan 3 equals plan 2; prune", QUIET=3, PRUNE=1),
    _shipped("keep-repair", "plan 3 equals plan 1; a name is emptied; repair", QUIET=1, REPAIR=1, EDITS=1, N=1),
    _shipped("keep-repair-two", "the same beside two enactors, nothing emptied", QUIET=1, REPAIR=1, large=True),
    _shipped(
        "keep-repair-late",
        "plan 3 equals plan 2; a name is emptied; repair, and a write lands late",
        QUIET=3,
        REPAIR=1,
        EDITS=1,
        UNKNOWN=1,
        N=1,
        large=True,
    ),
    _shipped("keep-cut-off", "plan 3 equals plan 1; repair without the store", QUIET=1, REPAIR=2, large=True),
    _shipped("keep-txt-lost", "the same with it; somebody deletes the TXT", QUIET=1, REPAIR=1, LOST_FENCE=1, N=1),
    _shipped("keep-txt-ahead", "the TXT that is found is newer than the one that was kept", QUIET=1, TXT_AHEAD=1),
    _shipped("keep-txt-own", "plan 2 equals plan 1; the TXT that is found is the plan's own", QUIET=2, TXT_AHEAD=1),
    _shipped("prune-unknown", "prune, leases, a lost answer", PRUNE=1, LEASES=1, UNKNOWN=1, large=True, full=True),
    _shipped("killed-unknown", "killed, leases, two lost answers", DEATH=1, UNKNOWN=2, large=True, full=True),
    _shipped("repair-two-hold", "repair, a hold, two enactors", REPAIR=1, HOLD=1, large=True, full=True),
    _shipped("repair-two-edits", "a name is emptied, two enactors", REPAIR=1, EDITS=1, LOOKS=0, large=True, full=True),
    _off("no-fence", "the server does not compare the fence", "I1", "I3", "I5", "I6", FENCE=0),
    _off("no-open-compare", "raising the fence does not compare the fence read", "I3", "I5", OPEN_COMPARE=0),
    _off("no-own-open", "diff on the ledger as it was before the own open", "I5", "I6", OWN_OPEN=0),
    _off("no-pending", "no mark before a write", "I5", "I6", PENDING=0),
    _off("no-revision", "begin and hold do not compare the entry judged", "I6", REVISION=0),
    _off("no-claims", "the store does not compare the claim; leases run out", CLAIMS=0, PRUNE=1, LEASES=1),
    _off("no-read-back", "an unknown answer is taken for done", "I5", "I6", READ_BACK=0, UNKNOWN=1),
    _off("no-total", "a write needs something to replace", "I5", TOTAL=0, EDITS=1, N=1),
    _off("no-copies", "names refer to records of their plan; prune", "I2", "I5", BY_VALUE=0, PRUNE=1),
    _off("no-guard", "empty content is written", "I2", "I5", GUARD=0, HOLD=2),
    _off("no-repair-fence", "a repair goes without the fence", "I1", "I3", "I6", REPAIR_FENCE=0, REPAIR=2, large=True),
    _off(
        "no-repair-value",
        "a repair does not compare the value read",
        "I1",
        "I6",
        REPAIR_VALUE=0,
        REPAIR=1,
        EDITS=1,
        HOLD=1,
        N=1,
    ),
    _off(
        "no-repair-ledger",
        "a repair does not ask whether the ledger is as judged; a hold, a slow clock",
        "I1",
        "I6",
        REPAIR_LEDGER=0,
        REPAIR=1,
        EDITS=1,
        HOLD=1,
        SLOW_CLOCK=1,
        N=1,
    ),
    _off(
        "no-repair-planned",
        "cut off, with a slow clock, the plan's own content is taken for drift",
        "I1",
        "I6",
        REPAIR_PLANNED=0,
        REPAIR=2,
        HOLD=1,
        SLOW_CLOCK=1,
        N=1,
    ),
    _off(
        "no-repair-own",
        "a repair writes the plan's content, of which no mark tells",
        "I6",
        REPAIR_OWN=0,
        REPAIR=1,
        EDITS=1,
        LEASES=1,
        N=1,
        large=True,
    ),
    _off("no-reopen", "a lost fence is not raised again", "I5", REOPEN=0, REPAIR=1, LOST_FENCE=1, N=1),
    _off(
        "no-keep-record",
        "settling a zone that the plan does not change does not compare its record",
        "I5",
        KEEP_RECORD=0,
        QUIET=1,
    ),
    _off(
        "no-keep-applied",
        "it does not ask whether the opened plan is applied; an enactor is killed",
        "I5",
        KEEP_APPLIED=0,
        QUIET=1,
        DEATH=1,
    ),
    _off(
        "no-keep-ledger",
        "it does not compare the ledger, which the other two compares cover; leases run out",
        KEEP_LEDGER=0,
        QUIET=1,
        LEASES=1,
    ),
    _off(
        "no-keep-both",
        "it compares neither what is applied nor the ledger",
        "I1",
        "I5",
        "I6",
        KEEP_APPLIED=0,
        KEEP_LEDGER=0,
        QUIET=1,
    ),
    _off(
        "no-keep-txt",
        "a lost TXT is raised to the generation opened, not to the TXT that was kept",
        "I5",
        KEEP_TEXT=0,
        QUIET=1,
        REPAIR=1,
        LOST_FENCE=1,
        N=1,
    ),
    _off("no-retext", "a TXT that is found newer than the one kept stays", "I5", RETEXT=0, QUIET=1, TXT_AHEAD=1),
    _off("no-prune-fence", "prune does not ask for a fence above", "I4", PRUNE_FENCE=0, PRUNE=1),
    _off("no-prune-active", "prune does not ask who is active on the plan", "I4", PRUNE_ACTIVE=0, PRUNE=1),
    _off("no-prune-claims", "the delete does not compare claims", "I4", PRUNE_CLAIMS=0, PRUNE=1),
    _off("no-prune-ledger", "the delete does not compare the ledger; a hold", "I4", PRUNE_LEDGER=0, PRUNE=1, HOLD=1),
    Variant(
        name="fence-lost-late",
        what="the zone's fence is deleted, a late repairer raises an older one, a late write lands",
        group=LIMIT,
        flags={"REPAIR": 1, "LOST_FENCE": 1, "UNKNOWN": 1, "LOOKS": 0, "N": 1},
        breaks=("I1", "I6"),
    ),
    Variant(
        name="cut-off-clock-emptied",
        what="repair without the store and with a slow clock; the name is emptied after its hold was over",
        group=LIMIT,
        flags={"REPAIR": 2, "EDITS": 1, "HOLD": 1, "SLOW_CLOCK": 1, "N": 1},
        breaks=("I1",),
    ),
    Variant(
        name="emptied-twice",
        what="a held name is emptied, let through, and emptied again before the first repair has landed",
        group=LIMIT,
        flags={"REPAIR": 1, "EDITS": 2, "HOLD": 1, "LOOKS": 0, "N": 1},
        breaks=("I1", "I6"),
    ),
    _naive("published", "one check, blind writes, clean-up by age", "I1", "I2"),
    _naive("rollback-record", "the same; a write needs a live target to roll back to", "I1", "I2", "I5", TOTAL=0),
    _naive("lock", "a correct lock around each write", "I1", "I2", LOCK=1),
    _naive("pins", "clean-up spares what is referred to or pinned", "I1", PINS=1),
    _naive("pins-leases", "the same; a pin is lost with its lease", "I1", "I2", PINS=1, LEASES=1),
    _naive("fence-age", "generations compared in the write, clean-up by age", FENCE=1),
    _naive("fence-age-failure", "the same, and one write fails", "I2", FENCE=1, FAILURES=1),
    _naive("fence-pins", "generations compared, pins, one write fails", FENCE=1, PINS=1, FAILURES=1),
    _naive("fence-pins-leases", "the same; a pin is lost with its lease", "I2", FENCE=1, PINS=1, FAILURES=1, LEASES=1),
    _naive(
        "fence-exists", "the same, and the plan's existence compared, too", FENCE=2, PINS=1, FAILURES=1, LEASES=1
    ),
)  # fmt: skip
