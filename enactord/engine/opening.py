"""Opening a zone: the store's fence first, then the zone's own, each by a compare of what stands there."""

from dataclasses import dataclass
from enum import StrEnum

from enactord.core.errors import ZoneDown
from enactord.core.events import FenceAhead, FenceOpened
from enactord.core.fence import Fence, FenceRecord, FenceSeen, parse_fence
from enactord.core.records import Committed, Reason, Refused, Transaction
from enactord.engine.settings import ZonePorts
from enactord.engine.writer import ZoneDenied
from enactord.ports import Observer
from enactord.registry.fences import Fences
from enactord.registry.session import Claim

_ATTEMPTS = 5


class Opening(StrEnum):
    """How an attempt to open a zone ended."""

    OPEN = "open"
    STORE = "store"
    """The store said no: frozen, the claim or the plan is gone, or its fence has moved."""
    AHEAD = "ahead"
    """The zone's own fence is above the generation, or carries another plan of it."""
    FOREIGN = "foreign"
    """The zone is fenced by another scope."""
    HELD = "held"
    """An operator holds the zone's fence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The end of an attempt: the store's record where the zone is open, or the fence that stands in the way."""

    how: Opening
    found: Fence | None = None
    record: FenceRecord | None = None


async def open_zone(
    ports: ZonePorts, fences: Fences, fence: Fence, claim: Claim, seen: FenceRecord | None, observer: Observer
) -> Opened:
    """Raise a zone's fence to the claimed generation. Raises `ZoneDown`, `ZoneDenied`, `StoreDown`.

    `seen` is the store's fence by which the plan was judged: if it has moved since, the answer is no.
    """
    zone = ports.settings.name
    record = await fences.open(zone, fence, claim, seen)
    if record is None:
        return Opened(how=Opening.STORE)
    opened = await raise_fence(ports, record.txt, observer)
    found = opened.found
    if opened.how is Opening.AHEAD and found is not None and (found == fence or found.generation < fence.generation):
        # The plan kept the zone's TXT, and another stands there: the TXT of this plan is above both, or this very one.
        record = await fences.retext(zone, record, fence, claim)
        if record is None:
            return Opened(how=Opening.STORE)
        opened = await raise_fence(ports, fence, observer)
    if opened.how is Opening.AHEAD and opened.found is not None:
        await follow_zone(zone, fences, opened.found, fence.generation, observer)
    return Opened(how=opened.how, found=opened.found, record=record)


async def follow_zone(zone: str, fences: Fences, found: Fence, newest: int, observer: Observer) -> None:
    """Tell the store of a fence found ahead of it, so that the next publication goes above both."""
    observer.observe(FenceAhead(zone=zone, fence=found, newest=newest))
    await fences.follow(zone, found)


async def raise_fence(ports: ZonePorts, fence: Fence, observer: Observer) -> Opened:
    """Bring the fence in the zone to this one from any older, absent or garbled one."""
    for _ in range(_ATTEMPTS):
        seen = await ports.zone.read_fence()
        if seen == fence.seen:
            return Opened(how=Opening.OPEN)
        found = parse_fence(seen)
        if found is not None and found.scope != fence.scope:
            return Opened(how=Opening.FOREIGN, found=found)
        if found is not None and found.hold:
            return Opened(how=Opening.HELD, found=found)
        if found is not None and found.generation >= fence.generation:
            return Opened(how=Opening.AHEAD, found=found)
        match await ports.zone.write(Transaction(fence_seen=seen, fence_after=fence)):
            case Committed():
                observer.observe(
                    FenceOpened(zone=ports.settings.name, generation=fence.generation, before=describe(seen))
                )
                return Opened(how=Opening.OPEN)
            case Refused(reason=Reason.DENIED | Reason.CONTENT, detail=detail):
                raise ZoneDenied(f"{ports.settings.name}: {detail}")
            case _:
                pass  # another enactor was first, or nobody knows: the next read tells
    raise ZoneDown(f"{ports.settings.name}: the fence could not be raised in {_ATTEMPTS} attempts")


def describe(seen: FenceSeen) -> str:
    """Return what stands at the fence's name, for people."""
    found = parse_fence(seen)
    if found is not None:
        return found.text
    return "nothing" if not seen else "garbage: " + ", ".join(repr(rdata[1:65]) for rdata in seen)
