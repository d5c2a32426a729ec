"""Claims are shared: an enactor has one for each plan, for as long as a zone of its needs it, and no longer."""

import asyncio

import pytest

from enactord.core.errors import LeaseLost, StoreDown
from enactord.core.kv import Delete
from enactord.core.plan import Manifest, read_plan
from enactord.engine.claims import Claims
from enactord.store.keys import Keys
from enactord.store.plans import Orders, Plans
from enactord.store.session import Claim, Session
from enactord.stores.memory import MemoryStore
from tests.world import SCOPE, ZONE, Cuttable, WallClock, fleet, plan

KEYS = Keys(SCOPE)


class Ground:
    """A store with two plans, and one enactor's session."""

    def __init__(self) -> None:
        self.memory = MemoryStore()
        self.store = Cuttable(self.memory)
        self.session = Session(self.store, KEYS, WallClock(), enactor="a", ttl_s=60)
        self.claims = Claims(self.session)

    async def claimed(self) -> list[int]:
        """The generations that are claimed in the store."""
        return [generation for generation in (1, 2) if await self.memory.get([KEYS.claim(generation, "a")])]

    async def lives(self, claim: Claim | None) -> bool:
        assert claim is not None
        return (await self.memory.transact((claim.lives,), ())).succeeded


@pytest.fixture
async def ground() -> Ground:
    made = Ground()
    plans = Plans(made.memory, KEYS, WallClock(), zones=[ZONE])
    for generation in (1, 2):
        assert isinstance(await plans.publish(read_plan(plan(fleet(3, generation))), Orders()), Manifest)
    await made.session.keep({})
    return made


async def test_two_zones_share_one_claim(ground: Ground) -> None:
    """It is made by the first that comes, and released when the last has left."""
    async with ground.claims.on(1) as first:
        assert await ground.lives(first)
        async with ground.claims.on(1) as second:
            assert second == first
            assert ground.claims.generations == {1}
        assert await ground.lives(first)
        assert await ground.claimed() == [1]
    assert await ground.claimed() == []
    assert ground.claims.generations == set()


async def test_zones_that_come_at_once_make_one_claim(ground: Ground) -> None:
    """And those that leave at once leave nothing behind."""
    found: list[Claim | None] = []
    together = asyncio.Barrier(5)

    async def work() -> None:
        async with ground.claims.on(1) as claim:
            found.append(claim)
            await together.wait()
            assert await ground.lives(claim)

    await asyncio.gather(*(work() for _ in range(5)))
    assert len(set(found)) == 1
    assert await ground.claimed() == []


async def test_each_plan_has_a_claim_of_its_own(ground: Ground) -> None:
    """One zone may be at work on an older plan still while another has begun the next."""
    async with ground.claims.on(1) as older:
        async with ground.claims.on(2) as newer:
            assert ground.claims.generations == {1, 2}
            assert await ground.claimed() == [1, 2]
            assert older != newer
        assert await ground.claimed() == [1]


async def test_who_comes_while_the_last_one_leaves_has_a_claim_that_lives(ground: Ground) -> None:
    """Whether it finds the one that was there, or makes another."""
    for _ in range(20):
        async with ground.claims.on(1):
            pass
        leaving = ground.claims.on(1)
        await leaving.__aenter__()
        gone = asyncio.create_task(leaving.__aexit__(None, None, None))
        async with ground.claims.on(1) as claim:
            await gone
            assert await ground.lives(claim)
    assert await ground.claimed() == []


async def test_a_lost_claim_is_made_anew(ground: Ground) -> None:
    """By the next who comes, once it is known to be lost; who had it goes on with what it had, and lets go of none."""
    async with ground.claims.on(1) as first:
        assert first is not None
        await ground.memory.revoke(ground.session.lease)
        await ground.session.keep({})
        assert not await ground.lives(first)
        ground.claims.lost(first)
        async with ground.claims.on(1) as second:
            assert second != first
            assert await ground.lives(second)
            ground.claims.lost(first)  # told again, late: it is another's by now
            async with ground.claims.on(1) as third:
                assert third == second
    assert await ground.claimed() == []


async def test_a_claim_on_a_plan_that_is_gone_is_none(ground: Ground) -> None:
    """And nothing is left of it; the next who comes asks anew."""
    await ground.memory.transact((), (Delete(key=KEYS.plan(1)),))
    async with ground.claims.on(1) as claim:
        assert claim is None
        async with ground.claims.on(1) as again:
            assert again is None
    assert ground.claims.generations == set()
    assert await ground.claimed() == []


async def test_what_fails_under_a_claim_lets_go_of_it(ground: Ground) -> None:
    """An error in the work, a task that is given up: the claim goes as if the work had ended."""
    with pytest.raises(ValueError, match="by the test"):
        async with ground.claims.on(1):
            raise ValueError("by the test")
    assert await ground.claimed() == []

    async def endless() -> None:
        async with ground.claims.on(1):
            await asyncio.Event().wait()

    task = asyncio.create_task(endless())
    while not await ground.claimed():
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await ground.claimed() == []
    assert ground.claims.generations == set()


async def test_a_store_that_is_away_leaves_nothing_claimed(ground: Ground) -> None:
    """Neither where the claim cannot be made, nor, once its lease is gone, where it cannot be let go of."""
    ground.store.cut()
    with pytest.raises(StoreDown):
        async with ground.claims.on(1):
            pass
    assert ground.claims.generations == set()
    ground.store.mend()
    async with ground.claims.on(1) as claim:
        assert await ground.lives(claim)
        ground.store.cut()
    assert ground.claims.generations == set()
    ground.store.mend()
    async with ground.claims.on(1) as claim:
        assert await ground.lives(claim)
    assert await ground.claimed() == []


async def test_without_a_lease_nothing_is_claimed(ground: Ground) -> None:
    """The session has not begun yet, or has lost its lease and does not know: the caller is told."""
    lost = Claims(Session(ground.store, KEYS, WallClock(), enactor="b", ttl_s=60))
    with pytest.raises(LeaseLost):
        async with lost.on(1):
            pass
    assert lost.generations == set()
    await ground.memory.revoke(ground.session.lease)
    with pytest.raises(LeaseLost):
        async with ground.claims.on(1):
            pass
    await ground.session.keep({})
    async with ground.claims.on(1) as claim:
        assert await ground.lives(claim)


class Slow(Session):
    """A session whose store takes its time over a claim."""

    def __init__(self, ground: Ground) -> None:
        super().__init__(ground.store, KEYS, WallClock(), enactor="a", ttl_s=60)
        self.lease = ground.session.lease
        self.answers = asyncio.Event()
        self.answers.set()

    async def claim(self, generation: int) -> Claim | None:
        await self.answers.wait()
        return await super().claim(generation)


async def test_who_is_given_up_while_leaving_keeps_nothing(ground: Ground) -> None:
    """It waits for another's claim to be made, and is cancelled: its own counts as in use no more."""
    session = Slow(ground)
    claims = Claims(session)
    leave = asyncio.Event()

    async def work(generation: int) -> None:
        async with claims.on(generation):
            await leave.wait()

    first = asyncio.create_task(work(1))
    while not await ground.claimed():
        await asyncio.sleep(0)
    session.answers.clear()
    second = asyncio.create_task(work(2))
    await asyncio.sleep(0.01)
    leave.set()
    await asyncio.sleep(0.01)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    session.answers.set()
    await second
    assert claims.generations == set()
    await session.release_all_but(claims.generations, [(1, "a"), (2, "a")])
    assert await ground.claimed() == []
