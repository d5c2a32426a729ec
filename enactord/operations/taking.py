"""Taking a zone over: a fence of an installation that is gone, or a damaged one, gives way to ours.

Nobody but a person knows that the other installation is gone: while its enactors live, the two undo
each other's work. So what stands is shown first, and exactly that is replaced, by a fence above it:
no write that is on its way from over there can land.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

from enactord.core.errors import ZoneDown
from enactord.core.fence import (
    FENCE_MAX,
    NO_PLAN,
    Fence,
    FenceSeen,
    OtherFence,
    Owner,
    describe_fence,
    find_stranger,
    out_of_reach,
)
from enactord.core.guards import in_step
from enactord.core.kv import Put, absent, valued
from enactord.core.records import Committed, Reason, Refused, Transaction
from enactord.core.refusal import Refusal
from enactord.engine.raise_fence import describe
from enactord.engine.settings import ZonePorts, draw_mark
from enactord.engine.write import ZoneDenied
from enactord.operations import audit
from enactord.operations.scope import Denied, Scope
from enactord.store.audit import Deed
from enactord.store.cache import Cache
from enactord.store.fences import Fences
from enactord.store.keys import installation_value, json_value
from enactord.store.layout import INSTALLATION, TAKEN

_ATTEMPTS = 5
_PUT_BACK_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What stands in a zone that may be taken over."""

    zone: str
    seen: FenceSeen
    standing: str
    """For people."""
    generation: int
    """What the fence that stands is of; 0 where it is damaged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenOver:
    """A zone that is ours: what stood there, and what does now.

    `left`: what is left to do, for people; "": enactors go on by themselves.
    """

    zone: str
    before: str
    fence: Fence
    left: str

    def document(self) -> dict[str, Any]:
        return {
            "zone": self.zone,
            "before": self.before,
            "fence": self.fence.text,
            "generation": self.fence.generation,
            "installation": self.fence.installation,
            "left": self.left or None,
        }


async def look(scope: Scope, zone: str, ports: ZonePorts) -> Offer | Denied:
    """Return what stands in a zone and may be taken over. Raises `StoreDown`, `ZoneDown`."""
    cache = await scope.cache()
    seen = await ports.zone.read_fence()
    owner = _owner(cache)
    stranger = find_stranger(seen, owner)
    if stranger is None:
        detail = f"{zone} is fenced by no other installation: {describe(seen)} stands there; there is nothing to take"
        return _denied("ours", detail)
    damaged = isinstance(stranger, OtherFence) and not stranger.version
    if not damaged and (isinstance(stranger, OtherFence) or stranger.scope != scope.name):
        return _denied("identity", describe_fence(zone, stranger, owner))
    generation = 0 if isinstance(stranger, OtherFence) else stranger.generation
    return Offer(zone=zone, seen=seen, standing=describe(seen), generation=generation)


async def take(
    scope: Scope, offer: Offer, ports: ZonePorts, *, reason: str, author: str, copied: str = ""
) -> TakenOver | Denied:
    """Put our fence in place of exactly what was shown, above it.

    `copied`: the installation's id as the local copy has it; "": there is none.

    It is the one that our store has for the zone, if that is above; else the store is told of it, and the
    next plan goes above. Where the store has no installation's id yet, it gets one. Raises `StoreDown`,
    `ZoneDown`, `ZoneDenied`.
    """
    installation = await _installation(scope, copied)
    if isinstance(installation, Denied):
        return installation
    if find_stranger(offer.seen, Owner(scope=scope.name, installation=installation)) is None:
        detail = (
            f"the store had lost the id of this installation; it is there again ({installation}), and the zone is ours"
        )
        return _denied("ours", detail)
    fence = _fence(await scope.cache(), offer, installation)
    last = ""
    for _ in range(_ATTEMPTS):
        seen = await ports.zone.read_fence()
        if seen == fence.seen:  # an update without an answer has landed
            break
        if seen != offer.seen:
            detail = (
                f"{offer.zone} is fenced by {describe(seen)} now: somebody is at work there; look who, and try again"
            )
            return _denied("changed", detail)
        match await ports.zone.write(Transaction(fence_seen=seen, fence_after=fence)):
            case Committed():
                break
            case Refused(reason=Reason.DENIED | Reason.CONTENT, detail=detail):
                raise ZoneDenied(f"{offer.zone}: {detail}")
            case other:
                last = other.detail
    else:
        raise ZoneDown(f"{offer.zone}: it was not taken for certain ({last}); run it again")
    return await _record(scope, offer, fence, {"reason": reason, "author": author})


async def _installation(scope: Scope, copied: str) -> str | Denied:
    """Return the id of our installation. Where the store has none: the one that the local copy knows, or a new one.

    An enactor that knows it puts it back within a second or two: it is waited for.
    """
    key = scope.keys.installation
    for attempt in range(_ATTEMPTS):
        cache = await scope.cache()
        if cache.installation:
            return cache.installation
        item = cache.stored_installation
        other = cache.other_formats.get(INSTALLATION.prefix)
        if other is not None:
            return _denied("format", f"the store holds a {other}")
        if not copied and attempt < _ATTEMPTS - 2:
            await asyncio.sleep(_PUT_BACK_S)
            continue
        as_seen = absent(key) if item is None else valued(key, item.value)
        fresh = copied or draw_mark()
        await scope.store.transact((as_seen,), (Put(key=key, value=installation_value(fresh)),))
    return _denied("changed", "others give this installation its id at this moment: try again")


def _fence(cache: Cache, offer: Offer, installation: str) -> Fence:
    """Return the fence to put into a zone: the store's, or one above both that and what stands."""
    known = cache.fence(offer.zone)
    if known is not None and known.txt.generation > offer.generation and known.txt.installation == installation:
        return known.txt
    above = min(max(offer.generation, known.generation if known else 0) + 1, FENCE_MAX)
    return Fence(scope=cache.keys.scope, generation=above, plan=NO_PLAN, installation=installation)


async def _record(scope: Scope, offer: Offer, fence: Fence, order: dict[str, str]) -> TakenOver:
    zone = offer.zone
    note = {**order, "from": offer.standing, "fence": fence.text, "at": scope.clock.now()}
    entry = audit.entry(
        scope,
        Deed.ZONE_TAKE,
        author=order["author"],
        reason=order["reason"],
        facts={"zone": zone, "before": offer.standing, "fence": fence.generation},
    )
    await scope.store.transact((), (Put(key=scope.keys.taken(zone), value=json_value(TAKEN, note)), entry))
    newest = (await scope.cache()).newest
    if fence.plan != NO_PLAN:
        left = ""
    elif in_step(fence.generation, newest, scope.limits):
        if await Fences(scope.store, scope.keys).follow(zone, fence):
            left = "publish: the next plan is applied above that fence"
        else:
            left = (
                "the store has not taken the zone's new fence (its fence is being lowered, or another version wrote its"
                " record): see /readyz"
            )
    else:
        left = out_of_reach(zone, fence.generation, newest)
    return TakenOver(zone=zone, before=offer.standing, fence=fence, left=left)


def _owner(cache: Cache) -> Owner:
    """Whose fences are ours; without an id of ours, any id is another's."""
    return Owner(scope=cache.keys.scope, installation=cache.installation)


def _denied(guard: str, detail: str) -> Denied:
    return Denied(refusals=(Refusal(guard=guard, detail=detail),))
