"""An installation has an id: a store or a zone of another's is refused and said, and so is a second process's."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from enactord.backends.memory import MemoryZone
from enactord.core.events import (
    EnactorOwnId,
    EnactorSameId,
    InstallationAccepted,
    InstallationMade,
    InstallationRefused,
)
from enactord.core.fence import (
    HOLD_MAX,
    Fence,
    OtherFence,
    Owner,
    describe_fence,
    find_stranger,
    parse_fence,
    parse_fence_text,
)
from enactord.core.kv import Delete, Put, prefix_end
from enactord.engine.settings import ZonePorts
from enactord.operations import taking
from enactord.operations.audit import acts
from enactord.operations.scope import Denied, Scope
from enactord.operations.taking import Offer, TakenOver, look, take
from enactord.store.control import Freeze, freeze_value
from enactord.store.keys import installation_value, stored_json
from enactord.store.layout import TAKEN
from tests.world import SCOPE, ZONE, Member, World, fleet, plan, tolerant

OURS, THEIRS = "0123456789abcdef", "fedcba9876543210"
MARK = "a" * 16
OTHER = "other.test."
OWNER = Owner(scope=SCOPE, installation=OURS)


def text(fence: str) -> tuple[bytes, ...]:
    """What a zone holds whose fence reads so."""
    return (bytes((len(fence),)) + fence.encode("ascii"),)


def fence(installation: str = "", *, generation: int = 7, scope: str = SCOPE) -> Fence:
    return Fence(scope=scope, generation=generation, plan=MARK, installation=installation)


def reasons(member: Member) -> str:
    return " | ".join(member.enactor.reasons())


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.close()


# -- the text


@pytest.mark.parametrize(
    "said",
    [
        f"v=enactord1 scope=test gen=7 plan={MARK}",
        f"v=enactord1 scope=test gen=7 plan={MARK} id={OURS}",
        f"v=enactord1 scope=test gen=7 plan={MARK} id={OURS} held=alice: id=x",
        f"v=enactord1 scope=test gen=7 plan={MARK} later=1 than=this held=bob",
        f"v=enactord1 scope=test gen=7 plan={MARK} id={OURS} later=",
    ],
)
def test_a_fence_is_read_as_it_stands(said: str) -> None:
    """Fields of a later version make it no garbage, and what is compared is the very text."""
    found = parse_fence_text(said.encode())
    assert found is not None
    assert (found.text, found.generation, found.scope) == (said, 7, SCOPE)
    assert find_stranger(found.seen, OWNER) is None


def test_the_longest_fence_is_one_character_string() -> None:
    """Longest scope, generation, id and hold: 255 characters hold it, or no server takes it."""
    longest = Fence(scope="s" * 63, generation=10**19 - 1, plan=MARK, installation=OURS, hold="h" * HOLD_MAX)
    assert len(longest.text) <= 255
    assert parse_fence(longest.seen) == longest


@pytest.mark.parametrize(
    ("seen", "stranger", "says"),
    [
        ((), None, ""),
        (text("v=spf1 -all"), None, ""),
        (fence().seen, None, ""),
        (fence(OURS).seen, None, ""),
        (fence(THEIRS).seen, fence(THEIRS), f"another installation {THEIRS}"),
        ((*text("v=spf1 -all"), *fence(THEIRS).seen), fence(THEIRS), "enactorctl zone take"),
        (fence(scope="other").seen, fence(scope="other"), "another scope other"),
        (text("v=enactord2 x"), OtherFence(text="v=enactord2 x", version="enactord2"), "writes enactord2"),
        (text("v=enactord1 gen=x"), OtherFence(text="v=enactord1 gen=x"), "damaged"),
    ],
)
def test_a_stranger_is_told_from_garbage(
    seen: tuple[bytes, ...], stranger: Fence | OtherFence | None, says: str
) -> None:
    """Text that begins as a fence does is never garbage, also with garbage beside it."""
    found = find_stranger(seen, OWNER)
    assert found == stranger
    if found is not None:
        assert says in describe_fence(ZONE, found, OWNER)


def test_without_an_id_of_ours_the_scope_decides() -> None:
    """A command that cannot reach store or copy must still tell another scope's zone."""
    assert find_stranger(fence(THEIRS).seen, Owner(scope=SCOPE)) is None
    assert find_stranger(fence(THEIRS).seen, Owner(scope="other")) == fence(THEIRS)


# -- making it


async def test_enactors_that_race_agree_on_one_id(world: World) -> None:
    """Each draws its own; the store's transaction lets one of them in, and every fence carries it."""
    members = [await world.add(name) for name in "abc"]
    await world.publish(plan(fleet(3, 1)))
    await world.applied(1)
    ids = {member.enactor.cache.installation for member in members}
    assert len(ids) == 1
    assert sum(len(member.recorder.of(InstallationMade)) for member in members) == 1
    standing = parse_fence(world.servers[ZONE].fence)
    assert standing is not None
    assert {standing.installation} == ids
    assert all(not member.enactor.health.installation_problem for member in members)


async def test_a_zone_of_another_installation_keeps_an_id_from_being_made(world: World) -> None:
    """A second store that names the same zone gets no id, claims nothing, and says which command takes the zone."""
    world.servers[ZONE].put_fence(fence(THEIRS).seen)
    member = await world.add("a")
    await world.publish(plan(fleet(3, 1)))
    await world.until(lambda: f"another installation {THEIRS}" in reasons(member))
    await asyncio.sleep(1.0)
    assert world.servers[ZONE].fence == fence(THEIRS).seen
    assert not world.serves(fleet(3, 1))
    assert (await world.view()).installation == ""
    assert not member.enactor.health.identity_up
    assert len(member.recorder.of(InstallationRefused)) == 1


async def test_a_silent_zone_does_not_keep_an_id_from_being_made() -> None:
    """Zones stand apart: after a while one answer is enough; the silent zone is refused alone if it is another's."""
    world = World(zones=(ZONE, OTHER))
    try:
        world.servers[OTHER].up = False
        world.servers[OTHER].put_fence(fence(THEIRS).seen)
        member = await world.add("a")
        await world.publish(plan(fleet(3, 1) | fleet(3, 1, zone=OTHER)))
        await world.until(lambda: world.serves(fleet(3, 1)))
        world.servers[OTHER].up = True
        await world.until(lambda: f"{OTHER}: fenced by another installation {THEIRS}" in reasons(member))
        assert world.servers[OTHER].fence == fence(THEIRS).seen
        assert not member.enactor.health.identity_up
        assert not member.enactor.health.zone_problem(ZONE)
    finally:
        await world.close()


async def test_a_zone_of_another_s_is_told_before_any_plan(world: World) -> None:
    """Nobody waits for a publication to learn that two installations name one zone."""
    member = await world.add("a")
    await world.until(lambda: bool(member.enactor.cache.installation))
    world.servers[ZONE].put_fence(fence(THEIRS).seen)
    await world.until(lambda: f"another installation {THEIRS}" in reasons(member))
    world.servers[ZONE].put_fence(())
    await world.until(lambda: not member.enactor.reasons())


async def test_nobody_answers_and_no_id_is_made(world: World) -> None:
    """With every zone silent nothing is known: an id made now could be a second one."""
    world.servers[ZONE].up = False
    member = await world.add("a")
    await world.until(lambda: "until the server of one zone" in reasons(member))
    world.servers[ZONE].up = True
    await world.until(lambda: bool(member.enactor.cache.installation))
    await world.until(lambda: member.enactor.health.identity_up)
    assert len(member.recorder.of(InstallationRefused)) == len(member.recorder.of(InstallationAccepted)) == 1


async def test_a_fence_without_id_gets_ours_by_the_next_raise(world: World) -> None:
    """Fences from before there were ids are ours by their scope."""
    world.servers[ZONE].put_fence(fence(generation=1).seen)
    member = await world.add("a")
    await world.until(lambda: bool(member.enactor.cache.installation))
    for generation in (1, 2, 3):
        await world.publish(plan(fleet(3, generation)))
    await world.until(lambda: world.serves(fleet(3, 3)))
    standing = parse_fence(world.servers[ZONE].fence)
    assert standing is not None
    assert standing.installation == member.enactor.cache.installation


@pytest.mark.parametrize("said", ["v=enactord2 anything", f"v=enactord1 scope=test gen=9 plan={MARK} id={THEIRS}"])
async def test_a_zone_that_becomes_another_s_is_stopped_alone(said: str) -> None:
    """No raise, no replant and no repair replaces it; the other zone goes on, and it heals when the text is gone."""
    world = World(zones=(ZONE, OTHER))
    try:
        member = await world.add("a")
        await world.publish(plan(fleet(3, 1) | fleet(3, 1, zone=OTHER)))
        await world.applied(1)
        before = world.servers[OTHER].fence
        world.servers[OTHER].put_fence(text(said))
        world.servers[OTHER].put_foreign(f"n00001.{OTHER}")
        await world.publish(plan(fleet(3, 2) | fleet(3, 2, zone=OTHER)))
        await world.until(lambda: world.serves(fleet(3, 2)))
        await world.until(lambda: "another" in member.enactor.health.zone_problem(OTHER))
        await asyncio.sleep(1.0)
        assert world.servers[OTHER].fence == text(said)
        assert not world.servers[OTHER].serve(f"n00001.{OTHER}").records.texts()
        assert not member.enactor.health.identity_up
        world.servers[OTHER].put_fence(before)
        await world.until(lambda: world.serves(fleet(3, 2, zone=OTHER)))
        await world.until(lambda: member.enactor.health.identity_up)
    finally:
        await world.close()


# -- the store and the copy


async def wipe(world: World) -> None:
    """Empty the store under the enactors' feet, by one order as an operator's slip would."""
    await world.store.transact((), (Delete(key=world.keys.root, prefix=True),))


async def test_a_store_that_was_emptied_erases_no_copy(world: World) -> None:
    """The enactor refuses it as a whole, refills emptied names from what it knows, and goes on when it is back."""
    member = await world.add("a")
    await world.publish(plan(fleet(3, 1)))
    await world.applied(1)
    await world.until(lambda: not member.enactor.cache.dirty)
    copied, chunks = dict(member.copy.items), dict(member.copy.chunks)
    saved = {key: item.value for key, item in member.enactor.cache.items.items() if not item.lease}
    await wipe(world)
    await world.until(lambda: "the plan store is empty" in reasons(member))
    assert "restore --from-copy" in reasons(member)
    assert not member.enactor.health.identity_up
    world.servers[ZONE].put_foreign(f"n00001.{ZONE}")
    await world.until(lambda: world.serves(fleet(3, 1)))
    await asyncio.sleep(1.0)
    assert (member.copy.items, member.copy.chunks) == (copied, chunks)
    left = await world.store.range(world.keys.root, prefix_end(world.keys.root))
    assert not left.items, "an enactor wrote into a store that is not its own"
    saved |= {world.keys.chunk(digest): packed for digest, packed in chunks.items()}
    puts = [Put(key=key, value=value) for key, value in sorted(saved.items())]
    await world.store.transact((), puts)
    await world.until(lambda: not member.enactor.reasons())
    assert len(member.recorder.of(InstallationRefused)) == len(member.recorder.of(InstallationAccepted)) == 1
    await world.publish(plan(fleet(3, 2)))
    await world.until(lambda: world.serves(fleet(3, 2)))


async def test_a_store_of_another_installation_is_refused(world: World) -> None:
    """A config that names the wrong store: nothing is claimed there, and the copy stays what it was."""
    member = await world.add("a")
    await world.publish(plan(fleet(3, 1)))
    await world.applied(1)
    copy = await world.stop("a")
    copied = dict(copy.items)
    await world.store.transact((), (Put(key=world.keys.installation, value=installation_value(THEIRS)),))
    member = await world.add("a", copy)
    await world.publish(plan(fleet(3, 2)))
    await world.until(lambda: f"another installation {THEIRS}" in reasons(member))
    await asyncio.sleep(1.0)
    assert world.serves(fleet(3, 1))
    assert copy.items == copied
    view = await world.view()
    assert (view.all_claims, view.enactors) == ([], [])


@pytest.mark.parametrize("value", [None, b"garbage"])
async def test_an_id_that_alone_was_lost_is_put_back(world: World, value: bytes | None) -> None:
    """One key of the store was deleted, or garbled, by hand: the plans there are those that are known here."""
    member = await world.add("a")
    await world.publish(plan(fleet(3, 1)))
    await world.applied(1)
    own, key = member.enactor.cache.installation, world.keys.installation
    await world.store.transact((), (Delete(key=key) if value is None else Put(key=key, value=value),))
    await world.until(lambda: member.recorder.of(InstallationRefused))
    deadline = asyncio.get_running_loop().time() + 10.0
    while (await world.view()).installation != own:
        assert asyncio.get_running_loop().time() < deadline, member.enactor.reasons()
        await asyncio.sleep(0.01)
    await world.until(lambda: not member.enactor.reasons())
    await world.publish(plan(fleet(3, 2)))
    await world.until(lambda: world.serves(fleet(3, 2)))


async def test_a_half_restored_store_is_not_taken_for_whole(world: World) -> None:
    """While a restore keeps the scope frozen and the id is not there yet, the store is refused."""
    member = await world.add("a")
    await world.publish(plan(fleet(3, 1)))
    await world.applied(1)
    manifest = (await world.view()).items[world.keys.plan(1)]
    await world.until(lambda: world.keys.fence(ZONE) in member.copy.items)
    await wipe(world)
    await world.until(lambda: "the plan store is empty" in reasons(member))
    now = Freeze(mode="all", reason="restoring", author="restore by alice", since=world.clock.now())
    puts = [Put(key=manifest.key, value=manifest.value), Put(key=world.keys.freeze, value=freeze_value(now))]
    await world.store.transact((), puts)
    await world.until(lambda: "no installation's id" in reasons(member))
    await asyncio.sleep(1.0)
    assert "no installation's id" in reasons(member)
    assert world.keys.fence(ZONE) in member.copy.items


# -- two processes with one id


async def test_the_later_of_two_processes_with_one_id_waits(world: World) -> None:
    """It says so and claims nothing; the first goes on, and when that is gone the later one takes its place."""
    first = await world.add("a")
    await world.publish(plan(fleet(3, 1)))
    await world.applied(1)
    world.members["first"] = world.members.pop("a")
    later = await world.add("a")
    await world.until(lambda: "another process has the id a" in reasons(later))
    await world.publish(plan(fleet(3, 2)))
    await world.applied(2)
    assert not later.enactor.working_on
    assert not first.enactor.health.id_problem
    assert not later.enactor.health.identity_up
    await world.stop("first")
    await world.until(lambda: not later.enactor.reasons())
    await world.publish(plan(fleet(3, 3)))
    await world.applied(3)
    assert len(later.recorder.of(EnactorSameId)) == len(later.recorder.of(EnactorOwnId)) == 1


async def test_a_restart_after_a_crash_waits_for_the_lease_alone() -> None:
    """What a killed process left behind ends with its lease; until then the new one says what it waits for."""
    world = World(claim_ttl_s=2)
    try:
        await world.add("a")
        await world.publish(plan(fleet(3, 1)))
        await world.applied(1)
        await world.kill("a")
        again = await world.add("a")
        await world.until(lambda: "in 2 s at most" in reasons(again))
        await world.until(lambda: not again.enactor.reasons())
        await world.publish(plan(fleet(3, 2)))
        await world.applied(2)
    finally:
        await world.close()


# -- taking a zone over


def scope_of(world: World) -> Scope:
    return Scope(
        store=world.store, name=SCOPE, zones=list(world.servers), limits=tolerant(), clock=world.clock, wait_s=0.0
    )


def ports_of(world: World, zone: str = ZONE) -> ZonePorts:
    return world.ports(zone, world.gate(MemoryZone(world.servers[zone])))


async def taken(world: World) -> TakenOver:
    """Take the zone over as the command does."""
    ports = ports_of(world)
    offer = await look(scope_of(world), ZONE, ports)
    assert isinstance(offer, Offer), offer
    done = await take(scope_of(world), offer, ports, reason="INC-1", author="alice")
    assert isinstance(done, TakenOver), done
    return done


async def test_a_store_without_an_id_owns_no_fence_that_has_one(world: World) -> None:
    """Until its installation has an id, nothing of a zone with another's is repaired, replanted or followed."""
    member = await world.add("a")
    await world.publish(plan(fleet(3, 1)))
    await world.applied(1)
    strict, unknown = Owner(scope=SCOPE, installation=""), Owner(scope=SCOPE)
    assert not strict.owns(fence(THEIRS))
    assert unknown.owns(fence(THEIRS))
    assert strict.owns(replace(fence(THEIRS), installation=""))
    member.enactor.cache.installation = ""
    del member.enactor.cache.items[world.keys.installation]
    world.servers[ZONE].put_fence(fence(THEIRS).seen)
    look = await member.enactor.repairer.look(ZONE, paced=False)
    assert look.foreign
    assert world.servers[ZONE].fence == fence(THEIRS).seen


async def test_a_take_over_puts_back_the_id_that_the_copy_knows(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that has lost its id alone gets that id, and not another: the zones stay ours."""
    monkeypatch.setattr(taking, "_PUT_BACK_S", 0.01)
    world.servers[ZONE].put_fence(fence(OURS).seen)
    ports = world.ports(ZONE, world.gate(MemoryZone(world.servers[ZONE])))
    offer = await look(scope_of(world), ZONE, ports)
    assert isinstance(offer, Offer)  # the store has no id: whose it is, it cannot tell
    done = await take(scope_of(world), offer, ports, reason="INC-1", author="alice", copied=OURS)
    assert isinstance(done, Denied)
    assert "the zone is ours" in done.refusals[0].detail
    assert (await world.view()).installation == OURS
    assert world.servers[ZONE].fence == fence(OURS).seen


async def test_a_dead_installation_s_zone_is_taken_over(world: World) -> None:
    """The store gets an id, the zone our fence above theirs; the next publication is applied, and it is recorded."""
    world.servers[ZONE].put_fence(fence(THEIRS, generation=40).seen)
    member = await world.add("a")
    await world.publish(plan(fleet(3, 1)))
    await world.until(lambda: f"another installation {THEIRS}" in reasons(member))
    done = await taken(world)
    ((entered, *_), _) = await acts(scope_of(world), limit=9)
    assert (entered.author, entered.deed, entered.reason) == ("alice", "zone take", "INC-1")
    own = (await world.view()).installation
    assert own not in ("", THEIRS)
    assert (done.fence.generation, done.fence.installation) == (41, own)
    assert world.servers[ZONE].fence == done.fence.seen
    assert "publish" in done.left
    await world.until(lambda: member.enactor.health.identity_up)
    assert (await world.publish(plan(fleet(3, 2)))).generation == 42
    await world.until(lambda: world.serves(fleet(3, 2)))
    key = world.keys.taken(ZONE)
    note = stored_json(TAKEN, (await world.store.get([key]))[key].value)
    assert (note["author"], note["reason"], note["from"]) == ("alice", "INC-1", fence(THEIRS, generation=40).text)


@pytest.mark.parametrize("said", ["v=enactord1 garbled", fence(THEIRS, generation=1).text])
async def test_a_zone_that_was_ours_goes_on_at_once(world: World, said: str) -> None:
    """Where our store's fence is above what stands, that is put back: no publication is needed."""
    member = await world.add("a")
    for generation in (1, 2):
        await world.publish(plan(fleet(3, generation)))
        await world.applied(generation)
    before = world.servers[ZONE].fence
    world.servers[ZONE].put_fence(text(said))
    world.servers[ZONE].put_foreign(f"n00001.{ZONE}")
    await world.until(lambda: not member.enactor.health.identity_up)
    done = await taken(world)
    assert (done.fence.seen, done.left) == (before, "")
    await world.until(lambda: world.serves(fleet(3, 2)))
    await world.until(lambda: not member.enactor.reasons())


async def test_what_may_not_be_taken_is_refused(world: World) -> None:
    """Nothing stands, it is ours, another scope's, or of a version that this one cannot read."""
    await world.add("a")
    await world.publish(plan(fleet(3, 1)))
    await world.applied(1)
    own = world.servers[ZONE].fence
    for seen, guard in (
        ((), "ours"),
        (own, "ours"),
        (fence(scope="other").seen, "identity"),
        (text("v=enactord2 x"), "identity"),
    ):
        world.servers[ZONE].put_fence(seen)
        refused = await look(scope_of(world), ZONE, ports_of(world))
        assert isinstance(refused, Denied)
        assert [refusal.guard for refusal in refused.refusals] == [guard]


async def test_exactly_what_was_shown_is_replaced(world: World) -> None:
    """The other installation lives after all, and raised its fence meanwhile: nothing is taken."""
    ports = ports_of(world)
    world.servers[ZONE].put_fence(fence(THEIRS, generation=40).seen)
    offer = await look(scope_of(world), ZONE, ports)
    assert isinstance(offer, Offer)
    world.servers[ZONE].put_fence(fence(THEIRS, generation=41).seen)
    done = await take(scope_of(world), offer, ports, reason="r", author="a")
    assert isinstance(done, Denied)
    assert world.servers[ZONE].fence == fence(THEIRS, generation=41).seen


async def test_a_fence_out_of_reach_is_taken_and_then_lowered(world: World) -> None:
    """Its generation does not come into the store; the answer names `fence lower`."""
    world.servers[ZONE].put_fence(fence(THEIRS, generation=10**15).seen)
    done = await taken(world)
    assert "enactorctl fence lower" in done.left
    assert (await world.view()).fence(ZONE) is None
    assert world.servers[ZONE].fence == done.fence.seen


async def test_before_the_store_was_read_no_fence_is_another_s(world: World) -> None:
    """An enactor that starts with the store away knows no id yet: it advises nobody to take its own zone over."""
    await world.add("a")
    await world.publish(plan(fleet(3, 1)))
    await world.applied(1)
    late = await world.add("late", store_up=False)
    await asyncio.sleep(0.5)
    told = late.enactor.reasons()
    assert any("store" in reason for reason in told)
    assert not [reason for reason in told if "another installation" in reason]
