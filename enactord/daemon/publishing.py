"""Publishing: a draft is judged early, as the enactors will judge it, and stored whole or not at all."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import floor

from enactord.core.buckets import bucket_of
from enactord.core.content import parse_content
from enactord.core.fence import FenceRecord
from enactord.core.guards import WEIGH_CHANGE, judge_endpoint, judge_removals, refuse_outside
from enactord.core.kv import Changes, Compare, Item, Operation, Page, Result
from enactord.core.ledger import Bucket, Entry
from enactord.core.moment import utc
from enactord.core.names import zone_of
from enactord.core.plan import Approval, Draft, Manifest, content_digest
from enactord.core.refusal import Refusal
from enactord.core.retention import Stored, in_force, last_whole
from enactord.daemon.documents import Document, diff_plans, manifest_document
from enactord.operations.scope import Denied, Scope, Stage, silent
from enactord.ports import KeyValue
from enactord.registry.control import parse_freeze
from enactord.registry.keys import parse_record
from enactord.registry.plans import Orders, Plans
from enactord.registry.reports import Report, await_reports
from enactord.store.ledger_index import read_bucket

_HELD_TOLD = 20
_NOTES_TOLD = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """An endpoint that will stay on its last known good, and the guard that says so."""

    name: str
    refusal: Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A plan that was published, or with `dry_run` would be; changes are against what is applied."""

    manifest: Manifest
    dry_run: bool
    before: Mapping[str, str]
    after: Mapping[str, str]
    held: tuple[Held, ...]
    warnings: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """How many endpoints are added, changed, removed and held."""
        before, after = self.before, self.after
        return {
            "added": len(after.keys() - before.keys()),
            "changed": sum(name in before and before[name] != after[name] for name in after),
            "removed": len(before.keys() - after.keys()),
            "held": len(self.held),
        }

    def document(self) -> Document:
        found = manifest_document(self.manifest) | {
            "dry_run": self.dry_run,
            "counts": self.counts,
            "held": [{"name": h.name, "guard": h.refusal.guard, "detail": h.refusal.detail} for h in self.held],
            "warnings": list(self.warnings),
        }
        return found | ({"diff": diff_plans(self.before, self.after)} if self.dry_run else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How a publication goes: only tried, not at all where a guard would hold an endpoint, told by stages."""

    dry_run: bool = False
    fail_on_held: bool = False
    stage: Stage = silent


HOW = How()


class _Rehearsal:
    """A store that reads as the real one does, and acknowledges every write without doing it."""

    def __init__(self, store: KeyValue) -> None:
        self._store = store

    async def range(self, start: str, end: str = "", *, revision: int = 0, limit: int = 0) -> Page:
        return await self._store.range(start, end, revision=revision, limit=limit)

    async def get(self, keys: Sequence[str]) -> dict[str, Item]:
        return await self._store.get(keys)

    async def transact(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> Result:
        return Result(succeeded=True, revision=0)

    def watch(self, prefix: str, *, start_revision: int) -> AsyncIterator[Changes]:
        return self._store.watch(prefix, start_revision=start_revision)

    async def grant(self, ttl_s: int) -> int:
        return 1

    async def keep_alive(self, lease: int) -> None:
        """There is no lease to keep."""

    async def revoke(self, lease: int) -> None:
        """There is no lease to end."""

    async def close(self) -> None:
        """The real store is its owner's to close."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Weighed:
    """A draft against the ledger: the entries that it touches, what is applied there, and refusals."""

    entries: Mapping[str, Entry]
    before: Mapping[str, str]
    refusals: tuple[Refusal, ...]


async def publish(
    scope: Scope,
    draft: Draft,
    orders: Orders,
    *,
    how: How = HOW,
    layout: Manifest | None = None,
) -> Published | Denied:
    """Judge a draft early, by the guards that the enactors will judge it by, and put it into the store.

    A refused plan is not stored; a refused endpoint is only reported: it will be held.
    Raises `InvalidPlan`, `PlanUnreadable`, `StoreDown`.
    """
    how.stage("judging")
    weighed = await _weigh(scope, draft)
    weighed, notes = _as_ordered(weighed, orders)
    rehearsal = Plans(_Rehearsal(scope.store), scope.keys, scope.clock, zones=scope.zones, limits=scope.limits)
    if weighed.refusals:
        done = await rehearsal.publish(draft, orders, layout=layout)
        told = {refusal.guard for refusal in weighed.refusals}
        more = (done,) if isinstance(done, Refusal) and done.guard not in told else ()
        return Denied(refusals=(*more, *weighed.refusals))
    held: tuple[Held, ...] | None = None
    if how.fail_on_held:
        held = _judge_endpoints(draft.endpoints, weighed.entries, scope, approved=orders.ordered)
        if held:
            return Denied(refusals=_as_refusals(held))
    how.stage("asking enactors")
    reports = await await_reports(scope.store, scope.keys, scope.clock, wait_s=0.0 if how.dry_run else scope.wait_s)
    above = max((report.fence for report in reports), default=0)
    how.stage("rehearsing" if how.dry_run else "storing")
    done = await (rehearsal if how.dry_run else scope.plans).publish(draft, orders, layout=layout, above=above)
    if isinstance(done, Refusal):
        return Denied(refusals=(done,))
    if held is None:  # it keeps nothing from being stored: so enactors need not wait until it is known here
        held = _judge_endpoints(draft.endpoints, weighed.entries, scope, approved=orders.ordered)
    if orders.rollback_of:
        notes = (*notes, *_passed(_judge_endpoints(draft.endpoints, weighed.entries, scope, approved=False), held))
    return Published(
        manifest=done,
        dry_run=how.dry_run,
        before=weighed.before,
        after=draft.endpoints,
        held=held,
        warnings=(*notes, *_unconfirmed(reports, len(scope.zones)), *await _frozen(scope)),
    )


def _as_refusals(held: Sequence[Held]) -> tuple[Refusal, ...]:
    """Return what would be held, as reasons against the publication: the first of it, and how much more there is."""
    told = tuple(replace(h.refusal, detail=f"{h.name}: {h.refusal.detail}") for h in held[:_HELD_TOLD])
    more = len(held) - len(told)
    return (*told, *((Refusal(guard="held", detail=f"{more} more would be held"),) if more else ()))


def _unconfirmed(reports: Sequence[Report], zones: int) -> tuple[str, ...]:
    """Return the warning that no enactor knows all fences that stand: the generation may be below one of them.

    `zones`: how many zones the publisher's scope has. An enactor of fewer zones cannot know them all.
    """
    missing = min((max(0, zones - report.zones) + report.unknown for report in reports), default=zones)
    if not missing:
        return ()
    what = "no enactor reports the fences of its zones"
    if reports:
        what = f"of {missing} zone{'s' if missing > 1 else ''} the fence is not known to the enactors"
    return (f"unconfirmed: {what}, so one may stand above this generation, and hold it up (see: enactorctl status)",)


async def _frozen(scope: Scope) -> tuple[str, ...]:
    item = (await scope.store.get([scope.keys.freeze])).get(scope.keys.freeze)
    if item is None:
        return ()
    frozen = parse_freeze(item.value)
    return (f"the scope is frozen ({frozen.mode}) by {frozen.author}: it is applied after `enactorctl thaw`",)


def _as_ordered(weighed: _Weighed, orders: Orders) -> tuple[_Weighed, tuple[str, ...]]:
    """Return what still refuses a plan that an operator answers for, and what guards say of a rollback all the same.

    An approval was asked for by the guards; a rollback is an order in an incident, and they are never in its way.
    """
    if not orders.ordered:
        return weighed, ()
    passed = [refusal for refusal in weighed.refusals if refusal.guard in WEIGH_CHANGE]
    left = tuple(refusal for refusal in weighed.refusals if refusal not in passed)
    notes = tuple(_passes(refusal) for refusal in passed) if orders.rollback_of else ()
    return replace(weighed, refusals=left), notes


def _passes(refusal: Refusal) -> str:
    """Return that a rollback passes a guard; without what such a refusal advises others."""
    return f"the rollback passes the guard {refusal.guard}: {refusal.detail.partition('; ')[0]}"


def _passed(otherwise: Sequence[Held], held: Sequence[Held]) -> tuple[str, ...]:
    """Return what a rollback passes of the guards of endpoints; `otherwise`: what they would hold of another plan."""
    names = {one.name for one in held}
    passed = [one for one in otherwise if one.name not in names]
    told = tuple(f"{_passes(one.refusal)}, at {one.name}" for one in passed[:_NOTES_TOLD])
    more = len(passed) - len(told)
    return (*told, *((f"and at {more} more endpoints",) if more else ()))


async def _weigh(scope: Scope, draft: Draft) -> _Weighed:
    zones = frozenset(scope.zones)
    # Changes alone need the buckets that they touch; only what removes names needs the whole ledger.
    if draft.base is not None and not draft.withdrawn:
        entries = await _touched(scope, draft.endpoints)
        removed: list[str] = []
        owned = 0
    else:
        mirror = await scope.mirror()
        entries = {name: entry for zone in scope.zones for name, entry in mirror.ledger.zone_entries(zone).items()}
        owned = mirror.ledger.totals_of(scope.zones).live
        removed = [name for name, entry in entries.items() if entry.live and _leaves(draft, name)]
    outside = sorted(name for name in draft.endpoints if zone_of(name, zones) is None)
    refusals = [refuse_outside(outside, zones) if outside else None]
    if removed:
        planned = len(draft.endpoints) if draft.base is None else owned - len(removed) + len(draft.endpoints)
        refusals.append(judge_removals(len(removed), owned, planned, scope.limits, approved=False))
    before = {name: entry.applied.content for name, entry in entries.items() if entry.applied is not None}
    if draft.base is not None:
        touched = draft.endpoints.keys() | set(removed)
        before = {name: content for name, content in before.items() if name in touched}
    return _Weighed(
        entries=entries,
        before=before,
        refusals=tuple(refusal for refusal in refusals if refusal is not None),
    )


def _leaves(draft: Draft, name: str) -> bool:
    return name in draft.withdrawn if draft.base is not None else name not in draft.endpoints


async def _touched(scope: Scope, names: Iterable[str]) -> dict[str, Entry]:
    """Return the entries of the buckets that hold these names, as their zones' records say; a hint, for early words."""
    by_zone: dict[str, list[str]] = {}
    zones = frozenset(scope.zones)
    for name in names:
        by_zone.setdefault(zone_of(name, zones) or "", []).append(name)
    records = await scope.store.get([scope.keys.fence(zone) for zone in sorted(by_zone)])
    keys = set()
    for zone, some in by_zone.items():
        item = records.get(scope.keys.fence(zone))
        record = parse_record(item.value) if item else None
        slots = record.slots if isinstance(record, FenceRecord) else 0
        keys |= {scope.keys.ledger(bucket_of(name, zone, slots)) for name in some} if slots else set()
    found: Bucket = {}
    for item in (await scope.store.get(sorted(keys))).values():
        found.update(read_bucket(item.value))
    return found


def _judge_endpoints(
    endpoints: Mapping[str, str], entries: Mapping[str, Entry], scope: Scope, *, approved: bool
) -> tuple[Held, ...]:
    """Return the endpoints that a guard would hold now, sorted by name."""
    held = []
    now = scope.clock.now()
    for name in sorted(endpoints):
        entry = entries.get(name)
        if entry is not None and entry.applied is not None and entry.applied.content == endpoints[name]:
            continue
        refusal = judge_endpoint(parse_content(endpoints[name]), entry, scope.limits, now, approved=approved)
        if refusal is not None:
            held.append(Held(name=name, refusal=refusal))
    return tuple(held)


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """Which plan a rollback brings back, where it is not named by its generation.

    `at`: the plan in force at that time, in seconds since the epoch; None: the last whole plan.
    """

    at: float | None = None

    def __str__(self) -> str:
        return "the last whole plan" if self.at is None else f"the newest stored plan of {utc(self.at)} or before"


async def _find(scope: Scope, what: Earlier) -> Stored | Refusal:
    """Return the plan that is meant, among those that are stored and can be read."""
    plans = await scope.plans.stored()
    # Times are shown to the second: who copies a plan's own time means that plan.
    found = last_whole(plans) if what.at is None else in_force(plans, floor(what.at) + 1 - 1e-6, scope.clock.now())
    if found is None:
        detail = f"{what} is not in the store: {_reach(plans)} (see: enactorctl plans; prune.keep_s)"
        return Refusal(guard="history", detail=detail)
    newest, _ = await scope.plans.newest()
    if found.generation == newest:
        detail = f"{what} is plan {newest}, which is the newest already; name another one (see: enactorctl plans)"
        return Refusal(guard="history", detail=detail)
    return found


def _reach(plans: Sequence[Stored]) -> str:
    oldest = min((plan.at for plan in plans), default=None)
    return "it holds no plan that can be read" if oldest is None else f"its history begins at {utc(oldest)}"


async def rollback(
    scope: Scope,
    what: int | Earlier,
    *,
    author: str,
    reason: str,
    how: How = HOW,
) -> Published | Denied:
    """Publish a stored plan's content as a new generation. Raises as `publish` does."""
    how.stage("finding")
    notes: tuple[str, ...] = ()
    if isinstance(what, Earlier):
        found = await _find(scope, what)
        if isinstance(found, Refusal):
            return Denied(refusals=(found,))
        notes = (f"{what}: plan {found.generation}, published {utc(found.at)}, {found.endpoints} endpoints",)
        what = found.generation
    done = await _again(scope, what, Orders(author=author, reason=reason, rollback_of=what), how=how)
    return replace(done, warnings=(*notes, *done.warnings)) if isinstance(done, Published) else done


async def approve(
    scope: Scope,
    what: Draft | int,
    *,
    author: str,
    reason: str,
    how: How = HOW,
) -> Published | Denied:
    """Publish one exact plan anew as an approved generation: a stored one by its number, or a draft.

    A draft with a generation that is not above the newest means that stored plan, and must
    be it, digest for digest.
    """
    if isinstance(what, int):
        approval = Approval(of=what, author=author, reason=reason)
        return await _again(scope, what, Orders(author=author, reason=reason, approval=approval), how=how)
    newest, _ = await scope.plans.newest()
    if what.generation is None or what.generation > newest:
        approval = Approval(of=what.generation or 0, author=author, reason=reason)
        return await publish(scope, what, Orders(author=author, reason=reason, approval=approval), how=how)
    how.stage("comparing")
    refusal = await _differs(scope, what, what.generation)
    if refusal is not None:
        return Denied(refusals=(refusal,))
    return await approve(scope, what.generation, author=author, reason=reason, how=how)


async def _differs(scope: Scope, draft: Draft, generation: int) -> Refusal | None:
    """Return why the draft is not the stored plan of that generation, or None where it is."""
    stored = await scope.plans.manifest(generation)
    if stored is None:
        detail = f"plan {generation} is not in the store (see: enactorctl plans); leave the generation out"
        return Refusal(guard="generation", detail=detail)
    endpoints = dict(draft.endpoints)
    if draft.base is not None:
        base = await scope.plans.manifest(draft.base)
        if base is None:
            detail = (
                f"its base {draft.base} is gone; approve the stored plan: enactorctl publish {generation} --approve"
            )
            return Refusal(guard="base", detail=detail)
        changed = endpoints
        endpoints = await scope.plans.endpoints(base)
        endpoints.update(changed)
        for name in draft.withdrawn:
            endpoints.pop(name, None)
    digest = content_digest(draft.scope, endpoints)
    content = content_digest(stored.scope, await scope.plans.endpoints(stored))
    if digest == content:
        return None
    return Refusal(
        guard="digest",
        detail=f"this is not plan {generation}: its content's digest is {digest[:16]}…, the stored one's"
        f" {content[:16]}…; approve the stored one with: enactorctl publish {generation} --approve",
    )


async def _again(scope: Scope, generation: int, orders: Orders, *, how: How) -> Published | Denied:
    """Judge a stored plan's content and publish it as a new generation."""
    how.stage("reading")
    newest, _ = await scope.plans.newest()
    manifest = await scope.plans.manifest(generation)
    if manifest is None:
        detail = f"plan {generation} is not in the store (see: enactorctl plans)"
        return Denied(refusals=(Refusal(guard="generation", detail=detail),))
    draft = Draft(
        scope=manifest.scope,
        generation=None,
        base=None,
        created_at=manifest.created_at,
        author=manifest.author,
        digest="",
        endpoints=await scope.plans.endpoints(manifest),
        withdrawn=(),
    )
    done = await publish(scope, draft, orders, how=how, layout=manifest)
    if isinstance(done, Published) and orders.approval is not None and newest > generation:
        warning = f"plans after {generation}, up to {newest}, are superseded by its content"
        return replace(done, warnings=(*done.warnings, warning))
    return done
