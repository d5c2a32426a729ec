"""The buckets of a pass in slices, a few at once, until nothing is left to do; enactors share them without a leader."""

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial

from enactord.core.buckets import BucketId
from enactord.core.events import ClaimLost
from enactord.engine.passes import Deps, Interrupted, Pass
from enactord.engine.planning import PlanView
from enactord.engine.run_all import run_all
from enactord.engine.settle import check_formats
from enactord.engine.slice import run_slice
from enactord.store.keys import record_value
from enactord.store.ledger import BUCKETS_A_TRANSACTION

_SLICE_ENDPOINTS = 1_000
"""Endpoints of one slice, about: large enough to fill messages, small enough that a crash leaves few marks."""
_FIRST_SLICE_ENDPOINTS = 100
"""Those of the first: the server has something to do while the next ones, each up to twice as large, are prepared."""
_SLICES_IN_FLIGHT = 3
"""Slices of one zone under way at once."""
_CONFLICT_PAUSE_S = 0.02
_TAKE_OVER_S = 1.0
"""How long marks of another enactor may stand without a change before they are taken over."""


async def work_through(work: Pass, view: PlanView, deps: Deps) -> None:
    """Run slices until nothing is left to do; marks of others are taken over when they stand still.

    Raises `Interrupted`, `FenceMoved`, `ZoneDown`, `ZoneDenied`, `StoreDown`.
    """
    cache = work.cache
    left = deps.sharing.order(work.generation, view.zones[work.zone])
    while True:
        check_formats(work)
        left = [bucket for bucket in left if work.needs_work(bucket)]
        mine = [bucket for bucket in left if not work.others_at_work(bucket)]
        progress = await _run_slices(work, view, mine, deps) if mine else False
        if progress:
            continue
        if not left or not any(work.others_at_work(bucket) for bucket in left):
            return
        stuck = {bucket: cache.ledger.revision(bucket) for bucket in left}
        if not await cache.wait_until(partial(_moved, work, stuck), _TAKE_OVER_S, zone=work.zone):
            await _run_slices(work, view, left, deps, take_over=True)
            return


def _moved(work: Pass, revisions: Mapping[BucketId, int]) -> bool:
    index = work.cache.ledger
    return any(index.revision(bucket) != revision for bucket, revision in revisions.items())


async def _run_slices(
    work: Pass, view: PlanView, buckets: Sequence[BucketId], deps: Deps, *, take_over: bool = False
) -> bool:
    """Run the buckets in slices, a few at once; returns whether any of them changed anything.

    What another enactor has begun by the time that its slice comes is left to it, unless taken over.
    """
    queue = iter(_cut(view, buckets, deps))
    progress = False

    async def worker() -> None:
        nonlocal progress
        for slice_buckets in queue:
            async with deps.slices.place():
                if not take_over:
                    slice_buckets = [bucket for bucket in slice_buckets if not work.others_at_work(bucket)]
                result = await run_slice(work, slice_buckets)
                if result == "conflict":
                    # Another enactor was first in some of these buckets, or the plan's ground is gone.
                    await _check_ground(work, deps)
                    await asyncio.sleep(work.rng.uniform(0.0, _CONFLICT_PAUSE_S))
                progress |= result != "nothing"

    await run_all(worker() for _ in range(_SLICES_IN_FLIGHT))
    return progress


def _cut(view: PlanView, buckets: Sequence[BucketId], deps: Deps) -> list[list[BucketId]]:
    """Cut buckets into slices of about `_SLICE_ENDPOINTS`, the first ones smaller, within a transaction's limit."""
    slices: list[list[BucketId]] = []
    size = limit = _FIRST_SLICE_ENDPOINTS
    for bucket in buckets:
        endpoints = deps.planning.size(view, bucket)
        if not slices or size + endpoints > limit or len(slices[-1]) == BUCKETS_A_TRANSACTION:
            limit = min(_SLICE_ENDPOINTS, _FIRST_SLICE_ENDPOINTS << len(slices))
            slices.append([])
            size = 0
        slices[-1].append(bucket)
        size += endpoints
    return slices


async def _check_ground(work: Pass, deps: Deps) -> None:
    """Find out, in the store, whether this plan may still be worked on. Raises `Interrupted`."""
    permit, claim, keys = work.permit, work.permit.claim, work.cache.keys
    key = keys.fence(permit.zone)
    found = await work.ports.store.get([claim.key, keys.freeze, key])
    if keys.freeze in found:
        raise Interrupted("frozen by an operator")
    if key not in found or found[key].value != record_value(permit.record):
        raise Interrupted(f"{key} has moved from generation {permit.record.generation}", judge=True)
    item = found.get(claim.key)
    if item is None or item.create_revision != claim.create_revision:
        detail = "the lease ran out or was revoked"
        deps.claims.lost(claim)
        work.ports.observer.observe(ClaimLost(generation=claim.generation, detail=detail))
        raise Interrupted(f"the claim on {claim.generation} is lost: {detail}")
