"""Judging a draft early, by the guards by which enactors judge: what they would refuse and hold, and what they saw."""

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from enactord.core.baselines import baselines
from enactord.core.content import parse_content
from enactord.core.guards import (
    GUARDS,
    VELOCITY_WINDOW,
    Finding,
    closest,
    judge_endpoint,
    look,
    look_at_endpoint,
    refuse_outside,
)
from enactord.core.guards.kinds import Change, EndpointGuard, Seen, Weighing
from enactord.core.ledger import Entry, Outlived, with_outlived
from enactord.core.measures import Loss, Size
from enactord.core.names import zone_of
from enactord.core.plan import Draft, Manifest
from enactord.core.refusal import Refusal
from enactord.core.render import ANSWERS_MAX
from enactord.operations.scope import Scope
from enactord.store.entries import applied_of, entries_of
from enactord.store.plans import Orders
from enactord.store.weighing import Contents, Read, Scales, may_have_removed, outlived, weigh


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """An endpoint that will stay on its last known good, and the guard that says so."""

    name: str
    refusal: Refusal


class Looked(NamedTuple):
    """What a guard of endpoints saw of a draft: how many changes it judged, and would hold.

    `nearest`: the name at which it came closest to a hold, and what it saw there, of a guard that counts.
    """

    guard: str
    judged: int
    held: int
    nearest: str
    seen: Seen | None

    def document(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        found: dict[str, Any] = {"guard": self.guard, "judged": self.judged, "held": self.held, "text": self.text()}
        return found if self.seen is None else found | {"nearest": self.nearest} | self.seen.document()

    def text(self) -> str:
        """Return it in words."""
        told = f"{self.held} of {self.judged} changed endpoints would be held"
        if self.seen is None:
            return told
        seen = self.seen
        return (
            f"{told}; closest to it is {self.nearest}: {seen.gone} of {seen.total} {seen.unit} would be {seen.gone_by},"
            f" at most {seen.allowed} ({seen.key.name})"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """A draft against the ledger: the entries that it touches, what is applied there, and what guards say of it."""

    entries: Mapping[str, Entry]
    before: Mapping[str, str]
    outside: Refusal | None
    findings: tuple[Finding, ...]

    def refusals(self, orders: Orders) -> tuple[Refusal, ...]:
        """Return why the plan is refused, whatever it is compared with besides."""
        found = () if orders.ordered else tuple(f.refusal() for f in self.findings if f.seen.refused)
        return found if self.outside is None else (self.outside, *found)


class Judge:
    """Judges a plan that is about to be stored, by the guards that weigh change.

    It is judged against the ledger and its baselines. `passed`: why it would be refused, had no operator ordered it.
    """

    def __init__(self, scope: Scope, orders: Orders, weighed: Weighed, *, exactly: bool) -> None:
        self._scope = scope
        self._orders = orders
        self._weighed = weighed
        self._exactly = exactly
        self.findings: tuple[Finding, ...] = ()
        self.refusals: tuple[Refusal, ...] = ()
        self.passed: tuple[Refusal, ...] = ()
        self._back: Callable[[Collection[str]], Awaitable[Mapping[str, Outlived]]] | None = None

    async def __call__(self, plan: Manifest, read: Read) -> Refusal | None:
        scope = self._scope
        served = partial(applied_of, scope.store, scope.keys, scope.zones)
        scales = Scales(zones=scope.zones, limits=scope.limits, answers=scope.answers, read=read, served=served)
        window_s, refused = scope.limits[VELOCITY_WINDOW], await scope.plans.refused()
        stored = await scope.plans.lately(plan, window_s, refused)
        against = baselines(list(stored.values()), plan.generation, plan.published_at, window_s, refused)
        if may_have_removed(stored, against):
            self._back = partial(outlived, plan, against=against, scales=scales)
        weighed = await weigh(plan, against, stored, scales, applied=self._applied, exactly=self._exactly)
        self.findings = tuple(closest([*weighed, *self._weighed.findings]))
        found = [finding for finding in self.findings if finding.seen.refused]
        whole = {(finding.guard, finding.seen.unit) for finding in found if not finding.weighing.zone}
        refusals = tuple(
            finding.refusal()
            for finding in found
            if not finding.weighing.zone or (finding.guard, finding.seen.unit) not in whole
        )
        self.refusals, self.passed = ((), refusals) if self._orders.ordered else (refusals, ())
        return self.refusals[0] if self.refusals else None

    async def entries(self, names: Collection[str]) -> Mapping[str, Entry]:
        """Return the ledger's entries, with the peaks of those names that come back within the window."""
        known = self._weighed.entries
        new = [name for name in names if name not in known or not known[name].owned]
        back = await self._back(new) if self._back is not None else {}
        return {**known, **{name: with_outlived(name, known.get(name), back[name]) for name in back}}

    async def _applied(self) -> Contents:
        """What the ledger has as applied, by zone."""
        return (await self._scope.cache()).ledger.applied_contents(self._scope.zones)


async def weigh_draft(scope: Scope, draft: Draft) -> Weighed:
    """Weigh a draft against the ledger. Raises `StoreDown`."""
    zones = frozenset(scope.zones)
    # Changes alone need the buckets that they touch; only what removes names needs the whole ledger.
    if draft.base is not None and not draft.withdrawn:
        entries = await entries_of(scope.store, scope.keys, scope.zones, draft.endpoints)
        removed: list[str] = []
        owned = 0
    else:
        cache = await scope.cache()
        entries = {name: entry for zone in scope.zones for name, entry in cache.ledger.zone_entries(zone).items()}
        owned = cache.ledger.totals_of(scope.zones).live
        removed = [name for name, entry in entries.items() if entry.live and _leaves(draft, name)]
    outside = sorted(name for name in draft.endpoints if zone_of(name, zones) is None)
    planned = len(draft.endpoints) if draft.base is None else owned - len(removed) + len(draft.endpoints)
    weighing = Weighing("", 0, Size(owned), Loss(len(removed)), planned)
    before = {name: entry.applied.content for name, entry in entries.items() if entry.applied is not None}
    if draft.base is not None:
        touched = draft.endpoints.keys() | set(removed)
        before = {name: content for name, content in before.items() if name in touched}
    return Weighed(
        entries=entries,
        before=before,
        outside=refuse_outside(outside, zones) if outside else None,
        findings=tuple(look(weighing, scope.limits)),
    )


def _leaves(draft: Draft, name: str) -> bool:
    return name in draft.withdrawn if draft.base is not None else name not in draft.endpoints


def judge_endpoints(
    endpoints: Mapping[str, str], entries: Mapping[str, Entry], scope: Scope, *, approved: bool
) -> tuple[Held, ...]:
    """Return the endpoints that a guard would hold now, sorted by name."""
    held = []
    for name, change in _changes(endpoints, entries, scope, approved=approved):
        content, entry, now, _, answers_max = change
        refusal = judge_endpoint(content, entry, scope.limits, now, approved=approved, answers_max=answers_max)
        if refusal is not None:
            held.append(Held(name=name, refusal=refusal))
    return tuple(held)


def look_at_endpoints(
    endpoints: Mapping[str, str], entries: Mapping[str, Entry], scope: Scope, held: Collection[Held], *, approved: bool
) -> list[Looked]:
    """Return what each guard of endpoints saw: how many it judged and holds, and where it came closest to a hold."""
    judged = 0
    nearest: dict[str, tuple[str, Seen]] = {}
    for name, change in _changes(endpoints, entries, scope, approved=approved):
        judged += 1
        for guard, seen in look_at_endpoint(change, scope.limits):
            if guard not in nearest or seen.closeness > nearest[guard][1].closeness:
                nearest[guard] = name, seen
    counts = Counter(one.refusal.guard for one in held)
    return [
        Looked(guard.name, judged, counts[guard.name], *nearest.get(guard.name, ("", None)))
        for guard in GUARDS
        if isinstance(guard, EndpointGuard)
    ]


def _changes(
    endpoints: Mapping[str, str], entries: Mapping[str, Entry], scope: Scope, *, approved: bool
) -> Iterator[tuple[str, Change]]:
    """Yield the endpoints that are not applied as they are wanted, sorted by name."""
    now = scope.clock.now()
    zones = frozenset(scope.zones)
    for name in sorted(endpoints):
        entry = entries.get(name)
        if entry is not None and entry.applied is not None and entry.applied.content == endpoints[name]:
            continue
        answers_max = scope.answers.get(zone_of(name, zones) or "", ANSWERS_MAX)
        yield name, Change(parse_content(endpoints[name]), entry, now, approved, answers_max)
