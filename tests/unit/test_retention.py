"""A plan goes only when nothing can need it: every reason to keep it, one by one."""

from typing import Any

import pytest

from enactord.core.retention import judge_prune

FREE: dict[str, Any] = {
    "newest": [8, 9],
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
