"""Plans that come faster than they can be applied: some are passed over, but what is served follows."""

import asyncio
from collections.abc import Sequence

from enactord.backends.memory import MemoryZone
from enactord.core.records import Outcome, Transaction
from tests.world import ZONE, Gated, World, fleet, plan

WRITE_S = 0.15
INTERVAL_S = 0.1
PLANS = 60


class Slow(Gated):
    """A server that takes longer for a write than passes between plans."""

    async def write(self, transaction: Transaction) -> Outcome:
        await asyncio.sleep(WRITE_S)
        return await super().write(transaction)


class SlowWorld(World):
    """A scope whose servers are slow."""

    def gate(self, zone: MemoryZone) -> Gated:
        return Slow(zone)


def served(world: World, names: Sequence[str]) -> list[int]:
    """The generation that each name shows, 0 for none."""
    texts = [world.servers[ZONE].serve(name).records.texts() for name in names]
    return [int(found[0].split(".")[1]) if found else 0 for found in texts]


async def test_plans_that_come_faster_than_they_can_be_written_are_applied_all_the_same() -> None:
    """Three enactors do not chase the newest plan for ever: applied, and what is served, follow a few plans behind."""
    world = SlowWorld()
    for name in "abc":
        await world.add(name)
    for generation in range(1, PLANS + 1):
        await world.publish(plan(fleet(30, generation)))
        await asyncio.sleep(INTERVAL_S)
    applied = (await world.view()).applied(ZONE)
    assert applied > PLANS / 2, f"{applied} of {PLANS} applied"
    assert min(served(world, list(fleet(30)))) > PLANS / 2
    await world.applied(PLANS)
    await world.close()
