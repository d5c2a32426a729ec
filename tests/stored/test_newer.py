"""What this version refuses where another version has written what it would replace."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from enactord.core.kv import Item, Put
from enactord.operations.documents import status_document
from enactord.store.layout import CHUNK, HEAD, LEDGER, PLAN, Kind
from tests.world import ZONE, World, fleet, plan


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World(repair_interval_s=0.2)
    yield made
    await made.close()


async def put_newer(world: World, kind: Kind, item: Item) -> bytes:
    """Write a value as a version with the next format would."""
    value = b"%s %d\n" % (kind.name.encode(), kind.format + 1) + item.value.removeprefix(kind.header)
    await world.store.transact((), (Put(key=item.key, value=value),))
    return value


async def items(world: World, kind: Kind) -> list[Item]:
    return list((await world.store.range(*world.keys.bounds(kind))).items)


async def test_no_plan_is_applied_where_another_version_knows_which_is_the_newest(world: World) -> None:
    """A plan may be readable all the same; what its version thinks of it, the head says."""
    await world.add("a")
    await world.publish(plan(fleet(5, 1)))
    await world.applied(1)
    await world.stop("a")
    await world.publish(plan(fleet(5, 2)))
    await put_newer(world, HEAD, (await items(world, HEAD))[0])
    member = await world.add("b")
    await world.until(lambda: any("kind head in format 2" in reason for reason in member.enactor.reasons()))
    await asyncio.sleep(0.5)
    assert world.serves(fleet(5, 1))


async def test_a_chunk_of_another_version_is_not_replaced_by_the_same_content(world: World) -> None:
    """Content found by its digest: a publication that counts on the chunk is refused, with both formats."""
    await world.publish(plan(fleet(5, 1)))
    (chunk,) = await items(world, CHUNK)
    newer = await put_newer(world, CHUNK, chunk)
    refusal = await world.refused(plan(fleet(5, 1)))
    assert refusal.guard == "format"
    assert f"kind chunk in format {CHUNK.format + 1}, and this version reads format {CHUNK.format}" in refusal.detail
    assert [item.value for item in await items(world, CHUNK)] == [newer]
    await world.publish(plan(fleet(5, 2)))


@pytest.mark.parametrize("kind", [HEAD, PLAN], ids=lambda kind: kind.name)
async def test_no_plan_is_published_over_one_of_another_version(world: World, kind: Kind) -> None:
    """What it says that this version does not know would be lost."""
    await world.publish(plan(fleet(5, 1)))
    await put_newer(world, kind, (await items(world, kind))[0])
    assert (await world.refused(plan(fleet(5, 2)))).guard == "format"
    assert len(await items(world, PLAN)) == 1


async def test_status_shows_what_another_version_has_written(world: World) -> None:
    """Kind, both formats, how many values, the first key; and the zone that waits."""
    await world.add("a")
    await world.publish(plan(fleet(5, 1)))
    await world.applied(1)
    (bucket,) = await items(world, LEDGER)
    await put_newer(world, LEDGER, bucket)
    document = status_document(await world.view(), [ZONE], world.clock.now())
    first = bucket.key.removeprefix(world.keys.root)
    assert document["other_formats"] == [
        {"kind": "ledger", "found": LEDGER.format + 1, "reads": LEDGER.format, "values": 1, "first": first}
    ]
    assert document["zones"][0]["state"] == "of another version"
