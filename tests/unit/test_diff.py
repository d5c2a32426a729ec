"""The truth table of plan against ledger, row by row."""

import pytest

from enactord.core.content import Capacity
from enactord.core.diff import Kind, Step, diff_bucket
from enactord.core.guards import Limits
from enactord.core.ledger import Entry, Hold, Peak, Version
from enactord.core.records import Expect

NEW = '[5,[["10.0.0.1",10]]]'
OLD = '[5,[["10.0.0.2",10]]]'
EMPTY = "[5,[]]"
HELD = Hold(generation=1, guard="velocity", detail="", since_s=0)


def version(content: str, generation: int = 1) -> Version:
    return Version(generation=generation, content=content, answers_max=8)


def entry(
    applied: str | None = None, pending: str | None = None, *, pending_of: int = 1, held: Hold | None = None
) -> Entry:
    return Entry(
        name="a.test.",
        applied=version(applied) if applied else None,
        good=version(applied) if applied else None,
        pending=version(pending, pending_of) if pending else None,
        held=held,
        peaks=(Peak(start_s=0, capacity=Capacity(10, 1)),),
    )


def step(wanted: str | None, known: Entry | None) -> Step | None:
    steps = diff_bucket(
        {} if wanted is None else {"a.test.": wanted},
        {} if known is None else {"a.test.": known},
        generation=2,
        limits=Limits(allow_private=True),
        now=0.0,
        approved=False,
    )
    assert len(steps) <= 1
    return steps[0] if steps else None


@pytest.mark.parametrize(
    ("wanted", "known", "kind", "expect"),
    [
        (None, None, None, None),
        (NEW, None, Kind.WRITE, Expect.NEW),
        (EMPTY, None, Kind.HOLD, None),
        (NEW, entry(NEW), None, None),
        (NEW, entry(NEW, held=HELD), Kind.SETTLE, None),
        (NEW, entry(OLD), Kind.WRITE, Expect.OWNED),
        (EMPTY, entry(OLD), Kind.HOLD, None),
        (NEW, entry(NEW, OLD), Kind.WRITE, Expect.OWNED),
        (NEW, entry(None, OLD), Kind.RESOLVE, None),
        (NEW, entry(None, NEW, pending_of=2), Kind.WRITE, Expect.NEW),
        (EMPTY, entry(OLD, NEW), Kind.RESOLVE, None),
        (NEW, entry(None, held=HELD), Kind.WRITE, Expect.NEW),
        (None, entry(OLD), Kind.REMOVE, Expect.OWNED),
        (None, entry(OLD, NEW), Kind.REMOVE, Expect.OWNED),
        (None, entry(None, OLD), Kind.RESOLVE, None),
        (None, entry(None, held=HELD), Kind.FORGET, None),
    ],
)
def test_each_row_of_the_table(
    wanted: str | None, known: Entry | None, kind: Kind | None, expect: Expect | None
) -> None:
    """What is done for a name follows from what is wanted and what the ledger knows, and nothing else."""
    found = step(wanted, known)
    if kind is None:
        assert found is None
    else:
        assert found is not None
        assert found.kind is kind
        if expect is not None:
            assert found.expect is expect


def test_a_write_that_another_enactor_began_is_not_judged_again() -> None:
    """Within a generation all decide alike: what one has begun, the others finish."""
    shrunk = '[5,[["10.0.0.1",1]]]'
    assert step(shrunk, entry(OLD)).kind is Kind.HOLD  # type: ignore[union-attr]
    assert step(shrunk, entry(OLD, shrunk, pending_of=2)).kind is Kind.WRITE  # type: ignore[union-attr]
