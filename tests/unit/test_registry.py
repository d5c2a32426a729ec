"""The registry's transactions: each compare is there, because without it the store would let the write pass."""

import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from enactord.core.buckets import BucketId, bucket_of, slot_of, slots_for, split_names
from enactord.core.content import TARGETS_MAX, Content, Target, content_json, content_text, parse_content
from enactord.core.errors import StoreUnknown
from enactord.core.fence import Fence, FenceRecord, raised
from enactord.core.kv import Compare, Delete, Operation, Put, Result, prefix_end
from enactord.core.ledger import Bucket, Entry, Version
from enactord.core.plan import Manifest, content_digest, plan_digest, read_plan
from enactord.core.refusal import Refusal
from enactord.core.retention import Keep
from enactord.engine.prune import Pruner
from enactord.store.cache import Cache
from enactord.store.control import Freeze, freeze
from enactord.store.fences import QUIET_A_TRANSACTION, Fences, Quiet
from enactord.store.keys import Keys, applied_value, manifest_value, record_value
from enactord.store.ledger import Ledger, Permit
from enactord.store.ledger_index import NOT_STORED_SO, bucket_value
from enactord.store.plans import Orders, Plans
from enactord.store.session import Claim, Session
from enactord.stores.memory import MemoryStore
from tests.world import SCOPE, ZONE, Breaking, Recorder, WallClock, fleet, plan

KEYS = Keys(SCOPE)
ID = BucketId(ZONE, 0, 1)
BUCKET: dict[BucketId, Bucket] = {ID: {f"a.{ZONE}": Entry(name=f"a.{ZONE}")}}


@dataclass
class Ground:
    """A published plan, claimed and opened by one enactor."""

    store: MemoryStore
    plans: Plans
    session: Session
    claim: Claim
    record: FenceRecord
    ledger: Ledger
    cache: Cache

    @property
    def permit(self) -> Permit:
        return Permit(claim=self.claim, zone=ZONE, record=self.record)

    @property
    def fences(self) -> Fences:
        return Fences(self.store, KEYS)

    async def next_plan(self, generation: int = 2, content: int = 1) -> tuple[Claim, Fence]:
        """Publish one more plan and claim it; returns the claim, and the fence that the plan would raise."""
        manifest = await publish(self.plans, generation, content)
        claim = await self.session.claim(generation)
        assert claim is not None
        return claim, Fence(scope=SCOPE, generation=generation, plan=manifest.mark)


OTHER = Manifest(
    generation=1,
    digest=plan_digest(SCOPE, {}),
    scope=SCOPE,
    endpoints=0,
    author="x",
    reason="",
    created_at="",
    published_at=0.0,
    zones={},
)


async def publish(plans: Plans, generation: int, content: int = 0) -> Manifest:
    """Publish a plan whose addresses tell its content: that of no other generation, if it is left out."""
    published = await plans.publish(read_plan(plan(fleet(3, content or generation))), Orders())
    assert isinstance(published, Manifest)
    assert published.generation == generation
    return published


@pytest.fixture
async def ground() -> Ground:
    store = MemoryStore()
    plans = Plans(store, KEYS, WallClock(), zones=[ZONE])
    manifest = await publish(plans, 1)
    session = Session(store, KEYS, WallClock(), enactor="a", ttl_s=60)
    await session.keep({})
    claim = await session.claim(1)
    assert claim is not None
    fence = Fence(scope=SCOPE, generation=1, plan=manifest.mark)
    record = await Fences(store, KEYS).open(ZONE, fence, claim, None)
    assert record == raised(fence, 0)
    cache = Cache(KEYS)
    await cache.load(store)
    return Ground(store, plans, session, claim, record, Ledger(store, KEYS, cache), cache)


async def test_begin_and_commit_need_a_claim_that_lives(ground: Ground) -> None:
    """An enactor whose lease ran out cannot write to the store either, not even with a claim made anew."""
    assert await ground.ledger.begin(ground.permit, BUCKET, {ID: 0})
    read = {ID: ground.cache.ledger.revision(ID)}
    await ground.store.revoke(ground.session.lease)
    assert not await ground.ledger.commit(ground.permit, BUCKET, read)
    await ground.session.keep({})
    assert await ground.session.claim(1) is not None
    assert not await ground.ledger.commit(ground.permit, BUCKET, read)
    assert not await ground.ledger.settle(ground.permit)


async def test_begin_and_commit_need_the_fence(ground: Ground) -> None:
    """After a newer open, an older plan can mark and record nothing."""
    claim, fence = await ground.next_plan(2, 2)
    assert await ground.fences.open(ZONE, fence, claim, ground.record)
    assert not await ground.ledger.begin(ground.permit, BUCKET, {ID: 0})
    assert not await ground.ledger.commit(ground.permit, BUCKET, {ID: 0})
    assert not await ground.ledger.settle(ground.permit)


async def test_begin_needs_a_thawed_scope_and_commit_does_not(ground: Ground) -> None:
    """A freeze stops what has not begun; what is served already must still be recorded."""
    await freeze(ground.store, KEYS, Freeze(mode="repair-only", reason="r", author="a", since=0.0))
    assert not await ground.ledger.begin(ground.permit, BUCKET, {ID: 0})
    assert await ground.ledger.commit(ground.permit, BUCKET, {ID: 0})
    claim, fence = await ground.next_plan(2, 2)
    assert not await ground.fences.open(ZONE, fence, claim, ground.record)


async def test_begin_needs_the_bucket_as_it_was_read(ground: Ground) -> None:
    """Two enactors never mark the same bucket from the same reading."""
    assert await ground.ledger.begin(ground.permit, BUCKET, {ID: 0})
    assert not await ground.ledger.begin(ground.permit, BUCKET, {ID: 0})


async def test_a_plan_that_is_gone_is_neither_claimed_nor_opened(ground: Ground) -> None:
    """A claim is put only if the plan exists; an open compares it again."""
    claim, fence = await ground.next_plan(2, 2)
    await ground.store.transact((), (Delete(key=KEYS.plan(2)),))
    assert not await ground.fences.open(ZONE, fence, claim, ground.record)
    await ground.session.release(claim)
    assert await ground.session.claim(2) is None


async def test_an_open_needs_the_fence_by_which_the_plan_was_judged(ground: Ground) -> None:
    """Another plan was opened since: what its enactors mark is not in the ledger that the guards saw."""
    claim, fence = await ground.next_plan(2, 2)
    for seen in (None, raised(Fence(scope=SCOPE, generation=0, plan="0" * 16), 0), replace(ground.record, slots=1)):
        assert not await ground.fences.open(ZONE, fence, claim, seen)
    assert await ground.fences.open(ZONE, fence, claim, ground.record)
    assert await ground.fences.open(ZONE, fence, claim, ground.record)


async def test_a_fence_never_goes_down(ground: Ground) -> None:
    """Neither by an open nor by following a zone."""
    older = Fence(scope=SCOPE, generation=0, plan="0" * 16)
    assert await ground.fences.follow(ZONE, older)
    assert await ground.fences.read(ZONE) == ground.record
    assert await ground.fences.open(ZONE, older, ground.claim, ground.record) is None
    assert await ground.fences.read(ZONE) == ground.record


class Meddling:
    """A store in which something happens just before a transaction that does a certain thing."""

    def __init__(self, store: MemoryStore, meddle: Operation, before: Callable[[Operation], bool]) -> None:
        self._store = store
        self._meddle: Operation | None = meddle
        self._before = before

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def transact(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> Result:
        if self._meddle is not None and any(map(self._before, operations)):
            meddle, self._meddle = self._meddle, None
            await self._store.transact((), (meddle,))
        return await self._store.transact(compares, operations)


def deletes_the_plan(operation: Operation) -> bool:
    return isinstance(operation, Delete) and operation.key == KEYS.plan(1)


@pytest.mark.parametrize(
    "meddle",
    [
        Put(key=KEYS.claim(1, "late"), value=b"late"),
        Put(key=KEYS.fence(ZONE), value=b"junk"),
        Put(key=KEYS.applied(ZONE), value=applied_value(1, "0" * 16)),
        Put(key=KEYS.ledger(ID), value=b"changed"),
        Put(key=KEYS.ledger(BucketId("other.", 3, 4)), value=b"changed"),
        Put(key=KEYS.plan(1), value=manifest_value(OTHER)),
    ],
    ids=["claim", "fence", "applied", "ledger", "ledger of another zone", "manifest"],
)
async def test_what_changes_between_judging_and_deleting_keeps_the_plan(ground: Ground, meddle: Operation) -> None:
    """The delete checks again, in its own transaction, everything that the judgement rested on."""
    seen: FenceRecord | None = ground.record
    for generation in (2, 3):
        claim, fence = await ground.next_plan(generation, generation)
        seen = await ground.fences.open(ZONE, fence, claim, seen)
        assert seen is not None
        await ground.session.release(claim)
    await ground.store.transact((), (Put(key=KEYS.applied(ZONE), value=applied_value(3, "0" * 16)),))
    await ground.session.release(ground.claim)
    store: Any = Meddling(ground.store, meddle, deletes_the_plan)
    pruner = Pruner(store, SCOPE, zones=[ZONE], keep=Keep(plans=1), clock=WallClock(), observer=Recorder())
    evidence = Cache(KEYS)
    await evidence.load(ground.store)
    assert await pruner._prune_once(evidence, {}, dry_run=False), "the race must be seen as lost"
    assert await ground.store.get([KEYS.plan(1)])


class _OldList:
    """A store whose reads of ranges answer from before a revision, as a stale linearizable read of etcd did."""

    def __init__(self, store: MemoryStore, revision: int) -> None:
        self._store = store
        self._revision = revision

    async def range(self, start: str, end: str = "", *, revision: int = 0, limit: int = 0) -> Any:
        return await self._store.range(start, end, revision=revision or self._revision, limit=limit)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


async def test_a_sweep_distrusts_an_old_list() -> None:
    """A list of plans from before the newest publication does not show what that plan needs."""
    store = MemoryStore()
    plans = Plans(store, KEYS, WallClock(), zones=[ZONE])
    first = await publish(plans, 1)
    before = (await store.range(KEYS.head)).revision
    second = await publish(plans, 2)
    chunks = set(second.digests()) - set(first.digests())
    assert await Plans(_OldList(store, before), KEYS, WallClock()).sweep(chunks) == 0
    assert set(await plans.endpoints(second)) == set(fleet(3, 2))
    assert await plans.sweep(chunks) == 0


# -- zones of which a plan changes nothing


async def settled(ground: Ground) -> tuple[Claim, Fence, Quiet]:
    """Record plan 1 as applied, and publish the same as plan 2; returns its claim and fence, and the zone as it is."""
    assert await ground.ledger.begin(ground.permit, BUCKET, {ID: 0})
    assert await ground.ledger.settle(ground.permit)
    claim, fence = await ground.next_plan()
    await ground.cache.load(ground.store)
    return claim, fence, Quiet(record=ground.record, ledger_revision=ground.cache.ledger.zone_revision(ZONE))


async def applied(ground: Ground) -> int:
    cache = Cache(KEYS)
    await cache.load(ground.store)
    return cache.applied(ZONE)


async def test_a_zone_that_a_plan_leaves_as_it_is_is_settled_in_the_store(ground: Ground) -> None:
    """Opened and applied in one transaction; its TXT stays that of the plan before, so the DNS is not written."""
    claim, fence, quiet = await settled(ground)
    assert await ground.fences.keep(claim, 2, fence.plan, {ZONE: quiet})
    record = await ground.fences.read(ZONE)
    assert record == FenceRecord(generation=2, plan=fence.plan, slots=0, txt=ground.record.txt)
    assert await applied(ground) == 2
    assert not await ground.ledger.settle(ground.permit)
    assert not await ground.ledger.begin(ground.permit, BUCKET, {ID: quiet.ledger_revision})


async def test_what_another_version_has_recorded_as_applied_is_not_replaced(ground: Ground) -> None:
    """Though the cache has not shown it yet: the store compares."""
    newer = b"applied 2\nmore"
    await ground.store.transact((), (Put(key=KEYS.applied(ZONE), value=newer),))
    assert not await ground.ledger.settle(ground.permit)
    assert (await ground.store.get([KEYS.applied(ZONE)]))[KEYS.applied(ZONE)].value == newer


async def test_a_fence_of_another_version_is_not_replaced(ground: Ground) -> None:
    """Neither by an open nor by one that follows the zone."""
    newer = b"fence 2\nmore"
    await ground.store.transact((), (Put(key=KEYS.fence(ZONE), value=newer),))
    fence = Fence(scope=SCOPE, generation=5, plan="5" * 16)
    assert await ground.fences.read(ZONE) is None
    assert await ground.fences.open(ZONE, ground.record.txt, ground.permit.claim, None) is None
    assert not await ground.fences.follow(ZONE, fence)
    assert (await ground.store.get([KEYS.fence(ZONE)]))[KEYS.fence(ZONE)].value == newer


async def revoke(ground: Ground) -> None:
    await ground.store.revoke(ground.session.lease)


async def stop_all(ground: Ground) -> None:
    await freeze(ground.store, KEYS, Freeze(mode="repair-only", reason="r", author="a", since=0.0))


def putting(key: str, value: bytes) -> Callable[[Ground], Awaitable[None]]:
    async def put(ground: Ground) -> None:
        await ground.store.transact((), (Put(key=key, value=value),))

    return put


def deleting(key: str) -> Callable[[Ground], Awaitable[None]]:
    async def delete(ground: Ground) -> None:
        await ground.store.transact((), (Delete(key=key),))

    return delete


async def change_the_record(ground: Ground) -> None:
    record = replace(ground.record, slots=4)
    await ground.store.transact((), (Put(key=KEYS.fence(ZONE), value=record_value(record)),))


async def raise_the_fence(ground: Ground) -> None:
    assert await ground.fences.follow(ZONE, Fence(scope=SCOPE, generation=5, plan="5" * 16))


async def write_the_bucket_again(ground: Ground) -> None:
    item = (await ground.store.get([KEYS.ledger(ID)]))[KEYS.ledger(ID)]
    await ground.store.transact((), (Put(key=item.key, value=item.value),))


@pytest.mark.parametrize(
    "breaking",
    [
        pytest.param(revoke, id="the claim is gone"),
        pytest.param(deleting(KEYS.plan(2)), id="the plan is gone"),
        pytest.param(stop_all, id="frozen"),
        pytest.param(change_the_record, id="the record has changed"),
        pytest.param(raise_the_fence, id="a newer plan is opened"),
        pytest.param(deleting(KEYS.fence(ZONE)), id="the fence is lost"),
        pytest.param(deleting(KEYS.applied(ZONE)), id="nothing is known as applied"),
        pytest.param(putting(KEYS.applied(ZONE), applied_value(1, "f" * 16)), id="another plan is applied"),
        pytest.param(putting(KEYS.applied(ZONE), applied_value(3, "f" * 16)), id="a newer plan is applied"),
        pytest.param(write_the_bucket_again, id="a bucket was written"),
        pytest.param(putting(KEYS.ledger(BucketId(ZONE, 3, 4)), b"x"), id="there is another bucket"),
    ],
)
async def test_a_zone_is_settled_so_only_where_nothing_has_moved(
    ground: Ground, breaking: Callable[[Ground], Awaitable[None]]
) -> None:
    """Claim, plan, freeze, record, what is applied and the zone's ledger: each alone stops it, and nothing is put."""
    claim, fence, quiet = await settled(ground)
    await breaking(ground)
    keys = [KEYS.fence(ZONE), KEYS.applied(ZONE)]
    before = await ground.store.get(keys)
    assert not await ground.fences.keep(claim, 2, fence.plan, {ZONE: quiet})
    assert await ground.store.get(keys) == before


async def test_the_ledger_of_another_zone_does_not_matter(ground: Ground) -> None:
    """Not even that of a zone whose name begins or ends as this one's does."""
    claim, fence, quiet = await settled(ground)
    for zone in (f"sub.{ZONE}", f"{ZONE}x."):
        await putting(KEYS.ledger(BucketId(zone, 0, 1)), b"x")(ground)
    assert await ground.fences.keep(claim, 2, fence.plan, {ZONE: quiet})


async def test_half_a_plan_that_was_given_up_is_no_ground_to_settle_on(ground: Ground) -> None:
    """The record is of plan 2 and 1 is applied: a write of 2 may be on its way under the TXT that would stay."""
    await settled(ground)
    claim, fence = await ground.next_plan(3, 2)
    record = await ground.fences.open(ZONE, fence, claim, ground.record)
    assert record is not None
    claim, fence = await ground.next_plan(4, 2)
    await ground.cache.load(ground.store)
    quiet = Quiet(record=record, ledger_revision=ground.cache.ledger.zone_revision(ZONE))
    assert not await ground.fences.keep(claim, 4, fence.plan, {ZONE: quiet})
    assert await ground.fences.read(ZONE) == record


async def test_as_many_zones_as_may_be_are_settled_at_once_or_none(ground: Ground) -> None:
    """They fit one transaction of any store, and one that has moved stops all, which are then settled singly."""
    claim, fence, quiet = await settled(ground)
    zones = [ZONE, *(f"z{number:03d}.{'x' * 60}.{'y' * 60}.test." for number in range(QUIET_A_TRANSACTION - 1))]
    for zone in zones[1:]:
        await putting(KEYS.fence(zone), record_value(quiet.record))(ground)
        await putting(KEYS.applied(zone), applied_value(1, quiet.record.plan))(ground)
    judged = {zone: replace(quiet, ledger_revision=quiet.ledger_revision if zone == ZONE else 0) for zone in zones}
    await write_the_bucket_again(ground)
    assert not await ground.fences.keep(claim, 2, fence.plan, judged)
    for zone in zones[1:]:
        assert await ground.fences.read(zone) == quiet.record
    del judged[ZONE]
    assert await ground.fences.keep(claim, 2, fence.plan, judged)
    for zone in zones[1:]:
        assert await ground.fences.read(zone) == replace(quiet.record, generation=2, plan=fence.plan)


async def kept(ground: Ground) -> tuple[Claim, Fence, FenceRecord]:
    """Settle plan 2 in the store alone; returns its claim, its fence, and the record that stands then."""
    claim, fence, quiet = await settled(ground)
    assert await ground.fences.keep(claim, 2, fence.plan, {ZONE: quiet})
    return claim, fence, replace(ground.record, generation=2, plan=fence.plan)


async def test_an_open_finds_what_another_enactor_kept(ground: Ground) -> None:
    """Whatever it was judged by: the plan is opened already, with the TXT that stayed; nothing is put."""
    claim, fence, record = await kept(ground)
    before = await ground.store.get([KEYS.fence(ZONE)])
    for seen in (ground.record, record, None):
        assert await ground.fences.open(ZONE, fence, claim, seen) == record
    assert await ground.store.get([KEYS.fence(ZONE)]) == before
    other = replace(fence, plan="f" * 16)
    assert await ground.fences.open(ZONE, other, claim, record) is None


async def test_the_next_open_raises_a_record_that_was_kept(ground: Ground) -> None:
    """Then the TXT is the new plan's, and the number of slots stays."""
    _, _, record = await kept(ground)
    known = replace(record, slots=8)
    await putting(KEYS.fence(ZONE), record_value(known))(ground)
    claim, fence = await ground.next_plan(3, 3)
    assert await ground.fences.open(ZONE, fence, claim, record) is None
    assert await ground.fences.open(ZONE, fence, claim, known) == raised(fence, 8)
    assert await ground.fences.read(ZONE) == raised(fence, 8)


async def test_a_txt_that_stayed_can_be_made_the_plans_own(ground: Ground) -> None:
    """Where another TXT is found in the zone: the record then says what is to stand there, and all else as before."""
    claim, fence, record = await kept(ground)
    assert await ground.fences.retext(ZONE, record, fence, claim) == raised(fence, record.slots)
    assert await ground.fences.read(ZONE) == raised(fence, record.slots)
    assert await ground.fences.retext(ZONE, record, fence, claim) is None


@pytest.mark.parametrize("breaking", [revoke, stop_all, raise_the_fence, change_the_record])
async def test_a_txt_is_changed_only_under_the_claim_and_the_record(
    ground: Ground, breaking: Callable[[Ground], Awaitable[None]]
) -> None:
    """And not while the scope is frozen."""
    claim, fence, record = await kept(ground)
    await breaking(ground)
    before = await ground.store.get([KEYS.fence(ZONE)])
    assert await ground.fences.retext(ZONE, record, fence, claim) is None
    assert await ground.store.get([KEYS.fence(ZONE)]) == before


async def test_following_a_zone_keeps_what_is_known_of_its_ledger(ground: Ground) -> None:
    """A fence found ahead of the store's says nothing of the slots."""
    await change_the_record(ground)
    ahead = Fence(scope=SCOPE, generation=9, plan="9" * 16)
    assert await ground.fences.follow(ZONE, ahead)
    assert await ground.fences.read(ZONE) == raised(ahead, 4)
    await putting(KEYS.fence(ZONE), b"junk")(ground)
    assert await ground.fences.follow(ZONE, ahead)
    assert await ground.fences.read(ZONE) == raised(ahead, 0)


# -- the number of slots of a zone's ledger


def entries_of(count: int) -> Bucket:
    version = Version(generation=1, content='[5,[["10.0.0.1",1]]]', answers_max=8)
    names = [f"n{number:05d}.{ZONE}" for number in range(count)]
    return {name: Entry(name=name, applied=version, good=version) for name in names}


async def fill(ground: Ground, entries: Bucket, slots: int) -> None:
    """Store a ledger under a number of slots."""
    for slot, bucket in split_names(entries, slots).items():
        await putting(KEYS.ledger(BucketId(ZONE, slot, slots)), bucket_value(bucket, slots))(ground)
    await ground.cache.load(ground.store)


async def stored_ledger(ground: Ground) -> tuple[set[int], Bucket]:
    """The numbers of slots in the store, and the entries, each of which is there once."""
    cache = Cache(KEYS)
    await cache.load(ground.store)
    entries = list(cache.ledger.entries())
    found = {entry.name: entry for entry in entries}
    assert len(found) == len(entries)
    return cache.ledger.levels(ZONE), found


@pytest.mark.parametrize(("before", "after"), [(1, 1), (1, 64), (64, 1), (16, 32), (32, 16)])
async def test_a_ledger_is_cut_anew(ground: Ground, before: int, after: int) -> None:
    """The same entries, all under one number of slots, which the record then says; the cache knows it at once."""
    entries = entries_of(1500)
    await fill(ground, entries, before)
    permit = await ground.ledger.reshape(ground.permit, after)
    assert permit == replace(ground.permit, record=replace(ground.record, slots=after))
    assert await ground.fences.read(ZONE) == permit.record
    assert await stored_ledger(ground) == ({after}, entries)
    index = ground.cache.ledger
    assert index.levels(ZONE) == {after}
    assert {entry.name: entry for entry in index.entries()} == entries
    bucket = bucket_of(f"n00007.{ZONE}", ZONE, after)
    assert await ground.ledger.begin(permit, {bucket: index.bucket(bucket)}, {bucket: index.revision(bucket)})
    assert not await ground.ledger.begin(ground.permit, {bucket: {}}, {bucket: index.revision(bucket)})


def large_content(seed: int) -> str:
    """A content of as many targets as there may be, of a size that compressing does not take away."""
    rng = random.Random(seed)
    targets = [Target(f"10.{i // 250}.{i % 250}.1", 1, f"{rng.getrandbits(120):030x}") for i in range(TARGETS_MAX)]
    return content_text(Content(ttl_s=5, targets=tuple(targets)))


async def test_a_ledger_of_large_contents_is_cut_anew(ground: Ground) -> None:
    """Few names in each bucket, and megabytes in all of them: no transaction is larger than a store takes."""
    entries: Bucket = {}
    for number in range(40):
        version = Version(generation=1, content=large_content(number), answers_max=8)
        name = f"n{number:05d}.{ZONE}"
        entries[name] = Entry(name=name, applied=version, good=version)
    await fill(ground, entries, 256)
    assert await ground.ledger.reshape(ground.permit, 512) is not None
    assert await stored_ledger(ground) == ({512}, entries)


async def test_an_empty_ledger_is_cut_anew_by_its_record(ground: Ground) -> None:
    """There is nothing to move; whoever writes next writes under the new number."""
    permit = await ground.ledger.reshape(ground.permit, 16)
    assert permit is not None
    assert await ground.fences.read(ZONE) == replace(ground.record, slots=16)


def moves(operation: Operation) -> bool:
    return operation.key.startswith(KEYS.zone_ledger(ZONE))


def ends(operation: Operation) -> bool:
    return operation.key == KEYS.fence(ZONE)


CHANGED = bucket_value(entries_of(3), 2)


@pytest.mark.parametrize("when", [moves, ends])
@pytest.mark.parametrize(
    "meddle",
    [
        pytest.param(Put(key=KEYS.fence(ZONE), value=b"junk"), id="fence"),
        pytest.param(Delete(key=KEYS.claim(1, "a")), id="claim"),
        pytest.param(Put(key=KEYS.ledger(BucketId(ZONE, 0, 2)), value=CHANGED), id="bucket"),
        pytest.param(Put(key=KEYS.ledger(BucketId(ZONE, 1, 2)), value=CHANGED), id="its neighbour"),
    ],
)
async def test_cutting_anew_stops_where_something_else_has_moved(
    ground: Ground, meddle: Operation, when: Callable[[Operation], bool]
) -> None:
    """Another enactor's change between reading and moving, or before the end, is never overwritten."""
    await fill(ground, entries_of(200), 2)
    store: Any = Meddling(ground.store, meddle, when)
    ledger = Ledger(store, KEYS, ground.cache)
    assert await ledger.reshape(ground.permit, 8) is None
    key = meddle.key
    item = (await ground.store.get([key])).get(key)
    assert (item and item.value) == (meddle.value if isinstance(meddle, Put) else None)
    record = await ground.fences.read(ZONE)
    assert record is None or record == ground.record


async def test_a_freeze_stops_the_moves_of_a_ledger(ground: Ground) -> None:
    """As it stops all that has not begun; half of it done is as good as none."""
    await fill(ground, entries_of(200), 2)
    await stop_all(ground)
    assert await ground.ledger.reshape(ground.permit, 8) is None
    assert await stored_ledger(ground) == ({2}, entries_of(200))


async def test_cutting_anew_goes_on_where_another_left_off(ground: Ground) -> None:
    """Buckets of several numbers of slots hold each name once all the while; nobody can write the old ones."""
    entries = entries_of(200)
    await fill(ground, entries, 2)
    store: Any = Breaking(ground.store, 2, StoreUnknown)
    assert await Ledger(store, KEYS, ground.cache).reshape(ground.permit, 64) is None
    levels, found = await stored_ledger(ground)
    assert levels not in ({2}, {64})
    assert found == entries
    await ground.cache.load(ground.store)
    stale = BucketId(ZONE, 0, 2)
    assert ground.cache.ledger.revision(stale) == NOT_STORED_SO
    assert not await ground.ledger.begin(ground.permit, {stale: {}}, {stale: NOT_STORED_SO})
    assert await ground.ledger.reshape(ground.permit, 64) is not None
    assert await stored_ledger(ground) == ({64}, entries)


# -- publishing, zone by zone


def contents_of(count: int, generation: int = 1, zone: str = ZONE) -> dict[str, str]:
    return dict(read_plan(plan(fleet(count, generation, zone=zone))).endpoints)


@pytest.fixture
def plans() -> Plans:
    return Plans(MemoryStore(), KEYS, WallClock(), zones=[ZONE, "other.test.", "sub.other.test."])


async def published(plans: Plans, document: dict[str, Any]) -> Manifest:
    done = await plans.publish(read_plan(document), Orders())
    assert isinstance(done, Manifest), done
    return done


async def refusal(plans: Plans, document: dict[str, Any]) -> Refusal:
    newest = await plans.newest()
    done = await plans.publish(read_plan(document), Orders())
    assert isinstance(done, Refusal), done
    assert await plans.newest() == newest
    return done


async def test_a_plan_holds_each_name_in_its_zones_part(plans: Plans) -> None:
    """Of the longest zone that contains it; a zone without a name has no part."""
    manifest = await published(plans, plan(fleet(40) | fleet(3, zone="a.sub.other.test.")))
    assert {zone: part.endpoints for zone, part in manifest.zones.items()} == {ZONE: 40, "sub.other.test.": 3}
    assert manifest.endpoints == 43
    assert await plans.endpoints(manifest) == contents_of(40) | contents_of(3, zone="a.sub.other.test.")
    assert await plans.manifest(1) == manifest


async def test_changes_that_make_a_zone_outgrow_its_slots_cut_it_anew(plans: Plans) -> None:
    """The plan is, digest and all, what publishing the whole content would have made of it."""
    first = await published(plans, plan(fleet(60) | fleet(5, zone="other.test.")))
    many = dict(list(fleet(400).items())[60:])
    second = await published(plans, plan(many, base=1))
    assert first.part(ZONE).slots < second.part(ZONE).slots == slots_for(400, first.part(ZONE).slots)
    assert second.part("other.test.") == first.part("other.test.")
    assert await plans.endpoints(second) == contents_of(400) | contents_of(5, zone="other.test.")
    third = await published(plans, plan(fleet(400) | fleet(5, zone="other.test.")))
    assert third.digest == second.digest


async def test_changes_that_let_a_zone_shrink_cut_it_anew(plans: Plans) -> None:
    """As they do the other way."""
    first = await published(plans, plan(fleet(400)))
    document = plan({}, base=1)
    document["endpoints"] = {name: {"withdraw": True} for name in list(fleet(400))[20:]}
    second = await published(plans, document)
    assert second.part(ZONE).slots == slots_for(20, first.part(ZONE).slots) < first.part(ZONE).slots
    assert await plans.endpoints(second) == contents_of(20)


async def test_changes_that_make_chunks_too_long_cut_their_zone_anew(plans: Plans) -> None:
    """What can be published as a whole can be published as changes."""
    await published(plans, plan(fleet(1)))
    document = plan({})
    for number in range(12):
        content = content_json(parse_content(large_content(number)))
        document["endpoints"][f"n{number:05d}.{ZONE}"] = content
    second = await published(plans, document | {"base": 1})
    third = await published(plans, document)
    assert second.endpoints == third.endpoints == 12
    assert second.part(ZONE).slots > 1
    assert second.digest == third.digest


async def test_a_zone_that_was_configured_since_takes_its_names_over(plans: Plans) -> None:
    """Changes against a plan that has the name in the outer zone are refused; the whole content is taken."""
    name = "x.inner.other.test."
    await published(plans, plan(fleet(3) | {name: ["10.0.0.1"]}))
    more = Plans(plans._store, KEYS, WallClock(), zones=[ZONE, "other.test.", "inner.other.test."])
    refused = await more.publish(read_plan(plan({name: ["10.0.0.2"]}, base=1)), Orders())
    assert isinstance(refused, Refusal)
    assert (refused.guard, name in refused.detail) == ("base", True)
    second = await published(more, plan(fleet(3) | {name: ["10.0.0.2"]}))
    assert second.endpoints == len(await more.endpoints(second)) == 4
    assert {zone: part.endpoints for zone, part in second.zones.items()} == {ZONE: 3, "inner.other.test.": 1}


async def test_changes_within_a_zones_slots_touch_their_chunks_alone(plans: Plans) -> None:
    """All other chunks are those of the plan before, in every zone."""
    first = await published(plans, plan(fleet(400) | fleet(5, zone="other.test.")))
    name = next(iter(fleet(1)))
    second = await published(plans, plan({name: ["10.9.9.9"]}, base=1))
    before, after = first.part(ZONE), second.part(ZONE)
    assert after.slots == before.slots
    touched = {slot for slot in {*before.chunks, *after.chunks} if before.chunks.get(slot) != after.chunks.get(slot)}
    assert touched == {slot_of(name, before.slots)}
    assert after.endpoints == before.endpoints == 400
    assert second.part("other.test.") == first.part("other.test.")


async def test_withdrawing_the_last_name_of_a_zone_ends_its_part(plans: Plans) -> None:
    """Then no name of the zone is in the plan; the other zones are as before."""
    first = await published(plans, plan(fleet(40) | fleet(1, zone="other.test.")))
    document = plan({}, base=1)
    document["endpoints"] = {"n00000.other.test.": {"withdraw": True}}
    second = await published(plans, document)
    assert second.zones == {ZONE: first.part(ZONE)}
    assert second.endpoints == 40
    assert second.chunk_of("n00000.other.test.") is None
    assert (await refusal(plans, document | {"base": 2})).guard == "withdraw"


async def test_names_outside_the_zones_are_not_stored(plans: Plans) -> None:
    """Neither with a whole plan nor with changes; and a plan that was never told of zones holds no name."""
    await published(plans, plan(fleet(3)))
    for changes in ({}, {"base": 1}):
        found = await refusal(plans, plan({f"a.{ZONE}": ["10.0.0.1"], "x.nowhere.": ["10.0.0.2"]}, **changes))
        assert found.guard == "zone"
        assert "x.nowhere." in found.detail
    document = plan({}, base=1)
    document["endpoints"] = {"x.nowhere.": {"withdraw": True}}
    assert (await refusal(plans, document)).guard == "withdraw"
    without = Plans(MemoryStore(), KEYS, WallClock())
    assert (await refusal(without, plan(fleet(1)))).guard == "zone"


async def test_a_stated_digest_is_that_of_the_whole_content(plans: Plans) -> None:
    """Of a whole plan and of changes alike, however the store has cut it; any other digest refuses the plan."""
    contents = contents_of(40)
    wrong = content_digest(SCOPE, contents_of(40, 2))
    assert (await refusal(plans, plan(fleet(40), digest=wrong))).guard == "digest"
    await published(plans, plan(fleet(40), digest=content_digest(SCOPE, contents)))
    changed = {f"n00001.{ZONE}": ["10.7.7.7"], "b.other.test.": ["10.7.7.8"]}
    contents |= dict(read_plan(plan(changed)).endpoints)
    assert (await refusal(plans, plan(changed, base=1, digest=wrong))).guard == "digest"
    await published(plans, plan(changed, base=1, digest=content_digest(SCOPE, contents)))


async def test_a_plan_before_that_is_damaged_stops_no_whole_plan(ground: Ground) -> None:
    """It needs nothing of it; only changes do, and they say what cannot be read and what to do."""
    await putting(KEYS.plan(1), b"junk")(ground)
    refused = await refusal(ground.plans, plan(fleet(3, 2), base=1))
    assert refused.guard == "base"
    assert "without a base" in refused.detail
    manifest = await published(ground.plans, plan(fleet(3, 2)))
    assert manifest.generation == 2
    assert await ground.plans.endpoints(manifest) == contents_of(3, 2)


@pytest.mark.parametrize("damage", ["removed", "emptied", "garbled", "of another chunk"])
async def test_a_chunk_that_is_lost_or_damaged_is_stored_anew(plans: Plans, damage: str) -> None:
    """The same content published again can be read again; changes against the damaged plan are refused."""
    first = await published(plans, plan(fleet(400) | fleet(3, zone="other.test.")))
    store = plans._store
    lost, other = list(first.part(ZONE).chunks.values())[:2]
    there = (await store.get([KEYS.chunk(other)]))[KEYS.chunk(other)].value
    values = {"emptied": b"", "garbled": b"junk", "of another chunk": there}
    operation = Put(key=KEYS.chunk(lost), value=values[damage]) if damage in values else Delete(key=KEYS.chunk(lost))
    await store.transact((), (operation,))
    assert "without a base" in (await refusal(plans, plan({"x.other.test.": ["10.0.0.1"]}, base=1))).detail
    slots = first.part(ZONE).slots
    touched = next(name for name in fleet(400) if first.part(ZONE).chunks[slot_of(name, slots)] == lost)
    assert "without a base" in (await refusal(plans, plan({touched: ["10.0.0.1"]}, base=1))).detail
    second = await published(plans, plan(fleet(400) | fleet(3, zone="other.test.")))
    assert second.digest == first.digest
    assert await plans.endpoints(second) == contents_of(400) | contents_of(3, zone="other.test.")


async def test_a_chunk_that_is_sound_is_not_stored_again(plans: Plans) -> None:
    """Reading it is enough."""
    first = await published(plans, plan(fleet(400)))
    before = await plans._store.range(KEYS.root + "chunks/", prefix_end(KEYS.root + "chunks/"))
    await published(plans, plan(fleet(400) | {f"n00001.{ZONE}": ["10.9.9.9"]}))
    after = await plans._store.range(KEYS.root + "chunks/", prefix_end(KEYS.root + "chunks/"))
    assert len(after.items) == len(before.items) + 1
    assert set(before.items) < set(after.items)
    assert len(before.items) == len(first.part(ZONE).chunks)


@pytest.mark.parametrize("head", [b"", b"junk", None])
async def test_a_head_that_is_lost_hides_no_plan(plans: Plans, head: bytes | None) -> None:
    """The next publication goes above every plan that is stored, also where a lower number is free."""
    for generation in range(1, 8):
        await published(plans, plan(fleet(3, generation)))
    lost = Delete(key=KEYS.head) if head is None else Put(key=KEYS.head, value=head)
    await plans._store.transact((), (lost, Delete(key=KEYS.plan(6))))
    assert (await published(plans, plan(fleet(3, 9)))).generation == 8


async def test_what_is_brought_back_is_cut_as_it_was(plans: Plans) -> None:
    """So a rollback has the digest of what it brings back, though another number of slots would have been chosen."""
    await published(plans, plan(fleet(100)))
    first = await published(plans, plan(fleet(250)))
    assert first.part(ZONE).slots != slots_for(250)
    await published(plans, plan(fleet(3000)))
    back = await plans.republish(2, Orders(rollback_of=2))
    assert isinstance(back, Manifest)
    assert back.zones == first.zones
    assert back.digest == first.digest
    assert (await published(plans, plan(fleet(250)))).digest == first.digest
