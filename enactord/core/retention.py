"""Retention: whether a plan may go. Age alone is never evidence that it may; it can be a reason to keep one."""

from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from enactord.core.plan import Manifest
from enactord.core.refusal import Refusal

HISTORY_GUARDS = ("newest", "history")
"""Guards that keep a plan though nothing needs it: nobody has to be told of that."""
SHRINKS_KEPT = 20
"""How many plans before a shrink that an operator ordered are kept, the latest of them."""
_MINUTE_S, _HOUR_S = 60, 3600

RETIRE = "; take it out with: enactorctl zone retire"
"""What a refusal says where a zone that has left the config is in the way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """What is kept of the plans that nothing needs: the newest `plans`, and some of the time before.

    `window_s`: every plan of so long, and the one in force at its start. `history_s`: one an hour for so long, and
    one a minute for the last hour of it. Both count back from the newest plan. With `history_s`, the plan before
    each shrink that an operator ordered stays, too.
    """

    plans: int = 20
    window_s: float = 0.0
    history_s: float = 0.0


class Stored(NamedTuple):
    """A stored plan, as history sees it. `at`: when it was published, in seconds since the epoch."""

    generation: int
    at: float
    endpoints: int
    ordered: bool

    @classmethod
    def of(cls, manifest: Manifest) -> "Stored":
        """Return a plan as history sees it."""
        return cls(manifest.generation, manifest.published_at, manifest.endpoints, manifest.ordered)


def in_order(plans: Sequence[Stored], now: float) -> list[Stored]:
    """Return plans by generation, none stamped before its predecessor or after `now`.

    Clocks of publishers differ. The most stamps that agree with one another are believed; a plan with another
    one counts as of its predecessor's time.
    """
    ordered = [plan._replace(at=min(plan.at, now)) for plan in sorted(plans)]
    believed = _longest_rising([plan.at for plan in ordered])
    if not believed:
        return ordered
    latest = ordered[min(believed)].at
    for index, plan in enumerate(ordered):
        latest = plan.at if index in believed else latest
        ordered[index] = plan._replace(at=latest)
    return ordered


def _longest_rising(stamps: Sequence[float]) -> set[int]:
    """Return the places of a longest run of stamps, not necessarily side by side, of which none goes down."""
    ends: list[float] = []
    places: list[int] = []
    before: list[int] = []
    for place, stamp in enumerate(stamps):
        length = bisect_right(ends, stamp)
        before.append(places[length - 1] if length else -1)
        ends[length : length + 1] = [stamp]
        places[length : length + 1] = [place]
    found: set[int] = set()
    place = places[-1] if places else -1
    while place >= 0:
        found.add(place)
        place = before[place]
    return found


def in_force(plans: Sequence[Stored], at: float, now: float) -> Stored | None:
    """Return the newest of these plans that was published by a time; None before the first. Times as in `history`."""
    return next((plan for plan in reversed(in_order(plans, now)) if plan.at <= at), None)


def last_whole(plans: Sequence[Stored]) -> Stored | None:
    """Return the newest plan that has nearly as many endpoints as the largest one: 95 % of them, or more.

    Plans before a shrink that an operator ordered do not count: what went then was meant to go.
    """
    ordered = sorted(plans)
    shrinks = [place for place, (before, plan) in enumerate(pairwise(ordered), 1) if _ordered_shrink(before, plan)]
    since = ordered[shrinks[-1] if shrinks else 0 :]
    largest = max((plan.endpoints for plan in since), default=0)
    return next((plan for plan in reversed(since) if plan.endpoints >= 0.95 * largest), None)


def _ordered_shrink(before: Stored, plan: Stored) -> bool:
    return plan.ordered and plan.endpoints < before.endpoints


def history(plans: Sequence[Stored], keep: Keep, now: float) -> dict[int, str]:
    """Return the generations that are kept for the time that they were in force, each with why.

    `now`: seconds since the epoch, by the clock of who asks.
    """
    ordered = in_order(plans, now)
    kept: dict[int, str] = {}
    if not ordered:
        return kept
    newest = ordered[-1].at
    if keep.window_s:
        _keep_since(ordered, newest - keep.window_s, 0, f"of the last {keep.window_s:g} s", kept)
    if keep.history_s:
        last_hour = max(newest - _HOUR_S, newest - keep.history_s)
        _keep_since(ordered, last_hour, _MINUTE_S, "the last of its minute", kept)
        _keep_since(ordered, newest - keep.history_s, _HOUR_S, "the last of its hour", kept)
        shrinks = [(before, plan) for before, plan in pairwise(ordered) if _ordered_shrink(before, plan)]
        for before, plan in shrinks[-SHRINKS_KEPT:]:
            kept.setdefault(before.generation, "the last before a shrink that was ordered")
            kept.setdefault(plan.generation, "a shrink that was ordered")
    return kept


def _keep_since(ordered: Sequence[Stored], since: float, each_s: int, why: str, kept: dict[int, str]) -> None:
    """Keep the last plan of each span of `each_s` seconds (0: every plan) since a time, and the one in force then."""
    last_span: float | None = None
    for plan in reversed(ordered):
        span = plan.at // each_s if each_s else None
        if span is None or span != last_span or plan.at <= since:
            kept.setdefault(plan.generation, why)
        last_span = span
        if plan.at <= since:
            return


def judge_prune(
    generation: int,
    *,
    newest: Collection[int],
    history: Mapping[int, str],
    fences: Mapping[str, int],
    left: Mapping[str, int],
    applied: Mapping[str, int],
    references: Mapping[int, str],
    claims: Collection[str],
) -> Refusal | None:
    """Return why the plan must stay, or None if nothing can need it any more.

    `newest` are the generations kept by count, `history` those kept by time, with why; `fences` of every
    configured zone (0: never opened); `left`, the fences of zones that the store has and this config has not; `applied`
    by zone, of both; `references` the generations that ledger entries need; `claims` the
    enactors that claim this one.

    The fence makes the answer stable: once every zone's fence is above the generation,
    no endpoint can come to it again, so a stale view errs towards keeping. Of a zone that has
    left the config, the plans at its fence and applied there stay. Those above its fence were
    never opened there, are claimed by nobody, and cannot be opened once they are gone.
    """
    if generation in newest:
        return Refusal(guard="newest", detail=f"generation {generation} is one of the {len(newest)} newest plans")
    for zone in sorted(fences):
        if fences[zone] <= generation:
            detail = f"the fence of {zone} stands at {fences[zone]}, not above {generation}"
            return Refusal(guard="fence", detail=detail)
    for zone in sorted(left):
        if left[zone] == generation:
            return Refusal(guard="fence", detail=f"{zone} stands at it, a zone that is not in this config{RETIRE}")
    for zone in sorted(applied):
        if applied[zone] == generation:
            retire = RETIRE if zone in left else ""
            return Refusal(guard="active", detail=f"generation {generation} is the applied plan of {zone}{retire}")
    if generation in references:
        return Refusal(guard="referenced", detail=f"generation {generation} is {references[generation]}")
    if claims:
        return Refusal(guard="claimed", detail=f"generation {generation} is claimed by {', '.join(sorted(claims))}")
    if generation in history:
        return Refusal(guard="history", detail=f"generation {generation} stays for a rollback: {history[generation]}")
    return None
