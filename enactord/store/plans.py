"""Plans in the store: published whole or not at all, read by chunk, deleted only when nothing can need them."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from enactord.core.baselines import begins_memory, stamp
from enactord.core.buckets import FILLING, Filling
from enactord.core.contribution import mark_of
from enactord.core.errors import EnactordError, PlanOfOtherFormat, PlanUnreadable, StoreUnknown
from enactord.core.fence import FenceRecord
from enactord.core.guards import LIMITS, Limits, in_step, judge_step
from enactord.core.kv import Compare, Delete, Item, Operation, Put, absent, none_under, present, unmodified, valued
from enactord.core.moment import utc
from enactord.core.names import zone_of
from enactord.core.overrides import Override, overlay, overlay_changes, planned_contents
from enactord.core.plan import (
    GENERATION_MAX,
    Approval,
    Draft,
    Manifest,
    content_digest,
    merge,
    plan_digest,
)
from enactord.core.refusal import Refusal
from enactord.core.retention import Stored
from enactord.ports import Clock, KeyValue
from enactord.store.audit import Act, Deed, Fact, act_put
from enactord.store.building import Builder, other_digest, unreadable
from enactord.store.chunks import put_chunks, read_chunks, readable_chunks
from enactord.store.contributions import named_chunks
from enactord.store.entries import applied_of
from enactord.store.keys import (
    Keys,
    head_value,
    json_value,
    manifest_value,
    pad,
    parse_head,
    parse_pad,
    parse_record,
    read_contribution,
    read_manifest,
)
from enactord.store.layout import CHUNK, CONTRIBUTION, FENCE, HEAD, PLAN, PRUNE_EPOCH, REFUSED
from enactord.store.overrides import override_value, read_overrides
from enactord.store.paging import items_under
from enactord.store.planners import DEFAULT, Pause, pause_value, refuse_paused
from enactord.store.weighing import Read

_PUTS_A_TRANSACTION = 100
_PLANS_A_READ = 32
_ATTEMPTS = 8
AUTHOR_DEFAULT = "unknown"
"""Who has published what names no author."""
Judge = Callable[[Manifest, Read], Awaitable[Refusal | None]]
"""Judges a plan that is about to be stored; what it reads of chunks it reads by what it is given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What a publication is besides its content: who says so, why, and what it approves or brings back."""

    author: str = ""
    reason: str = ""
    approval: Approval | None = None
    rollback_of: int = 0
    role: str = ""
    """In which role the author says so, for the audit log; "": nothing is entered there."""
    pauses: Pause | None = None
    """Pauses the planner whose content is changed, in the same transaction: it must not bring back what was undone."""

    override: Override | None = None
    """Begins an override, in the same transaction."""
    ends: str = ""
    """Ends the override of that id."""

    @property
    def ordered(self) -> bool:
        """Whether an operator answers for the content: then guards do not weigh change, and no planner is asked."""
        return self.approval is not None or self.rollback_of > 0

    @property
    def of_planner(self) -> bool:
        """Whether it is a planner that publishes."""
        return not self.ordered and self.override is None and not self.ends

    def in_force(self, stored: Mapping[str, Override]) -> dict[str, Override]:
        """Return the overrides that the publication is under, by id, of those that are stored.

        One whose time is over is in force until it is ended: else what its end takes away would be laid to the
        planner, and by the clock of whoever publishes.
        """
        ours = {} if self.override is None else {self.override.id: self.override}
        return {ident: one for ident, one in {**stored, **ours}.items() if ident != self.ends}


class Plans:
    """The plans of one scope."""

    def __init__(
        self,
        store: KeyValue,
        keys: Keys,
        clock: Clock,
        *,
        zones: Collection[str] = (),
        filling: Filling = FILLING,
        limits: Limits = LIMITS,
        answers: Mapping[str, int] = {},
    ) -> None:
        """`zones`: those that a publication may hold names of; without them, plans are only read and deleted.

        `limits`: how far a publication's generation may be above the one before it. `answers`: each zone's
        `answers_max`, 16 where it is left out.
        """
        self._store = store
        self._keys = keys
        self._clock = clock
        self._zones = frozenset(zones)
        self._filling = filling
        self._limits = limits
        self._answers = answers

    async def manifest(self, generation: int) -> Manifest | None:
        """Return a plan's manifest, None if there is none. Raises `PlanUnreadable`."""
        key = self._keys.plan(generation)
        item = (await self._store.get([key])).get(key)
        return None if item is None else read_manifest(item.value, generation)

    async def newest(self) -> tuple[int, str]:
        """Return generation and mark of the newest plan; (0, "") before the first, and where `head` cannot be read."""
        return _newest((await self._store.get([self._keys.head])).get(self._keys.head))

    async def generations(self) -> list[int]:
        """Return the generations of all stored plans, in order."""
        page = await self._store.range(*self._keys.bounds(PLAN))
        numbers = (parse_pad(self._keys.split(item.key)[1]) for item in page.items)
        return [number for number in numbers if number is not None]

    async def stored(self) -> list[Stored]:
        """Return all stored plans that can be read, in order, with their time and size."""
        return [Stored.of(manifest) for manifest in await self._manifests()]

    async def texts(self, digests: Collection[str], known: Mapping[str, bytes] = {}) -> dict[str, str]:
        """Return the chunks' texts by digest. Raises `PlanUnreadable` if one is missing or damaged."""
        return await read_chunks(self._store, self._keys, digests, known)

    async def endpoints(self, manifest: Manifest) -> dict[str, str]:
        """Return name to content text of a whole plan, sorted by name."""
        texts = await self.texts(set(manifest.digests()))
        return merge(texts[digest] for digest in manifest.digests())

    async def planned(self, manifest: Manifest) -> dict[str, str]:
        """Return name to content text of a plan as its planner wants it, without overrides, sorted by name."""
        return planned_contents(await self.endpoints(manifest), manifest.planned)

    async def lately(self, plan: Manifest, window_s: float, refused: Collection[int]) -> dict[int, Manifest]:
        """Return the plans that a plan about to be published may have to be compared with, by generation.

        Those of the window, and the one in force at its start, or since an operator's order; `refused` ones never
        were in force. Raises `StoreDown`.
        """
        found: dict[int, Manifest] = {}
        at_hand: dict[int, Item | None] = {}
        since, ahead = plan.since, 1
        while since:
            if since not in at_hand:
                some = [generation for generation in range(since, since - ahead, -1) if generation > 0]
                items = await self._store.get([self._keys.plan(generation) for generation in some])
                at_hand.update((generation, items.get(self._keys.plan(generation))) for generation in some)
                ahead = min(2 * ahead, _PLANS_A_READ)
            item = at_hand[since]
            try:
                before = None if item is None else read_manifest(item.value, since)
            except PlanUnreadable:
                before = None
            if before is None:
                break
            found[since] = before
            if since not in refused and begins_memory(before, plan.published_at, window_s):
                return found
            since = before.since if before.since < since else 0
        # The first plan of all, or one whose predecessor cannot be read: others may be readable.
        return {manifest.generation: manifest for manifest in await self._manifests()}

    async def refused(self) -> set[int]:
        """Return the plans that enactors refused. Raises `StoreDown`."""
        page = await self._store.range(*self._keys.bounds(REFUSED))
        return {parse_pad(self._keys.split(item.key)[1]) or 0 for item in page.items}

    async def mark_refused(self, generation: int, refusal: Refusal, enactor: str) -> None:
        """Note that an enactor refused a plan, which is then no baseline of later ones. Raises `StoreDown`."""
        said = {"guard": refusal.guard, "detail": refusal.detail, "enactor": enactor, "at": self._clock.now()}
        put = Put(key=self._keys.refused(generation), value=json_value(REFUSED, said))
        await self._store.transact([present(self._keys.plan(generation))], [put])

    async def unmark_refused(self, generation: int, revision: int) -> None:
        """Take back that a plan was refused, if the mark is still that of the revision. Raises `StoreDown`."""
        key = self._keys.refused(generation)
        await self._store.transact([unmodified(key, revision)], [Delete(key=key)])

    async def publish(
        self,
        draft: Draft,
        orders: Orders,
        *,
        layout: Manifest | None = None,
        above: int = 0,
        clocks: Collection[float] = (),
        judge: Judge | None = None,
    ) -> Manifest | Refusal:
        """Give the draft a generation and put it into the store, whole or not at all.

        `layout`: the plan whose numbers of slots are kept where that is possible; the newest, if it is left out.
        `above`: the highest fence that enactors see in a zone; the store's own is not taken for it. `clocks`: what
        their clocks say. `judge`: has the last word, when all else about the plan is known.

        Refusals: `scope`, `generation` (not above the newest plan and every fence),
        `base` (not the newest), `digest`, `withdraw`, `zone`. Raises `InvalidPlan`, `StoreDown`.
        """
        if draft.scope != self._keys.scope:
            detail = f"the plan is for {draft.scope!r}, this store holds {self._keys.scope!r}; correct its scope"
            return Refusal(guard="scope", detail=detail)
        for attempt in range(_ATTEMPTS):
            doubtful = attempt > _ATTEMPTS // 2
            done = await self._publish_once(draft, orders, layout, above, clocks, judge, doubtful=doubtful)
            if done is not None:
                return done
            await asyncio.sleep(0.01 * 2**attempt)  # another publication or a prune came first: take the new state
        return Refusal(guard="contention", detail="other publications came first each time; publish again")

    async def _publish_once(
        self,
        draft: Draft,
        orders: Orders,
        layout: Manifest | None,
        above: int,
        clocks: Collection[float],
        judge: Judge | None,
        *,
        doubtful: bool,
    ) -> Manifest | Refusal | None:
        """Do what `publish` does, once; None where something else came first. `doubtful`: `head` may hide plans."""
        keys = self._keys
        paused, contribution = keys.paused(DEFAULT), keys.contribution(DEFAULT)
        found = await self._store.get([keys.head, keys.prune_epoch, paused, contribution])
        head, epoch = found.get(keys.head), found.get(keys.prune_epoch)
        refusal = _of_other_format(head, epoch)
        if refusal is not None:
            return refusal
        if paused in found and orders.of_planner:
            return refuse_paused(DEFAULT, found[paused])
        overrides = await read_overrides(self._store, keys)
        if overrides.other:
            return Refusal(guard="format", detail=overrides.other)
        if orders.ends and orders.ends not in (*overrides.stored, *overrides.unreadable):
            detail = f"no override has the id {orders.ends} (see: enactorctl override list)"
            return Refusal(guard="override", detail=detail)
        in_force = orders.in_force(overrides.stored)
        of_ours = self._of_our_zones(in_force)
        newest = _newest(head)
        floor = max(await self.generations(), default=0) if doubtful or not newest[0] else 0
        opened = await self._highest_fence(max(newest[0], floor), above)
        before_it = max(newest[0], opened, floor)
        generation = draft.generation or before_it + 1
        if generation <= max(newest[0], opened):
            return Refusal(
                guard="generation",
                detail=f"generation {generation} is not above the newest plan {newest[0]} and the highest fence"
                f" {opened}; leave it out to be given {max(newest[0], opened) + 1}",
            )
        refusal = judge_step(generation, before_it, self._limits, approved=orders.approval is not None)
        if refusal is not None:
            return refusal
        if generation >= GENERATION_MAX:
            return Refusal(guard="generation", detail=f"generations end at {GENERATION_MAX - 1}")
        if draft.base is not None and draft.base != newest[0]:
            return Refusal(
                guard="base", detail=f"base {draft.base} is not the newest plan {newest[0]}; compute the changes anew"
            )
        builder = Builder(
            self._zones,
            self._filling,
            self._limits,
            self._answers,
            self.texts,
            partial(applied_of, self._store, keys, self._zones),
        )
        before: Manifest | None = None
        try:
            before = await self.manifest(newest[0]) if newest[0] else None
            overlaid, planned = await self._overlaid(draft, before, of_ours)
            built = await builder.build(overlaid, before, layout or before)
        except PlanOfOtherFormat as error:
            return Refusal(guard="format", detail=str(error))
        except PlanUnreadable as error:
            if draft.base is not None:
                return unreadable(draft.base, str(error))
            overlaid, planned = overlay(draft, of_ours)
            built = await builder.build(overlaid, None, layout)  # a whole plan needs nothing of the plan before it
        if isinstance(built, Refusal):
            return built
        if planned and draft.base is None and draft.digest:  # that of the planner's own content
            digest = content_digest(draft.scope, draft.endpoints)
            if digest != draft.digest:
                return other_digest(draft, digest)
        parts, texts = built
        named = {chunk for part in parts.values() for chunk in part.chunks.values()}
        sound, problems = await readable_chunks(self._store, keys, named)
        for problem in problems:
            if isinstance(problem, PlanOfOtherFormat):
                return Refusal(guard="format", detail=str(problem))
        if draft.base is not None:
            lost = named - texts.keys() - sound.keys()
            if lost:
                return unreadable(draft.base, f"its chunk {min(lost)} is lost or damaged")
            contents = planned_contents(merge((sound | texts).values()), planned) if draft.digest else {}
            digest = content_digest(draft.scope, contents) if draft.digest else ""
            if draft.digest != digest:
                return other_digest(draft, digest)
        read = builder.reader(sound | texts)
        parts, losses = await builder.measured(before, parts, read)
        manifest = Manifest(
            generation=generation,
            digest=plan_digest(draft.scope, parts),
            scope=draft.scope,
            endpoints=sum(part.endpoints for part in parts.values()),
            author=orders.author or draft.author or AUTHOR_DEFAULT,
            reason=orders.reason,
            created_at=draft.created_at,
            published_at=stamp(self._clock.now(), clocks, before.published_at if before else 0.0),
            zones=parts,
            approval=orders.approval,
            rollback_of=orders.rollback_of,
            since=before.generation if before and losses is not None else 0,
            content_author=_content_author(before, orders),
            planned=planned,
            losses=losses or {},
        )
        refusal = None if judge is None else await judge(manifest, read)
        if refusal is not None:
            return refusal
        await put_chunks(self._store, keys, {chunk: texts[chunk] for chunk in texts if chunk not in sound})
        compares = [
            absent(keys.plan(generation)),
            valued(keys.head, head.value) if head else absent(keys.head),
            valued(keys.prune_epoch, epoch.value) if epoch else absent(keys.prune_epoch),
        ]
        packed = manifest_value(manifest)
        operations: list[Operation] = [
            Put(key=keys.plan(generation), value=packed),
            Put(key=keys.head, value=head_value(generation, manifest.mark)),
        ]
        if orders.of_planner:
            compares.append(absent(paused))
        if orders.ends:
            operations.append(Delete(key=keys.override(orders.ends)))
        if orders.override is not None:
            compares.append(absent(keys.override(orders.override.id)))
            operations.append(Put(key=keys.override(orders.override.id), value=override_value(orders.override)))
        settled = _settled(found.get(contribution), orders)
        if settled is not None:
            compares.append(valued(contribution, found[contribution].value))
            operations.append(Delete(key=contribution))
        pauses = orders.pauses is not None and (before is None or before.zones != parts)
        if orders.pauses is not None and pauses:
            operations.append(Put(key=paused, value=pause_value(orders.pauses)))
        if orders.role:
            operations.append(act_put(keys, _act(manifest, orders, pauses=pauses), pad(generation)))
        try:
            succeeded = (await self._store.transact(compares, operations)).succeeded
        except StoreUnknown:
            # It may have landed: only what stands there now tells. If this read fails too, the
            # caller is told StoreDown and can publish the same again: at worst twice the same content.
            item = (await self._store.get([keys.plan(generation)])).get(keys.plan(generation))
            succeeded = item is not None and item.value == packed
        if succeeded and settled:
            with suppress(EnactordError):  # the plan is stored; what is left in the store does no harm
                await self.sweep(settled)
        return manifest if succeeded else None

    async def preview(self, draft: Draft, orders: Orders) -> Draft:
        """Return a draft as the overrides in force would change it; as it is, where that cannot be told."""
        overrides = await read_overrides(self._store, self._keys)
        in_force = self._of_our_zones(orders.in_force(overrides.stored))
        if draft.base is None:  # it needs no plan before it
            return overlay(draft, in_force)[0]
        try:
            newest, _ = await self.newest()
            before = await self.manifest(newest) if newest else None
            return (await self._overlaid(draft, before, in_force))[0]
        except PlanUnreadable:
            return draft

    def _of_our_zones(self, overrides: Mapping[str, Override]) -> list[Override]:
        """Return those of names that may be published: a pin must not bring a name into a plan whose zone has gone."""
        return [one for one in overrides.values() if zone_of(one.name, self._zones) is not None]

    async def _overlaid(
        self, draft: Draft, before: Manifest | None, in_force: Sequence[Override]
    ) -> tuple[Draft, dict[str, str]]:
        """Return what overrides make of a draft onto a plan, and what its planner wants of the names overridden."""
        if draft.base is None:
            return overlay(draft, in_force)
        names = {override.name for override in in_force} | (before.planned.keys() if before else set())
        if before is None or not names:
            return draft, {}
        chunks = {digest for name in names if (digest := before.chunk_of(name)) is not None}
        held = merge((await self.texts(chunks)).values())
        return overlay_changes(draft, in_force, {name: held[name] for name in names & held.keys()}, before.planned)

    async def _manifests(self) -> list[Manifest]:
        """Return all stored plans that can be read, in order."""
        page = await self._store.range(*self._keys.bounds(PLAN))
        found = []
        for item in page.items:
            try:
                found.append(read_manifest(item.value, parse_pad(self._keys.split(item.key)[1]) or 0))
            except PlanUnreadable:
                continue
        return found

    async def _highest_fence(self, newest: int, seen: int) -> int:
        """Return the highest generation opened in a zone, or seen there, of those that are in reach."""
        page = await self._store.range(*self._keys.bounds(FENCE))
        records = (parse_record(item.value) for item in page.items)
        opened = (record.generation for record in records if isinstance(record, FenceRecord))
        candidates = (seen, *opened)
        return max((generation for generation in candidates if in_step(generation, newest, self._limits)), default=0)

    async def republish(self, generation: int, orders: Orders) -> Manifest | Refusal:
        """Publish a stored plan's content as a new generation (rollback, or an approval of it)."""
        manifest = await self.manifest(generation)
        if manifest is None:
            return Refusal(guard="generation", detail=f"plan {generation} is not in the store (see: enactorctl plans)")
        draft = Draft(
            scope=manifest.scope,
            generation=None,
            base=None,
            created_at=manifest.created_at,
            author=manifest.author,
            digest="",
            endpoints=await self.planned(manifest),
            withdrawn=(),
        )
        return await self.publish(draft, orders, layout=manifest)

    async def delete(self, generation: int, evidence: Sequence[Compare]) -> bool:
        """Delete a plan's manifest in one transaction that checks the evidence again.

        Besides the evidence (fences and applied as they were judged), no claim may live
        and the manifest must be as it was read. Returns whether it is gone.
        """
        key = self._keys.plan(generation)
        item = (await self._store.get([key])).get(key)
        if item is None:
            return False
        compares = [*evidence, none_under(self._keys.claims(generation)), unmodified(key, item.mod_revision)]
        deletions = (Delete(key=key), Delete(key=self._keys.refused(generation)))
        return (await self._store.transact(compares, deletions)).succeeded

    async def sweep(self, candidates: Iterable[str] | None = None) -> int:
        """Delete those of the candidate chunks that no plan and no refused publication names; returns how many went.

        Without candidates, all chunks of the store are: which of them a manifest named that
        is gone unread, nobody knows.
        Raises `prune_epoch` in the same transaction: a publication that counts on a chunk
        which stood there at its start then fails its own compare and starts again.
        A manifest that cannot be read may name any chunk, and another version's epoch cannot be raised: then
        nothing is deleted.
        """
        keys = self._keys
        found = await self._store.get([keys.head, keys.prune_epoch])
        head, epoch = found.get(keys.head), found.get(keys.prune_epoch)
        if _of_other_format(head, epoch) is not None:
            return 0
        page = await self._store.range(*keys.bounds(PLAN))
        if head is not None and page.revision < head.mod_revision:
            return 0  # an answer from before the newest publication (etcd has given such): it may lack a plan
        if candidates is None:
            # Read after the list of plans: a chunk that a later publication put is of a newer `head`, and stays.
            candidates = [keys.split(item.key)[1] async for item in items_under(self._store, keys.key(CHUNK))]
        named: set[str] = set()
        for item in page.items:
            try:
                named.update(read_manifest(item.value, parse_pad(keys.split(item.key)[1]) or 0).digests())
            except PlanUnreadable:
                return 0
        refused, none_kept_since = await named_chunks(self._store, keys)
        unused = sorted(set(candidates) - named - refused)
        swept = 0
        for start in range(0, len(unused), _PUTS_A_TRANSACTION):
            some = unused[start : start + _PUTS_A_TRANSACTION]
            raised = _raised(epoch)
            compares = [
                valued(keys.head, head.value) if head else absent(keys.head),
                valued(keys.prune_epoch, epoch.value) if epoch else absent(keys.prune_epoch),
                none_kept_since,
            ]
            operations: list[Operation] = [Delete(key=keys.chunk(digest)) for digest in some]
            operations.append(Put(key=keys.prune_epoch, value=raised))
            result = await self._store.transact(compares, operations)
            if not result.succeeded:
                break  # a publication came between: what it named is not known here, so the rest stays
            swept += len(some)
            epoch = Item(key=keys.prune_epoch, value=raised, create_revision=0, mod_revision=result.revision, version=0)
        return swept


def _raised(epoch: Item | None) -> bytes:
    """Return the next `prune_epoch`; what is damaged begins anew."""
    body = PRUNE_EPOCH.body(epoch.value) if epoch else None
    number = int(body) if isinstance(body, bytes) and body.isdigit() else 0
    return PRUNE_EPOCH.value(b"%d" % (number + 1))


def _facts(override: Override) -> dict[str, Fact]:
    return {"id": override.id, "name": override.name, "what": override.text()}


def _act(manifest: Manifest, orders: Orders, *, pauses: bool) -> Act:
    """Return what the audit log says of a publication."""
    facts: dict[str, Fact] = {"digest": manifest.mark, "endpoints": manifest.endpoints}
    deed = Deed.PUBLISH
    if orders.rollback_of:
        deed, facts = Deed.ROLLBACK, facts | {"to": orders.rollback_of}
    elif orders.override is not None:
        deed, facts = Deed.OVERRIDE, _facts(orders.override) | {"until": utc(orders.override.until)}
    elif orders.ends:
        deed, facts = Deed.OVERRIDE_END, {"id": orders.ends}
    elif orders.approval is not None:
        deed, facts = Deed.APPROVE, facts | {"of": mark_of(orders.approval.digest) or orders.approval.of}
    if pauses:
        facts |= {"pauses": DEFAULT}
    return Act(
        at=manifest.published_at,
        author=manifest.author,
        role=orders.role,
        deed=deed,
        reason=manifest.reason,
        generation=manifest.generation,
        facts=facts,
    )


def _content_author(before: Manifest | None, orders: Orders) -> str:
    """Return whose the content is that an override is begun or ended of; "": it is the author's own."""
    if before is None or (orders.override is None and not orders.ends):
        return ""
    return before.content_author or before.author


def _settled(item: Item | None, orders: Orders) -> list[str] | None:
    """Return the chunks of the planner's refused publication where a new plan settles it; None: it stays, if there is.

    A plan of the planner that passes settles it, and an operator's word for exactly what was refused.
    """
    if item is None or CONTRIBUTION.other_format(item.value) is not None:
        return None
    try:
        kept = read_contribution(item.value, DEFAULT)
    except PlanUnreadable:
        return [] if orders.of_planner else None
    approved = orders.approval is not None and orders.approval.digest == kept.digest
    return list(kept.digests()) if approved or orders.of_planner else None


def _newest(head: Item | None) -> tuple[int, str]:
    found = parse_head(head.value) if head else None
    return found if isinstance(found, tuple) else (0, "")


def _of_other_format(head: Item | None, epoch: Item | None) -> Refusal | None:
    """Return the refusal of a publication or a sweep where another version has written what it would replace."""
    for kind, item in ((HEAD, head), (PRUNE_EPOCH, epoch)):
        other = kind.other_format(item.value) if item else None
        if other is not None:
            return Refusal(guard="format", detail=f"the store holds a {other}")
    return None
