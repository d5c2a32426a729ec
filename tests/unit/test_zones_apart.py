"""Zones stand apart: what holds up one zone holds up no other, and a zone that a plan leaves alone is left alone."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from enactord.core.events import FenceOpened, PlanApplied, ZonesKept
from enactord.core.fence import NO_PLAN, Fence, parse_fence
from enactord.core.records import Outcome, Reason, Refused, Transaction
from enactord.store.fences import QUIET_A_TRANSACTION
from tests.world import ZONE, Member, World, fleet, plan, tolerant

OTHER = "other.test."
ZONES = (ZONE, OTHER)


def both(generation: int, count: int = 10, *, other: int = 0) -> dict[str, list[str]]:
    """A fleet in each zone; `other`: the generation that the second zone's addresses are of, if it is another."""
    return fleet(count, generation) | fleet(count, other or generation, zone=OTHER)


def txt_generation(world: World, zone: str) -> int:
    """The generation of the fence that stands in a zone."""
    fence = parse_fence(world.servers[zone].fence)
    assert fence is not None, zone
    return fence.generation


async def applied(world: World, zone: str, generation: int) -> None:
    """Wait until the store shows the plan applied in one zone."""
    while (await world.view()).applied(zone) != generation:
        await asyncio.sleep(0.01)


@pytest.fixture
async def pair() -> tuple[World, Member]:
    """Two zones, with a first plan applied in both."""
    world = World(ZONES)
    member = await world.add("a")
    await world.publish(plan(both(1)))
    await world.applied(1)
    return world, member


async def test_a_zone_that_hangs_holds_up_no_other(pair: tuple[World, Member]) -> None:
    """Its server answers nothing: the other zone gets each plan, and each is recorded as applied there."""
    world, member = pair
    member.zones[ZONE].answers.clear()
    async with asyncio.timeout(10):
        for generation in range(2, 6):
            await world.publish(plan(both(generation)))
            await applied(world, OTHER, generation)
            assert world.serves(fleet(10, generation, zone=OTHER))
    view = await world.view()
    assert view.applied(ZONE) == 1
    assert world.serves(fleet(10, 1))
    member.zones[ZONE].answers.set()
    await world.applied(5)
    assert world.serves(both(5))
    await world.close()


async def test_no_plan_waits_for_one_that_hangs_in_another_zone(pair: tuple[World, Member]) -> None:
    """Where plans come faster than they can be written, a newer one waits a while: but only for work that goes on."""
    world, member = pair
    member.zones[ZONE].answers.clear()
    await world.publish(plan(both(2)))
    await applied(world, OTHER, 2)
    member.enactor._choosing._patience.now_s = 3600.0
    await world.publish(plan(both(3)))
    async with asyncio.timeout(10):
        await applied(world, OTHER, 3)
    member.zones[ZONE].answers.set()
    await world.applied(3)
    await world.close()


async def test_a_zone_that_hangs_holds_up_no_repair(pair: tuple[World, Member]) -> None:
    """Its server answers nothing: what is emptied in the other zone is put back all the same."""
    world, member = pair
    member.zones[ZONE].answers.clear()
    async with asyncio.timeout(10):
        for _ in range(3):
            world.servers[OTHER].wipe()
            await world.until(lambda: world.serves(fleet(10, 1, zone=OTHER)))
    member.zones[ZONE].answers.set()
    await world.close()


async def test_a_zone_that_denies_everything_is_told_alone(pair: tuple[World, Member]) -> None:
    """Its server takes no update of ours: the others are applied, and only this zone is said to be down."""
    world, member = pair
    gated = member.zones[ZONE]
    write = gated.write

    async def denied(transaction: Transaction) -> Outcome:
        return Refused(reason=Reason.DENIED, detail="REFUSED")

    gated.write = denied  # type: ignore[method-assign]
    await world.publish(plan(both(2)))
    async with asyncio.timeout(10):
        await applied(world, OTHER, 2)
    await world.until(lambda: ZONE in member.enactor.zone_problems)
    assert list(member.enactor.zone_problems) == [ZONE]
    gated.write = write  # type: ignore[method-assign]
    await world.applied(2)
    await world.until(lambda: not member.enactor.zone_problems)
    await world.close()


async def test_a_zone_that_a_plan_does_not_change_keeps_its_txt(pair: tuple[World, Member]) -> None:
    """It is settled in the store alone; the next plan that changes it raises its fence above all of them."""
    world, member = pair
    for generation in (2, 3):
        await world.publish(plan(both(generation, other=1)))
        await world.applied(generation)
    assert (txt_generation(world, ZONE), txt_generation(world, OTHER)) == (3, 1)
    record = (await world.view()).fence(OTHER)
    assert record is not None
    assert (record.generation, record.txt.generation) == (3, 1)
    assert [kept.zones for kept in member.recorder.of(ZonesKept)] == [1, 1]
    await world.publish(plan(both(4)))
    await world.applied(4)
    assert txt_generation(world, OTHER) == 4
    assert world.serves(both(4))
    await world.close()


async def test_a_zone_that_kept_its_txt_is_repaired_under_it(pair: tuple[World, Member]) -> None:
    """All of it is lost, its fence too: the same TXT stands again, and every name."""
    world, member = pair
    await world.publish(plan(both(2, other=1)))
    await world.applied(2)
    world.servers[OTHER].wipe()
    await world.until(lambda: world.serves(both(2, other=1)) and world.servers[OTHER].fence != ())
    assert txt_generation(world, OTHER) == 1
    assert member.enactor.reasons() == []
    await world.close()


async def test_a_txt_between_the_kept_one_and_the_plan_is_raised_to_the_plan(pair: tuple[World, Member]) -> None:
    """An operator raised it by hand, and gave the zone back: the plan that is opened takes the zone again."""
    world, member = pair
    for generation in (2, 3, 4):
        await world.publish(plan(both(generation, other=1)))
        await world.applied(generation)
    by_hand = Fence(scope=world.scope, generation=2, plan=NO_PLAN)
    world.servers[OTHER].wipe()
    world.servers[OTHER].fence = by_hand.seen
    await world.until(lambda: txt_generation(world, OTHER) == 4)
    await world.until(lambda: world.serves(both(4, other=1)))
    await world.until(lambda: member.enactor.reasons() == [])
    await world.close()


async def test_a_held_name_keeps_its_zone_from_being_settled_unseen(pair: tuple[World, Member]) -> None:
    """Something is held in the zone: its fence is raised by each plan, as the hold may end with any of them."""
    world, _ = pair
    held = both(1) | {next(iter(fleet(1, 1, zone=OTHER))): []}
    for generation in (2, 3):
        await world.publish(plan(held))
        await world.applied(generation)
        assert txt_generation(world, OTHER) == generation
    await world.close()


async def test_many_zones_are_settled_in_few_transactions() -> None:
    """A plan for one of a hundred zones raises one fence, and the others are settled in the store."""
    zones = [f"z{number:03d}.test." for number in range(100)]
    world = World(zones)
    member = await world.add("a")
    contents = {name: addresses for zone in zones for name, addresses in fleet(2, 1, zone=zone).items()}
    await world.publish(plan(contents))
    await world.applied(1)
    before = len(member.recorder.of(FenceOpened))
    revision = world.store._revision
    await world.publish(plan(contents | fleet(2, 2, zone=zones[7])))
    await world.applied(2)
    opened = member.recorder.of(FenceOpened)[before:]
    assert [fence.zone for fence in opened] == [zones[7]]
    assert sum(kept.zones for kept in member.recorder.of(ZonesKept)) == len(zones) - 1
    settled = -(-(len(zones) - 1) // QUIET_A_TRANSACTION)
    assert world.store._revision - revision < settled + 20
    await world.close()


@pytest.mark.parametrize("counts", [(5, 100, 700, 100, 5), (300, 3, 300), (64, 65, 33, 31)])
async def test_the_ledger_follows_a_zone_that_grows_and_shrinks(counts: Sequence[int]) -> None:
    """Slots are split and joined on the way; every name is served and entered once, and none is taken for new."""
    world = World(limits=tolerant(endpoints_removed_max_ratio=1.0))
    member = await world.add("a")
    for generation, count in enumerate(counts, start=1):
        content: Mapping[str, Sequence[str]] = fleet(count, generation)
        await world.publish(plan(content))
        await world.applied(generation)
        assert world.serves(content)
        view = await world.view()
        manifest = view.manifest(generation)
        assert manifest is not None
        assert view.ledger.levels(ZONE) <= {manifest.part(ZONE).slots}
        entries = list(view.ledger.entries())
        assert sorted(entry.name for entry in entries) == sorted(content)
        assert all(entry.held is None and entry.pending is None for entry in entries)
    assert len(member.recorder.of(PlanApplied)) == len(counts)
    await world.close()
