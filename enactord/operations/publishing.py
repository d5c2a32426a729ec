"""Publishing: a draft is judged early, as the enactors will judge it, and stored whole or not at all."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from math import floor

from enactord.core.contribution import Contribution, contents_of, contribution_digest
from enactord.core.errors import EnactordError, PlanUnreadable
from enactord.core.guards import WEIGH_CHANGE, Finding, judge_approval
from enactord.core.kv import Changes, Compare, Item, Operation, Page, Result
from enactord.core.moment import utc
from enactord.core.plan import Approval, Draft, Manifest, content_digest
from enactord.core.refusal import Refusal
from enactord.core.retention import Stored, in_force, last_whole
from enactord.operations import audit, refused
from enactord.operations.documents import Document, diff_plans, manifest_document
from enactord.operations.judging import Held, Judge, Looked, judge_endpoints, look_at_endpoints, weigh_draft
from enactord.operations.scope import Denied, Scope, Stage, silent
from enactord.ports import KeyValue
from enactord.store.control import parse_freeze
from enactord.store.layout import PAUSED
from enactord.store.planners import DEFAULT, Pause, pause_value, refuse_paused
from enactord.store.plans import AUTHOR_DEFAULT, Orders
from enactord.store.reports import Report, await_reports

_HELD_TOLD = 20
_ATTEMPTS = 4
_NOTES_TOLD = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A plan that was published, or with `dry_run` would be; changes are against what is applied."""

    manifest: Manifest
    dry_run: bool
    before: Mapping[str, str]
    after: Mapping[str, str]
    held: tuple[Held, ...]
    warnings: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    """What the guards of plans saw, each where it comes closest to a refusal."""
    looked: tuple[Looked, ...] = ()
    """What the guards of endpoints saw, with `dry_run`."""

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

    @property
    def seen(self) -> list[tuple[str, str]]:
        """What each guard saw, in words."""
        plan = [(found.guard, found.text()) for found in self.findings]
        return [*plan, *((looked.guard, looked.text()) for looked in self.looked)]

    def document(self) -> Document:
        found = manifest_document(self.manifest) | {
            "dry_run": self.dry_run,
            "counts": self.counts,
            "held": [{"name": h.name, "guard": h.refusal.guard, "detail": h.refusal.detail} for h in self.held],
            "warnings": list(self.warnings),
        }
        if not self.dry_run:
            return found
        guards = [*(found.document() for found in self.findings), *(looked.document() for looked in self.looked)]
        return found | {"guards": guards, "diff": diff_plans(self.before, self.after)}


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How a publication goes: only tried, not at all where a guard would hold an endpoint, told by stages."""

    dry_run: bool = False
    fail_on_held: bool = False
    stage: Stage = silent


HOW = How()


class _Rehearsal:
    """A store that reads as the real one does, and acknowledges every write without doing it.

    It shows no paused planner: whether a plan is sound again is tried before its planner goes on.
    """

    def __init__(self, store: KeyValue) -> None:
        self._store = store

    async def range(self, start: str, end: str = "", *, revision: int = 0, limit: int = 0) -> Page:
        return await self._store.range(start, end, revision=revision, limit=limit)

    async def get(self, keys: Sequence[str]) -> dict[str, Item]:
        found = await self._store.get(keys)
        return {key: item for key, item in found.items() if f"/{PAUSED.prefix}" not in key}

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
    orders = replace(orders, role=scope.role)
    how.stage("judging")
    shown = await scope.plans.preview(draft, orders)
    weighed = await weigh_draft(scope, shown)
    judge = Judge(scope, orders, weighed, exactly=how.dry_run)
    rehearsal = scope.plans_in(_Rehearsal(scope.store))
    early = weighed.refusals(orders)
    if early:
        done = await rehearsal.publish(draft, orders, layout=layout, judge=judge)
        told = {refusal.guard: refusal for refusal in (*early, *judge.refusals)}
        if isinstance(done, Refusal):
            told = {done.guard: done} | told
        return await _denied(scope, draft, orders, tuple(told.values()), how)
    held: tuple[Held, ...] | None = None
    if how.fail_on_held:
        done = await rehearsal.publish(draft, orders, layout=layout, judge=judge)
        if isinstance(done, Refusal):
            return Denied(refusals=judge.refusals or (done,))
        entries = await judge.entries(shown.endpoints)
        held = judge_endpoints(shown.endpoints, entries, scope, approved=orders.ordered)
        if held:
            return Denied(refusals=_as_refusals(held))
    how.stage("asking enactors")
    reports = await await_reports(scope.store, scope.keys, scope.clock, wait_s=0.0 if how.dry_run else scope.wait_s)
    above = max((report.fence for report in reports), default=0)
    clocks = [report.at for report in reports]
    how.stage("rehearsing" if how.dry_run else "storing")
    plans = rehearsal if how.dry_run else scope.plans
    done = await plans.publish(draft, orders, layout=layout, above=above, clocks=clocks, judge=judge)
    if isinstance(done, Refusal):
        return await _denied(scope, draft, orders, judge.refusals or (done,), how)
    if not how.dry_run:
        await audit.tidy(scope)
    looked: Sequence[Looked] = ()
    entries = await judge.entries(shown.endpoints)
    if held is None:  # it keeps nothing from being stored: so enactors need not wait until it is known here
        held = judge_endpoints(shown.endpoints, entries, scope, approved=orders.ordered)
    if how.dry_run:
        looked = look_at_endpoints(shown.endpoints, entries, scope, held, approved=orders.ordered)
    notes: tuple[str, ...] = ()
    if orders.rollback_of:
        otherwise = judge_endpoints(shown.endpoints, entries, scope, approved=False)
        notes = (*(_passes(refusal) for refusal in judge.passed), *_passed(otherwise, held))
    return Published(
        manifest=done,
        dry_run=how.dry_run,
        before=weighed.before,
        after=shown.endpoints,
        held=held,
        warnings=(*notes, *_unconfirmed(reports, len(scope.zones)), *await _frozen(scope), *await _paused(scope, how)),
        findings=judge.findings,
        looked=tuple(looked),
    )


async def _denied(scope: Scope, draft: Draft, orders: Orders, refusals: tuple[Refusal, ...], how: How) -> Denied:
    """Keep a publication that nothing but guards of change refuse, so that an operator can approve exactly this."""
    denied = Denied(refusals=refusals)
    if how.dry_run or not orders.of_planner or not {refusal.guard for refusal in refusals} <= WEIGH_CHANGE:
        return denied
    how.stage("keeping")
    author = orders.author or draft.author or AUTHOR_DEFAULT
    with suppress(EnactordError):  # it is refused, and told so, all the same
        kept, replaced = await scope.contributions.keep(DEFAULT, draft, author, refusals, await newest_plan(scope))
        denied = denied if kept is None else replace(denied, kept=kept.digest)
        if replaced:
            await scope.plans.sweep(replaced)
    return denied


async def newest_plan(scope: Scope) -> Manifest | None:
    """Return the newest plan; None where there is none, or none that can be read. Raises `StoreDown`."""
    generation, _ = await scope.plans.newest()
    try:
        return await scope.plans.manifest(generation) if generation else None
    except PlanUnreadable:
        return None


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


async def _paused(scope: Scope, how: How) -> tuple[str, ...]:
    """Return what a rehearsal says of a paused planner: what it publishes is refused, however sound it is."""
    key = scope.keys.paused(DEFAULT)
    item = (await scope.store.get([key])).get(key) if how.dry_run else None
    return () if item is None else (refuse_paused(DEFAULT, item).detail,)


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
    refused = await scope.plans.refused()
    plans = [plan for plan in await scope.plans.stored() if plan.generation not in refused]
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
    pause: bool = True,
) -> Published | Denied:
    """Publish a stored plan's content as a new generation. Raises as `publish` does.

    `pause`: pause the planner whose content it changes, so that it does not bring back what is undone.
    """
    how.stage("finding")
    notes: tuple[str, ...] = ()
    if isinstance(what, Earlier):
        found = await _find(scope, what)
        if isinstance(found, Refusal):
            return Denied(refusals=(found,))
        notes = (f"{what}: plan {found.generation}, published {utc(found.at)}, {found.endpoints} endpoints",)
        what = found.generation
    why = Pause(reason=f"rollback to plan {what}: {reason}", author=author, at=scope.clock.now()) if pause else None
    done = await _again(scope, what, Orders(author=author, reason=reason, rollback_of=what, pauses=why), how=how)
    if isinstance(done, Denied):
        return done
    if why is not None and how.dry_run and await _differs_from_newest(scope, done.manifest):
        notes = (*notes, _PAUSES.format(is_paused="would be paused"))
    elif why is not None and await _stands(scope, why):
        notes = (*notes, _PAUSES.format(is_paused="is paused"))
    return replace(done, warnings=(*notes, *done.warnings))


_PAUSES = (
    f"planner {DEFAULT} {{is_paused}}, so that it does not bring back what the rollback undoes;"
    f" when its plans are sound: enactorctl planner resume {DEFAULT}"
)


async def _stands(scope: Scope, pause: Pause) -> bool:
    """Whether the planner is paused by this very word."""
    key = scope.keys.paused(DEFAULT)
    item = (await scope.store.get([key])).get(key)
    return item is not None and item.value == pause_value(pause)


async def _differs_from_newest(scope: Scope, manifest: Manifest) -> bool:
    """Whether the newest stored plan is another content than this one, as far as it can be read."""
    newest, _ = await scope.plans.newest()
    try:
        before = await scope.plans.manifest(newest)
    except PlanUnreadable:
        return True
    return before is None or before.zones != manifest.zones


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
    be it, digest for digest. Where the limits ask for a second person, the approver must not be its author.
    """
    if isinstance(what, int):
        stored = await scope.plans.manifest(what)
        refusal = (
            None if stored is None else judge_approval(stored.content_author or stored.author, author, scope.limits)
        )
        if refusal is not None:
            return Denied(refusals=(refusal,))
        approval = Approval(of=what, author=author, reason=reason)
        return await _again(scope, what, Orders(author=author, reason=reason, approval=approval), how=how)
    newest, _ = await scope.plans.newest()
    if what.generation is None or what.generation > newest:
        refusal = judge_approval(what.author, author, scope.limits)
        if refusal is not None:
            return Denied(refusals=(refusal,))
        approval = Approval(of=what.generation or 0, author=author, reason=reason)
        digest = contribution_digest(scope.name, contents_of(what), whole=what.base is None)
        if digest in {kept.digest for kept in await scope.contributions.stored()}:
            approval = replace(approval, digest=digest)
        return await publish(scope, what, Orders(author=author, reason=reason, approval=approval), how=how)
    how.stage("comparing")
    refusal = await _differs(scope, what, what.generation)
    if refusal is not None:
        return Denied(refusals=(refusal,))
    return await approve(scope, what.generation, author=author, reason=reason, how=how)


async def approve_refused(scope: Scope, handle: str, *, author: str, reason: str, how: How = HOW) -> Published | Denied:
    """Publish exactly what guards refused of a planner, merged onto the newest plan, as an approved generation.

    `handle`: the digest of what was refused, or the start of it. Raises as `publish` does.
    """
    how.stage("reading")
    kept = await refused.find(scope.contributions, handle)
    refusal = kept if isinstance(kept, Refusal) else judge_approval(kept.author, author, scope.limits)
    if isinstance(kept, Refusal) or refusal is not None:
        return Denied(refusals=() if refusal is None else (refusal,))
    contents = await scope.contributions.contents(kept)
    names = () if kept.whole else tuple(sorted(contents))
    approval = Approval(of=0, author=author, reason=reason, digest=kept.digest, names=names)
    orders = Orders(author=author, reason=reason, approval=approval)

    async def drafted(newest: Manifest | None) -> Draft | Refusal:
        if newest is None and not kept.whole:
            return refused.no_base(kept)
        return await refused.merged(scope.plans.texts, newest, kept, contents, scope.name)

    newest = await newest_plan(scope)
    done = await publish_onto_newest(scope, drafted, orders, how)
    return replace(done, warnings=(*_since(kept, newest), *done.warnings)) if isinstance(done, Published) else done


async def publish_onto_newest(
    scope: Scope, drafted: Callable[[Manifest | None], Awaitable[Draft | Refusal]], orders: Orders, how: How
) -> Published | Denied:
    """Publish what is drafted onto the newest plan, anew where another publication comes between. As `publish` does."""
    for _ in range(_ATTEMPTS):
        draft = await drafted(await newest_plan(scope))
        if isinstance(draft, Refusal):
            return Denied(refusals=(draft,))
        done = await publish(scope, draft, orders, how=how)
        if isinstance(done, Published) or draft.base is None or draft.base == (await scope.plans.newest())[0]:
            break  # no other plan came between: it is refused for what it is
    return done


def _since(kept: Contribution, newest: Manifest | None) -> tuple[str, ...]:
    """Return the warning that plans were published since the refusal, where this one supersedes their content."""
    if not kept.whole or newest is None or newest.generation <= kept.newest:
        return ()
    what = f"plans after {kept.newest}, up to {newest.generation}," if kept.newest else "all plans"
    return (f"{what} are superseded by its content: they were published after it was refused",)


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
        endpoints = await scope.plans.planned(base)
        endpoints.update(changed)
        for name in draft.withdrawn:
            endpoints.pop(name, None)
    digest = content_digest(draft.scope, endpoints)
    content = content_digest(stored.scope, await scope.plans.planned(stored))
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
        endpoints=await scope.plans.planned(manifest),
        withdrawn=(),
    )
    done = await publish(scope, draft, orders, how=how, layout=manifest)
    if isinstance(done, Published) and orders.approval is not None and newest > generation:
        warning = f"plans after {generation}, up to {newest}, are superseded by its content"
        return replace(done, warnings=(*done.warnings, warning))
    return done
