"""A fence out of reach is brought down by an operator, and nobody who was late brings it up again."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from enactord.core.fence import Fence, parse_fence
from enactord.core.guards import Limits
from enactord.core.guards.step import STEP_MAX
from enactord.core.kv import Delete, Put, prefix_end
from enactord.core.plan import GENERATION_MAX, Approval, read_plan
from enactord.core.records import Outcome, Transaction, Unknown
from enactord.operations.audit import acts
from enactord.operations.lowering import QUIET_S, Lowered, lower, sound_top
from enactord.operations.scope import Denied, Scope
from enactord.store.control import Freeze, freeze, thaw
from enactord.store.plans import Orders, Plans
from tests.world import SCOPE, ZONE, JumpingClock, TickingClock, World, fleet, plan, tolerant

OTHER = "other.test."
FAR = GENERATION_MAX - 1
STEP = Limits()[STEP_MAX]
BOTH = fleet(5, 1) | fleet(5, 1, zone=OTHER)


class Clock(JumpingClock, TickingClock):
    """A clock that is set, and never says the same time twice."""


class Stuck(World):
    """A scope of two zones; the operator's clock goes on as fast as the operator waits."""

    def __init__(self) -> None:
        super().__init__(zones=(ZONE, OTHER), repair_interval_s=0.2)
        self.clock: Clock = Clock()
        self.waited_s = 0.0

    async def begin(self) -> None:
        await self.add("a")
        await self.publish(plan(BOTH))
        await self.applied(1)

    async def sleep(self, seconds: float) -> None:
        self.waited_s += seconds
        self.clock.offset_s += seconds
        await asyncio.sleep(0.02 if seconds < 1 else 0)

    async def freeze(self, mode: str = "all") -> None:
        note = Freeze(mode=mode, reason="r", author="alice", since=self.clock.now())
        await freeze(self.store, self.keys, note)

    @property
    def at_hand(self) -> Scope:
        limits = tolerant()
        return Scope(store=self.store, name=SCOPE, zones=list(self.servers), limits=limits, clock=self.clock)

    async def lower(self, *zones: str, to: int | None = None) -> Lowered | Denied:
        ports = {zone: self.members["a"].enactor.ports.zones[zone] for zone in zones or self.servers}
        return await lower(self.at_hand, ports, to=to, reason="INC-1", author="alice", sleep=self.sleep)

    async def bad_plan(self, generation: int = FAR) -> None:
        """A plan of a generation that nobody meant, as one without this limit could publish it."""
        unbounded = Plans(
            self.store, self.keys, self.clock, zones=list(self.servers), limits=Limits(generation_step_max=10**18)
        )
        contents = fleet(5, 2) | fleet(5, 2, zone=OTHER)
        await unbounded.publish(read_plan(plan(contents, generation=generation)), Orders())
        await self.applied(generation)

    def standing(self, zone: str = ZONE) -> Fence:
        found = parse_fence(self.servers[zone].fence)
        assert found is not None
        return found

    async def goes_on(self, generation: int) -> None:
        """The next plan is applied everywhere, at this generation."""
        await thaw(self.store, self.keys)
        third = fleet(5, 3) | fleet(5, 3, zone=OTHER)
        assert (await self.publish(plan(third))).generation == generation
        await self.applied(generation)
        assert self.serves(third)
        await self.until(lambda: not self.members["a"].enactor.reasons())


@pytest.fixture
async def world() -> AsyncIterator[Stuck]:
    made = Stuck()
    await made.begin()
    yield made
    await made.close()


def fence(generation: int, plan: str = "0123456789abcdef", **more: Any) -> Fence:
    return Fence(scope=SCOPE, generation=generation, plan=plan, **more)


def guard(done: Lowered | Denied) -> str:
    assert isinstance(done, Denied), done
    return done.refusals[0].guard


@pytest.mark.parametrize("generation", [2**32, FAR, GENERATION_MAX, 10**19 - 1])
async def test_a_fence_set_by_hand_is_brought_down_and_plans_go_on(world: Stuck, generation: int) -> None:
    world.servers[ZONE].put_fence(fence(generation).seen)
    await world.until(lambda: "enactorctl fence lower" in "; ".join(world.members["a"].enactor.reasons()))
    await world.freeze()
    done = await world.lower()
    assert isinstance(done, Lowered), done
    assert [(each.zone, each.fence.generation) for each in done.zones] == [(ZONE, 2)]
    assert done.zones[0].before == fence(generation).text
    assert not done.aside
    assert not done.waiting
    assert world.standing() == done.zones[0].fence
    assert world.serves(BOTH)
    ((entered,), _) = await acts(world.at_hand, limit=9)
    assert (entered.author, entered.deed, entered.reason) == ("alice", "fence lower", "INC-1")
    assert entered.facts == {"zone": ZONE, "before": fence(generation).text, "to": 2}
    await world.goes_on(3)


async def test_a_plan_out_of_reach_is_set_aside_after_the_last_zone(world: Stuck) -> None:
    """What it brought stays served; the next plan is applied above the fences."""
    await world.bad_plan()
    second = fleet(5, 2) | fleet(5, 2, zone=OTHER)
    await world.freeze()
    first = await world.lower(ZONE)
    assert isinstance(first, Lowered), first
    assert (first.aside, first.waiting) == ((), (OTHER,))
    assert (await world.view()).head == FAR
    done = await world.lower(OTHER, to=2)
    assert isinstance(done, Lowered), done
    assert (done.aside, done.waiting, done.head) == ((FAR,), (), 1)
    view = await world.view()
    assert (view.head, view.generations, view.applied(ZONE)) == (1, [1], 0)
    kept = await world.store.get([world.keys.aside(FAR)])
    assert len(kept) == 1
    (entered, *_), _ = await acts(world.at_hand, limit=9)
    assert entered.deed == "plans set aside"
    assert entered.facts == {"plans": 1, "lowest": FAR, "highest": FAR, "newest_now": 1}
    await asyncio.sleep(0.5)
    assert world.serves(second)
    await world.goes_on(3)


async def test_all_zones_go_down_at_once(world: Stuck) -> None:
    await world.bad_plan()
    await world.freeze()
    done = await world.lower()
    assert isinstance(done, Lowered), done
    assert [each.zone for each in done.zones] == [ZONE, OTHER]
    assert done.aside == (FAR,)
    marks = {each.fence.plan for each in done.zones}
    assert len(marks) == 2
    await world.goes_on(3)


async def test_it_waits_until_nothing_is_left_from_before_the_freeze(world: Stuck) -> None:
    world.servers[ZONE].put_fence(fence(FAR).seen)
    await world.freeze()
    world.clock.offset_s += 100.0
    assert isinstance(await world.lower(), Lowered)
    assert world.waited_s == pytest.approx(QUIET_S - 100.0, abs=20.0)


async def test_it_needs_a_freeze_of_all(world: Stuck) -> None:
    world.servers[ZONE].put_fence(fence(FAR).seen)
    assert guard(await world.lower()) == "freeze"
    await world.freeze("repair-only")
    assert guard(await world.lower()) == "freeze"
    assert world.standing().generation == FAR


async def test_it_waits_for_claims_and_not_for_ever(world: Stuck) -> None:
    world.servers[ZONE].put_fence(fence(FAR).seen)
    await world.freeze()
    claim = world.keys.claim(1, "sleeper")
    await world.store.transact((), (Put(key=claim, value=b"sleeper"),))
    done = await world.lower()
    assert guard(done) == "claimed"
    assert isinstance(done, Denied)
    assert "sleeper" in done.refusals[0].detail
    await world.store.transact((), (Delete(key=claim),))
    assert isinstance(await world.lower(), Lowered)


@pytest.mark.parametrize("to", [1, 2 + STEP, FAR])
async def test_a_generation_must_be_above_every_sound_plan_and_in_reach(world: Stuck, to: int) -> None:
    world.servers[ZONE].put_fence(fence(FAR).seen)
    await world.freeze()
    assert guard(await world.lower(to=to)) == "generation"
    assert world.standing().generation == FAR


async def test_a_fence_in_reach_is_left_alone(world: Stuck) -> None:
    await world.freeze()
    world.servers[ZONE].put_fence(fence(1 + STEP).seen)
    assert guard(await world.lower()) == "reach"
    assert world.standing().generation == 1 + STEP


@pytest.mark.parametrize(
    ("stands", "why"),
    [(fence(FAR, hold="bob: INC-2"), "held"), (Fence(scope="foreign", generation=FAR, plan="a" * 16), "identity")],
)
async def test_what_others_hold_is_not_brought_down(world: Stuck, stands: Fence, why: str) -> None:
    world.servers[ZONE].put_fence(stands.seen)
    await world.freeze()
    assert guard(await world.lower()) == why
    assert world.standing() == stands


async def test_an_enactor_that_slept_does_not_raise_it_again(world: Stuck) -> None:
    """It was let to raise the fence of the bad plan, and goes on after the fence is down."""
    member = world.members["a"]
    zone = member.zones[ZONE]
    await world.publish(plan(fleet(5, 2) | fleet(5, 2, zone=OTHER)))
    await world.applied(2)
    read, asleep, awake = zone.read_fence, asyncio.Event(), asyncio.Event()

    async def sleepy() -> Any:
        if not asleep.is_set() and member.enactor.cache.fences[ZONE] == FAR:
            asleep.set()
            await awake.wait()
        return await read()

    zone.read_fence = sleepy  # type: ignore[method-assign]
    unbounded = Plans(
        world.store, world.keys, world.clock, zones=list(world.servers), limits=Limits(generation_step_max=10**18)
    )
    third = fleet(5, 3) | fleet(5, 3, zone=OTHER)
    await unbounded.publish(read_plan(plan(third, generation=FAR)), Orders())
    await asyncio.wait_for(asleep.wait(), 10)
    await world.freeze()
    ports = {ZONE: (await world.add("operator", store_up=False)).enactor.ports.zones[ZONE]}
    ports[OTHER] = world.members["operator"].enactor.ports.zones[OTHER]
    page = await world.store.range(world.keys.all_claims, prefix_end(world.keys.all_claims))
    await world.store.transact((), [Delete(key=item.key) for item in page.items])  # its lease has run out
    done = await lower(world.at_hand, ports, to=None, reason="INC-1", author="alice", sleep=world.sleep)
    assert isinstance(done, Lowered), done
    low = world.standing()
    assert low.generation == 3
    awake.set()
    await asyncio.sleep(0.5)
    assert world.standing() == low
    await world.stop("operator")
    await world.goes_on(4)


@pytest.mark.parametrize("landed", [False, True])
async def test_it_finishes_what_broke_off(world: Stuck, landed: bool) -> None:
    """Its update got no answer, and the command was ended: meanwhile nobody raises, follows or repairs."""
    member = world.members["a"]
    await world.bad_plan()
    await world.freeze()
    zone = member.zones[ZONE]
    write = zone.write

    async def lost(transaction: Transaction) -> Outcome:
        if landed:
            await write(transaction)
        raise KeyboardInterrupt

    zone.write = lost  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        await world.lower()
    zone.write = write  # type: ignore[method-assign]
    assert len((await world.view()).lowerings) == 2
    await thaw(world.store, world.keys)
    await world.until(lambda: "bringing its fence down" in "; ".join(member.enactor.reasons()))
    stands = world.standing()
    await asyncio.sleep(0.5)
    assert world.standing() == stands
    await world.freeze()
    assert guard(await world.lower(to=50)) == "lowering"
    done = await world.lower()
    assert isinstance(done, Lowered), done
    assert done.aside == (FAR,)
    entered, _ = await acts(world.at_hand, limit=9)
    lowered = {act.facts["zone"]: str(act.facts["before"]) for act in entered if act.deed == "fence lower"}
    assert {zone: f"gen={FAR}" in before for zone, before in lowered.items()} == {ZONE: True, OTHER: True}
    await world.goes_on(3)


async def test_each_transaction_that_sets_plans_aside_tells_its_own(world: Stuck) -> None:
    """One that breaks off told nothing that was not done, and the next tells the rest."""
    await world.bad_plan()
    held = world.keys.plan(FAR)
    value = (await world.store.get([held]))[held].value
    many = [FAR - number for number in range(1, 71)]
    await world.store.transact((), [Put(key=world.keys.plan(generation), value=value) for generation in many])
    await world.freeze()
    done = await world.lower()
    assert isinstance(done, Lowered), done
    entered, _ = await acts(world.at_hand, limit=9)
    told = [act.facts for act in entered if act.deed == "plans set aside"]
    assert len(told) > 1
    assert sum(int(facts["plans"]) for facts in told) == 71
    assert all(int(facts["highest"]) - int(facts["lowest"]) == int(facts["plans"]) - 1 for facts in told)


async def test_an_update_without_an_answer_is_read_back(world: Stuck) -> None:
    world.servers[ZONE].put_fence(fence(FAR).seen)
    await world.freeze()
    zone = world.members["a"].zones[ZONE]
    write = zone.write

    async def lost(transaction: Transaction) -> Outcome:
        await write(transaction)
        return Unknown(detail="lost")

    zone.write = lost  # type: ignore[method-assign]
    done = await world.lower()
    assert isinstance(done, Lowered), done
    assert world.standing() == done.zones[0].fence
    assert done.zones[0].before == fence(FAR).text


async def test_a_garbled_note_is_replaced(world: Stuck) -> None:
    await world.store.transact((), (Put(key=world.keys.lowering(ZONE), value=b"{"),))
    await world.until(lambda: "bringing its fence down" in "; ".join(world.members["a"].enactor.reasons()))
    await world.freeze()
    assert isinstance(await world.lower(), Lowered)
    await world.goes_on(3)


async def test_sound_plans_come_step_by_step_or_are_approved(world: Stuck) -> None:
    limits = Limits(generation_step_max=10)
    bounded = Plans(world.store, world.keys, world.clock, zones=list(world.servers), limits=limits)
    approval = Approval(of=0, author="alice", reason="r")
    await bounded.publish(read_plan(plan(BOTH, generation=50)), Orders(approval=approval))
    assert sound_top(await world.view(), limits) == 50
    await bounded.publish(read_plan(plan(BOTH)), Orders())
    await world.bad_plan(500)
    assert sound_top(await world.view(), limits) == 51
