"""Applying one plan: guards, claim, open, diff, slices, settle. The order in which a plan goes its one way through."""

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b

from enactord.core.errors import LeaseLost, PlanUnreadable, ZoneDown
from enactord.core.events import ClaimLost, PlanApplied, ZoneCameUp, ZoneWentDown
from enactord.core.fence import Fence, describe_fence
from enactord.core.guard import judge_removals, judge_zones
from enactord.core.names import BUCKETS
from enactord.core.plan import Manifest, parse_chunk
from enactord.core.refusal import Refusal
from enactord.engine.opening import Opening, open_zone
from enactord.engine.retries import Retries
from enactord.engine.rightful import plan_at
from enactord.engine.settings import Ports, Settings
from enactord.engine.slices import Pass, run_slice
from enactord.engine.together import together
from enactord.engine.writer import FenceMoved, ZoneDenied, ZoneWriter
from enactord.registry.fences import Fences
from enactord.registry.keys import Keys, fence_value
from enactord.registry.ledger import BUCKETS_A_TRANSACTION, Ledger, Permit
from enactord.registry.mirror import Mirror
from enactord.registry.plans import read_chunks
from enactord.registry.session import Claim, Session

_SLICE_ENDPOINTS = 1_000
"""Endpoints of one slice, about: large enough to fill messages, small enough that a crash leaves few marks."""
_FIRST_SLICE_ENDPOINTS = 100
"""Those of the first: the server has something to do while the next ones, each up to twice as large, are prepared."""
_SLICES_IN_FLIGHT = 3
_SHOW_OPEN_TIMEOUT_S = 5.0
_CONFLICT_PAUSE_S = 0.02
_PEERS_MAX = 16
_SMALL_ENDPOINTS = 2_000
"""Up to so many endpoints in the buckets that need a look, sharing a plan costs more than it saves."""
_TAKE_OVER_S = 1.0
"""How long marks of another enactor may stand without a change before they are taken over."""


class Interrupted(Exception):
    """The pass cannot go on and is tried anew from the start; says why."""


@dataclass(slots=True)
class PlanView:
    """A plan as far as it has been read: the buckets that need a look, and their contents."""

    manifest: Manifest
    numbers: list[int]
    texts: dict[str, str]
    fences: Mapping[str, Fence | None]
    """Each zone's fence in the store when the reading began: what the plan is judged by."""

    def wanted(self, number: int) -> Mapping[str, str]:
        """Name to content text of a bucket."""
        digest = self.manifest.chunks.get(number)
        return {} if digest is None else parse_chunk(self.texts[digest])

    def count(self, number: int) -> int:
        """How many endpoints of the plan lie in a bucket, told without reading them."""
        digest = self.manifest.chunks.get(number)
        return 0 if digest is None else len(self.texts[digest].splitlines())


class Applier:
    """Applies plans for one enactor."""

    def __init__(
        self,
        settings: Settings,
        ports: Ports,
        mirror: Mirror,
        session: Session,
        writers: Mapping[str, ZoneWriter],
        rng: random.Random,
        retries: Retries,
    ) -> None:
        self.settings = settings
        self._retries = retries
        self._ports = ports
        self._keys = Keys(settings.scope)
        self._mirror = mirror
        self._session = session
        self._writers = writers
        self._fences = Fences(ports.store, self._keys)
        self._ledger = Ledger(ports.store, self._keys, mirror)
        self._rng = rng
        self.zone_problems: dict[str, str] = {}

    # -- what needs a look

    def suspects(self, manifest: Manifest) -> list[int]:
        """Return the buckets that may not conform to the plan.

        Where zones conform to the plans that are recorded as applied, a bucket whose chunk is
        the same in all of them needs no look, unless it holds marks or has been written since:
        a newer plan may have come half way, and taken from it what this one has.
        """
        references: list[Manifest] = []
        for generation in sorted({self._mirror.applied(zone) for zone in self._writers}):
            try:
                reference = self._mirror.manifest(generation)
            except PlanUnreadable:
                reference = None
            if reference is None:
                return list(range(BUCKETS))
            references.append(reference)
        since = min(self._mirror.applied_revision(zone) for zone in self._writers)
        found = []
        for number in range(BUCKETS):
            digest = manifest.chunks.get(number)
            same = all(reference.chunks.get(number) == digest for reference in references)
            revision = self._mirror.bucket_revision(number)
            lost = digest is not None and not revision
            if not same or lost or revision > since or not self._mirror.summary(number).settled:
                found.append(number)
        return found

    async def read(self, manifest: Manifest) -> PlanView:
        """Read what needs a look of the plan. Raises `PlanUnreadable`, `StoreDown`."""
        fences = {zone: self._mirror.fence(zone) for zone in self._writers}
        numbers = self.suspects(manifest)
        digests = {manifest.chunks[number] for number in numbers if number in manifest.chunks}
        known = {digest: packed for digest in digests if (packed := self._mirror.chunk(digest)) is not None}
        texts = await read_chunks(self._ports.store, self._keys, digests, known)
        return PlanView(manifest=manifest, numbers=numbers, texts=texts, fences=fences)

    def judge(self, view: PlanView) -> Refusal | None:
        """Judge a plan as a whole against the ledger."""
        names: list[str] = []
        removed = 0
        for number in view.numbers:
            wanted = view.wanted(number)
            names.extend(wanted)
            bucket = self._mirror.bucket(number)
            removed += sum(entry.live and name not in wanted for name, entry in bucket.items())
        refusal = judge_zones(names, list(self._writers))
        if refusal is not None:
            return refusal
        manifest = view.manifest
        if any(fence is not None and fence.generation == manifest.generation for fence in view.fences.values()):
            return None  # decided when it was opened; part of it may be gone already
        weighed = [(removed, self._mirror.totals.live)]
        for zone, fence in view.fences.items():
            # Others may be at work on the plan at the fence, and the ledger that is known here
            # not yet show it: what that plan holds counts as served.
            under_way = None if fence is None else plan_at(self._mirror, fence)
            if under_way is not None and self._mirror.applied(zone) != under_way.generation:
                weighed.append((max(0, under_way.endpoints - manifest.endpoints), under_way.endpoints))
        refusals = (
            judge_removals(
                gone, before, manifest.endpoints, self.settings.limits, approved=manifest.approval is not None
            )
            for gone, before in weighed
        )
        return next((refusal for refusal in refusals if refusal is not None), None)

    # -- one pass

    async def apply(self, view: PlanView, *, again: bool) -> int:
        """Bring every endpoint to the plan, or hold it; returns how many are left unfinished.

        `again`: names that the zone refused at this generation are tried once more.
        Raises `Interrupted` (start anew), `StoreDown`, `PlanUnreadable`.
        """
        manifest = view.manifest
        loop = asyncio.get_running_loop()
        start = loop.time()
        if await self._done_by_others(view):
            return 0
        try:
            claim = await self._session.claim(manifest.generation)
        except LeaseLost as error:
            raise Interrupted(str(error)) from error
        if claim is None:
            raise Interrupted(f"plan {manifest.generation} is gone")
        try:
            fences = await self._open(view, claim)
            if not fences:
                raise Interrupted("no zone could be opened: " + "; ".join(self.zone_problems.values()))
            shown = await self._mirror.wait_until(
                lambda: all(self._mirror.shown_fence(zone, manifest.generation) for zone in fences),
                _SHOW_OPEN_TIMEOUT_S,
            )
            if not shown:
                raise Interrupted("the store's watch does not show our open")
            if not set(self.suspects(manifest)) <= set(view.numbers):
                view = await self.read(manifest)  # an older plan marked more before the open ended it
            work = Pass(
                manifest=manifest,
                permit=Permit(claim=claim, fences=fences),
                settings=self.settings,
                ports=self._ports,
                writers=self._writers,
                ledger=self._ledger,
                mirror=self._mirror,
                rng=self._rng,
                wanted=view.wanted,
                again=again,
                retries=self._retries,
            )
            await self._work_through(work, view)
            return await self._settle(work, view, start)
        except FenceMoved as error:
            raise Interrupted(str(error)) from error
        except ZoneDenied as error:
            self._zone_down(str(error).partition(":")[0], str(error))
            raise Interrupted(str(error)) from error
        finally:
            await self._session.release(claim)

    async def _done_by_others(self, view: PlanView) -> bool:
        """Leave a small plan to those whose turn comes first, for a moment; returns whether they finished it.

        Nothing rests on it: who is gone or slow loses its turn, and others begin.
        """
        manifest = view.manifest
        others = self._others()
        if not others or sum(self._size(view, number) for number in view.numbers) > _SMALL_ENDPOINTS:
            return False
        before, _ = self._place(others, manifest.generation, BUCKETS)

        def done() -> bool:
            return all(self._mirror.applied(zone) == manifest.generation for zone in self._writers)

        return before > 0 and not done() and await self._mirror.wait_until(done, before * self.settings.head_start_s)

    async def _open(self, view: PlanView, claim: Claim) -> dict[str, Fence]:
        """Open every zone; those that cannot be now are left to a later pass."""
        manifest = view.manifest
        fence = Fence(scope=self.settings.scope, generation=manifest.generation, plan=manifest.mark)
        opened: dict[str, Fence] = {}

        async def one(zone: str) -> None:
            try:
                ports = self._ports.zones[zone]
                result = await open_zone(ports, self._fences, fence, claim, view.fences[zone], self._ports.observer)
            except (ZoneDown, ZoneDenied) as error:
                self._zone_down(zone, str(error))
                return
            if result.how is Opening.OPEN:
                opened[zone] = fence
                if self.zone_problems.pop(zone, None) is not None:
                    self._ports.observer.observe(ZoneCameUp(zone=zone))
            elif result.found is not None:
                self._zone_down(zone, describe_fence(zone, result.found))

        await together(one(zone) for zone in self._writers)
        return dict(sorted(opened.items()))

    def _zone_down(self, zone: str, problem: str) -> None:
        if zone in self._writers and self.zone_problems.get(zone) != problem:
            self.zone_problems[zone] = problem
            self._ports.observer.observe(ZoneWentDown(zone=zone, detail=problem))

    async def _work_through(self, work: Pass, view: PlanView) -> None:
        """Slices until nothing is left to do; marks of others are taken over when they stand still."""
        left = self._order(work.generation, view.numbers)
        while True:
            left = [number for number in left if work.open_at(number)]
            mine = [number for number in left if not self._others_at_work(work, number)]
            progress = await self._run_slices(work, view, mine) if mine else False
            if progress:
                continue
            if not left or not any(self._others_at_work(work, number) for number in left):
                return
            stuck = {number: self._mirror.bucket_revision(number) for number in left}
            if not await self._mirror.wait_until(partial(self._moved, stuck), _TAKE_OVER_S):
                await self._run_slices(work, view, left, take_over=True)
                return

    def _moved(self, revisions: Mapping[int, int]) -> bool:
        return any(self._mirror.bucket_revision(number) != revision for number, revision in revisions.items())

    async def _run_slices(self, work: Pass, view: PlanView, numbers: list[int], *, take_over: bool = False) -> bool:
        """Run the buckets in slices, a few at once; returns whether any of them changed anything.

        What another enactor has begun by the time that its slice comes is left to it, unless taken over.
        """
        queue = iter(self._cut(view, numbers))
        progress = False

        async def worker() -> None:
            nonlocal progress
            for slice_numbers in queue:
                if not take_over:
                    slice_numbers = [n for n in slice_numbers if not self._others_at_work(work, n)]
                result = await run_slice(work, slice_numbers)
                if result == "conflict":
                    # Another enactor was first in some of these buckets, or the plan's ground is gone.
                    await self._check_ground(work.permit)
                    await asyncio.sleep(self._rng.uniform(0.0, _CONFLICT_PAUSE_S))
                progress |= result != "nothing"

        await together(worker() for _ in range(_SLICES_IN_FLIGHT))
        return progress

    def _cut(self, view: PlanView, numbers: list[int]) -> list[list[int]]:
        """Cut buckets into slices of about `_SLICE_ENDPOINTS`, the first ones smaller, within a transaction's limit."""
        slices: list[list[int]] = []
        size = limit = _FIRST_SLICE_ENDPOINTS
        for number in numbers:
            endpoints = self._size(view, number)
            if not slices or size + endpoints > limit or len(slices[-1]) == BUCKETS_A_TRANSACTION:
                limit = min(_SLICE_ENDPOINTS, _FIRST_SLICE_ENDPOINTS << len(slices))
                slices.append([])
                size = 0
            slices[-1].append(number)
            size += endpoints
        return slices

    def _size(self, view: PlanView, number: int) -> int:
        return max(self._mirror.summary(number).entries, view.count(number))

    def _others_at_work(self, work: Pass, number: int) -> bool:
        """Whether another enactor has marked something in the bucket at this generation."""
        if not self._mirror.summary(number).pending:
            return False
        return any(
            entry.pending is not None and entry.pending.generation == work.generation and entry.name not in work.own
            for entry in self._mirror.bucket(number).values()
        )

    async def _check_ground(self, permit: Permit) -> None:
        """Find out, in the store, whether this plan may still be worked on. Raises `Interrupted`."""
        claim, keys = permit.claim, self._keys
        fences = {keys.fence(zone): fence for zone, fence in permit.fences.items()}
        found = await self._ports.store.get([claim.key, keys.freeze, *fences])
        if keys.freeze in found:
            raise Interrupted("frozen by an operator")
        for key, fence in fences.items():
            if key not in found or found[key].value != fence_value(fence.generation, fence.plan):
                raise Interrupted(f"{key} has moved from generation {fence.generation}")
        item = found.get(claim.key)
        if item is None or item.create_revision != claim.create_revision:
            detail = "the lease ran out or was revoked"
            self._ports.observer.observe(ClaimLost(generation=claim.generation, detail=detail))
            raise Interrupted(f"the claim on {claim.generation} is lost: {detail}")

    async def _settle(self, work: Pass, view: PlanView, start: float) -> int:
        """Record zones where nothing is left to do; returns the number of endpoints that are."""
        unfinished: dict[str, int] = dict.fromkeys(self._writers, 0)
        for zone in self._writers:
            if zone not in work.permit.fences:
                unfinished[zone] += 1
        for number in view.numbers:
            if not work.open_at(number):
                continue
            for step in work.diff(number, self._mirror.bucket(number)):
                if step.entry is not None and step.entry.held is not None and step.entry.pending is None:
                    continue
                unfinished[work.zone(step.name) or ""] += 1
        for zone, fence in work.permit.fences.items():
            if unfinished[zone] or self._mirror.applied(zone) == work.generation:
                continue
            permit = Permit(claim=work.permit.claim, fences={zone: fence})
            if await self._ledger.settle(permit, zone, fence):
                self._ports.observer.observe(
                    PlanApplied(
                        zone=zone,
                        generation=work.generation,
                        written=work.tally.written,
                        held=work.tally.held,
                        duration_s=asyncio.get_running_loop().time() - start,
                    )
                )
                shown = partial(self._shows_applied, zone, work.generation)
                await self._mirror.wait_until(shown, _SHOW_OPEN_TIMEOUT_S)
        return sum(unfinished.values())

    def _shows_applied(self, zone: str, generation: int) -> bool:
        return self._mirror.applied(zone) >= generation

    def _order(self, generation: int, numbers: Sequence[int]) -> list[int]:
        """Return buckets in this enactor's order: first those that are its own among the enactors alive.

        Rendezvous hashing ranks the enactors for each bucket; an enactor takes those where it
        comes first, then those where it comes second, and so on. Who is alive is a hint:
        whoever it leaves out finds its share done, and whoever is gone has its share taken over.
        Source: Thaler and Ravishankar, "Using name-based mappings to increase hit rates", 1998.
        """
        others = self._others()
        return sorted(numbers, key=lambda number: self._place(others, generation, number))

    def _place(self, others: Sequence[str], generation: int, number: int) -> tuple[int, bytes]:
        """Return how many others come before this enactor at a bucket, and its own weight there."""
        mine = _weight(self.settings.id, generation, number)
        return sum(_weight(other, generation, number) < mine for other in others), mine

    def _others(self) -> list[str]:
        """Return the other enactors that are alive, as far as is known."""
        return sorted({presence.id for presence in self._mirror.enactors} - {self.settings.id})[:_PEERS_MAX]


def _weight(enactor: str, generation: int, number: int) -> bytes:
    return blake2b(f"{enactor} {generation} {number}".encode(), digest_size=8).digest()
