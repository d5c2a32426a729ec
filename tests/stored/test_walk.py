"""Any one value of the store may be lost, damaged or another version's: all kinds of keys, in every way."""

import asyncio
from pathlib import Path

import pytest

from enactord.core.kv import Put
from enactord.store.layout import APPLIED, CHUNK, FENCE, KINDS, LEDGER, OVERRIDE, PAUSED, REFUSED, RETIRED, Kind
from tests.daily import daily
from tests.stored.walk import ORDERS, VICTIM, WAYS, step, steps
from tests.world import ZONE, World, fleet, plan


@pytest.mark.parametrize(
    ("kind", "way"), daily(steps(), list(steps())[::8], name=lambda case: f"{case[0].name}-{case[1]}")
)
async def test_one_value_of_the_store_is_spoilt(kind: Kind, way: str, tmp_path: Path) -> None:
    """Served names stay, emptied names are refilled, the next whole plan is served; another version's value stays."""
    row = await step(kind, way, tmp_path)
    assert (row.kind, row.way) == (kind.name, way)
    assert way in WAYS


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.copied and kind not in ORDERS], ids=lambda k: k.name)
async def test_names_are_refilled_with_the_store_away(kind: Kind) -> None:
    """From the copy on local disk, where another version had written one value before the store went."""
    world = World(repair_interval_s=0.2)
    member = await world.add("a")
    await world.publish(plan(fleet(40, 1)))
    await world.applied(1)
    await world.until(lambda: member.enactor.cache.rules and not member.enactor.reasons())
    for item in (await world.store.range(*world.keys.bounds(kind))).items:
        newer = b"%s %d\n" % (kind.name.encode(), kind.format + 1) + item.value.removeprefix(kind.header)
        await world.store.transact((), (Put(key=item.key, value=newer),))
    await asyncio.sleep(0.3)
    copy = await world.stop("a")
    later = await world.add("b", copy, store_up=False)
    world.servers[ZONE].put_foreign(VICTIM)
    await world.until(lambda: world.serves(fleet(40, 1)))
    if kind is not CHUNK:
        silent = kind in (OVERRIDE, PAUSED, REFUSED, RETIRED)  # there is none
        words = f"format {kind.format + 1}"
        await world.until(lambda: silent or any(words in reason for reason in later.enactor.reasons()))
    await world.close()


@pytest.mark.parametrize("kind", [LEDGER, FENCE, APPLIED], ids=lambda kind: kind.name)
async def test_a_pass_under_way_ends_where_another_version_has_written(kind: Kind) -> None:
    """It neither replaces the value nor tries again and again, and goes on once the value can be read."""
    world = World()
    member = await world.add("a")
    await world.publish(plan(fleet(40, 1)))
    await world.applied(1)
    member.zones[ZONE].open.clear()
    await world.publish(plan(fleet(40, 2)))
    await world.until(lambda: member.zones[ZONE].held)
    item = (await world.store.range(*world.keys.bounds(kind))).items[0]
    newer = b"%s %d\n" % (kind.name.encode(), kind.format + 1) + item.value.removeprefix(kind.header)
    await world.store.transact((), (Put(key=item.key, value=newer),))
    member.zones[ZONE].open.set()
    await asyncio.sleep(0.5)
    before = member.store.calls
    await asyncio.sleep(1.0)
    assert member.store.calls - before < 30
    assert (await world.store.get([item.key]))[item.key].value == newer
    await world.store.transact((), (Put(key=item.key, value=item.value),))
    await world.applied(2)
    await world.close()
