"""The registry's transactions: each compare is there, because without it the store would let the write pass."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from enactord.adapters.memory_store import MemoryStore
from enactord.core.fence import Fence
from enactord.core.kv import Compare, Delete, Operation, Put, Result
from enactord.core.ledger import Entry
from enactord.core.plan import Manifest, pack_manifest, plan_digest, read_plan
from enactord.engine.pruner import Pruner
from enactord.registry.control import Freeze, freeze
from enactord.registry.fences import Fences
from enactord.registry.keys import Keys
from enactord.registry.ledger import Ledger, Permit
from enactord.registry.mirror import Mirror
from enactord.registry.plans import Orders, Plans
from enactord.registry.session import Claim, Session
from tests.world import SCOPE, ZONE, Recorder, WallClock, fleet, plan

KEYS = Keys(SCOPE)
BUCKET = {7: {"a.example.test.": Entry(name="a.example.test.")}}


@dataclass
class Ground:
    """A published plan, claimed and opened by one enactor."""

    store: MemoryStore
    plans: Plans
    session: Session
    claim: Claim
    fence: Fence
    ledger: Ledger
    mirror: Mirror

    @property
    def permit(self) -> Permit:
        return Permit(claim=self.claim, fences={ZONE: self.fence})


OTHER = Manifest(
    generation=1,
    digest=plan_digest(SCOPE, {}),
    scope=SCOPE,
    endpoints=0,
    author="x",
    reason="",
    created_at="",
    published_at=0.0,
    chunks={},
)


async def publish(plans: Plans, generation: int) -> Manifest:
    published = await plans.publish(read_plan(plan(fleet(3, generation))), Orders())
    assert isinstance(published, Manifest)
    return published


@pytest.fixture
async def ground() -> Ground:
    store = MemoryStore()
    plans = Plans(store, KEYS, WallClock())
    manifest = await publish(plans, 1)
    session = Session(store, KEYS, WallClock(), enactor="a", ttl_s=60)
    await session.keep({})
    claim = await session.claim(1)
    assert claim is not None
    fence = Fence(scope=SCOPE, generation=1, plan=manifest.mark)
    assert await Fences(store, KEYS).open(ZONE, fence, claim, None)
    mirror = Mirror(KEYS)
    await mirror.load(store)
    return Ground(store, plans, session, claim, fence, Ledger(store, KEYS, mirror), mirror)


async def test_begin_and_commit_need_a_claim_that_lives(ground: Ground) -> None:
    """An enactor whose lease ran out cannot write to the store either, not even with a claim made anew."""
    assert await ground.ledger.begin(ground.permit, BUCKET, {7: 0})
    read = {7: ground.mirror.bucket_revision(7)}
    await ground.store.revoke(ground.session.lease)
    assert not await ground.ledger.commit(ground.permit, BUCKET, read)
    await ground.session.keep({})
    assert await ground.session.claim(1) is not None
    assert not await ground.ledger.commit(ground.permit, BUCKET, read)
    assert not await ground.ledger.settle(ground.permit, ZONE, ground.fence)


async def test_begin_and_commit_need_the_fence(ground: Ground) -> None:
    """After a newer open, an older plan can mark and record nothing."""
    newer = await publish(ground.plans, 2)
    claim = await ground.session.claim(2)
    assert claim is not None
    fence = Fence(scope=SCOPE, generation=2, plan=newer.mark)
    assert await Fences(ground.store, KEYS).open(ZONE, fence, claim, ground.fence)
    assert not await ground.ledger.begin(ground.permit, BUCKET, {7: 0})
    assert not await ground.ledger.commit(ground.permit, BUCKET, {7: 0})
    assert not await ground.ledger.settle(ground.permit, ZONE, ground.fence)


async def test_begin_needs_a_thawed_scope_and_commit_does_not(ground: Ground) -> None:
    """A freeze stops what has not begun; what is served already must still be recorded."""
    await freeze(ground.store, KEYS, Freeze(mode="repair-only", reason="r", author="a", since=0.0))
    assert not await ground.ledger.begin(ground.permit, BUCKET, {7: 0})
    assert await ground.ledger.commit(ground.permit, BUCKET, {7: 0})
    newer = await publish(ground.plans, 2)
    claim = await ground.session.claim(2)
    assert claim is not None
    fence = Fence(scope=SCOPE, generation=2, plan=newer.mark)
    assert not await Fences(ground.store, KEYS).open(ZONE, fence, claim, ground.fence)


async def test_begin_needs_the_bucket_as_it_was_read(ground: Ground) -> None:
    """Two enactors never mark the same bucket from the same reading."""
    assert await ground.ledger.begin(ground.permit, BUCKET, {7: 0})
    assert not await ground.ledger.begin(ground.permit, BUCKET, {7: 0})


async def test_a_plan_that_is_gone_is_neither_claimed_nor_opened(ground: Ground) -> None:
    """A claim is put only if the plan exists; an open compares it again."""
    newer = await publish(ground.plans, 2)
    claim = await ground.session.claim(2)
    assert claim is not None
    await ground.store.transact((), (Delete(key=KEYS.plan(2)),))
    fence = Fence(scope=SCOPE, generation=2, plan=newer.mark)
    assert not await Fences(ground.store, KEYS).open(ZONE, fence, claim, ground.fence)
    await ground.session.release(claim)
    assert await ground.session.claim(2) is None


async def test_an_open_needs_the_fence_by_which_the_plan_was_judged(ground: Ground) -> None:
    """Another plan was opened since: what its enactors mark is not in the ledger that the guards saw."""
    newer = await publish(ground.plans, 2)
    claim = await ground.session.claim(2)
    assert claim is not None
    fence = Fence(scope=SCOPE, generation=2, plan=newer.mark)
    for seen in (None, Fence(scope=SCOPE, generation=0, plan="0" * 16)):
        assert not await Fences(ground.store, KEYS).open(ZONE, fence, claim, seen)
    assert await Fences(ground.store, KEYS).open(ZONE, fence, claim, ground.fence)
    assert await Fences(ground.store, KEYS).open(ZONE, fence, claim, ground.fence)


async def test_a_fence_never_goes_down(ground: Ground) -> None:
    """Neither by an open nor by following a zone."""
    older = Fence(scope=SCOPE, generation=0, plan="0" * 16)
    assert not await Fences(ground.store, KEYS).follow(ZONE, older)
    found = await Fences(ground.store, KEYS).read(ZONE)
    assert found == ground.fence


class Meddling:
    """A store in which something happens just before a plan is deleted."""

    def __init__(self, store: MemoryStore, meddle: Operation) -> None:
        self._store = store
        self._meddle = meddle

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def transact(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> Result:
        if any(isinstance(o, Delete) and o.key == KEYS.plan(1) for o in operations):
            await self._store.transact((), (self._meddle,))
        return await self._store.transact(compares, operations)


@pytest.mark.parametrize(
    "meddle",
    [
        Put(key=KEYS.claim(1, "late"), value=b"late"),
        Put(key=KEYS.fence(ZONE), value=b"junk"),
        Put(key=KEYS.applied(ZONE), value=b"00000000000000000001 x"),
        Put(key=KEYS.ledger(3), value=b"changed"),
        Put(key=KEYS.plan(1), value=pack_manifest(OTHER)),
    ],
    ids=["claim", "fence", "applied", "ledger", "manifest"],
)
async def test_what_changes_between_judging_and_deleting_keeps_the_plan(ground: Ground, meddle: Operation) -> None:
    """The delete checks again, in its own transaction, everything that the judgement rested on."""
    seen = ground.fence
    for generation in (2, 3):
        newer = await publish(ground.plans, generation)
        claim = await ground.session.claim(generation)
        assert claim is not None
        fence = Fence(scope=SCOPE, generation=generation, plan=newer.mark)
        assert await Fences(ground.store, KEYS).open(ZONE, fence, claim, seen)
        seen = fence
        await ground.session.release(claim)
    await ground.store.transact((), (Put(key=KEYS.applied(ZONE), value=b"00000000000000000003 x"),))
    await ground.session.release(ground.claim)
    store: Any = Meddling(ground.store, meddle)
    pruner = Pruner(store, SCOPE, zones=[ZONE], keep_plans=1, clock=WallClock(), observer=Recorder())
    evidence = Mirror(KEYS)
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
    plans = Plans(store, KEYS, WallClock())
    first = await publish(plans, 1)
    before = (await store.range(KEYS.head)).revision
    second = await publish(plans, 2)
    chunks = set(second.chunks.values()) - set(first.chunks.values())
    assert await Plans(_OldList(store, before), KEYS, WallClock()).sweep(chunks) == 0
    assert set(await plans.endpoints(second)) == set(fleet(3, 2))
    assert await plans.sweep(chunks) == 0
