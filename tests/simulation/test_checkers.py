"""The checkers themselves: each sees what it is there for, and nothing where all is well."""

import pytest

from enactord.core.fence import Fence
from enactord.core.records import NO_RECORDS, Change, Expect, Records
from tests.simulation.checkers import check
from tests.simulation.history import (
    Applied,
    Asked,
    Deleted,
    Edited,
    Fact,
    Marked,
    Published,
    Recorded,
    Settled,
    Torn,
    line,
)

ZONE = "one.test."
NAME = f"a.{ZONE}"


def fence(generation: int) -> Fence:
    return Fence(scope="test", generation=generation, plan=f"{generation:016x}")


def content(generation: int) -> str:
    return f'[5,[["10.0.0.{generation}",10]]]'


def records(generation: int) -> Records:
    return Records(ttl_s=5, a=(bytes([10, 0, 0, generation]),), aaaa=())


def published(generation: int, *names: str) -> Published:
    contents = {name: content(generation) for name in names or (NAME,)}
    return Published(at=0.0, generation=generation, mark=fence(generation).plan, contents=contents)


def opened(generation: int, before: int) -> Applied:
    return Applied(
        at=1.0,
        by="e1",
        zone=ZONE,
        carried=fence(before) if before else None,
        before=fence(before) if before else None,
        after=fence(generation),
        changes=(),
    )


def filled(after: Records, before: Records = NO_RECORDS) -> Applied:
    """A write under no fence, by an enactor that is cut off."""
    change = Change(name=NAME, after=after, expect=Expect.EXACT, before=before)
    return Applied(at=4.0, by="e1", zone=ZONE, carried=None, before=None, after=None, changes=(change,))


def wrote(generation: int, after: Records, *, under: int | None = None) -> Applied:
    stands = fence(under or generation)
    change = Change(name=NAME, after=after)
    return Applied(
        at=2.0, by="e1", zone=ZONE, carried=fence(generation), before=stands, after=stands, changes=(change,)
    )


WELL: list[Fact] = [published(1), opened(1, 0), wrote(1, records(1)), published(2), opened(2, 1), wrote(2, records(2))]
FENCE_GONE = Edited(at=3.0, zone=ZONE, name="", records=NO_RECORDS)
EMPTIED = Edited(at=3.0, zone=ZONE, name=NAME, records=NO_RECORDS)
RECORDED = Recorded(at=3.0, name=NAME, records=records(2))
NONE = frozenset[str]()


@pytest.mark.parametrize(
    ("more", "invariant"),
    [
        ([], ""),
        ([RECORDED, EMPTIED, wrote(2, records(2))], ""),
        ([EMPTIED, wrote(2, records(1))], ""),  # whether 2 was ever recorded is not known: the ledger may say 1
        ([RECORDED, EMPTIED, wrote(2, records(1))], "I1"),
        ([wrote(2, records(1))], "I1"),
        ([wrote(2, NO_RECORDS)], "I2"),
        ([wrote(1, records(1), under=2)], "I3"),
        ([opened(1, 2)], "I3"),
        ([FENCE_GONE, EMPTIED, filled(records(2))], ""),
        ([FENCE_GONE, EMPTIED, filled(records(3))], "I3"),
        ([FENCE_GONE, filled(records(1), records(2))], "I3"),
        ([FENCE_GONE, opened(1, 0)], "I3"),
        ([FENCE_GONE, opened(2, 0)], ""),
        ([Deleted(at=4.0, generation=1, needed=("claim of e1",))], "I4"),
        ([Deleted(at=4.0, generation=1, needed=())], ""),
        ([Torn(at=4.0, generation=2)], "I4"),
        ([Marked(at=4.0, by="e1", name=NAME, generation=2, frozen=False, claimed=False)], "I4"),
        ([Marked(at=4.0, by="e1", name=NAME, generation=2, frozen=True, claimed=True)], "I8"),
        ([Settled(at=4.0, zone=ZONE, generation=2, mark=fence(2).plan, held=NONE)], ""),
        ([Settled(at=4.0, zone=ZONE, generation=1, mark=fence(1).plan, held=NONE)], "I5"),
        ([Settled(at=4.0, zone=ZONE, generation=1, mark=fence(1).plan, held=frozenset({NAME}))], ""),
        (
            [
                Asked(at=4.0, by="e1", zone=ZONE, what="unknown", names=(NAME,)),
                Asked(at=4.1, by="e1", zone=ZONE, what="write", names=(NAME,)),
            ],
            "I6",
        ),
        (
            [
                Asked(at=4.0, by="e1", zone=ZONE, what="unknown", names=(NAME,)),
                Asked(at=4.1, by="e1", zone=ZONE, what="read", names=(NAME,)),
                Asked(at=4.2, by="e1", zone=ZONE, what="write", names=(NAME,)),
            ],
            "",
        ),
        ([published(3, f"b.{ZONE}"), opened(3, 2), wrote(3, NO_RECORDS), wrote(3, records(2))], "I7"),
    ],
)
def test_a_checker_sees_what_it_is_there_for(more: list[Fact], invariant: str) -> None:
    """Made-up histories: what is violated is named, and by nothing else."""
    violations = check([*WELL, *more], zones=[ZONE], removed_max_ratio=1.0, honest=True)
    assert [violation[:2] for violation in violations] == ([invariant] if invariant else [])
    assert all(line(fact) for fact in more)


def test_a_foreign_record_is_not_taken_over() -> None:
    """I8: what somebody else put at a new name stays."""
    squat = Edited(at=0.5, zone=ZONE, name=NAME, records=Records(ttl_s=9, a=(b"\x0a\x09\x09\x09",), aaaa=()))
    facts: list[Fact] = [squat, published(1), opened(1, 0), wrote(1, records(1))]
    violations = check(facts, zones=[ZONE], removed_max_ratio=1.0, honest=True)
    assert [violation[:2] for violation in violations] == ["I8"]


def test_a_plan_that_drops_too_much_is_not_opened() -> None:
    """I8: unless it was approved."""
    names = [f"n{number}.{ZONE}" for number in range(10)]
    contents = {name: content(1) for name in names}
    full = Published(at=0.0, generation=1, mark=fence(1).plan, contents=contents)
    changes = tuple(Change(name=name, after=records(1)) for name in names)
    landed = Applied(at=1.0, by="e1", zone=ZONE, carried=fence(1), before=fence(1), after=fence(1), changes=changes)
    for approved, violated in ((False, ["I8"]), (True, [])):
        few = Published(at=2.0, generation=2, mark=fence(2).plan, contents={names[0]: content(1)}, approved=approved)
        facts: list[Fact] = [full, opened(1, 0), landed, few, opened(2, 1)]
        violations = check(facts, zones=[ZONE], removed_max_ratio=0.5, honest=True)
        assert [violation[:2] for violation in violations] == violated
