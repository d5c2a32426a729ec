"""Guards say no with the numbers they saw."""

import importlib
import pkgutil
from pathlib import Path
from typing import Any, TypeVar

import pytest

from enactord.core import guards
from enactord.core.content import Capacity, Content, Target
from enactord.core.guards import (
    GUARDS,
    VELOCITY_WINDOW,
    Limits,
    judge_approval,
    judge_endpoint,
    judge_step,
    look,
    refuse_outside,
)
from enactord.core.guards.kinds import Change, EndpointGuard, PlanGuard, Weighing
from enactord.core.guards.second_person import SECOND_PERSON
from enactord.core.ledger import Entry, Hold, Peak, Version, greatest_capacity, with_peak
from enactord.core.measures import NO_LOSS, Loss, Size
from enactord.core.plan import split_zones
from enactord.core.refusal import Refusal
from enactord.core.settings import Key

LIMITS = Limits(allow_private=True)
T = TypeVar("T", int, float, bool)


def content(*weights: int, ttl_s: int = 5, first: str = "10.0.0.") -> Content:
    return Content(
        ttl_s=ttl_s, targets=tuple(Target(address=f"{first}{i}", weight=w) for i, w in enumerate(weights, 1))
    )


def owned(*peaks: tuple[int, int]) -> Entry:
    version = Version(generation=1, content="[5,[]]", answers_max=8)
    return Entry(
        name="a.test.",
        applied=version,
        good=version,
        peaks=tuple(Peak(start_s=s, capacity=Capacity(c, 1)) for s, c in peaks),
    )


def guard_of(new: Content, entry: Entry | None = None, limits: Limits = LIMITS, *, approved: bool = False) -> str:
    refusal = judge_endpoint(new, entry, limits, 1000.0, approved=approved)
    return "" if refusal is None else refusal.guard


def test_an_empty_endpoint_is_refused_even_when_approved() -> None:
    """No word of anybody lets an empty endpoint through; weight 0 is not served, so it does not count."""
    for new in (content(), content(0, 0)):
        assert guard_of(new) == "targets_min"
        assert guard_of(new, approved=True) == "targets_min"
    assert guard_of(content(0, 1)) == ""


def test_targets_min_counts_usable_addresses() -> None:
    """Below the floor an endpoint is held; an approval lowers the floor to one."""
    limits = Limits(allow_private=True, targets_min=2)
    assert guard_of(content(1, 0), limits=limits) == "targets_min"
    assert guard_of(content(1, 0), limits=limits, approved=True) == ""
    assert guard_of(content(1, 1), limits=limits) == ""


@pytest.mark.parametrize("ttl_s", [0, 86_401])
def test_a_ttl_out_of_range_is_refused(ttl_s: int) -> None:
    """A TTL of days would outlive any repair."""
    assert guard_of(content(1, ttl_s=ttl_s)) == "ttl"


@pytest.mark.parametrize(
    ("address", "limits", "guard"),
    [
        ("8.8.8.8", Limits(), ""),
        ("2606:4700::1", Limits(), ""),
        ("10.0.0.1", Limits(), "address"),
        ("10.0.0.1", Limits(allow_private=True), ""),
        ("192.0.2.1", Limits(), "address"),
        ("192.0.2.1", Limits(allow_private=True), ""),
        ("127.0.0.1", Limits(allow_private=True), "address"),
        ("127.0.0.1", Limits(allow_loopback=True), ""),
        ("::1", Limits(allow_private=True), "address"),
        ("0.0.0.0", Limits(allow_private=True, allow_loopback=True), "address"),
        ("255.255.255.255", Limits(allow_private=True, allow_loopback=True), "address"),
        ("224.0.0.1", Limits(allow_private=True), "address"),
        ("169.254.1.1", Limits(allow_private=True), "address"),
        ("fe80::1", Limits(allow_private=True), "address"),
        ("ff02::1", Limits(allow_private=True), "address"),
        ("::ffff:8.8.8.8", Limits(allow_private=True), "address"),
    ],
)
def test_addresses_must_be_global_unless_allowed(address: str, limits: Limits, guard: str) -> None:
    """Private and loopback addresses need the config's word; what no client can reach is never served."""
    assert guard_of(Content(ttl_s=5, targets=(Target(address=address, weight=1),)), limits=limits) == guard


def test_velocity_holds_a_fall_of_more_than_the_ratio() -> None:
    """Of a weight of 100, 50 may go at once by default, 51 may not; more is always fine."""
    assert guard_of(content(50), owned((0, 100))) == ""
    assert guard_of(content(49), owned((0, 100))) == "velocity"
    assert guard_of(content(49), owned((0, 100)), approved=True) == ""
    assert guard_of(content(500), owned((0, 100))) == ""


def test_velocity_adds_up_small_steps_within_the_window() -> None:
    """100, 70, 49 within the window is a fall by 51, whatever the size of each step."""
    assert guard_of(content(49), owned((100, 100), (900, 70))) == "velocity"
    assert guard_of(content(49), owned((100, 100), (600, 70))) == ""


def test_a_new_endpoint_has_no_velocity() -> None:
    """What the ledger does not own has no capacity to lose."""
    assert guard_of(content(1), Entry(name="a.test.")) == ""
    assert guard_of(content(1), None) == ""


def test_peaks_stay_bounded_and_never_forget_a_greater_capacity_early() -> None:
    """Merging errs on the careful side: the greatest of any window is never understated."""
    peaks: tuple[Peak, ...] = ()
    exact: list[tuple[int, int]] = []
    for step in range(200):
        capacity = 1000 - step * 3
        peaks = with_peak(peaks, step * 5, Capacity(capacity, 1))
        exact.append((step * 5, capacity))
        assert len(peaks) <= 16
        for since_s in range(0, step * 5 + 1, 37):
            truth = max(
                c for (start, c), end in zip(exact, [*[s for s, _ in exact[1:]], 10**9], strict=True) if end > since_s
            )
            assert greatest_capacity(peaks, since_s, 1e9).weight >= truth


BEFORE = Size(10, 100, 80)


def weighed(loss: Loss = NO_LOSS, *, before: Size = BEFORE, planned: int = 10, zone: str = "") -> Refusal | None:
    """Judge what a plan takes away; returns the first refusal."""
    findings = look(Weighing(zone, 7, before, loss, planned), LIMITS)
    return next((finding.refusal() for finding in findings if finding.seen.refused), None)


def test_removals_are_limited_by_ratio_but_one_may_always_go() -> None:
    """2 of 10 by default; 1 of 2 as well, or a small scope could never shrink."""
    assert weighed(Loss(removed=2)) is None
    assert weighed(Loss(removed=3)) == Refusal(
        guard="endpoints_removed",
        detail="3 of 10 endpoints would be removed since plan 7, at most 2 (endpoints_removed_max_ratio 0.2);"
        " publish it with --approve if that is meant",
    )
    assert weighed(Loss(removed=1), before=Size(2, 2, 2), planned=1) is None


def test_a_plan_without_endpoints_is_refused() -> None:
    """An empty plan is the outage in one line; a zone may lose its last name."""
    assert weighed(Loss(removed=1), before=Size(1, 1, 1), planned=0) is not None
    assert weighed(before=Size(0, 0, 0), planned=0) is None
    assert weighed(Loss(removed=1), before=Size(1, 1, 1), planned=5, zone="a.test.") is None


def test_names_that_move_to_other_addresses_are_limited_but_three_may_always_move() -> None:
    assert weighed(Loss(replaced=3)) is None
    refusal = weighed(Loss(replaced=4), zone="a.test.")
    assert refusal is not None
    assert refusal.guard == "endpoints_replaced"
    assert "4 of 10 endpoints of a.test. would be moved to other addresses since plan 7, at most 3" in refusal.detail
    assert weighed(Loss(replaced=300), before=Size(1000, 1, 1)) is None
    assert weighed(Loss(replaced=301), before=Size(1000, 1, 1)) is not None


def test_capacity_of_all_endpoints_is_limited_by_weight_and_by_addresses_from_five_endpoints_on() -> None:
    assert weighed(Loss(weight=30, addresses=24)) is None
    by_weight, by_addresses = weighed(Loss(weight=31)), weighed(Loss(addresses=25))
    assert by_weight is not None
    assert by_addresses is not None
    assert by_weight.guard == by_addresses.guard == "scope_capacity"
    assert "31 of 100 weight" in by_weight.detail
    assert "25 of 80 addresses served" in by_addresses.detail
    assert weighed(Loss(weight=31, spared_weight=1)) is None, "what is held goes nowhere"
    assert weighed(Loss(weight=100, addresses=80), before=Size(4, 100, 80)) is None
    assert weighed(Loss(addresses=25), before=Size(10, 100, 0)) is None, "the zone expresses weights"


def test_names_outside_the_zones_refuse_the_plan() -> None:
    """A plan for zones that are not configured is for somebody else, or the config is behind."""
    assert split_zones({"a.test.": ""}, ["test."]) == ({"test.": {"a.test.": ""}}, ())
    inside, outside = split_zones({"a.test.": "", "b.other.": ""}, ["test."])
    assert inside == {"test.": {"a.test.": ""}}
    assert outside == ("b.other.",)
    refusal = refuse_outside(outside, ["test."])
    assert refusal.guard == "zone"
    assert "1 name is" in refusal.detail
    assert "b.other." in refusal.detail
    assert "a.test." not in refusal.detail


def test_a_refusal_for_names_outside_the_zones_is_short() -> None:
    """Of a million names and a thousand zones it shows a few, and how many names there are."""
    outside = [f"n{number:06d}.other." for number in range(100_000)]
    refusal = refuse_outside(outside, {f"z{number:03d}.test.": None for number in range(1000)})
    assert "100000 names" in refusal.detail
    assert "n000000.other." in refusal.detail
    assert "z000.test." in refusal.detail
    assert len(refusal.detail) < 400


def test_a_clock_that_ran_ahead_does_not_hold_a_name_for_as_long() -> None:
    """Steps down that are stamped a year ahead leave the window with the hold that they brought about."""
    now = 1000.0
    entry = owned((990, 100), (365 * 86_400, 60))
    assert judged(entry, now) == "velocity"
    held = entry._replace(held=Hold(generation=2, guard="velocity", detail="x", since_s=int(now)))
    assert judged(held, now + LIMITS[VELOCITY_WINDOW] - 2) == "velocity"
    assert judged(held, now + LIMITS[VELOCITY_WINDOW] + 2) == ""


def judged(entry: Entry, now: float) -> str:
    refusal = judge_endpoint(content(40), entry, LIMITS, now, approved=False)
    return "" if refusal is None else refusal.guard


# -- the list


class _Reads(Limits):
    """Limits that note which keys are read."""

    __slots__ = ("read",)

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.read: set[Key[Any]] = set()

    def __getitem__(self, key: Key[T]) -> T:
        self.read.add(key)
        return super().__getitem__(key)


def test_every_module_of_a_guard_is_in_the_list() -> None:
    modules = {module.name for module in pkgutil.iter_modules(guards.__path__)} - {"kinds"}
    declared = {importlib.import_module(f"enactord.core.guards.{name}").GUARD.name for name in modules}
    assert declared == {guard.name for guard in GUARDS}
    assert len(GUARDS) == len(modules)


def test_each_guard_reads_the_keys_that_it_declares_and_no_others() -> None:
    """A limit that nobody reads would be a promise without a guard behind it."""
    for guard in GUARDS:
        limits = _Reads(allow_private=False, velocity_window_s=1.0)
        match guard:
            case PlanGuard():
                guard.look(Weighing("", 1, Size(10, 10, 10), Loss(5, 5, 5, 5, 5), 5), limits)
            case EndpointGuard():
                guard.judge(Change(content(1), owned((0, 10)), 1000.0, False, 16), limits)
            case _ if guard.keys == (SECOND_PERSON,):
                judge_approval("alice", "alice", limits)
            case _ if guard.keys:
                judge_step(10**12, 1, limits, approved=False)
        assert limits.read == set(guard.keys), guard.name


def test_every_guard_can_say_no_and_says_how_to_go_on() -> None:
    told = {
        refusal.guard: refusal.detail
        for refusal in (
            refuse_outside(["a.other."], ["test."]),
            judge_step(10**12, 1, LIMITS, approved=False),
            judge_approval("alice", "alice", Limits(second_person=True)),
            weighed(Loss(removed=5)),
            weighed(Loss(replaced=5)),
            weighed(Loss(weight=50)),
            judge_endpoint(Content(ttl_s=0, targets=(), malformed="no address"), None, LIMITS, 0.0, approved=True),
            judge_endpoint(content(), None, LIMITS, 0.0, approved=False),
            judge_endpoint(content(1, ttl_s=0), None, LIMITS, 0.0, approved=False),
            judge_endpoint(content(1), None, Limits(), 0.0, approved=False),
            judge_endpoint(content(1), owned((0, 10)), LIMITS, 0.0, approved=False),
        )
        if refusal is not None
    }
    elsewhere = {path.stem.removeprefix("test_") for path in Path(__file__).parent.glob("test_*.py")}
    assert told.keys() | elsewhere >= {guard.name for guard in GUARDS}, "a guard needs a test in which it says no"
    assert all(detail for detail in told.values())


def test_limits_are_values_of_declared_keys_alone() -> None:
    with pytest.raises(TypeError, match="no key is called targets_most"):
        Limits(targets_most=3)
    with pytest.raises(KeyError):
        Limits()[Key(name="targets_min", default=1, meaning="another of the same name")]
    changed = Limits().replaced(targets_min=3)
    assert changed == Limits(targets_min=3, ttl_min_s=1) != Limits()
    assert hash(changed) == hash(Limits(targets_min=3))
    assert repr(changed) == "Limits(targets_min=3)"
    assert len(Limits().by_name()) == len(Limits.KEYS), "two keys of one name"
