"""Overriding one endpoint for some hours: its plan changes at once, and the override outlives the next plans."""

import secrets
from dataclasses import dataclass, replace

from enactord.core.content import pack_address, parse_content, unpack_address
from enactord.core.guards import RATIO_MAX, Limits
from enactord.core.ledger import REMOVAL
from enactord.core.overrides import ABSENT, PIN, Override, by_name, check_override, overridden
from enactord.core.plan import Draft, Manifest, parse_chunk
from enactord.core.refusal import Refusal
from enactord.operations.scope import Scope
from enactord.store.entries import entries_of
from enactord.store.overrides import read_overrides

_ID_BYTES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What an operator asks for: `kind` is `drain`, `weight` or `pin`; `lasts_s` is how long it is in force."""

    name: str
    kind: str
    address: str = ""
    weight: int = 0
    lasts_s: float


async def prepare(scope: Scope, wanted: Wanted, *, author: str, reason: str) -> Override | Refusal:
    """Return the override that an operator asks for, or why it cannot be. Raises `StoreDown`, `PlanUnreadable`."""
    now = scope.clock.now()
    override = Override(
        id=secrets.token_hex(_ID_BYTES),
        name=wanted.name,
        kind=wanted.kind,
        address=wanted.address,
        weight=wanted.weight,
        author=author,
        reason=reason,
        at=now,
        until=now + wanted.lasts_s,
    )
    wrong = check_override(override)
    if wrong:
        return _refuse(wrong)
    if wanted.kind == PIN:
        return await _pin(scope, override)
    override = replace(override, address=unpack_address(pack_address(override.address)))
    content, others = await _stored(scope, wanted.name)
    if content == ABSENT:
        return _refuse(f"{wanted.name} is not in the newest plan (see: enactorctl endpoints)")
    without, within = (
        overridden(content, by_name(some).get(wanted.name, ())) for some in (others, [*others, override])
    )
    if without == within:
        known = any(target.address == override.address for target in parse_content(without).targets)
        has = "has that weight already" if known else "is none of its targets"
        see = f"(see: enactorctl endpoints {wanted.name})"
        return _refuse(f"{override.address} {has}: {wanted.name} would not change {see}")
    return _falls_too_far(without, within, override, scope.limits) or override


async def _pin(scope: Scope, override: Override) -> Override | Refusal:
    """Return a pin of a name on what is applied there now."""
    entry = (await entries_of(scope.store, scope.keys, scope.zones, [override.name])).get(override.name)
    if entry is None or entry.applied is None or entry.applied.content == REMOVAL:
        return _refuse(f"nothing is applied at {override.name}: there is nothing to pin (see: enactorctl endpoints)")
    return replace(override, content=entry.applied.content)


def _falls_too_far(without: str, within: str, override: Override, limits: Limits) -> Refusal | None:
    """Return why an override cannot be whose end the guard of capacity would hold; None where it lets it pass."""
    planned, raised = parse_content(without).weight, parse_content(within).weight
    least = raised * (1 - limits[RATIO_MAX])
    if raised <= planned or planned >= least:
        return None
    return _refuse(
        f"{override.name} would have weight {raised} and fall back to {planned} at the end, farther than"
        f" {RATIO_MAX.name} {limits[RATIO_MAX]:g} lets pass: give a smaller weight"
    )


async def _stored(scope: Scope, name: str) -> tuple[str, list[Override]]:
    """Return what the newest plan's planner wants of a name, and the overrides in force."""
    generation, _ = await scope.plans.newest()
    manifest = await scope.plans.manifest(generation) if generation else None
    digest = None if manifest is None else manifest.chunk_of(name)
    others = list((await read_overrides(scope.store, scope.keys)).stored.values())
    held = ABSENT if digest is None else parse_chunk((await scope.plans.texts([digest]))[digest]).get(name, ABSENT)
    return (manifest.planned.get(name, held) if manifest is not None else held), others


def nothing_new(scope: str, newest: Manifest | None) -> Draft | Refusal:
    """Return the newest plan as a draft that changes nothing of it, for overrides to change."""
    if newest is None:
        return _refuse("there is no plan that can be read: publish the whole content first (see: enactorctl plans)")
    return Draft(
        scope=scope,
        generation=None,
        base=newest.generation,
        created_at=newest.created_at,
        author=newest.author,
        digest="",
        endpoints={},
        withdrawn=(),
    )


def _refuse(detail: str) -> Refusal:
    return Refusal(guard="override", detail=detail)
