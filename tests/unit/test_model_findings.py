"""What the search of the model (tests/model) found, on the engine itself."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from enactord.core.events import EndpointDrifted, EndpointHeld, Verified
from enactord.core.fence import Fence, parse_fence
from enactord.core.records import Change, Outcome, Reason, Records, Refused, Transaction
from enactord.engine.raise_fence import FenceRaiser, Raising
from enactord.store.session import Session
from tests.world import SCOPE, ZONE, JumpingClock, Member, World, fleet, plan, tolerant, unfailing

NAME = f"n00000.{ZONE}"


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with unfailing(World(limits=tolerant(velocity_window_s=3.0), repair_interval_s=0.2)) as made:
        yield made


async def looks(world: World, member: Member, count: int) -> None:
    """Wait until an enactor has looked at the zone so many times from now on."""
    before = len(member.recorder.of(Verified))
    await world.until(lambda: len(member.recorder.of(Verified)) >= before + count)


async def judging_only(world: World, name: str) -> Member:
    """An enactor that has read the store and does nothing by itself."""
    member = await world.add(name)
    member.task.cancel()
    await asyncio.gather(member.task, return_exceptions=True)
    await member.enactor.cache.load(world.store)
    member.enactor.health.store_is_up(member.enactor.cache.revision)
    return member


@pytest.mark.parametrize("offset_s", [-1000.0, 0.0])
async def test_alone_repair_lets_be_what_the_plan_says(world: World, offset_s: float) -> None:
    """Cut off, it knows an endpoint as held that others, in time, let through: that is not drift, by any clock."""
    await world.add("other")
    for generation, addresses in ((1, 4), (2, 2)):
        await world.publish(plan(fleet(1, generation, addresses=addresses)))
        await world.applied(generation)
    right, world.clock = world.clock, JumpingClock()
    world.clock.offset_s = offset_s
    slow = await world.add("slow")
    world.clock = right
    await world.until(lambda: slow.enactor.store_up)
    await world.publish(plan(fleet(1, 3, addresses=1)))
    await world.until(lambda: slow.enactor.cache.ledger.totals.held == 1)
    assert {h.guard for m in world.members.values() for h in m.recorder.of(EndpointHeld)} == {"velocity"}
    slow.store.cut()
    await world.until(lambda: not slow.enactor.store_up)
    await world.until(lambda: world.serves(fleet(1, 3, addresses=1)))
    await world.stop("other")
    await looks(world, slow, 3)
    assert world.serves(fleet(1, 3, addresses=1))
    if not offset_s:  # by a slow clock it would be held yet, and nobody can be asked
        world.servers[ZONE].put_foreign(NAME)
        await world.until(lambda: bool(world.servers[ZONE].names()))
        assert world.serves(fleet(1, 3, addresses=1))


async def test_what_landed_under_a_fence_set_back_is_put_right() -> None:
    """Somebody sets the fence back to an older one, under which a late write lands: the next look heals both.

    A zone is not protected while its fence is set back: that is the limit, and this the way back. An enactor
    without the store does not set it back: it plants no fence where none stands.
    """
    world = World(repair_interval_s=0.2)
    late = await world.add("late")
    await world.publish(plan(fleet(5, 1)))
    await world.applied(1)
    late.zones[ZONE].open.clear()
    await world.publish(plan(fleet(5, 2)))
    await world.until(lambda: late.zones[ZONE].held > 0)
    second = world.servers[ZONE].fence
    late.store.cut()
    await world.until(lambda: not late.enactor.store_up)
    world.settings["repair_interval_s"] = 3600.0
    other = await world.add("other")
    await world.publish(plan(fleet(5, 3)))
    await world.applied(3)
    server = world.servers[ZONE]
    server.put_fence(())
    await world.until(lambda: "the fence record is gone" in late.enactor.zone_problems.get(ZONE, ""))
    assert server.fence == ()
    server.put_fence(second)
    late.zones[ZONE].open.set()
    await world.until(lambda: world.serves(fleet(5, 2)))
    await other.enactor.repairer.look(ZONE)
    standing = parse_fence(server.fence)
    assert standing is not None
    assert standing.generation == 3
    assert world.serves(fleet(5, 3))
    await world.close()


async def test_repair_refills_with_what_was_served_what_a_plan_is_about_to_write(world: World) -> None:
    """Emptied between a plan's open and its mark: the way of the plan may be long, so the ledger's content comes back.

    Never the plan's: no ledger would know of it. The next plan returns to the ledger's content and finds it served.
    """
    await world.publish(plan(fleet(1, 1)))
    await world.add("first")
    await world.applied(1)
    await world.stop("first")
    second = await world.publish(plan(fleet(1, 2)))
    judge = await judging_only(world, "judge")
    session = Session(world.store, world.keys, world.clock, enactor="opener", ttl_s=60)
    await session.keep({})
    claim = await session.claim(2)
    assert claim is not None
    fence = Fence(scope=SCOPE, generation=2, plan=second.mark)
    before = judge.enactor.cache.fence(ZONE)
    opener = FenceRaiser(judge.enactor.settings, judge.enactor.ports, judge.enactor.cache)
    opened = await opener.raise_fence(ZONE, fence, claim, before)
    assert opened.how is Raising.RAISED
    await session.close()
    await judge.enactor.cache.load(world.store)
    world.servers[ZONE].put_foreign(NAME)
    assert (await judge.enactor.repairer.look(ZONE)).repaired == (NAME,)
    assert world.serves(fleet(1, 1))
    await world.publish(plan(fleet(1, 1)))
    world.members.pop("judge")
    third = await world.add("third")
    await world.applied(3)
    assert world.serves(fleet(1, 1))
    assert third.recorder.of(EndpointDrifted) == []


class Choosy:
    """A zone whose server takes no records of one generation's content."""

    def __init__(self, world: World, refused: Records) -> None:
        self._apply = world.servers[ZONE].apply
        self._refused = refused

    def apply(self, transaction: Transaction) -> Outcome:
        if any(self._of_the_refused(change) for change in transaction.changes):
            return Refused(reason=Reason.CONTENT, detail="FORMERR")
        return self._apply(transaction)

    def _of_the_refused(self, change: Change) -> bool:
        return change.after.addresses == self._refused.addresses


@pytest.mark.parametrize("store_up", [True, False])
async def test_an_emptied_name_whose_new_content_the_server_refuses_gets_its_old_one(
    world: World, store_up: bool
) -> None:
    """Held is held, whoever said no: what was applied is put back, with the store and without."""
    await world.publish(plan(fleet(1, 1)))
    member = await world.add("a")
    await world.applied(1)
    server = world.servers[ZONE]
    new = Records(ttl_s=5, a=(b"\x0a\x02\x00\x01", b"\x0a\x02\x00\x02"), aaaa=())
    server.apply = Choosy(world, new).apply  # type: ignore[method-assign]
    await world.publish(plan(fleet(1, 2)))
    await world.applied(2)
    assert {h.guard for h in member.recorder.of(EndpointHeld)} == {"server"}
    if not store_up:
        member.store.cut()
        await world.until(lambda: not member.enactor.store_up)
    server.put_foreign(NAME)
    await world.until(lambda: world.serves(fleet(1, 1)))
