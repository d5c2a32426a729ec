"""Break-glass on a world in memory: a held zone keeps every enactor out, and a released one is theirs again."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from enactord.core.errors import ZoneDown
from enactord.core.fence import FENCE_MAX, HOLD_MAX, NO_PLAN, Fence, Owner, parse_fence
from enactord.core.records import Outcome, Records, Transaction, Unknown
from enactord.engine.settings import ZonePorts
from enactord.operations.emergency import Taken, hold_text, release, seal, set_records
from enactord.operations.scope import Denied
from tests.world import SCOPE, ZONE, Member, World, fleet, plan

A = f"n00000.{ZONE}"
BY_HAND = Records(ttl_s=30, a=(b"\xc0\x00\x02\x01",), aaaa=())
OWNER = Owner(scope=SCOPE)
HOLD = hold_text("alice", "INC-4711")


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.close()


def ports(member: Member) -> ZonePorts:
    return member.enactor.ports.zones[ZONE]


async def test_a_held_zone_keeps_every_enactor_out_until_it_is_released(world: World) -> None:
    """What the operator set stays: through repair, newer plans, a restart; after the release plans go on."""
    member = await world.add("a")
    await world.publish(plan(fleet(10, 1)))
    await world.applied(1)
    taken = await set_records(ports(member), OWNER, A, BY_HAND, HOLD)
    assert isinstance(taken, Taken)
    own = member.enactor.cache.installation
    assert taken.fence == Fence(scope=SCOPE, generation=2, plan=NO_PLAN, installation=own, hold="alice: INC-4711")
    assert taken.document()["served"] == ["192.0.2.1"]
    by_hand = fleet(10, 1) | {A: ["192.0.2.1"]}
    for generation in range(2, 6):
        await world.publish(plan(fleet(10, generation)))
    await world.stop("a")
    await world.add("b")
    await world.until(lambda: any("fence held by an operator (alice: INC-4711)" in r for r in reasons(world, "b")))
    await asyncio.sleep(1.0)
    assert world.serves(by_hand)
    assert (await world.view()).applied(ZONE) == 1
    released = await release(ports(world.members["b"]), OWNER)
    assert isinstance(released, Taken)
    assert released.fence.hold == ""
    await world.applied((await world.publish(plan(fleet(10, 9)))).generation)
    assert world.serves(fleet(10, 9))
    await world.until(lambda: not reasons(world, "b"))


async def test_a_hold_below_the_store_s_fence_holds_all_the_same(world: World) -> None:
    """A zone that lost its fence stands at 1 when it is held, the store at 3: repair does not raise it."""
    member = await world.add("a")
    for generation in (1, 2, 3):
        await world.publish(plan(fleet(10, generation)))
        await world.applied(generation)
    await world.stop("a")
    world.servers[ZONE].put_fence(())
    taken = await set_records(ports(member), OWNER, A, BY_HAND, HOLD)
    assert isinstance(taken, Taken)
    assert taken.fence.generation == 1
    await world.add("b")
    await world.until(lambda: any("held by an operator" in reason for reason in reasons(world, "b")))
    await asyncio.sleep(1.0)
    assert world.serves({A: ["192.0.2.1"]})
    assert parse_fence(world.servers[ZONE].fence) == taken.fence


async def test_at_the_end_of_generations_a_zone_is_held_and_given_back_all_the_same(world: World) -> None:
    """Nothing is above: a fence with one digit more would be taken for garbage, and an older plan raised over it."""
    member = await world.add("a")
    last = Fence(scope=SCOPE, generation=FENCE_MAX, plan="0123456789abcdef")
    world.servers[ZONE].put_fence(last.seen)
    for done in (await seal(ports(member), OWNER, HOLD), await release(ports(member), OWNER)):
        assert isinstance(done, Taken)
        assert parse_fence(done.fence.seen) == done.fence
        assert done.fence.generation == FENCE_MAX
    assert world.servers[ZONE].fence == Fence(scope=SCOPE, generation=FENCE_MAX, plan=NO_PLAN).seen


async def test_a_late_write_of_an_enactor_finds_the_zone_held(world: World) -> None:
    """What was on its way when the glass was broken is refused by the server."""
    member = await world.add("a")
    await world.publish(plan(fleet(10, 1)))
    await world.applied(1)
    member.zones[ZONE].open.clear()
    await world.publish(plan(fleet(10, 2)))
    await world.until(lambda: member.zones[ZONE].held > 0)
    member.zones[ZONE].open.set()
    direct = world.servers[ZONE]
    other = await world.add("b")
    taken = await set_records(ports(other), OWNER, A, BY_HAND, HOLD)
    assert isinstance(taken, Taken)
    before = direct.serve(f"n00001.{ZONE}")
    await asyncio.sleep(0.5)
    assert direct.serve(f"n00001.{ZONE}") == before
    assert world.serves({A: ["192.0.2.1"]})


async def test_an_update_without_an_answer_that_landed_is_done_once(world: World) -> None:
    """The next read tells; the fence is not raised twice."""
    member = await world.add("a")
    zone = member.zones[ZONE]
    write = zone.write
    answers = iter([True])

    async def unanswered(transaction: Transaction) -> Outcome:
        outcome = await write(transaction)
        return Unknown(detail="no answer") if next(answers, False) else outcome

    zone.write = unanswered  # type: ignore[method-assign]
    taken = await seal(ports(member), OWNER, HOLD)
    assert isinstance(taken, Taken)
    assert taken.fence.generation == 1
    assert parse_fence(world.servers[ZONE].fence) == taken.fence


async def test_a_server_that_never_answers_is_said_to_be_down(world: World) -> None:
    """Not a success, and not silence."""
    member = await world.add("a")

    async def lost(transaction: Transaction) -> Outcome:
        return Unknown(detail="no answer")

    member.zones[ZONE].write = lost  # type: ignore[method-assign]
    with pytest.raises(ZoneDown, match="no answer"):
        await seal(ports(member), OWNER, HOLD)


async def test_what_may_not_be_done_is_refused(world: World) -> None:
    """Another scope's zone, and a release of what nobody holds."""
    member = await world.add("a")
    await world.publish(plan(fleet(3, 1)))
    await world.applied(1)
    other = await seal(ports(member), Owner(scope="other"), HOLD)
    assert isinstance(other, Denied)
    assert other.refusals[0].guard == "identity"
    nobody = await release(ports(member), OWNER)
    assert isinstance(nobody, Denied)
    assert nobody.refusals[0].guard == "not_held"


def test_a_hold_fits_a_fence_whatever_it_says() -> None:
    """Any reason becomes printable ASCII within the limit, and is read back."""
    text = hold_text("ålice", "line one\nline two \x00 " + "x" * 300)
    assert len(text) == HOLD_MAX
    fence = Fence(scope="s" * 63, generation=10**18, plan=NO_PLAN, hold=text)
    assert len(fence.rdata) <= 256
    assert parse_fence(fence.seen) == fence


def reasons(world: World, name: str) -> list[str]:
    return world.members[name].enactor.reasons()
