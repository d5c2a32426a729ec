"""Bringing fences down: the operator's way back from a generation that is out of all reach.

Fences only go up, as a late write must find one above its own. So while one goes down nobody else may
move it, whatever was under way must have had its end, and the new record must never have stood before:
no message that is still on its way can require it.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from enactord.core.errors import PlanUnreadable, StoreUnknown, ZoneDown
from enactord.core.fence import (
    Fence,
    FenceRecord,
    Owner,
    describe_fence,
    find_stranger,
    parse_fence,
    parse_fence_text,
    raised_over,
)
from enactord.core.guards import Limits, in_step
from enactord.core.guards.step import STEP_MAX
from enactord.core.kv import MAX_OPERATIONS, Compare, Delete, Operation, Put, absent, none_under, unmodified, valued
from enactord.core.plan import GENERATION_MAX
from enactord.core.records import Committed, Reason, Refused, Transaction
from enactord.core.refusal import Refusal
from enactord.engine.raise_fence import RAISE_WITHIN_S, describe
from enactord.engine.settings import ZonePorts
from enactord.engine.write import ZoneDenied
from enactord.operations import audit
from enactord.operations.scope import Denied, Scope, Stage, silent
from enactord.store.audit import Deed, Facts
from enactord.store.cache import Cache
from enactord.store.control import parse_freeze
from enactord.store.keys import head_value, json_value, parse_record, record_value, stored_json
from enactord.store.layout import ASIDE, LOWERED, LOWERING
from enactord.wire.tsig import FUDGE_S

QUIET_S = RAISE_WITHIN_S + FUDGE_S
"""How long the scope must have been frozen: until then a raise that the store let may be sent, and be taken."""
_CLAIMS_S = 30.0
_CLAIMS_POLL_S = 0.5
_ATTEMPTS = 5
_ASIDE_A_TRANSACTION = (MAX_OPERATIONS - 4) // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """A zone whose fence was brought down: what stood in the DNS, and what does now."""

    zone: str
    before: str
    fence: Fence


@dataclass(frozen=True, slots=True, kw_only=True)
class Lowered:
    """What was brought down. `aside`: the plans that were out of reach; `head`: the newest plan that is left.

    `waiting`: zones whose fence must come down, too, before such plans are set aside.
    """

    to: int
    zones: tuple[Brought, ...]
    aside: tuple[int, ...]
    head: int
    waiting: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        return {
            "to": self.to,
            "zones": [
                {"zone": each.zone, "before": each.before, "fence": each.fence.text, "generation": self.to}
                for each in self.zones
            ],
            "aside": list(self.aside),
            "head": self.head,
            "waiting": list(self.waiting),
        }


class _No(Exception):
    """Why it cannot go on."""

    def __init__(self, guard: str, detail: str) -> None:
        self.refusal = Refusal(guard=guard, detail=detail)


async def lower(
    scope: Scope,
    ports: Mapping[str, ZonePorts],
    *,
    to: int | None,
    reason: str,
    author: str,
    stage: Stage = silent,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Lowered | Denied:
    """Bring the fences of zones down to one generation; plans above it are set aside after the last zone.

    `ports`: the zones. `to`: a generation above every sound plan; None: the lowest such.
    Run again, it finishes what broke off. Raises `StoreDown`, `ZoneDown`, `ZoneDenied`.
    """
    try:
        return await _Lowering(scope, ports, to, {"reason": reason, "author": author}, stage, sleep).run()
    except _No as no:
        return Denied(refusals=(no.refusal,))


def sound_top(cache: Cache, limits: Limits) -> int:
    """Return the highest generation that plans came to step by step; 0: there is no such plan.

    A plan that is further above the one before it is out of reach, unless an operator approved it.
    So is a plan so high that generations would end within a step.
    """
    top = 0
    for generation in cache.generations:
        if generation >= GENERATION_MAX - limits[STEP_MAX]:
            break
        if top and not in_step(generation, top, limits) and not _approved(cache, generation):
            break
        top = generation
    return top


def _approved(cache: Cache, generation: int) -> bool:
    try:
        manifest = cache.manifest(generation)
    except PlanUnreadable:
        return False
    return manifest is not None and manifest.approval is not None


class _Lowering:
    def __init__(
        self,
        scope: Scope,
        ports: Mapping[str, ZonePorts],
        to: int | None,
        order: Mapping[str, str],
        stage: Stage,
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._scope = scope
        self._store, self._keys = scope.store, scope.keys
        self._ports = ports
        self._asked = to
        self._order = order
        self._stage = stage
        self._sleep = sleep

    async def run(self) -> Lowered:
        self._stage("reading")
        frozen, since = await self._frozen()
        cache = await self._scope.cache()
        other = next((f"{name} is a {other}" for name, other in sorted(cache.other_formats.items())), "")
        if other:
            raise _No("format", f"{other}, and lower fences with that version")
        top = sound_top(cache, self._scope.limits)
        to = self._target(cache, top)
        high = tuple(generation for generation in cache.generations if generation > to)
        await self._await_claims()
        wanted: dict[str, Fence] = {}
        for zone in self._ports:
            fence = await self._begin(zone, to, top, cache, frozen)
            if fence is not None:
                wanted[zone] = fence
        if not wanted and not high:
            shown = ", ".join(f"{zone} at {cache.fences.get(zone, 0)}" for zone in self._ports)
            raise _No("reach", f"no fence is out of reach ({shown}): the next publication goes above it by itself")
        await self._quiet(since)
        zones = [await self._bring(zone, fence, frozen) for zone, fence in wanted.items()]
        cache = await self._scope.cache()
        waiting = tuple(zone for zone in self._scope.zones if high and cache.fences.get(zone, 0) > to)
        if high and not waiting:
            self._stage("setting plans aside")
            await self._set_aside(cache, high, top, frozen)
        return Lowered(
            to=to,
            zones=tuple(zones),
            aside=() if waiting else high,
            head=top if high and not waiting else cache.head,
            waiting=waiting,
        )

    # -- what must hold

    async def _frozen(self) -> tuple[bytes, float]:
        """Return the freeze as it is stored, and since when it holds."""
        item = (await self._store.get([self._keys.freeze])).get(self._keys.freeze)
        freeze = None if item is None else parse_freeze(item.value)
        if item is None or freeze is None or freeze.mode != "all":
            raise _No(
                "freeze",
                "nothing may be at work meanwhile: first stop all writing with: enactorctl freeze --reason …",
            )
        return item.value, freeze.since

    def _target(self, cache: Cache, top: int) -> int:
        """Return the generation to bring fences down to: that of a lowering under way, or as it was asked for."""
        begun = {zone: note for zone in self._ports if (note := read_note(cache.lowerings.get(zone)))}
        to = next((note.generation for note in begun.values()), None) or self._asked or top + 1
        other = next((zone for zone, note in begun.items() if note.generation != (self._asked or to)), None)
        if other is not None:
            down_to = begun[other].generation
            raise _No(
                "lowering", f"the fence of {other} is on its way down to {down_to}: finish that first, without --to"
            )
        step = self._scope.limits[STEP_MAX]
        if not top < to <= top + step:
            detail = (
                f"{to} must be above the newest plan in reach, {top}, and by {step} at most (generation_step_max);"
                f" without --to it is {top + 1}"
            )
            raise _No("generation", detail)
        return to

    async def _await_claims(self) -> None:
        """Wait for enactors to let go of the plans that they were at work on: frozen, they do so soon."""
        left_s = _CLAIMS_S
        while claims := (await self._scope.cache()).all_claims:
            if left_s <= 0:
                holders = ", ".join(sorted({enactor for _, enactor in claims}))
                raise _No("claimed", f"{holders} still holds a claim on a plan: wait until it lets go, or stop it")
            self._stage("waiting for claims to end")
            await self._sleep(_CLAIMS_POLL_S)
            left_s -= _CLAIMS_POLL_S

    async def _quiet(self, since: float) -> None:
        """Wait until nothing is left that was let through before the freeze."""
        while (left_s := QUIET_S - max(0.0, self._scope.clock.now() - since)) > 0:
            self._stage(f"waiting {left_s:.0f} s: until then a message from before the freeze may be taken")
            await self._sleep(min(left_s, 1.0))

    # -- one zone

    async def _begin(self, zone: str, to: int, top: int, cache: Cache, frozen: bytes) -> Fence | None:
        """Note in the store that a zone's fence goes down; returns the fence to put there, None: it is in reach."""
        keys, limits = self._keys, self._scope.limits
        noted = cache.lowerings.get(zone)
        begun = read_note(noted)
        if begun is not None:
            return begun
        seen = await self._ports[zone].zone.read_fence()
        stranger = find_stranger(seen, cache.owner)
        if stranger is not None:
            raise _No("identity", describe_fence(zone, stranger, cache.owner))
        standing = parse_fence(seen)
        if standing is not None and standing.hold:
            detail = f"an operator holds {zone} ({standing.hold}): first enactorctl emergency release {zone}"
            raise _No("held", detail)
        record = cache.fence(zone)
        stands = max(standing.generation if standing else 0, record.generation if record else 0)
        if noted is None and in_step(stands, top, limits):
            return None
        mark = secrets.token_hex(8)
        fence = Fence(scope=self._scope.name, generation=to, plan=mark, installation=cache.installation)
        note = {**self._order, "from": describe(seen), "fence": fence.text, "at": self._scope.clock.now()}
        free = absent(keys.lowering(zone)) if noted is None else valued(keys.lowering(zone), noted)  # it is garbled
        compares = [valued(keys.freeze, frozen), free]
        put = Put(key=keys.lowering(zone), value=json_value(LOWERING, note))
        if not (await self._store.transact(compares, (put,))).succeeded:
            raise _No("changed", "somebody else froze, thawed or lowered meanwhile: look at enactorctl status")
        return fence

    async def _bring(self, zone: str, fence: Fence, frozen: bytes) -> Brought:
        self._stage(f"lowering {zone}")
        before = await self._write(zone, fence)
        keys = self._keys
        found = await self._store.get([keys.fence(zone), keys.lowering(zone), keys.applied(zone)])
        item, note = found.get(keys.fence(zone)), found.get(keys.lowering(zone))
        known = None if item is None else parse_record(item.value)
        noted = None if note is None else note.value
        if read_note(noted) != fence:
            raise _No("changed", f"somebody else lowered the fence of {zone} meanwhile: run it again")
        assert noted is not None
        before = before or _from(noted) or fence.text
        record = raised_over(known if isinstance(known, FenceRecord) else None, fence)
        compares: list[Compare] = [
            valued(keys.freeze, frozen),
            none_under(keys.all_claims),
            valued(keys.lowering(zone), noted),
            absent(keys.fence(zone)) if item is None else valued(keys.fence(zone), item.value),
        ]
        operations: list[Operation] = [
            Put(key=keys.fence(zone), value=record_value(record)),
            # What was applied there is of a plan that is no longer opened: the next plan looks at every name.
            Delete(key=keys.applied(zone)),
            Delete(key=keys.lowering(zone)),
            Put(key=keys.lowered(zone), value=json_value(LOWERED, stored_json(LOWERING, noted))),
            self._entry(Deed.FENCE_LOWER, {"zone": zone, "before": before, "to": fence.generation}),
        ]
        if not (await self._store.transact(compares, operations)).succeeded:
            raise _No("changed", f"the scope was thawed, or {zone} changed, meanwhile: run it again")
        return Brought(zone=zone, before=before, fence=fence)

    async def _write(self, zone: str, fence: Fence) -> str:
        """Put the fence into the zone, in place of exactly what stands there; returns that, "" if it stood already."""
        port = self._ports[zone].zone
        before, last = "", ""
        for _ in range(_ATTEMPTS):
            seen = await port.read_fence()
            if seen == fence.seen:
                return before
            standing = parse_fence(seen)
            owner = Owner(scope=fence.scope, installation=fence.installation)
            if find_stranger(seen, owner) is not None or (standing is not None and standing.hold):
                raise _No("changed", f"{zone} is fenced by {describe(seen)} now: look at who did that")
            before = describe(seen)
            match await port.write(Transaction(fence_seen=seen, fence_after=fence)):
                case Committed():
                    return before
                case Refused(reason=Reason.DENIED | Reason.CONTENT, detail=detail):
                    raise ZoneDenied(f"{zone}: {detail}")
                case other:
                    last = other.detail
        raise ZoneDown(f"{zone}: its fence was not lowered for certain ({last}); run it again")

    def _entry(self, deed: Deed, facts: Facts) -> Put:
        return audit.entry(self._scope, deed, author=self._order["author"], reason=self._order["reason"], facts=facts)

    # -- plans

    async def _set_aside(self, cache: Cache, high: Collection[int], top: int, frozen: bytes) -> None:
        """Take plans out of the way of publications; the newest plan is then the highest that is in reach."""
        keys = self._keys
        manifest = cache.manifest(top) if top else None
        head = cache.items.get(keys.head)
        compares = [valued(keys.freeze, frozen), none_under(keys.all_claims)]
        compares.append(absent(keys.head) if head is None else valued(keys.head, head.value))
        left = sorted(high, reverse=True)
        while left:
            some, left = left[:_ASIDE_A_TRANSACTION], left[_ASIDE_A_TRANSACTION:]
            told: Facts = {"plans": len(some), "lowest": some[-1], "highest": some[0], "newest_now": top}
            operations: list[Operation] = [self._entry(Deed.PLANS_ASIDE, told)]
            for generation in some:
                item = cache.items[keys.plan(generation)]
                compares.append(unmodified(item.key, item.mod_revision))
                operations += [Delete(key=item.key), Put(key=keys.aside(generation), value=ASIDE.value(item.value))]
            lowered = None if manifest is None else head_value(top, manifest.mark)
            operations.append(Delete(key=keys.head) if lowered is None else Put(key=keys.head, value=lowered))
            try:
                done = (await self._store.transact(compares, operations)).succeeded
            except StoreUnknown as error:
                raise StoreUnknown(f"{error}; run it again") from error
            if not done:
                raise _No("changed", "the scope was thawed, or plans changed, meanwhile: run it again")
            compares = compares[:2]
            compares.append(absent(keys.head) if lowered is None else valued(keys.head, lowered))


def _from(noted: bytes) -> str:
    """Return what stood in the zone before its lowering was begun, as the note of it says; "": it cannot be read."""
    found = stored_json(LOWERING, noted)
    text = found.get("from") if isinstance(found, dict) else None
    return text if isinstance(text, str) else ""


def read_note(value: bytes | None) -> Fence | None:
    """Return the fence that a note of a lowering says to put into a zone; None where there is no note, or no fence."""
    found = None if value is None else stored_json(LOWERING, value)
    text = found.get("fence") if isinstance(found, dict) else None
    return parse_fence_text(text.encode("utf-8", "replace")) if isinstance(text, str) else None
