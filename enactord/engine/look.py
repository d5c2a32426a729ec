"""Looking at zones, each at a pace of its own: what is served is compared and put back."""

import asyncio
import random
from collections.abc import Callable, Mapping

from enactord.core.errors import StoreDown, StoreRefused, ZoneDown, ZoneOdd
from enactord.engine.health import ASKED_ASPECTS, FENCE_ASPECTS, Aspect, Health
from enactord.engine.pace import Gate
from enactord.engine.probing import Ground
from enactord.engine.repair import Repairer
from enactord.engine.settings import Settings, ZonePorts
from enactord.engine.write import ZoneDenied, ZoneWriter
from enactord.store.cache import Cache

_LOOKS_AT_ONCE = 8
_PATIENCE_S = 1.0
_UNSETTLED_PAUSE_S = 5.0
"""The pause before a zone is looked at again of which some server does not show yet what its own server does."""
_NEGATIVE_TTL_EVERY_S = 300.0


class Looks:
    """The looks of one enactor at its zones."""

    def __init__(
        self,
        settings: Settings,
        zones: Mapping[str, ZonePorts],
        cache: Cache,
        writers: Mapping[str, ZoneWriter],
        repairer: Repairer,
        health: Health,
        rng: random.Random,
        *,
        generation: Callable[[], int],
    ) -> None:
        """`generation`: of the plan that is worked on; 0: none is."""
        self.settings = settings
        self._zones = zones
        self._cache = cache
        self._writers = writers
        self._repairer = repairer
        self._health = health
        self._rng = rng
        self._generation = generation
        self._gate = Gate(_LOOKS_AT_ONCE, patience_s=_PATIENCE_S)
        self._wanted = {zone: asyncio.Event() for zone in writers}
        """Zones that are to be looked at without waiting for their turn."""
        self._verified = dict.fromkeys(zones, 0)
        self._negative_ttl_at: dict[str, float] = {}

    @property
    def verified(self) -> int:
        """The newest generation all of which was seen served, in every zone, on every server that counts; 0: none."""
        return min(self._verified.values(), default=0)

    async def run(self, zone: str) -> None:
        """Look at a zone at a slow, bounded pace of its own."""
        await asyncio.sleep(self._rng.uniform(0.0, min(1.0, self.settings.repair_interval_s)))
        wanted = self._wanted[zone]
        while True:
            wanted.clear()
            async with self._gate.place():
                unsettled = await self._look(zone)
            pause_s = self.settings.repair_interval_s * self._rng.uniform(0.8, 1.0)
            try:
                async with asyncio.timeout(min(pause_s, _UNSETTLED_PAUSE_S) if unsettled else pause_s):
                    await wanted.wait()
            except TimeoutError:
                pass

    def soon(self, zone: str) -> None:
        """Have a zone looked at without waiting for its turn."""
        self._wanted[zone].set()

    async def _look(self, zone: str) -> bool:
        """Look at a zone; returns whether another look is due soon."""
        self._writers[zone].budget.trickle()
        applied = self._cache.applied(zone)
        try:
            look = await self._repairer.look(zone, cut=self._wanted[zone].is_set)
        except ZoneDown as error:
            self._health.zone_cannot_be_asked(zone, error)
            if not isinstance(error, ZoneOdd):
                for verifier in self._zones[zone].own_verifiers:
                    self._health.server_is_silent(zone, verifier.server, str(error))
        except ZoneDenied as error:
            self._health.zone_is_down(zone, Aspect.WRITING, str(error))
        except (StoreDown, StoreRefused) as error:
            self._health.store_is_down(error)
        else:
            self._health.zone_is_up(zone, *ASKED_ASPECTS)
            if look.cut:
                return False  # nothing was found out of its fence
            await self._read_negative_ttl(zone)
            if look.problem:
                aspect = Aspect.IDENTITY if look.foreign else Aspect.HELD if look.held else Aspect.FENCE
                self._health.fence_is_not_ours(zone, aspect, look.problem)
                return False
            self._health.zone_is_up(zone, *FENCE_ASPECTS)
            if self._health.has(zone, Aspect.WRITING) and await self._takes_updates(zone):
                self._health.zone_is_up(zone, Aspect.WRITING)
            if not (look.drifts or look.unsettled) and self._cache.applied(zone) == applied:
                self._verified[zone] = max(self._verified[zone], applied)
            return look.unsettled
        return False

    async def _read_negative_ttl(self, zone: str) -> None:
        """Now and then, ask how long an empty answer of the zone is kept by those who saw one."""
        now = asyncio.get_running_loop().time()
        if now < self._negative_ttl_at.get(zone, 0.0):
            return
        self._negative_ttl_at[zone] = now + _NEGATIVE_TTL_EVERY_S
        try:
            negative_ttl_s = await self._zones[zone].zone.negative_ttl_s()
        except ZoneDown:
            return  # the next look tells
        self._health.evidence.note_negative_ttl(zone, negative_ttl_s)

    async def _takes_updates(self, zone: str) -> bool:
        """Ask a server that refused our updates whether it takes them now, where others have left nothing to write."""
        record = self._cache.fence(zone)
        if record is None or self._cache.applied(zone) < self._generation():
            return False  # the next pass tells
        standing = await self._writers[zone].prober.ground(record.txt)
        return standing.ground in (Ground.FINE, Ground.MOVED)
