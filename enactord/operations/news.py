"""News: what a change in the store means to people, and what an enactor saw besides.

News of the store are told of states, not of messages: two glances at a cache are compared. A cache that
was read afresh, or that took many changes at once, thus tells what is new all the same, and nothing twice.
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from enactord.core import events
from enactord.core.buckets import BucketId
from enactord.core.contribution import Contribution
from enactord.core.errors import Compacted, PlanUnreadable
from enactord.core.events import Event
from enactord.core.kv import Changes
from enactord.core.ledger import Hold
from enactord.core.moment import utc
from enactord.core.overrides import Override
from enactord.operations.scope import Scope
from enactord.store.cache import Cache
from enactord.store.control import Freeze
from enactord.store.planners import Pause

News = dict[str, Any]
"""{"event": id, "severity": "info" | "warning" | "error", "text": for people, …}"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """What a cache showed at one moment, as far as it is told."""

    plans: frozenset[int] = frozenset()
    fences: Mapping[str, int] = field(default_factory=dict)
    applied: Mapping[str, int] = field(default_factory=dict)
    freeze: Freeze | None = None
    paused: Mapping[str, Pause] = field(default_factory=dict)
    overrides: Mapping[str, Override] = field(default_factory=dict)
    """By id."""
    refused: Mapping[str, Contribution] = field(default_factory=dict)
    """By planner, what guards last refused of it."""
    enactors: frozenset[str] = frozenset()
    holds: Mapping[BucketId, tuple[int, Mapping[str, Hold]]] = field(default_factory=dict)
    """By bucket: its mod revision, and what is held in it."""

    @property
    def held(self) -> dict[str, Hold]:
        return {name: hold for _, holds in self.holds.values() for name, hold in holds.items()}


def glance(cache: Cache, before: Glance | None = None, *, ledger: bool = True) -> Glance:
    """Look at a cache; buckets that have not changed since `before` are not unpacked again.

    `ledger` False: what is held counts as it was before, so that nothing need be unpacked.
    """
    known = before.holds if before else {}
    fences = cache.fences
    return Glance(
        plans=frozenset(cache.generations),
        fences=fences,
        applied={zone: cache.applied(zone) for zone in fences},
        freeze=cache.freeze,
        paused=cache.paused,
        overrides={one.id: one for one in cache.overrides},
        refused={kept.planner: kept for kept in cache.contributions},
        enactors=frozenset(presence.id for presence in cache.enactors),
        holds=_held(cache, known) if ledger else known,
    )


_Holds = Mapping[BucketId, tuple[int, Mapping[str, Hold]]]


def _held(cache: Cache, known: _Holds) -> _Holds:
    """Return what is held, by bucket; `known` is what was, with the mod revision that said so."""
    holds: dict[BucketId, tuple[int, Mapping[str, Hold]]] = {}
    for bucket in cache.ledger.holding():
        revision = cache.ledger.revision(bucket)
        if bucket in known and known[bucket][0] == revision:
            holds[bucket] = known[bucket]
        else:
            entries = cache.ledger.bucket(bucket).values()
            holds[bucket] = (revision, {entry.name: entry.held for entry in entries if entry.held is not None})
    return holds


async def follow_news(scope: Scope) -> AsyncIterator[News]:
    """Yield what happens in a scope from now on. Raises `StoreDown`."""
    cache = await scope.cache()
    before = glance(cache)
    while True:
        try:
            async for changes in scope.store.watch(scope.keys.root, start_revision=cache.revision + 1):
                cache.apply(changes)
                after = glance(cache, before)
                for said in compare(before, after, cache):
                    yield said
                before = after
        except Compacted:
            await cache.load(scope.store)


def news(cache: Cache, changes: Changes) -> list[News]:
    """Take changes into a cache; returns what they say."""
    before = glance(cache)
    cache.apply(changes)
    return list(compare(before, glance(cache, before), cache))


def compare(before: Glance, after: Glance, cache: Cache) -> Iterator[News]:
    """Yield what is new between two glances at a cache, which is as it was at the second."""
    if after.freeze != before.freeze:
        yield _freeze(after.freeze)
    for planner in sorted(before.paused.keys() - after.paused.keys()):
        yield _said("planner.resumed", f"planner {planner} goes on", planner=planner)
    for planner, pause in sorted(after.paused.items()):
        if before.paused.get(planner) != pause:
            text = f"planner {planner} paused by {pause.author}: {pause.reason}"
            yield _said("planner.paused", text, "warning", planner=planner, author=pause.author, reason=pause.reason)
    for ident in sorted(after.overrides.keys() - before.overrides.keys()):
        one = after.overrides[ident]
        text = f"{one.name} overridden by {one.author} until {utc(one.until)} ({one.text()}): {one.reason}"
        yield _said("override.begun", text, "warning", name=one.name, override=ident)
    for ident in sorted(before.overrides.keys() - after.overrides.keys()):
        one = before.overrides[ident]
        yield _said("override.ended", f"{one.name} is overridden no more ({one.text()})", name=one.name, override=ident)
    for planner, kept in sorted(after.refused.items()):
        known = before.refused.get(planner)
        if known is None or known.digest != kept.digest:
            guards = ", ".join(refusal.guard for refusal in kept.refusals)
            text = f"a publication of planner {planner} refused: {guards}; it is kept as {kept.mark}"
            yield _said("publication.refused", text, "warning", planner=planner, digest=kept.digest)
    for enactor in sorted(after.enactors - before.enactors):
        yield _said("enactor.came", f"enactor {enactor} is there", enactor=enactor)
    for enactor in sorted(before.enactors - after.enactors):
        yield _said("enactor.gone", f"enactor {enactor} has gone", "warning", enactor=enactor)
    for generation in sorted(after.plans - before.plans):
        yield _plan(cache, generation)
    for generation in sorted(before.plans - after.plans):
        yield _said("plan.pruned", f"plan {generation} pruned", generation=generation)
    for zone, generation in _moved(before.fences, after.fences):
        yield _said("fence.opened", f"{zone} fence opened at {generation}", zone=zone, generation=generation)
    yield from _holds(before, after)
    for zone, generation in _moved(before.applied, after.applied):
        yield _said("plan.applied", f"{zone} plan {generation} applied", zone=zone, generation=generation)


def _moved(before: Mapping[str, int], after: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    for zone in sorted(after):
        if after[zone] != before.get(zone, 0):
            yield zone, after[zone]


def _said(event: str, text: str, severity: str = "info", **facts: Any) -> News:
    return {"event": event, "severity": severity, "text": text} | facts


def _plan(cache: Cache, generation: int) -> News:
    try:
        manifest = cache.manifest(generation)
    except PlanUnreadable as error:
        return _said("plan.unreadable", str(error), "error", generation=generation)
    assert manifest is not None, generation
    remarks = ""
    if manifest.rollback_of:
        remarks = f", rollback to {manifest.rollback_of}: {manifest.reason}"
    elif manifest.approval:
        remarks = f", approved by {manifest.approval.author}: {manifest.approval.reason}"
    return _said(
        "plan.published",
        f"plan {generation} published by {manifest.author}: {manifest.endpoints} endpoints{remarks}",
        generation=generation,
        digest=manifest.digest,
        endpoints=manifest.endpoints,
        author=manifest.author,
    )


def _freeze(frozen: Freeze | None) -> News:
    if frozen is None:
        return _said("thawed", "thawed")
    text = f"FROZEN ({frozen.mode}) by {frozen.author}: {frozen.reason}"
    return _said("frozen", text, "error", mode=frozen.mode, author=frozen.author, reason=frozen.reason)


def _holds(before: Glance, after: Glance) -> Iterator[News]:
    """Yield the endpoints that came to be held, or are held no more, sorted by name."""
    if before.holds == after.holds:
        return
    old, new = before.held, after.held
    for name in sorted(old.keys() | new.keys()):
        was, now = old.get(name), new.get(name)
        if now is not None and now != was:
            yield _said(
                "endpoint.held",
                f"{name} held from plan {now.generation}: {now.guard}: {now.detail}",
                "warning",
                name=name,
                generation=now.generation,
                guard=now.guard,
                detail=now.detail,
            )
        elif now is None:
            yield _said("endpoint.released", f"{name} is held no more", name=name)


def witness(event: Event) -> News | None:
    """Return what one enactor saw that the store does not show; None for what it shows, and for counts."""
    match event:
        case events.EndpointRepaired(name=name, kind=kind, generation=generation, zone=zone, store_up=store_up):
            how = "was served empty" if kind == "emptied" else "had drifted"
            text = f"{name} {how}; put back under fence {generation}{'' if store_up else ', with the store away'}"
            return _of(event, text, name=name, kind=kind, generation=generation, zone=zone)
        case events.EndpointDrifted(name=name, kind=kind, zone=zone, served=served, wanted=wanted):
            text = f"{name} serves {_some(served)} instead of {_some(wanted)}"
            return _of(event, text, name=name, kind=kind, zone=zone)
        case events.StaleWriteRefused(zone=zone, generation=generation, names=names, fence=fence):
            text = f"{zone} refused a write of plan {generation} ({names} names): its fence is {fence or 'another'}"
            return _of(event, text, zone=zone, generation=generation)
        case events.PlanRefused(generation=generation, guard=guard, detail=detail):
            text = f"plan {generation} refused: {guard}: {detail}"
            return _of(event, text, generation=generation, guard=guard, detail=detail)
        case events.PlanSuperseded(generation=generation, by=by):
            return _of(event, f"plan {generation} given up for {by}", generation=generation, by=by)
        case events.FenceAhead(zone=zone, newest=newest, fence=fence):
            text = f"{zone} is fenced at {fence.generation}, above the newest plan {newest}: publish the next one"
            return _of(event, text, zone=zone, generation=fence.generation)
        case events.PrimaryChosen(zone=zone, primary=primary, detail=detail):
            return _of(event, f"{zone} is written on {primary} from now on: {detail}", zone=zone, primary=primary)
        case events.ClaimLost(generation=generation, detail=detail):
            return _of(event, f"claim on plan {generation} lost: {detail}", generation=generation)
        case events.StoreWentDown(detail=detail):
            return _of(event, f"the plan store does not answer: {detail}")
        case events.StoreCameUp():
            return _of(event, "the plan store answers")
        case events.FormatUnknown(kind=kind, detail=detail):
            return _of(event, detail, kind=kind)
        case events.FormatKnown(kind=kind, found=found):
            return _of(event, f"the store holds no {kind} of format {found} any more", kind=kind)
        case events.ZoneWentDown(zone=zone, detail=detail):
            return _of(event, f"{zone} cannot be worked on: {detail}", zone=zone)
        case events.ZoneCameUp(zone=zone):
            return _of(event, f"{zone} can be worked on again", zone=zone)
        case events.StepFailed(step=step, detail=detail):
            return _of(event, f"{step} failed and is tried again: {detail}", step=step)
        case _:
            return None


def _of(event: Event, text: str, **facts: Any) -> News:
    return _said(event.id, text, event.severity, **facts)


def _some(addresses: tuple[str, ...]) -> str:
    if not addresses:
        return "nothing"
    return ", ".join(addresses[:3]) + (f" and {len(addresses) - 3} more" if len(addresses) > 3 else "")
