"""Settling: the store records that a zone conforms to a plan, but for what is held."""

import asyncio
from functools import partial

from enactord.core.events import PlanApplied
from enactord.engine.open_zone import SHOWN_WITHIN_S
from enactord.engine.passes import Interrupted, Pass
from enactord.engine.planning import PlanView
from enactord.store.cache import Cache

_SHOWN_BY_OTHERS_WITHIN_S = 0.25


async def settle(work: Pass, view: PlanView, start: float) -> int:
    """Record the zone where nothing is left to do; returns the number of endpoints that are.

    `start`: when the pass began, in loop time. Raises `Interrupted`, `StoreDown`.
    """
    cache, zone, generation = work.cache, work.zone, work.generation
    unfinished = _unfinished(work, view)
    if unfinished or cache.applied(zone) == generation:
        return unfinished
    check_formats(work)
    shown = partial(_shows_applied, cache, zone, generation)
    if not await work.ledger.settle(work.permit):
        # Another enactor was first, and the cache is about to show it; or the plan's ground is gone.
        if not await cache.wait_until(shown, _SHOWN_BY_OTHERS_WITHIN_S, zone=zone):
            raise Interrupted(f"{zone}: generation {generation} was not recorded as applied")
        return 0
    work.ports.observer.observe(
        PlanApplied(
            zone=zone,
            generation=generation,
            written=work.tally.written,
            held=work.tally.held,
            duration_s=asyncio.get_running_loop().time() - start,
        )
    )
    await cache.wait_until(shown, SHOWN_WITHIN_S, zone=zone)
    return 0


def check_formats(work: Pass) -> None:
    """A pass ends where another version has begun to write what it would replace. Raises `Interrupted`."""
    if work.cache.of_other_version(work.zone):
        raise Interrupted(f"{work.zone}: another version has written what the store holds of it")


def _unfinished(work: Pass, view: PlanView) -> int:
    """Count the endpoints that neither conform nor are held."""
    unfinished = 0
    for bucket in view.zones[work.zone]:
        if not work.needs_work(bucket):
            continue
        for step in work.diff(bucket, work.cache.ledger.bucket(bucket)):
            if step.entry is None or step.entry.held is None or step.entry.pending is not None:
                unfinished += 1
    return unfinished


def _shows_applied(cache: Cache, zone: str, generation: int) -> bool:
    return cache.applied(zone) >= generation
