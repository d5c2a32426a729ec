"""Retiring a zone: what enactord knows of it leaves the store, and where it is asked for, its records leave the DNS.

A zone that was taken out of every config keeps its plans from being pruned and shows in
`status` for ever, until an operator says that it is not coming back.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from enactord.core.errors import EnactordError, PlanUnreadable, ZoneDown
from enactord.core.fence import Fence, Owner
from enactord.core.kv import Compare, Delete, Operation, Put, absent, valued
from enactord.core.ledger import Entry
from enactord.core.records import NO_RECORDS, Change, Expect, Served
from enactord.core.refusal import Refusal
from enactord.engine.settings import ZonePorts
from enactord.engine.write import Fate, FenceMoved, ZoneWriter
from enactord.operations import audit
from enactord.operations.emergency import hold_text, raise_by_hand
from enactord.operations.scope import Denied, Scope, Stage, Unheard, silent
from enactord.store.audit import Deed, Facts
from enactord.store.cache import Cache
from enactord.store.keys import json_value
from enactord.store.layout import RETIRED
from enactord.store.session import enactors_with

_NAMES_AT_ONCE = 500
_DELETES_A_TRANSACTION = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A name whose records were left as they are, and why."""

    name: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Retired:
    """A zone that is out of the store: how many names it had, which of them were removed from the DNS or kept there.

    `fence`: what stands at the fence's name in the DNS now, where its records were removed.
    `planned`: endpoints of it that the newest plan still holds.
    """

    zone: str
    generation: int
    names: int
    removed: tuple[str, ...] | None
    kept: tuple[Kept, ...]
    fence: Fence | None
    planned: int

    def document(self) -> dict[str, Any]:
        return {
            "zone": self.zone,
            "generation": self.generation,
            "names": self.names,
            "removed": None if self.removed is None else list(self.removed),
            "kept": [{"name": kept.name, "why": kept.why} for kept in self.kept],
            "fence": self.fence and self.fence.text,
            "planned": self.planned,
        }


async def retire(
    scope: Scope,
    zone: str,
    *,
    reason: str,
    author: str,
    ports: ZonePorts | None = None,
    stage: Stage = silent,
) -> Retired | Denied:
    """Take a zone out of the store; with `ports`, remove its records from the DNS before that.

    Run again, it finishes one that broke off. Nothing is changed where an enactor that is
    alive has the zone in its config. Raises `StoreDown`, `ZoneDown`, `ZoneDenied`.
    """
    stage("reading")
    cache = await scope.cache()
    refusal = await _refusal(scope, zone, cache)
    if refusal is not None:
        return Denied(refusals=(refusal,))
    gone: list[str] = []
    try:
        done = await _carry_out(scope, zone, cache, ports, gone, reason=reason, author=author, stage=stage)
    except EnactordError:
        await _enter_removal(scope, zone, gone, reason=reason, author=author)
        raise
    if isinstance(done, Denied):
        why = await _enter_removal(scope, zone, gone, reason=reason, author=author)
        return replace(done, refusals=(*done.refusals, Refusal(guard="audit", detail=why))) if why else done
    return done


async def _carry_out(
    scope: Scope,
    zone: str,
    cache: Cache,
    ports: ZonePorts | None,
    gone: list[str],
    *,
    reason: str,
    author: str,
    stage: Stage,
) -> Retired | Denied:
    """Do it; `gone` is given the names whose records were removed, also where it breaks off."""
    entries = {name: entry for name, entry in cache.ledger.zone_entries(zone).items() if entry.live}
    kept: tuple[Kept, ...] = ()
    fence: Fence | None = None
    if ports is not None:
        stage("removing records")
        done = await _remove_records(ports, cache.owner, entries, hold_text(author, f"retiring: {reason}"), gone)
        if isinstance(done, Denied):
            return done
        kept, fence = done
    stage("removing from the store")
    record = cache.fence(zone)
    generation = record.generation if record else 0
    note = {"reason": reason, "author": author, "at": scope.clock.now(), "generation": generation}
    facts: Facts = {"zone": zone, "names": len(entries), "removed": len(gone), "fence": generation}
    entry = audit.entry(scope, Deed.ZONE_RETIRE, author=author, reason=reason, facts=facts)
    if not await _forget(scope, zone, cache, json_value(RETIRED, note), entry):
        detail = (
            f"the fence of {zone} was raised meanwhile: an enactor has the zone; look for it with: enactorctl status"
        )
        return Denied(refusals=(Refusal(guard="raised", detail=detail),))
    return Retired(
        zone=zone,
        generation=generation,
        names=len(entries),
        removed=None if ports is None else tuple(gone),
        kept=kept,
        fence=fence,
        planned=_planned(cache, zone),
    )


async def _enter_removal(scope: Scope, zone: str, gone: Sequence[str], *, reason: str, author: str) -> str:
    """Enter the removal of records by a retirement that broke off after it; returns why it could not be, or ""."""
    if not gone:
        return ""
    facts: Facts = {"zone": zone, "removed": len(gone), "names": audit.some_names(list(gone)), "end": "broke off"}
    why = await audit.enter(scope, Deed.ZONE_RETIRE, author=author, reason=reason, facts=facts)
    return why and f"{len(gone)} names were removed from the DNS, which may be missing in the audit log: {why}"


async def _refusal(scope: Scope, zone: str, cache: Cache) -> Refusal | None:
    """Return why a zone must not be retired now, or None."""
    alive = await enactors_with(scope.store, scope.keys, zone)
    if alive:
        detail = (
            f"{', '.join(alive)} has {zone} in its config: take its [[zone]] out there, restart the enactor,"
            " and retire the zone then"
        )
        return Refusal(guard="configured", detail=detail)
    keys = scope.keys
    if cache.of_other_version(zone):
        detail = f"another version has written what the store holds of {zone}: {_of_other_format(cache, zone)}"
        return Refusal(guard="format", detail=detail)
    known = {*cache.fences, *cache.ledger.zones}
    if zone not in known and keys.applied(zone) not in cache.items:
        left = sorted(known - set(scope.zones))
        shown = f"zones that are in no config: {', '.join(left)}" if left else "no other zone waits for it"
        return Refusal(guard="zone", detail=f"the store knows nothing of {zone}; {shown}")
    return None


def _of_other_format(cache: Cache, zone: str) -> str:
    return next(str(other) for name, other in sorted(cache.other_formats.items()) if zone in name.split("/"))


def _planned(cache: Cache, zone: str) -> int:
    try:
        manifest = cache.manifest(cache.head)
    except PlanUnreadable:
        return 0
    return 0 if manifest is None else manifest.part(zone).endpoints


# -- the DNS


async def _remove_records(
    ports: ZonePorts, owner: Owner, entries: Mapping[str, Entry], hold: str, gone: list[str]
) -> tuple[tuple[Kept, ...], Fence] | Denied:
    """Remove what enactord put at the names, while the zone is held; the fence stays, above every write on its way.

    `gone` is given each name whose records were removed.
    """
    held = await raise_by_hand(ports, owner, hold)
    if isinstance(held, Denied):
        return held
    writer = ZoneWriter(ports, Unheard(), random.Random())
    kept: list[Kept] = []
    names = sorted(entries)
    for start in range(0, len(names), _NAMES_AT_ONCE):
        some = names[start : start + _NAMES_AT_ONCE]
        served = await writer.prober.read(held.fence, some)
        changes = []
        for name in some:
            answer = served.get(name)
            if answer is None:
                raise ZoneDown(f"{ports.settings.name}: no answer for {name}; run it again")
            why = _foreign(entries[name], answer)
            if why:
                kept.append(Kept(name=name, why=why))
            elif not answer.records.empty:
                changes.append(Change(name=name, after=NO_RECORDS, expect=Expect.EXACT, before=answer.records))
        try:
            fates = await writer.write(held.fence, changes) if changes else {}
        except FenceMoved:
            detail = f"somebody raised the fence of {ports.settings.name} meanwhile: run it again"
            return Denied(refusals=(Refusal(guard="raised", detail=detail),))
        gone += [name for name, written in fates.items() if written.fate is Fate.COMMITTED]
        for name, written in fates.items():
            if written.fate is Fate.UNRESOLVED:
                raise ZoneDown(f"{ports.settings.name}: {name} may not be removed ({written.detail}); run it again")
            if written.fate is not Fate.COMMITTED:
                kept.append(Kept(name=name, why=f"{written.fate}: {written.detail}"))
    released = await raise_by_hand(ports, owner, "")
    return released if isinstance(released, Denied) else (tuple(kept), released.fence)


def _foreign(entry: Entry, answer: Served) -> str:
    """Return why what a name serves is not to be removed; "": it is what enactord put there, or nothing."""
    if answer.covered:
        return f"covered by {answer.covered}"
    if answer.alias is not None:
        return f"somebody put a CNAME to {answer.alias} there"
    versions = [version.records(entry.name).addresses for version in entry.may_serve]
    if answer.records.empty or answer.records.addresses in versions:
        return ""
    return f"somebody put other records there: {' '.join(answer.records.texts())}"


# -- the store


async def _forget(scope: Scope, zone: str, cache: Cache, note: bytes, entry: Put) -> bool:
    """Delete the ledger, the applied plan and last the fence of a zone; False where its fence has moved.

    `entry`: what the audit log says of it, when it is done.
    """
    keys = scope.keys
    item = cache.items.get(keys.fence(zone))
    unmoved: Compare = absent(keys.fence(zone)) if item is None else valued(keys.fence(zone), item.value)
    ledger = [key for key in cache.items if key.startswith(keys.zone_ledger(zone))]
    for start in range(0, len(ledger), _DELETES_A_TRANSACTION):
        some = ledger[start : start + _DELETES_A_TRANSACTION]
        if not (await scope.store.transact((unmoved,), [Delete(key=key) for key in some])).succeeded:
            return False
    last: list[Operation] = [
        Delete(key=keys.applied(zone)),
        Delete(key=keys.fence(zone)),
        Put(key=keys.retired(zone), value=note),
        entry,
    ]
    return (await scope.store.transact((unmoved,), last)).succeeded
