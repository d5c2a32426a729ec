"""A stored value that steers the scope and cannot be read is counted, told, and gone with the next publication."""

from collections.abc import AsyncIterator

import pytest

from enactord.core.kv import Put
from enactord.engine import health
from enactord.store.damage import STEERING, damaged
from enactord.store.layout import APPLIED, FENCE, HEAD, LIMITS, Kind
from tests.world import ZONE, World, fleet, plan

COUNT = 6


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(health, "HELD_S", 0.0)
    world = World(repair_interval_s=0.05)
    await world.add("a")
    await world.publish(plan(fleet(COUNT)))
    await world.applied(1)
    yield world
    await world.close()


def key_of(world: World, kind: Kind) -> str:
    return world.keys.key(kind, ZONE if kind in (FENCE, APPLIED) else "")


async def spoil(world: World, kind: Kind, value: bytes = b"garbage") -> None:
    await world.store.transact((), (Put(key=key_of(world, kind), value=value),))


async def test_nothing_is_damaged_where_all_is_well(world: World) -> None:
    """Every kind is there, and is read."""
    (member,) = world.members.values()
    assert damaged(member.enactor.cache) == {}
    assert not any("cannot be read" in reason for reason in member.enactor.account.reasons())


@pytest.mark.parametrize("kind", STEERING, ids=lambda kind: kind.name)
async def test_a_damaged_value_is_told_by_its_key(world: World, kind: Kind) -> None:
    """Each kind; it ends with the next plan, but for limits, which an operator sets."""
    (member,) = world.members.values()
    cache, account = member.enactor.cache, member.enactor.account
    name = key_of(world, kind).removeprefix(world.keys.root)
    seen: list[dict[str, Kind]] = []
    cache.on_change, before = lambda: seen.append(damaged(cache)), cache.on_change
    await spoil(world, kind)
    await world.until(lambda: {name: kind} in seen)
    cache.on_change = before
    if kind in (HEAD, LIMITS):
        told = "cannot be read" if kind is HEAD else "limits are damaged"
        await world.until(lambda: any(told in reason for reason in account.reasons()))
    await world.publish(plan(fleet(COUNT, 2)))
    if kind is not LIMITS:
        await world.until(lambda: damaged(cache) == {})
        await world.until(lambda: not account.reasons())


async def test_what_another_version_has_written_is_no_damage(world: World) -> None:
    """It is told by its own name, with the version to start."""
    (member,) = world.members.values()
    cache = member.enactor.cache
    for kind in STEERING:
        await spoil(world, kind, f"{kind.name} 9\nwhatever".encode())
    await world.until(lambda: len(cache.other_formats) == len(STEERING))
    assert damaged(cache) == {}
