"""Prune removes what it can prove, whatever else of the store is damaged, and says what it cannot."""

import pytest

from enactord.core.kv import Delete, Operation, Put, prefix_end
from enactord.core.manifest import pack_manifest
from enactord.core.retention import Keep
from enactord.engine.prune import Pruner, Verdict
from enactord.store.layout import PLAN
from tests.world import SCOPE, ZONE, Member, World, fleet, plan

OLD = "old.test."


async def applied_in_turn(world: World, count: int) -> Member:
    member = await world.add("a")
    for generation in range(1, count + 1):
        await world.publish(plan(fleet(3, generation)))
        await world.applied(generation)
    return member


def pruner(world: World, member: Member, *, plans: int = 0) -> Pruner:
    zones = list(world.servers)
    return Pruner(world.store, SCOPE, zones=zones, keep=Keep(plans=plans), clock=world.clock, observer=member.recorder)


def kept(verdicts: list[Verdict]) -> dict[int, str]:
    return {verdict.generation: verdict.refusal.guard for verdict in verdicts if verdict.refusal is not None}


async def chunks(world: World) -> set[str]:
    prefix = world.keys.root + "chunks/"
    return {item.key[len(prefix) :] for item in (await world.store.range(prefix, prefix_end(prefix))).items}


async def test_a_damaged_manifest_stops_no_pruning_and_goes_itself() -> None:
    """Of an old plan: it is removed like any other, and after it the chunks that no plan names any more."""
    world = World()
    member = await applied_in_turn(world, 6)
    await world.store.transact((), (Put(key=world.keys.plan(2), value=b"damaged"),))
    assert kept(await pruner(world, member, plans=2).prune()) == {5: "newest", 6: "newest"}
    assert await world.plans.generations() == [5, 6]
    named = {digest for generation in (5, 6) for digest in (await world.plans.manifest(generation)).digests()}  # type: ignore[union-attr]
    assert await chunks(world) == named
    await world.close()


async def test_a_damaged_manifest_that_may_be_needed_keeps_chunks_alone() -> None:
    """Nobody knows which it names. Plans go on being removed; its verdict says why it matters."""
    world = World()
    member = await applied_in_turn(world, 4)
    before = await chunks(world)
    await world.store.transact((), (Put(key=world.keys.plan(4), value=b"damaged"),))
    verdicts = await pruner(world, member).prune()
    assert kept(verdicts) == {4: "fence"}
    assert "no chunk can be removed" in str(verdicts[-1].refusal)
    assert await world.plans.generations() == [4]
    assert await chunks(world) == before
    await world.publish(plan(fleet(3, 9)))
    await world.applied(5)
    assert kept(await pruner(world, member).prune()) == {5: "fence"}
    assert len(await chunks(world)) == 1
    await world.close()


async def test_a_manifest_of_a_newer_format_is_never_removed() -> None:
    """The version that wrote it can read it; this one cannot tell what it is for."""
    world = World()
    member = await applied_in_turn(world, 3)
    key = world.keys.plan(1)
    manifest = await world.plans.manifest(1)
    assert manifest is not None
    newer = b"plan %d\n" % (PLAN.format + 1) + pack_manifest(manifest)
    await world.store.transact((), (Put(key=key, value=newer),))
    before = await chunks(world)
    verdicts = await pruner(world, member).prune()
    assert kept(verdicts) == {1: "format", 2: "format", 3: "fence"}
    assert "format 2" in str(verdicts[0].refusal)
    assert (await world.store.get([key]))[key].value == newer
    assert await chunks(world) == before
    await world.close()


async def test_a_zone_that_left_the_config_keeps_its_own_plans_alone() -> None:
    """Those at its fence and applied there; all above were never opened there, and go."""
    world = World(zones=(ZONE, OLD))
    first = await world.add("a")
    await world.publish(plan(fleet(3) | {f"b.{OLD}": ["10.0.0.1"]}))
    await world.until(lambda: first.enactor.cache.applied(OLD) == 1 == first.enactor.cache.applied(ZONE))
    await world.stop("a")
    del world.servers[OLD], world.zone_settings[OLD]
    member = await world.add("b")
    for generation in range(2, 8):
        await world.publish(plan(fleet(3, generation)))
        await world.until(lambda: member.enactor.cache.applied(ZONE) == generation)  # noqa: B023
    verdicts = await pruner(world, member, plans=2).prune()
    assert await world.plans.generations() == [1, 6, 7]
    assert kept(verdicts)[1] == "fence"
    assert "zone retire" in str(verdicts[0].refusal)
    await world.close()


@pytest.mark.parametrize("room", ["fences", "applied", "ledger"])
async def test_a_change_between_judging_and_deleting_keeps_the_plan(room: str) -> None:
    """Of any zone's fence, applied plan or ledger: each delete compares them all."""
    world = World()
    member = await applied_in_turn(world, 3)
    await world.stop("a")
    transact, changes = world.store.transact, 0

    async def raced(compares, operations):  # type: ignore[no-untyped-def]
        nonlocal changes
        if any(isinstance(one, Delete) and "/plans/" in one.key for one in operations):
            prefix = f"{world.keys.root}{room}/"
            item = (await world.store.range(prefix, prefix_end(prefix))).items[0]
            again: tuple[Operation, ...] = (Put(key=item.key, value=item.value),)
            await transact((), again)
            changes += 1
        return await transact(compares, operations)

    world.store.transact = raced  # type: ignore[method-assign]
    assert kept(await pruner(world, member).prune()) == {1: "changed", 2: "changed", 3: "fence"}
    assert changes > 0
    assert await world.plans.generations() == [1, 2, 3]
    await world.close()


async def test_a_scope_of_many_zones_is_pruned() -> None:
    """The evidence is three compares, however many zones there are."""
    zones = [f"z{number}.test." for number in range(100)]
    world = World(zones=zones, repair_interval_s=3600.0)
    member = await world.add("a")
    for generation in (1, 2):
        await world.publish(plan({f"a.{zone}": [f"10.0.0.{generation}"] for zone in zones}))
        await world.until(lambda: all(member.enactor.cache.applied(zone) == generation for zone in zones))  # noqa: B023
    assert kept(await pruner(world, member).prune()) == {2: "fence"}
    await world.close()
