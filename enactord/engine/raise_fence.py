"""Raising a fence: the store's record first, then the zone's own TXT, each by a compare of what stands there.

A fence goes up and never down by itself. So whatever raises one asks the store first, and the store's word
counts for a while only: an enactor that slept over it must ask again.
"""

import asyncio
from dataclasses import dataclass
from enum import StrEnum

from enactord.core.errors import ZoneDown
from enactord.core.events import FenceAhead, FenceOpened
from enactord.core.fence import (
    Fence,
    FenceRecord,
    FenceSeen,
    OtherFence,
    Stranger,
    find_stranger,
    out_of_reach,
    parse_fence,
)
from enactord.core.guards import in_step
from enactord.core.kv import Compare, absent, valued
from enactord.core.records import Committed, Reason, Refused, Transaction, Unknown
from enactord.engine.settings import Ports, Settings, ZonePorts
from enactord.engine.write import ZoneDenied
from enactord.ports import Clock
from enactord.store.cache import Cache
from enactord.store.control import parse_freeze
from enactord.store.fences import Fences, fence_is, not_lowered
from enactord.store.keys import Keys
from enactord.store.session import Claim

_ATTEMPTS = 5
RAISE_WITHIN_S = 60.0
"""How long the store's word that a fence may be raised counts; `fence lower` waits longer than this."""
PLANT_WITHIN_S = 1.0
"""How long it counts where no fence stands in the zone: a newer one may have stood there since, and be lost."""


class Raising(StrEnum):
    """How an attempt to raise a zone's fence ended."""

    RAISED = "raised"
    STORE = "store"
    """The store said no: frozen, the claim or the plan is gone, its fence has moved or is being lowered."""
    AHEAD = "ahead"
    """The zone's own fence is above the generation, or carries another plan of it."""
    FOREIGN = "foreign"
    """The zone is fenced by another scope, installation or version."""
    HELD = "held"
    """An operator holds the zone's fence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Raised:
    """The end of an attempt: the store's record where the fence is raised, or the fence that stands in the way."""

    how: Raising
    found: Stranger | None = None
    record: FenceRecord | None = None
    problem: str = ""
    """What keeps the store from following a fence that is ahead of it."""


class _Word:
    """The store's word that a fence may be raised, from the moment in which it was asked.

    Two clocks tell its age: of a machine that was suspended, one may have stood still.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._given = (asyncio.get_running_loop().time(), clock.now())

    def counts(self, within_s: float = RAISE_WITHIN_S) -> bool:
        """Whether the store was asked not longer ago than this."""
        now = (asyncio.get_running_loop().time(), self._clock.now())
        return all(later - earlier <= within_s for earlier, later in zip(self._given, now, strict=True))


class FenceRaiser:
    """Raises fences for one enactor, in the store and in its zones."""

    def __init__(self, settings: Settings, ports: Ports, cache: Cache) -> None:
        self.settings = settings
        self._ports = ports
        self._keys = Keys(settings.scope)
        self._cache = cache
        self._fences = Fences(ports.store, self._keys)

    async def raise_fence(self, zone: str, fence: Fence, claim: Claim, seen: FenceRecord | None) -> Raised:
        """Raise a zone's fence to the claimed generation. Raises `ZoneDown`, `ZoneDenied`, `StoreDown`.

        `seen` is the store's fence by which the plan was judged: if it has moved since, the answer is no.
        """
        if not self._ports.zones[zone].may_write(seen):
            return Raised(how=Raising.STORE)
        word = _Word(self._ports.clock)
        record = await self._fences.open(zone, fence, claim, seen)
        if record is None:
            return Raised(how=Raising.STORE)
        opened = await self._raise(zone, record, word)
        found = opened.found if opened.how is Raising.AHEAD else None
        assert not isinstance(found, OtherFence)
        if found is not None and (found == fence or found.generation < fence.generation):
            # The plan kept the zone's TXT, and another stands there: the TXT of this plan is above both, or this one.
            record = await self._fences.retext(zone, record, fence, claim)
            if record is None:
                return Raised(how=Raising.STORE)
            opened = await self._raise(zone, record, word)  # the TXT of this plan, now
        problem = ""
        if opened.how is Raising.AHEAD and isinstance(opened.found, Fence):
            problem = await self.follow(zone, opened.found)
        return Raised(how=opened.how, found=opened.found, record=record, problem=problem)

    async def replant(self, zone: str, record: FenceRecord) -> Raised:
        """Bring the fence in the zone back to the store's, which is asked, from an older, absent or garbled one.

        Raises `ZoneDown`, `ZoneDenied`, `StoreDown`.
        """
        word = _Word(self._ports.clock)
        keys = self._keys
        freeze = (await self._ports.store.get([keys.freeze])).get(keys.freeze)
        if freeze is not None and parse_freeze(freeze.value).mode == "all":
            return Raised(how=Raising.STORE)
        still = absent(keys.freeze) if freeze is None else valued(keys.freeze, freeze.value)
        if not await self._stands(zone, record, still):
            return Raised(how=Raising.STORE)
        return await self._raise(zone, record, word)

    async def replant_alone(self, zone: str, record: FenceRecord, seen: FenceSeen) -> bool:
        """Do so with the store away, where an older fence of ours stands; returns whether the known one stands now.

        An absent fence tells nothing of what stood there: it may have been newer than what is known here. One that
        is far below may have been lowered by an operator. Raises `ZoneDown`, `ZoneDenied`.
        """
        found = parse_fence(seen)
        if found is None or not in_step(record.txt.generation, found.generation, self.settings.limits):
            return False
        return (await self._raise(zone, record, _Word(self._ports.clock), alone=True)).how is Raising.RAISED

    async def follow(self, zone: str, found: Fence) -> str:
        """Tell the store of a fence found ahead of it, so that the next publication goes above both; "", or why not.

        A store that follows does not go back: so the server confirms the fence by an update that changes
        nothing, as anybody may answer a question. A fence that is out of reach is for a person to bring down.
        """
        newest = self._cache.newest
        if not in_step(found.generation, newest, self.settings.limits):
            return out_of_reach(zone, found.generation, newest)
        ports = self._ports.zones[zone]
        unconfirmed = await confirm(ports, found)
        if unconfirmed:
            # Where it has moved on, the next look finds what stands there now.
            return unconfirmed if await ports.zone.read_fence() == found.seen else ""
        self._ports.observer.observe(FenceAhead(zone=zone, fence=found, newest=newest))
        await self._fences.follow(zone, found)
        return ""

    async def _stands(self, zone: str, record: FenceRecord, *more: Compare) -> bool:
        """Whether the store's fence is this one now.

        By compares, as a question may be answered from the past: the fence of then would be planted.
        """
        as_known = (fence_is(self._keys, zone, record), not_lowered(self._keys, zone), *more)
        return (await self._ports.store.transact(as_known, ())).succeeded

    async def _raise(self, zone: str, record: FenceRecord, word: _Word, *, alone: bool = False) -> Raised:
        """Bring the fence in the zone to the record's from any older, absent or garbled one.

        `alone`: the store is away; then nothing is planted where no fence of ours stands.
        """
        ports, fence = self._ports.zones[zone], record.txt
        if not ports.names(fence.primary):
            return Raised(how=Raising.STORE)  # it is written on a server that this config does not name
        for _ in range(_ATTEMPTS):
            seen = await ports.zone.read_fence()
            if seen == fence.seen:
                return Raised(how=Raising.RAISED)
            stranger = find_stranger(seen, self._cache.owner)
            if stranger is not None:
                return Raised(how=Raising.FOREIGN, found=stranger)
            found = parse_fence(seen)
            if found is not None and found.hold:
                return Raised(how=Raising.HELD, found=found)
            if found is not None and found.generation >= fence.generation:
                return Raised(how=Raising.AHEAD, found=found)
            if found is None and (alone or not word.counts(PLANT_WITHIN_S)):
                # Who slept since the store was asked may see the gap that a newer fence has left.
                if alone or not await self._stands(zone, record):
                    return Raised(how=Raising.STORE)
                word = _Word(self._ports.clock)
            if not word.counts():
                # What was read may have been lowered since the store was asked. What was read before that
                # never stands again, so an update that requires it cannot land.
                return Raised(how=Raising.STORE)
            match await ports.zone.write(Transaction(fence_seen=seen, fence_after=fence, primary=fence.primary)):
                case Committed():
                    self._ports.observer.observe(
                        FenceOpened(zone=zone, generation=fence.generation, before=describe(seen))
                    )
                    return Raised(how=Raising.RAISED)
                case Refused(reason=Reason.DENIED | Reason.CONTENT, detail=detail):
                    raise ZoneDenied(f"{zone}: {detail}")
                case _:
                    pass  # another enactor was first, or nobody knows: the next read tells
        raise ZoneDown(f"{zone}: the fence could not be raised in {_ATTEMPTS} attempts")


async def confirm(ports: ZonePorts, found: Fence) -> str:
    """Have the server confirm, by an update that changes nothing, a fence that it showed; "", or why it does not."""
    match await ports.zone.write(Transaction(fence_seen=found.seen)):
        case Committed():
            return ""
        case Refused(detail=detail) | Unknown(detail=detail):
            return (
                f"{ports.settings.name}: a question is answered with the fence {found.text}, and the server does not"
                f" confirm it ({detail}): somebody may answer in its place, or it shows questions another view"
                " than updates"
            )


def describe(seen: FenceSeen) -> str:
    """Return what stands at the fence's name, for people."""
    found = parse_fence(seen)
    if found is not None:
        return found.text
    return "nothing" if not seen else "garbage: " + ", ".join(repr(rdata[1:65]) for rdata in seen)
