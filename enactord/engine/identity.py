"""The id of an installation: made once, where nobody has one, and put back where the store has lost it alone.

Two stores that drive one zone each know a part of what is served there, and undo each other's
work. So each store, each zone's fence and each local copy say which installation they are of.

    store has an id                       it is taken
    the store's is lost, ours is known    ours is put back, where the store has a plan that is known here
    no store, copy or zone has one        one is made, by a transaction: enactors that race agree
    a zone has another's                  none is made: an operator says which of the two is meant
"""

import asyncio

from enactord.core.errors import StoreDown, StoreRefused, ZoneDown
from enactord.core.events import InstallationMade
from enactord.core.fence import FenceSeen, OtherFence, Owner, Stranger, describe_fence, find_stranger
from enactord.core.kv import Put, absent, valued
from enactord.engine.health import Health
from enactord.engine.run_all import run_all
from enactord.engine.settings import Ports, Settings
from enactord.store.cache import Cache
from enactord.store.keys import installation_value, parse_installation

_AGAIN_S = 1.0
_OBJECTED_AGAIN_S = 30.0
"""How long nobody asks all zones again after one of them had another's id; an id in the store ends it at once."""
_ZONES_AT_ONCE = 16
_SHOWN_WITHIN_S = 1.0


class Identity:
    """Sees to it, for one enactor, that its installation has an id."""

    def __init__(self, settings: Settings, ports: Ports, cache: Cache, health: Health) -> None:
        self._settings = settings
        self._ports = ports
        self._cache = cache
        self._health = health
        self._answered = False
        """Whether any zone answered when all were last asked."""
        self._objected = False
        """Whether one of them was another's."""

    async def run(self) -> None:
        """Look after the id until cancelled."""
        while True:
            if not await self._cache.wait_until(lambda: self._cache.loaded, _AGAIN_S):
                continue
            try:
                if self._lost:
                    await self._provide()
                else:
                    self._objected = False
                    self._health.note_installation("")
            except (StoreDown, StoreRefused):
                pass  # the loop that follows the store finds that, too, and tells
            if self._objected:
                await self._cache.wait_until(lambda: not self._lost, _OBJECTED_AGAIN_S)
            else:
                await asyncio.sleep(_AGAIN_S)

    @property
    def _lost(self) -> bool:
        """Whether the store has no id that any version can read."""
        item = self._cache.stored_installation
        return self._cache.loaded and (item is None or parse_installation(item.value) is None)

    async def _provide(self) -> None:
        """Put the id that is known into the store, or make one where the zones have none."""
        fresh = self._cache.installation
        if not fresh:
            fresh = self._ports.draw_mark()
            problem = await self._objection(fresh)
            self._health.note_installation(problem)
            self._objected = bool(problem and self._answered)
            if problem or not self._lost:
                return
        item, key = self._cache.stored_installation, self._cache.keys.installation
        as_seen = absent(key) if item is None else valued(key, item.value)
        put = Put(key=key, value=installation_value(fresh))
        if (await self._ports.store.transact((as_seen,), (put,))).succeeded:
            self._ports.observer.observe(InstallationMade(installation=fresh))
        # Where another enactor was first, its id is the one.
        await self._cache.wait_until(lambda: not self._lost, _SHOWN_WITHIN_S)
        if not self._lost:
            self._health.note_installation("")

    async def _objection(self, fresh: str) -> str:
        """Ask all zones for their fences; return why no id is to be made: any that a zone has is another's."""
        answers = await self._answers()
        self._answered = bool(answers)
        owner = Owner(scope=self._settings.scope, installation=fresh)
        strangers = {zone: find_stranger(seen, owner) for zone, seen in sorted(answers.items())}
        for zone, stranger in strangers.items():
            if stranger is not None and _names_another(stranger, owner):
                return (
                    f"no id is made for this installation: {describe_fence(zone, stranger, owner)}. If it is this one,"
                    " and its store was lost: enactorctl restore --from-copy, or restore a backup"
                )
        if any(not isinstance(stranger, OtherFence) for stranger in strangers.values()):
            return ""
        for zone, stranger in strangers.items():
            if stranger is not None:
                return f"no id is made for this installation: {describe_fence(zone, stranger, owner)}"
        return "no id is made for this installation until the server of one zone at least answers for its fence"

    async def _answers(self) -> dict[str, FenceSeen]:
        """Return what stands at the fence's name of each zone; those that do not answer in time are left out."""
        answers: dict[str, FenceSeen] = {}

        places = asyncio.Semaphore(_ZONES_AT_ONCE)

        async def ask(zone: str) -> None:
            while zone not in answers:
                try:
                    async with places:
                        answers[zone] = await self._ports.zones[zone].zone.read_fence()
                except ZoneDown:
                    await asyncio.sleep(_AGAIN_S)

        try:
            async with asyncio.timeout(self._settings.first_answers_s):
                await run_all(ask(zone) for zone in sorted(self._ports.zones))
        except TimeoutError:
            pass  # one that answers later with another id is refused alone
        return answers


def _names_another(stranger: Stranger, owner: Owner) -> bool:
    """Whether a fence is of this scope, and of another installation."""
    return not isinstance(stranger, OtherFence) and stranger.scope == owner.scope
