"""Applying one plan in one zone: claim, open, diff, slices, settle. The order in which a plan goes its one way through.

Each zone goes this way by itself: what holds up one zone holds up no other.
"""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from enactord.core.buckets import BucketId
from enactord.core.errors import LeaseLost, ZoneDown
from enactord.core.events import ClaimLost, PlanApplied
from enactord.core.fence import Fence, FenceRecord, describe_fence
from enactord.core.ledger import Outlived
from enactord.core.plan import Manifest
from enactord.engine.claims import Claims
from enactord.engine.health import ASKED_ASPECTS, FENCE_ASPECTS, Aspect, Health
from enactord.engine.opening import Opener, Opening
from enactord.engine.pace import Gate
from enactord.engine.planning import Planning, PlanView
from enactord.engine.retries import Retries
from enactord.engine.settings import Ports, Settings
from enactord.engine.sharing import Sharing
from enactord.engine.slices import Pass, run_slice
from enactord.engine.together import together
from enactord.engine.writer import FenceMoved, ZoneDenied, ZoneWriter
from enactord.store.keys import Keys, record_value
from enactord.store.ledger import BUCKETS_A_TRANSACTION, Ledger, Permit
from enactord.store.ledger_index import OTHER_FORMAT
from enactord.store.mirror import Mirror
from enactord.store.session import Claim

_SLICE_ENDPOINTS = 1_000
"""Endpoints of one slice, about: large enough to fill messages, small enough that a crash leaves few marks."""
_FIRST_SLICE_ENDPOINTS = 100
"""Those of the first: the server has something to do while the next ones, each up to twice as large, are prepared."""
_SLICES_IN_FLIGHT = 3
"""Slices of one zone under way at once."""
_ALL_SLICES_IN_FLIGHT = 6
"""Slices of all zones under way at once; a zone that waits for its server for long gives its places to others."""
_ZONES_AT_ONCE = 16
"""Zones on their way at once, likewise."""
_PATIENCE_S = 1.0
_SHOW_OPEN_TIMEOUT_S = 5.0
_SHOW_SETTLED_TIMEOUT_S = 0.25
_CONFLICT_PAUSE_S = 0.02
_TAKE_OVER_S = 1.0
"""How long marks of another enactor may stand without a change before they are taken over."""


_ASPECTS = {Opening.FOREIGN: Aspect.IDENTITY, Opening.HELD: Aspect.HELD}
"""What of a zone is not well, by how an attempt to open it ended; the fence is ahead otherwise."""


class Interrupted(Exception):
    """The pass cannot go on and is tried anew from the start; says why.

    `judge`: the plan must be judged anew before that, as the zone's fence is not the fence it was judged by.
    """

    def __init__(self, detail: str, *, judge: bool = False) -> None:
        self.judge = judge
        super().__init__(detail)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A plan that was judged acceptable as a whole, and each zone's fence in the store by which it was judged."""

    manifest: Manifest
    fences: Mapping[str, FenceRecord | None]
    outlived: Mapping[str, Outlived] = field(default_factory=dict)
    """What is known of names that it brings back within the guards' window."""


class Applier:
    """Applies plans for one enactor, zone by zone."""

    def __init__(
        self,
        settings: Settings,
        ports: Ports,
        mirror: Mirror,
        planning: Planning,
        claims: Claims,
        sharing: Sharing,
        writers: Mapping[str, ZoneWriter],
        opener: Opener,
        health: Health,
        rng: random.Random,
        retries: Retries,
        *,
        look: Callable[[str], None],
    ) -> None:
        """`look`: has a zone looked at, soon."""
        self.settings = settings
        self._look = look
        self._retries = retries
        self._opener = opener
        self._ports = ports
        self._keys = Keys(settings.scope)
        self._mirror = mirror
        self._planning = planning
        self._claims = claims
        self._sharing = sharing
        self._writers = writers
        self._health = health
        self._ledger = Ledger(ports.store, self._keys, mirror)
        self._zones = Gate(_ZONES_AT_ONCE, patience_s=_PATIENCE_S)
        self._slices = Gate(_ALL_SLICES_IN_FLIGHT, patience_s=_PATIENCE_S)
        self._rng = rng

    async def apply(self, plan: Accepted, view: PlanView, zone: str, *, again: bool) -> int:
        """Bring every endpoint of a zone to the plan, or hold it; returns how many are left unfinished.

        `view`: what has been read of the plan.
        `again`: names that the zone refused at this generation are tried once more.
        Raises `Interrupted` (start anew), `StoreDown`, `PlanUnreadable`.
        """
        async with self._zones.place():
            return await self._apply(plan, view, zone, again=again)

    async def _apply(self, plan: Accepted, view: PlanView, zone: str, *, again: bool) -> int:
        manifest = plan.manifest
        start = asyncio.get_running_loop().time()
        try:
            async with self._claims.on(manifest.generation) as claim:
                if claim is None:
                    raise Interrupted(f"plan {manifest.generation} is gone", judge=True)
                permit = await self._open(plan, zone, claim)
                self._health.zone_is_up(zone, *ASKED_ASPECTS, *FENCE_ASPECTS)
                view = await self._planning.read_zone(view, zone)
                work = Pass(
                    manifest=manifest,
                    permit=permit,
                    settings=self.settings,
                    ports=self._ports,
                    writer=self._writers[zone],
                    ledger=self._ledger,
                    mirror=self._mirror,
                    rng=self._rng,
                    wanted=view.wanted,
                    outlived=plan.outlived,
                    again=again,
                    retries=self._retries,
                    left_out=self._health.evidence.left_out(zone),
                    shows=partial(self._health.kept_ttls.shows, zone),
                )
                await self._work_through(work, view)
                unfinished = await self._settle(work, view, start)
        except LeaseLost as error:
            raise Interrupted(str(error)) from error
        except FenceMoved as error:
            raise Interrupted(str(error), judge=True) from error
        except ZoneDown as error:
            self._health.zone_cannot_be_asked(zone, error)
            raise Interrupted(str(error)) from error
        except ZoneDenied as error:
            self._health.zone_is_down(zone, Aspect.WRITING, str(error))
            if self._ports.zones[zone].primaries is not None:
                self._look(zone)  # another server may be the primary by now
            raise Interrupted(str(error)) from error
        if not unfinished:
            self._health.zone_is_up(zone)
        return unfinished

    async def _open(self, plan: Accepted, zone: str, claim: Claim) -> Permit:
        """Open the zone, and wait until the mirror shows the ledger as it stood then."""
        manifest = plan.manifest
        fence = Fence(
            scope=self.settings.scope,
            generation=manifest.generation,
            plan=manifest.mark,
            installation=self._mirror.installation,
            primary=self._ports.zones[zone].primary,
        )
        opened = await self._opener.open(zone, fence, claim, plan.fences[zone])
        if opened.how is not Opening.OPEN:
            if opened.found is not None:
                detail = opened.problem or describe_fence(zone, opened.found, self._mirror.owner)
                aspect = _ASPECTS.get(opened.how, Aspect.FENCE)
                self._health.fence_is_not_ours(zone, aspect, detail)
                raise Interrupted(detail)
            raise Interrupted(f"{zone}: the store did not let the fence be raised", judge=True)
        assert opened.record is not None
        permit = Permit(claim=claim, zone=zone, record=opened.record)
        slots = manifest.part(zone).slots
        # A store that was set back may hold other buckets than its record says.
        if permit.record.slots != slots or not self._mirror.ledger.levels(zone) <= {slots, OTHER_FORMAT}:
            reshaped = await self._ledger.reshape(permit, slots)
            if reshaped is None:
                raise Interrupted(f"{zone}: the ledger changed while its slots were changed")
            permit = reshaped
        # The watch shows changes in order: with the record it has shown all that came before it, hence
        # every mark that a writer of an older plan left in the ledger.
        if not await self._mirror.wait_until(partial(self._shows, permit), _SHOW_OPEN_TIMEOUT_S, zone=zone):
            raise Interrupted(f"{zone}: the store's watch does not show our open")
        return permit

    def _shows(self, permit: Permit) -> bool:
        """Whether the watch has shown the zone's record (or one of a newer plan)."""
        shown = self._mirror.fence(permit.zone)
        return shown is not None and (shown == permit.record or shown.generation > permit.record.generation)

    async def _work_through(self, work: Pass, view: PlanView) -> None:
        """Slices until nothing is left to do; marks of others are taken over when they stand still."""
        left = self._sharing.order(work.generation, view.zones[work.zone])
        while True:
            self._check_formats(work.zone)
            left = [bucket for bucket in left if work.open_at(bucket)]
            mine = [bucket for bucket in left if not self._others_at_work(work, bucket)]
            progress = await self._run_slices(work, view, mine) if mine else False
            if progress:
                continue
            if not left or not any(self._others_at_work(work, bucket) for bucket in left):
                return
            stuck = {bucket: self._mirror.ledger.revision(bucket) for bucket in left}
            if not await self._mirror.wait_until(partial(self._moved, stuck), _TAKE_OVER_S, zone=work.zone):
                await self._run_slices(work, view, left, take_over=True)
                return

    def _check_formats(self, zone: str) -> None:
        """A pass ends where another version has begun to write what it would replace. Raises `Interrupted`."""
        if self._mirror.of_other_version(zone):
            raise Interrupted(f"{zone}: another version has written what the store holds of it")

    def _moved(self, revisions: Mapping[BucketId, int]) -> bool:
        index = self._mirror.ledger
        return any(index.revision(bucket) != revision for bucket, revision in revisions.items())

    async def _run_slices(
        self, work: Pass, view: PlanView, buckets: Sequence[BucketId], *, take_over: bool = False
    ) -> bool:
        """Run the buckets in slices, a few at once; returns whether any of them changed anything.

        What another enactor has begun by the time that its slice comes is left to it, unless taken over.
        """
        queue = iter(self._cut(view, buckets))
        progress = False

        async def worker() -> None:
            nonlocal progress
            for slice_buckets in queue:
                async with self._slices.place():
                    if not take_over:
                        slice_buckets = [bucket for bucket in slice_buckets if not self._others_at_work(work, bucket)]
                    result = await run_slice(work, slice_buckets)
                    if result == "conflict":
                        # Another enactor was first in some of these buckets, or the plan's ground is gone.
                        await self._check_ground(work.permit)
                        await asyncio.sleep(self._rng.uniform(0.0, _CONFLICT_PAUSE_S))
                    progress |= result != "nothing"

        await together(worker() for _ in range(_SLICES_IN_FLIGHT))
        return progress

    def _cut(self, view: PlanView, buckets: Sequence[BucketId]) -> list[list[BucketId]]:
        """Cut buckets into slices of about `_SLICE_ENDPOINTS`, the first ones smaller, within a transaction's limit."""
        slices: list[list[BucketId]] = []
        size = limit = _FIRST_SLICE_ENDPOINTS
        for bucket in buckets:
            endpoints = self._planning.size(view, bucket)
            if not slices or size + endpoints > limit or len(slices[-1]) == BUCKETS_A_TRANSACTION:
                limit = min(_SLICE_ENDPOINTS, _FIRST_SLICE_ENDPOINTS << len(slices))
                slices.append([])
                size = 0
            slices[-1].append(bucket)
            size += endpoints
        return slices

    def _others_at_work(self, work: Pass, bucket: BucketId) -> bool:
        """Whether another enactor has marked something in the bucket at this generation."""
        if not self._mirror.ledger.summary(bucket).pending:
            return False
        return any(
            entry.pending is not None and entry.pending.generation == work.generation and entry.name not in work.own
            for entry in self._mirror.ledger.bucket(bucket).values()
        )

    async def _check_ground(self, permit: Permit) -> None:
        """Find out, in the store, whether this plan may still be worked on. Raises `Interrupted`."""
        claim, keys = permit.claim, self._keys
        key = keys.fence(permit.zone)
        found = await self._ports.store.get([claim.key, keys.freeze, key])
        if keys.freeze in found:
            raise Interrupted("frozen by an operator")
        if key not in found or found[key].value != record_value(permit.record):
            raise Interrupted(f"{key} has moved from generation {permit.record.generation}", judge=True)
        item = found.get(claim.key)
        if item is None or item.create_revision != claim.create_revision:
            detail = "the lease ran out or was revoked"
            self._claims.lost(claim)
            self._ports.observer.observe(ClaimLost(generation=claim.generation, detail=detail))
            raise Interrupted(f"the claim on {claim.generation} is lost: {detail}")

    async def _settle(self, work: Pass, view: PlanView, start: float) -> int:
        """Record the zone where nothing is left to do; returns the number of endpoints that are."""
        unfinished = 0
        for bucket in view.zones[work.zone]:
            if not work.open_at(bucket):
                continue
            for step in work.diff(bucket, self._mirror.ledger.bucket(bucket)):
                if step.entry is None or step.entry.held is None or step.entry.pending is not None:
                    unfinished += 1
        zone, generation = work.zone, work.generation
        if unfinished or self._mirror.applied(zone) == generation:
            return unfinished
        self._check_formats(zone)
        shown = partial(self._shows_applied, zone, generation)
        if not await self._ledger.settle(work.permit):
            # Another enactor was first, and the mirror is about to show it; or the plan's ground is gone.
            if not await self._mirror.wait_until(shown, _SHOW_SETTLED_TIMEOUT_S, zone=zone):
                raise Interrupted(f"{zone}: generation {generation} was not recorded as applied")
            return 0
        self._ports.observer.observe(
            PlanApplied(
                zone=zone,
                generation=generation,
                written=work.tally.written,
                held=work.tally.held,
                duration_s=asyncio.get_running_loop().time() - start,
            )
        )
        await self._mirror.wait_until(shown, _SHOW_OPEN_TIMEOUT_S, zone=zone)
        return 0

    def _shows_applied(self, zone: str, generation: int) -> bool:
        return self._mirror.applied(zone) >= generation
