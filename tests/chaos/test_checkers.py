"""The checkers of the chaos runs: each finds the violation that it is for, and lets all be that may be."""

from collections.abc import Sequence

import pytest

from enactord.core.content import Content, Target, content_text, parse_content, unpack_address
from enactord.core.render import render
from tests.chaos.checkers import check, staleness
from tests.chaos.history import (
    NOTHING,
    Dangling,
    Deleted,
    Edit,
    FenceRead,
    Frozen,
    History,
    Known,
    Plan,
    Read,
)

ZONE = "example."
NAME = "n.example."
OTHER = "o.example."


def content(*octets: int) -> str:
    """An endpoint of IPv4 and IPv6 addresses that end so."""
    targets = [Target(f"10.0.0.{octet}", 10) for octet in octets]
    targets += [Target(f"fd00::{octet:x}", 10) for octet in octets]
    return content_text(Content(ttl_s=5, targets=tuple(targets)))


def plan(generation: int, contents: dict[str, str], *, refused: bool = False) -> Plan:
    mark = f"{generation:016x}"
    return Plan(
        at=float(generation), generation=generation, mark=mark, author="test", refused=refused, contents=contents
    )


def seen(
    at: float, *octets: int, name: str = NAME, rtype: str = "A", lasts: float = 0.1, rcode: str = "NOERROR"
) -> Read:
    """An answer that was asked for at a time."""
    addresses = frozenset(f"10.0.0.{octet}" if rtype == "A" else f"fd00::{octet:x}" for octet in octets)
    return Read(at, at + lasts, name, rtype, rcode, addresses)


def fence(at: float, generation: int, *, mark: str | None = None, installation: str = "") -> FenceRead:
    """The fence as it was asked for at a time."""
    mark = f"{generation:016x}" if mark is None else mark
    own = f" id={installation}" if installation else ""
    text = f"v=enactord1 scope=test gen={generation} plan={mark}{own}" if generation else ""
    return FenceRead(at, at + 0.1, ZONE, text)


def history(reads: Sequence[Read] = (), fences: Sequence[FenceRead] | None = None) -> History:
    """Four plans: 1 and 3 are alike at a name, which 4 lacks. Without fences nothing bounds what may be served."""
    made = History(scope="test", zones={ZONE: (NAME, OTHER)}, answers_max=8)
    made.plans = {
        1: plan(1, {NAME: content(1), OTHER: content(1)}),
        2: plan(2, {NAME: content(2), OTHER: content(2)}),
        3: plan(3, {NAME: content(1), OTHER: content(3)}),
        4: plan(4, {OTHER: content(4)}),
    }
    made.reads = list(reads)
    made.fences = list(fences) if fences is not None else []
    return made


def invariants(made: History) -> list[str]:
    return [violation.invariant for violation in check(made)]


def test_generations_in_order_are_no_violation() -> None:
    """Nothing, then 1, 2 and 3, then withdrawn: each under its fence, A and AAAA side by side."""
    reads, fences = [seen(0.0, rcode="NXDOMAIN")], [fence(0.2, 0)]
    for at, octet in ((1.0, 1), (2.0, 2), (3.0, 1)):
        reads += [seen(at, octet), seen(at, octet, rtype="AAAA"), seen(at, int(at), name=OTHER)]
        fences.append(fence(at + 0.2, int(at)))
    reads += [seen(4.0), seen(4.0, 4, name=OTHER)]
    assert invariants(history(reads, [*fences, fence(4.2, 4)])) == []


def test_an_older_generation_after_a_newer_is_found() -> None:
    """2, then 1 under a fence that stands at 2: the outage itself."""
    reads = [seen(1.0, 1), seen(2.0, 2), seen(2.5, 1)]
    assert invariants(history(reads, [fence(1.2, 1), fence(2.2, 2), fence(2.8, 2)])) == ["I1"]
    reads = [seen(1.0, 2, name=OTHER), seen(2.0, 1, name=OTHER)]
    (found,) = check(history(reads))
    assert found.invariant == "I1"
    assert "at least 2 was due (it had been served)" in found.text


def test_content_that_came_again_is_no_step_back() -> None:
    """1, 2, and the content of 1 again, once 3 is open, which has it too."""
    reads = [seen(1.0, 1), seen(2.0, 2), seen(3.0, 1)]
    assert invariants(history(reads, [fence(1.2, 1), fence(2.2, 2), fence(3.2, 3)])) == []


def test_one_type_alone_cannot_step_back() -> None:
    """A shows 2, and AAAA, asked for later, shows 1: they are changed together."""
    reads = [seen(1.0, 2, name=OTHER), seen(2.0, 1, name=OTHER, rtype="AAAA")]
    assert invariants(history(reads)) == ["I1"]


def test_answers_at_the_same_time_may_be_in_either_order() -> None:
    """Whose question was asked before another's answer came may have been answered before it."""
    reads = [seen(1.0, 2, name=OTHER, lasts=2.0), seen(1.5, 1, name=OTHER, rtype="AAAA", lasts=0.1)]
    assert invariants(history(reads)) == []
    reads = [seen(1.0, 2, name=OTHER, lasts=0.4), seen(1.5, 1, name=OTHER, rtype="AAAA", lasts=0.1)]
    assert invariants(history(reads)) == ["I1"]


def test_content_ahead_of_the_fence_is_found() -> None:
    """2 is served, and the fence, asked for after that, stands at 1."""
    assert invariants(history([seen(1.0, 2)], [fence(1.2, 1)])) == ["I3"]
    assert invariants(history([seen(1.0, 2)], [fence(0.5, 1), fence(1.2, 2)])) == []


@pytest.mark.parametrize("rcode", ["NOERROR", "NXDOMAIN"])
def test_an_emptied_name_is_found(rcode: str) -> None:
    """No data, or no such name, where the plan has it; told once for as long as it lasts."""
    reads = [seen(1.0, 1), seen(2.0, rcode=rcode), seen(2.2, rcode=rcode), seen(3.0, 1), seen(4.0, rcode=rcode)]
    fences = [fence(at, 1) for at in (1.2, 2.5, 3.2, 4.2)]
    assert invariants(history(reads, fences)) == ["I2", "I2"]


def test_a_withdrawn_name_may_be_gone_and_may_not_come_back() -> None:
    """4 lacks the name: with the fence at 4 it may be empty; 3 after that is a step back."""
    fences = [fence(1.2, 4), fence(2.2, 4), fence(3.2, 4)]
    assert invariants(history([seen(1.0, 1), seen(2.0)], fences)) == []
    assert invariants(history([seen(1.0, 1), seen(2.0), seen(3.0, 1)], fences)) == ["I1"]


def test_content_of_no_plan_is_found() -> None:
    """Addresses that nobody published, and a mixture of two plans'."""
    assert invariants(history([seen(1.0, 9)])) == ["I8"]
    assert invariants(history([seen(1.0, 1, 2)])) == ["I8"]


def test_a_refused_plan_must_not_show() -> None:
    """Neither in an answer, nor as the fence."""
    made = history([seen(1.0, 1), seen(2.0, 5)], [fence(1.2, 1), fence(2.2, 5)])
    made.plans[5] = plan(5, {NAME: content(5)}, refused=True)
    assert sorted(invariants(made)) == ["I8", "I8"]


def test_an_empty_endpoint_is_not_served() -> None:
    """A plan that has a name with no address lets nobody empty it."""
    made = history([seen(4.0, 4, name=OTHER), seen(6.0, name=OTHER)], [fence(4.2, 4), fence(6.2, 6)])
    made.plans[6] = plan(6, {OTHER: content()})
    assert invariants(made) == ["I2"]
    made.reads = [seen(4.0, 4, name=OTHER), seen(6.0, 4, name=OTHER)]
    assert invariants(made) == [], "it is held: the older content stays"


def test_what_the_store_has_as_applied_is_served() -> None:
    """Once the ledger says 2, an answer asked for after that is no older; an earlier one may be."""
    made = history([seen(1.0, 1, name=OTHER), seen(3.0, 1, name=OTHER)])
    made.known = [Known(2.0, ZONE, OTHER, 2)]
    (found,) = check(made)
    assert (found.invariant, found.at) == ("I1", 3.1)
    assert "the store had it as applied" in found.text
    made.reads = [seen(1.0, 1, name=OTHER), seen(1.95, 1, name=OTHER), seen(3.0, 2, name=OTHER)]
    assert invariants(made) == []


def test_a_foreign_edit_is_served_until_it_is_repaired() -> None:
    """Its value and its emptiness are explained from the edit on, and no more once the name was seen repaired."""
    for octets in ((77,), ()):
        reads = [seen(1.0, 2, name=OTHER), seen(2.0, *octets, name=OTHER), seen(3.0, 2, name=OTHER)]
        made = history(reads)
        addresses = reads[1].addresses
        assert invariants(made) == ["I8" if octets else "I2"], "without the edit"
        made.edits = [Edit(begun=1.5, ended=1.6, name=OTHER, rtype="A", addresses=addresses)]
        assert invariants(made) == []
        made.reads = [*reads, seen(4.0, *octets, name=OTHER)]
        assert invariants(made) == ["I8" if octets else "I2"], "after its repair"
        made.reads = reads
        made.edits = [Edit(begun=2.5, ended=2.6, name=OTHER, rtype="A", addresses=addresses)]
        assert invariants(made) == ["I8" if octets else "I2"], "before the edit"
        made.edits = [Edit(begun=1.5, ended=1.6, name=OTHER, rtype="AAAA", addresses=addresses)]
        assert invariants(made) == ["I8" if octets else "I2"], "of another type"


def test_a_foreign_edit_excuses_no_step_back() -> None:
    """2, a foreign value, then 1."""
    made = history([seen(1.0, 2, name=OTHER), seen(2.0, 77, name=OTHER), seen(3.0, 1, name=OTHER)])
    made.edits = [Edit(begun=1.5, ended=1.6, name=OTHER, rtype="A", addresses=frozenset({"10.0.0.77"}))]
    assert invariants(made) == ["I1"]


def test_a_fence_that_falls_or_vanishes_or_is_garbage_is_found() -> None:
    """Down, away, of a plan that was never published, and with another plan's mark."""
    assert invariants(history(fences=[fence(1.0, 2), fence(2.0, 1)])) == ["I1"]
    assert invariants(history(fences=[fence(1.0, 2), fence(2.0, 0)])) == ["I1"]
    assert invariants(history(fences=[fence(1.0, 9)])) == ["I1"]
    assert invariants(history(fences=[fence(1.0, 2, mark="f" * 16)])) == ["I1"]
    assert invariants(history(fences=[fence(1.0, 0), fence(1.5, 1), fence(2.0, 4)])) == []


def test_a_fence_of_another_installation_is_found() -> None:
    """The id stays what it was; a fence from before there was one is nobody else's."""
    ours, theirs = "a" * 16, "b" * 16
    own = [fence(1.0, 1), fence(2.0, 2, installation=ours), fence(3.0, 3, installation=ours)]
    assert invariants(history([], own)) == []
    assert invariants(history([], [*own, fence(4.0, 4, installation=theirs)])) == ["I3"]


def test_a_fence_that_a_foreign_hand_removed_is_due_again_once_it_was_put_back() -> None:
    """Away or garbage is explained until the fence is back; then no more, and it is back no lower."""
    made = history(fences=[fence(1.0, 2), fence(2.0, 0), fence(3.0, 2)])
    made.edits = [Edit(begun=1.5, ended=1.6, name="_enactord." + ZONE, rtype="TXT", addresses=NOTHING)]
    assert invariants(made) == []
    made.fences.append(fence(4.0, 0))
    assert invariants(made) == ["I1"]
    made.fences[2:] = [fence(3.0, 1)]
    assert invariants(made) == ["I1"]


def test_a_fence_below_what_is_applied_is_found() -> None:
    """The store has a zone at 3, whose fence stands at 2."""
    made = history(fences=[fence(1.0, 2), fence(3.0, 2)])
    made.known = [Known(2.0, ZONE, "", 3)]
    assert invariants(made) == ["I1"]


def unchanged(reads: Sequence[Read] = (), fences: Sequence[FenceRead] = ()) -> History:
    """Three plans of which the second says what the first does, the third not, and the fourth what the first does."""
    made = history(reads, fences)
    one, other = {NAME: content(1), OTHER: content(1)}, {NAME: content(2), OTHER: content(1)}
    made.plans = {1: plan(1, one), 2: plan(2, dict(one)), 3: plan(3, other), 4: plan(4, dict(one))}
    return made


def test_a_fence_may_stay_at_a_plan_that_says_the_same() -> None:
    """Applied in the store alone: the names, as of the newer plan, are served under the older one's fence."""
    made = unchanged([seen(2.0, 1), seen(4.0, 1)], [fence(1.2, 1), fence(2.5, 1), fence(4.5, 1)])
    made.known = [
        Known(1.8, ZONE, "", 2),
        Known(1.8, ZONE, NAME, 2),
        Known(3.8, ZONE, "", 4),
        Known(3.8, ZONE, NAME, 4),
    ]
    assert invariants(made) == []


def test_a_fence_may_not_stay_when_the_zone_changes() -> None:
    """Neither for a plan that says another thing, nor for one that came after such a plan was applied."""
    made = unchanged([], [fence(1.2, 1), fence(3.5, 2)])
    made.known = [Known(3.2, ZONE, "", 3)]
    assert invariants(made) == ["I1"]
    made.known.append(Known(3.3, ZONE, "", 4))
    assert invariants(made) == ["I1"]
    assert invariants(unchanged([seen(3.0, 2)], [fence(1.2, 1), fence(3.2, 2)])) == ["I3"]
    made = unchanged([seen(4.0, 1)], [fence(1.2, 1), fence(3.2, 3), fence(4.2, 3)])
    made.known = [Known(3.8, ZONE, NAME, 4)]
    assert invariants(made) == ["I1"]


def test_opening_while_frozen_is_found() -> None:
    """A plan that came after the freeze is not opened before the thaw begins."""
    made = history(fences=[fence(1.0, 1), fence(2.0, 2), fence(4.0, 3)])
    made.freezes = [Frozen(begun=1.5, thawing=3.0, newest=2)]
    assert invariants(made) == []
    made.freezes = [Frozen(begun=1.5, thawing=5.0, newest=2)]
    assert invariants(made) == ["I8"]


def test_a_plan_deleted_in_need_is_found() -> None:
    """And one that nobody needed is not."""
    made = history()
    made.deleted = [Deleted(at=1.0, generation=1, needed=())]
    assert invariants(made) == []
    made.deleted.append(Deleted(at=2.0, generation=2, needed=("pending at " + NAME,)))
    assert invariants(made) == ["I4"]


def test_a_mark_of_a_plan_that_is_gone_is_found() -> None:
    made = history()
    made.dangling = [Dangling(at=1.0, generation=2, by="claimed by a")]
    assert invariants(made) == ["I4"]


def test_a_sample_of_many_targets_is_known_by_the_plan_that_drew_it() -> None:
    """Of twelve addresses eight are served, drawn when the content was written; a later plan does not draw anew."""
    many = content(*range(1, 13))
    made = history()
    made.plans = {g: plan(g, {NAME: many, OTHER: content(1 if g < 2 else 2)}) for g in (1, 2, 3)}

    def drawn(generation: int) -> frozenset[str]:
        return frozenset(map(unpack_address, render(NAME, generation, parse_content(many), 8).a))

    assert drawn(1) != drawn(2), "the test needs two samples"
    made.reads = [Read(1.0, 1.1, NAME, "A", "NOERROR", drawn(1)), Read(2.0, 2.1, NAME, "A", "NOERROR", drawn(1))]
    made.fences = [fence(1.2, 1), fence(2.2, 2)]
    made.known = [Known(1.5, ZONE, NAME, 2)]
    assert invariants(made) == []
    made.reads.append(Read(3.0, 3.1, NAME, "A", "NOERROR", frozenset(sorted(drawn(1))[:7]) | {"10.0.0.99"}))
    assert invariants(made) == ["I8"]


def test_nothing_is_the_value_of_no_answer() -> None:
    """Before the first plan a name is empty, and stays so only until it has been served."""
    assert seen(0.0).addresses == NOTHING
    assert invariants(history([seen(0.0, name=OTHER), seen(1.0, 1, name=OTHER), seen(2.0, name=OTHER)])) == ["I2"]


def test_staleness_is_the_time_since_a_newer_plan_said_otherwise() -> None:
    """Of the newest plan that an answer can stand for; nothing while that is the newest, or says the same."""
    made = history([seen(1.5, 1, name=OTHER), seen(3.5, 1, name=OTHER), seen(9.0, 4, name=OTHER), seen(3.75, 1)])
    made.reads += [seen(5.0, name=OTHER), seen(5.0, 77, name=OTHER)]
    assert staleness(made) == [0.0, 0.0, 0.0, 1.5]
