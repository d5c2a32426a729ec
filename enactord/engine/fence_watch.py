"""Asking for fences: each zone's own, far more often than for its names.

A fence that is gone or replaced protects nothing, so it should be seen soon. Whatever is strange
about it starts a look at the zone, and that look decides what to do. Nothing is decided here.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from functools import partial

from enactord.core.errors import ZoneDown
from enactord.core.fence import FenceSeen, parse_fence
from enactord.core.guards import in_step
from enactord.engine.health import Health
from enactord.engine.settings import Ports, Settings
from enactord.engine.supervise import apart
from enactord.store.cache import Cache
from enactord.store.reports import Report

_SURE_S = 1.0
"""How long a strange fence must stand before it counts: a plan that is being opened changes store and zone in turn."""
_MISSED_MAX = 3
"""A zone that was not answered for so many intervals is one of which nothing is known now."""


class FenceWatch:
    """Asks for the fences of one enactor's zones, in turn by server."""

    def __init__(
        self, settings: Settings, ports: Ports, cache: Cache, health: Health, *, look: Callable[[str], None]
    ) -> None:
        """`look`: has a zone looked at, soon."""
        self.settings = settings
        self._ports = ports
        self._cache = cache
        self._health = health
        self._look = look
        self._server = {zone: ports.zones[zone].settings.server or zone for zone in sorted(ports.zones)}
        """Zone to the server that is asked."""
        self._zones: dict[str, list[str]] = defaultdict(list)
        self._bounds: dict[str, float] = {}
        """Questions a second that a server takes, where it takes fewer than others."""
        for zone, server in self._server.items():
            self._zones[server].append(zone)
            bound = ports.zones[zone].settings.fence_questions_per_s
            if bound is not None:
                self._bounds[server] = min(bound, self._bounds.get(server, bound))
        self._answered: dict[str, tuple[float, int]] = {}
        """When each zone's fence was last told (loop time, in seconds), and its generation."""
        self._strange: dict[str, tuple[FenceSeen, FenceSeen]] = {}
        """What last started a look: the fence that stood there, and the one that was expected."""
        self._unasked = set(ports.zones)
        """Zones whose first question has not ended yet."""
        self._all_asked = asyncio.Event()

    def interval_s(self, zone: str) -> float:
        """Return how long it takes until a zone is asked again: longer than set where a server has many zones."""
        server = self._server[zone]
        return max(self.settings.fence_interval_s, len(self._zones[server]) * self._gap_s(server))

    def _gap_s(self, server: str) -> float:
        """Return the least time between two questions to a server."""
        per_s = self.settings.fence_questions_per_s
        return 1.0 / min(per_s, self._bounds.get(server, per_s))

    async def asked(self, *, patience_s: float) -> None:
        """Return when every zone has been asked once, or when patience ends."""
        try:
            async with asyncio.timeout(patience_s):
                await self._all_asked.wait()
        except TimeoutError:
            pass

    def report(self) -> Report:
        """Return what is known of the fences now, for those who publish."""
        now = asyncio.get_running_loop().time()
        limits, newest = self.settings.limits, self._cache.newest
        highest, unknown = 0, 0
        for zone in self._ports.zones:
            at, generation = self._answered.get(zone, (0.0, 0))
            if zone not in self._answered or now - at > _MISSED_MAX * self.interval_s(zone):
                unknown += 1
            elif in_step(generation, newest, limits):
                highest = max(highest, generation)
        return Report(at=self._ports.clock.now(), fence=highest, zones=len(self._server), unknown=unknown)

    async def run(self) -> None:
        """Ask until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for server in self._zones:
                tasks.create_task(self._ask_in_turn(server, tasks))

    async def _ask_in_turn(self, server: str, tasks: asyncio.TaskGroup) -> None:
        """Ask for the fences of one server's zones, evenly over time; a zone that hangs holds up no other."""
        zones = self._zones[server]
        asking: dict[str, asyncio.Task[None]] = {}
        while True:
            for zone in zones:
                first = zone in self._unasked
                if zone not in asking or asking[zone].done():
                    asking[zone] = tasks.create_task(apart(f"fences {zone}", partial(self._ask, zone), self._health))
                await asyncio.sleep(self._gap_s(server) if first else self.interval_s(zone) / len(zones))

    async def _ask(self, zone: str) -> None:
        try:
            if await self._is_strange(zone):
                await asyncio.sleep(_SURE_S)
                if await self._is_strange(zone, told=True):
                    self._look(zone)
        except ZoneDown:
            pass  # a look finds that, too, and tells
        finally:
            self._unasked.discard(zone)
            if not self._unasked:
                self._all_asked.set()

    async def _is_strange(self, zone: str, *, told: bool = False) -> bool:
        """Whether another fence stands in the zone than the store has; one that has been told of is strange no more."""
        seen = await self._ports.zones[zone].zone.read_fence()
        standing = parse_fence(seen)
        ours = standing is not None and self._cache.owner.owns(standing)
        generation = standing.generation if standing is not None and ours else 0
        self._answered[zone] = (asyncio.get_running_loop().time(), generation)
        record = self._cache.fence(zone)
        if record is None or seen == record.txt.seen:
            self._strange.pop(zone, None)
            return False
        if self._strange.get(zone) == (seen, record.txt.seen):
            return False
        if told:
            self._strange[zone] = (seen, record.txt.seen)
        return True
