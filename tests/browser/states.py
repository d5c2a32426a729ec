"""States of a scope that the status page must show for what they are, brought about in memory for pictures."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from enactord.core.fence import NO_PLAN, Fence
from enactord.core.records import NO_RECORDS
from enactord.engine.settings import ZonePorts
from enactord.store.control import Freeze, freeze
from tests.browser.region import ENACTORS, HELD, SCOPE, ZONES, Fleet, Region
from tests.http.site import Site, serving
from tests.world import Gated, Member

COUNT = 240
LOST = "dynamodb-fips.us-east-1.amazonaws.com."


class Watched(Region):
    """A region of which each zone has a secondary that is verified, too."""

    def ports(self, zone: str, gated: Gated) -> ZonePorts:
        return self.with_secondary(zone, super().ports(zone, gated))


Begin = Callable[[Watched, Fleet, Member, Site], Awaitable[object]]


async def _well(region: Watched, fleet: Fleet, member: Member, site: Site) -> None:
    """Nothing is wrong."""


async def _incident(region: Watched, fleet: Fleet, member: Member, site: Site) -> None:
    """A bad plan: many names held, one emptied by hand in a frozen scope, one secondary behind."""
    region.secondaries[ZONES[0]].follows = False
    fleet.churn(0.2)
    for name in list(fleet.endpoints)[:67]:
        fleet.endpoints[name] |= {"targets": []}
    fleet.shrink(HELD, 2)
    await region.publish(fleet.plan())
    await region.until(lambda: member.enactor.cache.ledger.totals.held >= 60)
    await region.until(lambda: member.enactor.cache.ledger.totals.pending == 0)
    stop = Freeze(mode="all", reason="INC-4711: the planner lost its data", author="ana", since=region.time.now())
    await freeze(region.store, region.keys, stop)
    await region.until(lambda: member.enactor.cache.freeze is not None)
    region.servers[ZONES[0]].put_foreign(LOST, records=NO_RECORDS)
    await region.until(lambda: LOST in member.enactor.account.amiss())
    await region.until(lambda: "is behind since" in str(member.enactor.reasons()))


async def _frozen(region: Watched, fleet: Fleet, member: Member, site: Site) -> None:
    stop = Freeze(mode="repair-only", reason="change freeze of December", author="ana", since=region.time.now())
    await freeze(region.store, region.keys, stop)
    await region.until(lambda: member.enactor.cache.freeze is not None)


async def _store_down(region: Watched, fleet: Fleet, member: Member, site: Site) -> None:
    member.store.cut()
    await region.until(lambda: not member.enactor.store_up)


async def _held_by_an_operator(region: Watched, fleet: Fleet, member: Member, site: Site) -> None:
    hold = Fence(scope=SCOPE, generation=500, plan=NO_PLAN, hold="ana: INC-4711, by hand", installation="")
    region.servers[ZONES[1]].put_fence(hold.seen)
    await region.until(lambda: "held by an operator" in str(member.enactor.reasons()))


async def _fence_above(region: Watched, fleet: Fleet, member: Member, site: Site) -> None:
    above = Fence(scope=SCOPE, generation=9_000_000_000, plan=NO_PLAN)
    region.servers[ZONES[0]].put_fence(above.seen)
    await region.until(lambda: "out of reach" in str(member.enactor.reasons()))


async def _refused(region: Watched, fleet: Fleet, member: Member, site: Site) -> None:
    kept = dict(list(fleet.endpoints.items())[:100])
    await region.publish(fleet.plan(endpoints=kept))
    await region.until(lambda: member.enactor.head_refusal is not None)


async def _kept(region: Watched, fleet: Fleet, member: Member, site: Site) -> None:
    """A planner comes up with half of its data while an operator drains an address."""
    drained = fleet.endpoints[HELD]["targets"][0]["address"]
    order = {"name": HELD, "kind": "drain", "address": drained, "lasts_s": 7200, "reason": "INC-4711: that rack is hot"}
    await site.post("/api/v1/overrides", status=201, json=order)
    await region.applied(120, timeout_s=60.0)
    half = dict(list(fleet.endpoints.items())[: len(fleet.endpoints) // 2])
    await site.post("/api/v1/plans", status=422, json=dict(fleet.plan(endpoints=half)))
    await region.until(lambda: member.enactor.cache.contributions)


async def _server_hangs(region: Watched, fleet: Fleet, member: Member, site: Site) -> None:
    member.zones[ZONES[0]].answers.clear()
    await region.until(lambda: "not looked at since" in str(member.enactor.reasons()))


STATES: dict[str, Begin] = {
    "well": _well,
    "incident": _incident,
    "frozen": _frozen,
    "store-down": _store_down,
    "held-by-an-operator": _held_by_an_operator,
    "fence-above": _fence_above,
    "refused": _refused,
    "kept": _kept,
    "unknown": _server_hangs,
}


@asynccontextmanager
async def in_state(name: str, *, count: int = COUNT) -> AsyncIterator[Site]:
    """Serve the page of one enactor of three, in a state."""
    region = Watched()
    try:
        member = await region.add(ENACTORS[0])
        async with serving(member) as site:
            fleet = Fleet(count)
            await region.publish(fleet.plan(generation=118))
            await region.until(lambda: member.enactor.cache.ledger.totals.pending == 0, timeout_s=60.0)
            await region.applied(118, timeout_s=60.0)
            for other in ENACTORS[1:]:
                await region.add(other)
            fleet.churn(0.05)
            await region.publish(fleet.plan())
            await region.applied(119, timeout_s=60.0)
            await region.until(lambda: not member.enactor.reasons(), timeout_s=60.0)
            await STATES[name](region, fleet, member, site)
            await asyncio.sleep(0.5)
            yield site
    finally:
        await region.close()
