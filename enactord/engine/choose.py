"""Choosing the plan to work on: the newest acceptable one. Plans are never queued."""

import asyncio
from collections.abc import Callable, Collection

from enactord.core.errors import PlanUnreadable
from enactord.core.events import PlanRefused, PlanSeen
from enactord.core.guards import WEIGH_CHANGE
from enactord.core.plan import Manifest
from enactord.core.refusal import Refusal
from enactord.engine.pace import Patience, Stride
from enactord.engine.passes import Accepted
from enactord.engine.planning import Planning, PlanView
from enactord.engine.settings import Ports, Settings
from enactord.store.cache import Cache
from enactord.store.layout import HEAD
from enactord.store.plans import Plans

_PATIENCE_FIRST_S = 0.1
_PATIENCE_CAP_S = 10.0
_REFUSED_MAX = 64


class Choosing:
    """Chooses for one enactor, and remembers what was refused."""

    def __init__(
        self,
        settings: Settings,
        ports: Ports,
        cache: Cache,
        planning: Planning,
        zones: Collection[str],
        *,
        has_work: Callable[[Manifest], bool],
        is_down: Callable[[str], bool],
    ) -> None:
        self.settings = settings
        self._ports = ports
        self._cache = cache
        self._planning = planning
        self._plans = Plans(ports.store, cache.keys, ports.clock)
        self._zones = zones
        self._has_work = has_work
        self._is_down = is_down
        self._refused: dict[int, tuple[Refusal, float]] = {}
        self._seen_head = 0
        self._patience = Patience(first_s=_PATIENCE_FIRST_S, cap_s=_PATIENCE_CAP_S)
        self._opened = 0
        self._opened_at = 0.0
        self._strides = {zone: Stride() for zone in zones}

    @property
    def refused(self) -> dict[int, Refusal]:
        """What was refused lately, by generation, and why."""
        return {generation: refusal for generation, (refusal, _) in sorted(self._refused.items())}

    def forget(self) -> None:
        """Judge refused plans anew."""
        self._refused.clear()

    async def choose(self, known: int) -> tuple[Accepted, PlanView] | None:
        """Return the newest acceptable plan above the known generation, if there is work on it. Raises `StoreDown`."""
        cache = self._cache
        self._note_open(cache.opened_max)
        marked = cache.refused_revision(cache.opened_max)
        if marked:  # somebody who knew better has opened it
            await self._plans.unmark_refused(cache.opened_max, marked)
        if HEAD.prefix in cache.other_formats:
            return None  # which plan is the newest, another version knows
        for generation in reversed(cache.generations):
            if generation <= known:
                return None
            try:
                manifest = cache.manifest(generation)
                if manifest is None:
                    continue
                self._note_plan(manifest)
                if self._awaited(manifest):
                    continue
                if not self._has_work(manifest):
                    return None
                if self._still_refused(generation):
                    continue
                chosen = await self._judge(manifest)
            except PlanUnreadable as error:
                chosen = Refusal(guard="unreadable", detail=str(error))
            if not isinstance(chosen, Refusal):
                self._refused.pop(generation, None)
                return chosen
            self._refuse(generation, chosen)
            if chosen.guard in WEIGH_CHANGE and generation not in cache.refused:
                await self._plans.mark_refused(generation, chosen, self.settings.id)
        return None

    async def _judge(self, manifest: Manifest) -> tuple[Accepted, PlanView] | Refusal:
        fences = {zone: self._cache.fence(zone) for zone in self._zones}
        view = await self._planning.read(manifest, self._zones)
        refusal = await self._planning.judge(view, fences)
        if refusal is not None:
            return refusal
        outlived = await self._planning.outlived(view)
        return Accepted(manifest=manifest, fences=fences, outlived=outlived), view

    def _note_open(self, opened: int) -> None:
        """Learn from each open whether the plan before it was applied, or given up for the next."""
        if opened == self._opened:
            return
        if self._opened:
            (self._patience.given_up if self._unsettled() else self._patience.applied)()
        now = asyncio.get_running_loop().time()
        self._opened, self._opened_at = opened, now
        for stride in self._strides.values():
            stride.begin(now)

    def _unsettled(self) -> bool:
        """Whether the plan that was opened last is not applied in some zone in which it goes on.

        A zone whose server hangs is not known to be down before its time limit: no other zone waits for that.
        """
        now = asyncio.get_running_loop().time()
        found = False
        for zone, stride in self._strides.items():
            if self._cache.applied(zone) < self._opened and not self._is_down(zone):
                stride.note((self._cache.fence(zone), self._cache.ledger.zone_revision(zone)), now)
                found = found or not stride.stands(now)
        return found

    def _awaited(self, manifest: Manifest) -> bool:
        """Whether a newer plan must wait for the one that is open; what an operator orders need not."""
        if manifest.generation <= self._opened or manifest.ordered:
            return False
        in_time = asyncio.get_running_loop().time() < self._opened_at + self._patience.now_s
        return in_time and self._unsettled()

    def _still_refused(self, generation: int) -> bool:
        known = self._refused.get(generation)
        return known is not None and asyncio.get_running_loop().time() < known[1]

    def _refuse(self, generation: int, refusal: Refusal) -> None:
        """Remember a refusal for a while: the ledger may change so that the plan becomes acceptable."""
        known = self._refused.get(generation)
        until = asyncio.get_running_loop().time() + self.settings.repair_interval_s
        if known is None or known[0] != refusal:
            self._ports.observer.observe(PlanRefused(generation=generation, guard=refusal.guard, detail=refusal.detail))
        self._refused[generation] = (refusal, until)
        for old in sorted(self._refused)[:-_REFUSED_MAX]:
            del self._refused[old]

    def _note_plan(self, manifest: Manifest) -> None:
        if manifest.generation > self._seen_head:
            self._seen_head = manifest.generation
            self._ports.observer.observe(
                PlanSeen(
                    generation=manifest.generation,
                    digest=manifest.digest,
                    endpoints=manifest.endpoints,
                    author=manifest.author,
                    age_s=self._ports.clock.now() - manifest.published_at,
                )
            )
