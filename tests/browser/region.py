"""A scope with names as they are in the world, and the moment of it that the screenshot shows."""

import math
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from enactord.backends.memory import MemoryZone
from enactord.core.guards import Limits
from enactord.core.records import Outcome, Transaction
from enactord.store.plans import Plans
from planner_stub.names import FIRST_NAME, choose_names
from tests.http.site import Site, serving
from tests.world import Gated, JumpingClock, World

ZONES = ("amazonaws.com.", "api.aws.")
ENACTORS = ("enactor-a", "enactor-b", "enactor-c")
SCOPE = "us-east-1"
HELD = FIRST_NAME


class Turnstile(Gated):
    """A way to a zone that closes behind so many writes of endpoints."""

    def __init__(self, zone: MemoryZone) -> None:
        super().__init__(zone)
        self.passes = math.inf

    async def write(self, transaction: Transaction) -> Outcome:
        if transaction.changes:
            self.passes -= 1
            if self.passes < 0:
                self.open.clear()
        return await super().write(transaction)


class Region(World):
    """A scope of two zones, whose time of day can be moved on."""

    def __init__(self) -> None:
        super().__init__(ZONES, scope=SCOPE, claim_ttl_s=60, batch_names_max=10, limits=Limits(), repair_interval_s=0.2)
        self.clock = self.time = JumpingClock()
        self.plans = Plans(self.store, self.keys, self.clock, zones=ZONES)

    def gate(self, zone: MemoryZone) -> Gated:
        return Turnstile(zone)


class Fleet:
    """What a planner of a region would publish: load balancers come and go, a few at a time."""

    def __init__(self, count: int) -> None:
        self._rng = random.Random(20)
        self._names = choose_names(count, zones=ZONES)
        self.endpoints: dict[str, Any] = {name: {"ttl_s": 5, "targets": self._targets(name)} for name in self._names}

    def _targets(self, name: str) -> list[dict[str, Any]]:
        count = 8 if name == HELD else self._rng.randrange(3, 6)
        return [{"address": self._address(), "weight": 10} for _ in range(count)]

    def _address(self) -> str:
        first, second, third = (self._rng.randrange(1, 255) for _ in range(3))
        return f"52.{first}.{second}.{third}"

    def churn(self, ratio: float) -> list[str]:
        """Replace one load balancer of some endpoints; returns which."""
        chosen = self._rng.sample([name for name in self._names if name != HELD], math.ceil(len(self._names) * ratio))
        for name in chosen:
            targets = self.endpoints[name]["targets"]
            targets[self._rng.randrange(len(targets))] = {"address": self._address(), "weight": 10}
        return chosen

    def shrink(self, name: str, left: int) -> None:
        """Take load balancers from an endpoint until so many are left."""
        del self.endpoints[name]["targets"][left:]

    def plan(self, **changes: Any) -> Mapping[str, Any]:
        document = {"schema": "enactord.plan/v1", "scope": SCOPE, "author": "planner-1", "endpoints": self.endpoints}
        return document | changes


@asynccontextmanager
async def rollout() -> AsyncIterator[Site]:
    """One enactor's pages in the middle of a plan, with one endpoint held and one put back before."""
    region = Region()
    try:
        first = await region.add(ENACTORS[0])
        async with serving(first) as site:
            fleet = Fleet(240)
            await region.publish(fleet.plan(generation=118))
            await region.applied(118)
            for generation in (119, 120, 121):
                region.time.offset_s += 70 + 23 * (generation - 119)
                fleet.churn(0.02 * (generation - 117))
                await region.publish(fleet.plan())
                await region.applied(generation)
            lost = next(name for name in fleet.endpoints if name.startswith("dynamodb-fips."))
            region.servers[ZONES[0]].put_foreign(lost)
            await region.until(lambda: site.feed.repairs)
            region.time.offset_s += 48
            for name in ENACTORS[1:]:
                await region.add(name)
            waiting = sum(name.endswith(ZONES[0]) for name in fleet.churn(0.6))
            fleet.shrink(HELD, 2)
            for member in region.members.values():
                gate = member.zones[ZONES[0]]
                assert isinstance(gate, Turnstile)
                gate.passes = 2
            await region.publish(fleet.plan())
            await region.until(lambda: first.enactor.cache.ledger.totals.pending == waiting)
            yield site
    finally:
        await region.close()
