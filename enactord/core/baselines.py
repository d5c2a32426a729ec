"""Baselines: the earlier plans that a plan is compared with, so that guards see what adds up over several plans."""

from collections.abc import Collection, Sequence

from enactord.core.plan import Manifest
from enactord.core.retention import Stored, in_order

CLOCKS_APART_S = 60.0
"""How far the clock of a publisher may be from the clocks of enactors."""


def baselines(
    plans: Sequence[Manifest], generation: int, at: float, window_s: float, refused: Collection[int] = ()
) -> list[Manifest]:
    """Return the plans that a plan is compared with, newest first.

    `plans`: those that can be read; `at`: when the plan is published, in seconds since the epoch; `refused`: the
    generations that enactors refused, which were never in force. What an operator ordered begins the memory anew.
    """
    earlier = {plan.generation: plan for plan in plans if plan.generation < generation}
    found: list[Manifest] = []
    for stored in reversed(in_order([Stored.of(plan) for plan in earlier.values()], at)):
        if stored.generation in refused:
            continue
        found.append(earlier[stored.generation])
        if stored.at <= at - window_s or earlier[stored.generation].begins_anew:
            break
    return found


def begins_memory(plan: Manifest, at: float, window_s: float) -> bool:
    """Whether guards look no farther back than a plan, for another that is published at `at`; unless it was refused."""
    return plan.begins_anew or plan.published_at <= at - window_s


def stamp(now: float, clocks: Collection[float], before: float) -> float:
    """Return the time that a plan is published at, in seconds since the epoch: guards and history go by it alone.

    `now`: the publisher's clock. Where it is far from each of the enactors' `clocks`, the time nearest to it that is
    not far is taken. `before`: the time of the plan before, which no later plan goes below; unless that plan was
    evidently published by a clock that ran ahead.
    """
    if clocks:
        nearest = min(clocks, key=lambda clock: abs(clock - now))
        now = min(max(now, nearest - CLOCKS_APART_S), nearest + CLOCKS_APART_S)
        if before > nearest + CLOCKS_APART_S:
            return now
    return max(now, before)
