"""Generations end, and go up only: how far a plan and a fence may be above what is known, and what nobody may raise."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from enactord.core.events import FenceAhead
from enactord.core.fence import Fence, FenceRecord, FenceSeen, parse_fence
from enactord.core.guards import Limits
from enactord.core.guards.step import STEP_MAX
from enactord.core.kv import Put
from enactord.core.plan import GENERATION_MAX, Approval, Manifest, read_plan
from enactord.core.records import Records
from enactord.engine.raise_fence import Raising
from enactord.store.fences import Fences
from enactord.store.keys import record_value
from enactord.store.plans import Orders
from tests.world import SCOPE, ZONE, JumpingClock, Member, World, fleet, plan

STEP = Limits()[STEP_MAX]
APPROVAL = Approval(of=0, author="alice", reason="the store was set back")
MARK = "0123456789abcdef"


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World(repair_interval_s=0.2)
    yield made
    await made.close()


def fence(generation: int) -> Fence:
    return Fence(scope=SCOPE, generation=generation, plan=MARK)


async def begun(world: World, generation: int = 1) -> Member:
    """An enactor that has applied the first plan."""
    member = await world.add("a")
    for each in range(1, generation + 1):
        await world.publish(plan(fleet(5, each)))
        await world.applied(each)
    return member


def reasons(member: Member) -> str:
    return "; ".join(member.enactor.reasons())


# -- plans


@pytest.mark.parametrize("generation", [STEP + 2, 2**32, GENERATION_MAX - 1])
async def test_a_plan_that_steps_too_far_is_refused_and_the_next_is_not(world: World, generation: int) -> None:
    """A planner's slip must not use up the generations."""
    await world.publish(plan(fleet(5, 1)))
    refusal = await world.refused(plan(fleet(5, 2), generation=generation))
    assert refusal.guard == "generation_step"
    assert "leave the generation out to be given 2" in refusal.detail
    assert "generation_step_max" in refusal.detail
    assert (await world.publish(plan(fleet(5, 2)))).generation == 2


async def test_a_step_may_be_as_long_as_the_limit_and_longer_where_it_is_approved(world: World) -> None:
    await world.publish(plan(fleet(5, 1)))
    assert (await world.publish(plan(fleet(5, 1), generation=1 + STEP))).generation == 1 + STEP
    far = plan(fleet(5, 1), generation=10 * STEP)
    approved = await world.plans.publish(read_plan(far), Orders(approval=APPROVAL))
    assert isinstance(approved, Manifest)
    assert (await world.publish(plan(fleet(5, 1)))).generation == 10 * STEP + 1


async def test_an_approved_step_is_applied(world: World) -> None:
    """What an operator let through is no reason to stop: `head` is as far up as the fence."""
    member = await begun(world)
    far = plan(fleet(5, 2), generation=10 * STEP)
    await world.plans.publish(read_plan(far), Orders(approval=APPROVAL))
    await world.applied(10 * STEP)
    await world.until(lambda: member.enactor.verified == 10 * STEP)
    assert reasons(member) == ""


# -- fences that are ahead


@pytest.mark.parametrize("generation", [2 + STEP, 2**32, GENERATION_MAX, 10**19 - 1])
async def test_a_fence_out_of_reach_is_not_followed_and_stops_its_zone_alone(generation: int) -> None:
    other = "other.test."
    world = World(zones=(ZONE, other), repair_interval_s=0.2)
    member = await world.add("a")
    both = fleet(5, 1) | fleet(5, 1, zone=other)
    await world.publish(plan(both))
    await world.applied(1)
    world.servers[ZONE].put_fence(fence(generation).seen)
    await world.until(lambda: "enactorctl fence lower" in reasons(member))
    assert f"{ZONE}: its fence stands at generation {generation}, out of reach" in reasons(member)
    assert member.recorder.of(FenceAhead) == []
    second = await world.publish(plan(fleet(5, 2) | fleet(5, 2, zone=other)))
    assert second.generation == 2
    await world.until(lambda: member.enactor.cache.applied(other) == 2)
    assert world.serves(fleet(5, 1) | fleet(5, 2, zone=other))
    await world.close()


async def test_a_fence_within_reach_is_followed(world: World) -> None:
    member = await begun(world)
    world.servers[ZONE].put_fence(fence(1 + STEP).seen)
    await world.until(lambda: member.enactor.cache.fences[ZONE] == 1 + STEP)
    assert (await world.publish(plan(fleet(5, 2)))).generation == 2 + STEP
    await world.applied(2 + STEP)


async def test_a_store_fence_out_of_reach_is_told_and_counts_for_no_publication(world: World) -> None:
    """As a version before this limit may have left it."""
    member = await begun(world)
    far = fence(10**15)
    record = member.enactor.cache.fence(ZONE)
    assert record is not None
    garbled = record_value(record).replace(b"%020d" % 1, b"%020d" % far.generation)
    await world.store.transact((), (Put(key=world.keys.fence(ZONE), value=garbled),))
    await world.until(lambda: "enactorctl fence lower" in reasons(member))
    assert (await world.publish(plan(fleet(5, 2)))).generation == 2


async def test_an_answer_that_the_server_does_not_confirm_raises_nothing(world: World) -> None:
    """One falsified answer to the question for the fence must not move the store's."""
    member = await begun(world)
    zone = member.zones[ZONE]
    read = zone.read_fence

    async def falsified() -> FenceSeen:
        return fence(500).seen

    zone.read_fence = falsified  # type: ignore[method-assign]
    await world.until(lambda: "does not confirm it" in reasons(member))
    await world.publish(plan(fleet(5, 2)))
    await asyncio.sleep(0.5)
    assert member.recorder.of(FenceAhead) == []
    assert (await Fences(world.store, world.keys).read(ZONE)).generation <= 2  # type: ignore[union-attr]
    zone.read_fence = read  # type: ignore[method-assign]
    await world.applied(2)
    await world.until(lambda: reasons(member) == "")


async def test_a_fence_of_this_generation_and_another_plan_is_told_until_the_next_plan(world: World) -> None:
    member = await begun(world)
    world.servers[ZONE].put_fence(fence(1).seen)
    await world.until(lambda: f"fenced by {fence(1).text}" in reasons(member))
    await world.publish(plan(fleet(5, 2)))
    await world.applied(2)
    await world.until(lambda: reasons(member) == "")


# -- fences that are gone, with the store away


@pytest.mark.parametrize("stands", [(), (b"\x04what",), fence(2).seen])
async def test_without_store_and_fence_only_what_is_empty_is_put_back(world: World, stands: FenceSeen) -> None:
    """A local copy may be older than what is served: it plants no fence, and writes over nothing."""
    member = await begun(world, 2)
    await world.until(lambda: member.copy.items and not member.enactor.copy_problem)
    member.store.cut()
    await world.until(lambda: not member.enactor.store_up)
    server = world.servers[ZONE]
    newer = Records(ttl_s=30, a=(b"\x0a\x09\x09\x09",), aaaa=())
    emptied, drifted, *_ = fleet(5, 2)
    server.put_fence(stands)
    server.put_foreign(drifted, records=newer)
    server.put_foreign(emptied)
    await world.until(lambda: world.serves({emptied: fleet(5, 2)[emptied]}))
    assert server.serve(drifted).records == newer
    assert server.fence == stands
    await world.until(lambda: "only names that are empty are put back" in member.enactor.zone_problems.get(ZONE, ""))
    member.store.mend()
    await world.publish(plan(fleet(5, 3)))
    await world.until(lambda: world.serves(fleet(5, 3)))
    await world.until(lambda: parse_fence(server.fence) is not None and reasons(member) == "")


async def test_a_zone_set_back_to_an_older_fence_is_raised_without_the_store(world: World) -> None:
    """A zone that was restored from a backup shows an older fence of ours: nothing newer can stand there."""
    member = await begun(world)
    older = world.servers[ZONE].fence
    await world.publish(plan(fleet(5, 2)))
    await world.applied(2)
    member.store.cut()
    await world.until(lambda: not member.enactor.store_up)
    world.servers[ZONE].wipe()
    world.servers[ZONE].put_fence(older)
    await world.until(lambda: world.serves(fleet(5, 2)))
    assert parse_fence(world.servers[ZONE].fence).generation == 2  # type: ignore[union-attr]


# -- the store's word counts for a while


async def test_who_slept_over_the_stores_word_does_not_raise() -> None:
    """The fence may have been lowered meanwhile."""
    world = World(repair_interval_s=0.2)
    clock = JumpingClock()
    world.clock = clock
    member = await begun(world)
    zone, server = member.zones[ZONE], world.servers[ZONE]
    before = server.fence
    read = zone.read_fence
    slept = 0

    async def sleepy() -> FenceSeen:
        nonlocal slept
        if server.fence == before:
            slept += 1
            clock.offset_s += 61.0
        return await read()

    zone.read_fence = sleepy  # type: ignore[method-assign]
    await world.publish(plan(fleet(5, 2)))
    await world.until(lambda: slept >= 3)
    assert server.fence == before
    zone.read_fence = read  # type: ignore[method-assign]
    await world.until(lambda: parse_fence(server.fence) is not None and server.fence != before)
    await world.close()


@pytest.mark.parametrize("moved", [True, False])
async def test_who_slept_asks_the_store_again_before_planting_where_no_fence_stands(moved: bool) -> None:
    """Others may have raised the fence meanwhile, and a foreign hand have removed it: the gap is not ours to fill."""
    world = World(repair_interval_s=3600.0, fence_interval_s=3600.0)
    clock = JumpingClock()
    world.clock = clock
    member = await begun(world)
    zone, server = member.zones[ZONE], world.servers[ZONE]
    key = world.keys.fence(ZONE)
    record = member.enactor.cache.fence(ZONE)
    assert record is not None
    read = zone.read_fence

    async def sleepy() -> FenceSeen:
        clock.offset_s += 2.0
        if moved:
            newer = Fence(scope=SCOPE, generation=9, plan=MARK)
            value = record_value(FenceRecord(generation=9, plan=MARK, slots=record.slots, txt=newer))
            await world.store.transact((), (Put(key=key, value=value),))
        server.put_fence(())
        return await read()

    zone.read_fence = sleepy  # type: ignore[method-assign]
    opened = await member.enactor._raiser.replant(ZONE, record)
    assert opened.how is (Raising.STORE if moved else Raising.RAISED)
    assert server.fence == (() if moved else record.txt.seen)
    await world.close()
