"""A zone that expresses weights, from the plan to the ledger and back: over a scope in memory."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from enactord.core.content import Content, Target
from enactord.core.events import EndpointRepaired
from enactord.core.ledger import pack_bucket, parse_bucket
from enactord.core.records import Records
from enactord.core.render import WEIGHTED, render
from enactord.operations import acts as operations
from enactord.operations.acts import Adopted, Denied, Scope
from tests.world import SCOPE, ZONE, World

NAME = f"www.{ZONE}"


def document(**weights: int) -> dict[str, object]:
    targets = [{"address": f"10.0.0.{key[1:]}", "weight": weight} for key, weight in weights.items()]
    return {"schema": "enactord.plan/v1", "scope": SCOPE, "endpoints": {NAME: {"ttl_s": 5, "targets": targets}}}


def weighted(**weights: int) -> Records:
    addresses = tuple(bytes((10, 0, 0, int(key[1:]))) for key in weights)
    return Records(ttl_s=5, a=addresses, aaaa=(), weights=tuple(weights.values()))


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    world.zone_settings = {zone: replace(one, answers_max=WEIGHTED) for zone, one in world.zone_settings.items()}
    await world.add("e1")
    yield world
    await world.close()


@pytest.fixture
def scope(world: World) -> Scope:
    limits = world.settings["limits"]
    return Scope(store=world.store, name=SCOPE, zones=[ZONE], limits=limits, clock=world.clock)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "rendered"),
    [
        ((1, 2, 3), (1, 2, 3)),
        ((255, 1), (255, 1)),
        ((256, 128, 1), (255, 128, 1)),
        ((2**31 - 1, 1, 2**30), (255, 1, 128)),
        ((5, 0, 6), (5, 6)),
    ],
    ids=["small", "at the limit", "above it", "far above it", "not served"],
)
def test_weights_are_scaled_to_what_a_zone_takes(given: tuple[int, ...], rendered: tuple[int, ...]) -> None:
    """Together, and none to nothing."""
    targets = tuple(Target(f"192.0.2.{k}", weight) for k, weight in enumerate(given, 1))
    assert render(NAME, 7, Content(ttl_s=30, targets=targets), WEIGHTED).weights == rendered


def test_more_targets_than_a_zone_takes_are_drawn_by_weight() -> None:
    """The draw has given each target its share, so what is drawn weighs the same; families are drawn apart."""
    v4 = tuple(Target(f"10.0.{k // 250}.{k % 250}", 1 + 999 * (k < 50)) for k in range(300))
    v6 = (Target("2001:db8::1", 7), Target("2001:db8::2", 9))
    drawn = render(NAME, 7, Content(ttl_s=30, targets=v4 + v6), WEIGHTED)
    assert (len(drawn.a), drawn.weights[:100], drawn.weights[100:]) == (100, (1,) * 100, (7, 9))
    heavy = {target.packed for target in v4[:50]}
    assert len(heavy & set(drawn.a)) >= 45


async def test_a_plans_weights_are_served_and_changed(world: World) -> None:
    """A plan that changes nothing but a weight is written; the ledger remembers what stands there."""
    for generation, weights in enumerate(({"t1": 10, "t2": 20}, {"t1": 10, "t2": 21}), 1):
        await world.publish(document(**weights))
        await world.applied(generation)
        assert world.servers[ZONE].serve(NAME).records == weighted(**weights)
    index = (await world.view()).ledger
    bucket = index.find(ZONE, NAME)
    assert bucket is not None
    entry = parse_bucket(pack_bucket(index.bucket(bucket), bucket.slots))[NAME]
    assert entry.good == entry.applied
    assert entry.applied is not None
    assert entry.applied.records(NAME) == weighted(t1=10, t2=21)


async def test_a_weight_that_somebody_changed_is_repaired(world: World) -> None:
    """It is drift like any other."""
    await world.publish(document(t1=10, t2=20))
    await world.applied(1)
    world.servers[ZONE].put_foreign(NAME, records=weighted(t1=10, t2=200))
    await world.until(lambda: world.servers[ZONE].serve(NAME).records == weighted(t1=10, t2=20))
    await world.until(lambda: world.members["e1"].recorder.of(EndpointRepaired))


@pytest.mark.parametrize("there", [weighted(t1=3, t2=4), weighted(t1=1, t2=1)._replace(weights=())])
async def test_adopting_keeps_what_stands_there(world: World, scope: Scope, there: Records) -> None:
    """With weights or without them, the ledger has it as it is."""
    world.servers[ZONE].put_foreign(NAME, records=there)
    zones = {ZONE: (world.members["e1"].zones[ZONE], WEIGHTED)}
    done = await operations.adopt(scope, [NAME], zones, author="op")
    assert isinstance(done, Adopted)
    entry = operations.find_entries(await scope.cache())[NAME]
    assert entry.applied is not None
    assert entry.applied.records(NAME) == there


async def test_sets_that_answer_by_other_rules_are_not_adopted(world: World, scope: Scope) -> None:
    """No plan could say the same."""
    world.servers[ZONE].put_foreign(NAME, records=weighted(t1=0, t2=4))
    zones = {ZONE: (world.members["e1"].zones[ZONE], WEIGHTED)}
    done = await operations.adopt(scope, [NAME], zones, author="op")
    assert isinstance(done, Denied)
    assert [refusal.guard for refusal in done.refusals] == ["routing"]
