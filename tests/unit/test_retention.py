"""A plan goes only when nothing can need it: every reason to keep it, one by one."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enactord.core.retention import (
    SHRINKS_KEPT,
    Keep,
    Stored,
    history,
    in_force,
    in_order,
    judge_prune,
    last_whole,
)

FREE: dict[str, Any] = {
    "newest": [8, 9],
    "history": {},
    "fences": {"a.": 9, "b.": 9},
    "left": {"c.": 2},
    "applied": {"a.": 9, "b.": 8, "c.": 1},
    "references": {},
    "claims": [],
}


def test_a_plan_that_nothing_needs_may_go() -> None:
    """Below every fence, not applied, not referenced, not claimed, not among the newest."""
    assert judge_prune(5, **FREE) is None


@pytest.mark.parametrize(
    ("change", "guard"),
    [
        ({"newest": [5, 8, 9]}, "newest"),
        ({"fences": {"a.": 9, "b.": 5}}, "fence"),
        ({"fences": {"a.": 9, "b.": 0}}, "fence"),
        ({"applied": {"a.": 9, "b.": 5}}, "active"),
        ({"left": {"c.": 5}}, "fence"),
        ({"applied": {"a.": 9, "c.": 5}}, "active"),
        ({"references": {5: "pending at x"}}, "referenced"),
        ({"claims": ["enactor-b"]}, "claimed"),
        ({"history": {5: "the last of its hour"}}, "history"),
    ],
)
def test_each_use_keeps_a_plan(change: dict[str, Any], guard: str) -> None:
    """A refusal names who still holds the plan."""
    refusal = judge_prune(5, **(FREE | change))
    assert refusal is not None
    assert refusal.guard == guard


def test_keeping_none_is_still_safe() -> None:
    """Age is never evidence: with nothing kept by count, the fence and applied still keep what serves."""
    assert judge_prune(9, **(FREE | {"newest": []})) is not None
    assert judge_prune(8, **(FREE | {"newest": []})) is not None


# -- history

LATER = 1_100_000_000.0
NOW = 1_000_000_000.0  # in the middle of a minute and of an hour


def stored(*ages_s: float, endpoints: int = 10) -> list[Stored]:
    """Plans of these ages, the oldest first."""
    ages = sorted(ages_s, reverse=True)
    return [Stored(generation, NOW - age_s, endpoints, False) for generation, age_s in enumerate(ages, 1)]


def kept_ages(plans: list[Stored], keep: Keep) -> list[float]:
    kept = history(plans, keep, NOW)
    return sorted(NOW - plan.at for plan in plans if plan.generation in kept)


def test_every_plan_of_the_window_stays_and_the_one_in_force_at_its_start() -> None:
    keep = Keep(window_s=300.0)
    assert kept_ages(stored(0, 1, 2, 299, 300, 400, 500), keep) == [0, 1, 2, 299, 300]
    assert kept_ages(stored(0, 10_000, 20_000), keep) == [0, 10_000]


def test_one_a_minute_stays_for_an_hour_and_one_an_hour_for_as_long_as_is_set() -> None:
    """A plan every ten seconds for two days: the counts are those of the clock, the last of each span stays."""
    plans = stored(*range(0, 2 * 86_400, 10))
    kept = history(plans, Keep(window_s=300.0, history_s=86_400.0), NOW)
    ages = sorted(NOW - plan.at for plan in plans if plan.generation in kept)
    assert len([age for age in ages if age <= 300]) == 31
    assert len([age for age in ages if 300 < age <= 3600]) in (55, 56)
    assert len([age for age in ages if 3600 < age <= 86_400]) in (23, 24)
    assert ages[-1] == 86_400
    again = [plan for plan in plans if plan.generation in kept]
    assert set(history(again, Keep(window_s=300.0, history_s=86_400.0), NOW)) == set(kept), (
        "what was kept is kept again"
    )


def test_without_history_nothing_stays_for_its_age() -> None:
    assert history(stored(0, 10, 4000), Keep(), NOW) == {}
    assert history([], Keep(window_s=300.0, history_s=86_400.0), NOW) == {}


@pytest.mark.parametrize("wrong", [NOW + 5 * 365 * 86_400, NOW - 5 * 365 * 86_400, 0.0, NOW + 600])
@pytest.mark.parametrize("which", [0, 5, 19])
def test_one_publisher_with_a_wrong_clock_changes_no_other_plans_time(wrong: float, which: int) -> None:
    """Its plan counts as of its predecessor's time; nothing is kept for ever, and a time finds what was in force."""
    plans = stored(*range(0, 20 * 600, 600))
    spoilt = [plan._replace(at=wrong) if place == which else plan for place, plan in enumerate(plans)]
    read = in_order(spoilt, NOW)
    others = [place for place in range(20) if place != which]
    assert [read[place].at for place in others] == [plans[place].at for place in others]
    assert read == sorted(read, key=lambda plan: plan.at)
    found = in_force(spoilt, NOW - 4500, NOW)
    assert found is not None
    assert found.generation == 12
    assert len(history(spoilt, Keep(window_s=300.0), NOW)) <= 3


def test_the_plan_before_an_approved_shrink_stays_and_so_does_the_shrink() -> None:
    """Without the second, nobody could tell any more what the first was before."""
    sizes = [(1, 100, False), (2, 90, False), (3, 10, True), (4, 9, False), (5, 20, True), (6, 20, False)]
    plans = [Stored(number, NOW + number, size, approved) for number, size, approved in sizes]
    late = [*plans, Stored(7, NOW + 10 * 86_400, 20, False)]
    kept = history(late, Keep(history_s=86_400.0), LATER)
    assert set(kept) == {2, 3, 6, 7}
    assert kept[2] == "the last before a shrink that was ordered"


def test_shrinks_are_kept_up_to_a_number() -> None:
    plans = [Stored(number, NOW + number, number % 2 + 1, number % 2 == 0) for number in range(1, 201)]
    late = [*plans, Stored(201, NOW + 10 * 86_400, 1, False)]
    assert len(history(late, Keep(history_s=60.0), LATER)) <= 2 * SHRINKS_KEPT + 2


@given(st.lists(st.floats(0, 200_000), min_size=1, max_size=60), st.floats(0, 200_000))
def test_a_time_within_history_finds_what_was_in_force_then_or_within_its_span(ages: list[float], age_s: float) -> None:
    """What prune left is never later than the plan that was in force, and earlier by at most a minute, or an hour."""
    plans = stored(*ages)
    keep = Keep(window_s=300.0, history_s=86_400.0)
    kept = history(plans, keep, NOW)
    newest = plans[-1].at
    at = newest - age_s
    was = in_force(plans, at, NOW)
    left = in_force([plan for plan in plans if plan.generation in kept], at, NOW)
    if was is None or age_s > keep.history_s:
        return
    span_s = 0 if age_s <= keep.window_s else 60 if age_s <= 3600 else 3600
    assert left is not None or was.at >= at - span_s
    if left is not None:
        assert was.at - left.at <= span_s or was.generation == left.generation or at - was.at < span_s


@pytest.mark.parametrize(
    ("sizes", "generation"),
    [([200, 160, 128, 1], 1), ([195, 200, 198, 198, 50], 4), ([10, 10], 2), ([1], 1), ([], 0)],
)
def test_the_last_whole_plan_is_the_newest_of_nearly_the_largest(sizes: list[int], generation: int) -> None:
    plans = [Stored(number, NOW + number, size, False) for number, size in enumerate(sizes, 1)]
    found = last_whole(plans)
    assert (found.generation if found else 0) == generation


def test_what_an_operator_took_away_is_no_part_of_a_whole_plan() -> None:
    """A plan from before an ordered shrink is not the last whole one, however much larger it was."""
    sizes = [(1, 1000, False), (2, 500, True), (3, 500, False), (4, 480, False), (5, 100, False)]
    found = last_whole([Stored(number, NOW + number, size, ordered) for number, size, ordered in sizes])
    assert found is not None
    assert found.generation == 4
