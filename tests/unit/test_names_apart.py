"""One name that its zone does not serve, for whatever reason, never keeps another from the plan, nor from repair."""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from enactord.backends.memory import MemoryServer, MemoryZone
from enactord.core.events import EndpointDrifted, EndpointHeld, EndpointRepaired, ZoneCameUp, ZoneWentDown
from enactord.core.fence import Fence
from enactord.core.guards import Limits
from enactord.core.ledger import Entry
from enactord.core.records import NO_RECORDS, Outcome, Reason, Records, Refused, Transaction, Unknown
from enactord.engine.probing import Narrowing
from enactord.engine.read_back import read_back
from enactord.engine.settings import ZonePorts, ZoneSettings
from enactord.engine.write import Fate, ZoneWriter
from enactord.operations import acts as operations
from enactord.operations.documents import held_notes, status_document
from enactord.operations.scope import Scope
from enactord.ports import Verifier
from tests.world import SCOPE, ZONE, Gated, Recorder, World, fleet, plan, unfailing

REFUSED = Refused(reason=Reason.DENIED, detail="REFUSED for key enactor: …", answer="REFUSED")
BAD = f"n00007.{ZONE}"
FOREIGN = Records(ttl_s=5, a=(b"\x0a\x63\0\1",), aaaa=())
WILD = Records(ttl_s=5, a=(b"\xc0\0\2\x4d",), aaaa=())


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with unfailing(World()) as made:
        yield made


def but(endpoints: dict[str, list[str]], *names: str) -> dict[str, list[str]]:
    return {name: addresses for name, addresses in endpoints.items() if name not in names}


async def entry(world: World, name: str = BAD) -> Entry | None:
    return (await world.view()).ledger.entry(name)


async def held(world: World, name: str, guard: str) -> str:
    """Wait until a name is held by a guard; returns why."""
    async with asyncio.timeout(10):
        while True:
            found = await entry(world, name)
            if found is not None and found.held is not None and found.held.guard == guard:
                return found.held.detail
            await asyncio.sleep(0.02)


async def unheld(world: World, name: str) -> None:
    async with asyncio.timeout(10):
        while (found := await entry(world, name)) is not None and found.held is not None:
            await asyncio.sleep(0.02)


# Refused


@pytest.mark.parametrize(
    "outcome",
    [
        REFUSED,
        Refused(reason=Reason.CONTENT, detail="NOTIMP", answer="NOTIMP"),
        Unknown(detail="SERVFAIL", answered=True),
    ],
    ids=["REFUSED", "NOTIMP", "SERVFAIL"],
)
async def test_a_refused_name_is_held_and_the_others_follow(world: World, outcome: Refused | Unknown) -> None:
    """The zone counts as applied and as up; the reason is the server's own answer, wherever one looks."""
    world.servers[ZONE].refuse(BAD, outcome)
    member = await world.add("a")
    for number in (1, 2, 3):
        await world.publish(plan(fleet(300, number)))
        await world.applied(number)
        assert world.serves(but(fleet(300, number), BAD))
    assert member.recorder.of(ZoneWentDown, ZoneCameUp) == []
    assert {h.name for h in member.recorder.of(EndpointHeld)} == {BAD}
    view = await world.view()
    word = outcome.answer if isinstance(outcome, Refused) else outcome.detail
    assert word in held_notes(view)[0]
    assert BAD in held_notes(view)[0]
    assert status_document(view, [ZONE], world.clock.now())["held"][0]["name"] == BAD
    assert view.ledger.totals.held == 1
    assert member.enactor.reasons() == []


async def test_all_names_refused_are_all_held(world: World) -> None:
    """The plan is settled, with nothing of it served, and a plan that is taken follows."""
    server = world.servers[ZONE]
    for name in fleet(120):
        server.refuse(name, REFUSED)
    await world.add("a")
    await world.publish(plan(fleet(120, 1)))
    await world.applied(1)
    assert (await world.view()).ledger.totals.held == 120
    assert len(held_notes(await world.view())) == 6
    for name in fleet(120):
        server.refuse(name)
    await world.publish(plan(fleet(120, 2)))
    await world.applied(2)
    assert world.serves(fleet(120, 2))


async def test_a_removal_that_is_refused_keeps_no_other(world: World) -> None:
    """It is held on what it serves; the others go, and it goes once the server lets it."""
    await world.add("a")
    await world.publish(plan(fleet(20, 1)))
    await world.applied(1)
    server = world.servers[ZONE]
    server.refuse(BAD, REFUSED)
    gone = (f"n00006.{ZONE}", BAD, f"n00008.{ZONE}")
    await world.publish(plan(but(fleet(20, 2), *gone)))
    await world.applied(2)
    assert world.serves(but(fleet(20, 2), *gone) | {BAD: fleet(20, 1)[BAD], gone[0]: [], gone[2]: []})
    assert "REFUSED" in await held(world, BAD, "server")
    server.refuse(BAD)
    await world.until(lambda: world.serves({BAD: []}))


async def test_a_refused_name_becomes_good_by_itself(world: World) -> None:
    """It is tried again, ever more rarely; no plan is needed once the server takes it."""
    server = world.servers[ZONE]
    server.refuse(BAD, REFUSED)
    await world.add("a")
    await world.publish(plan(fleet(20, 1)))
    await world.applied(1)
    server.refuse(BAD)
    await world.until(lambda: world.serves(fleet(20, 1)))
    await unheld(world, BAD)


async def test_a_refused_name_is_tried_ever_more_rarely(world: World) -> None:
    """Also with a plan every moment: what the plans do not change is not tried at each of them."""
    server = world.servers[ZONE]
    server.refuse(BAD, REFUSED)
    tried = 0
    apply = server.apply

    def counting(transaction: Transaction) -> Outcome:
        nonlocal tried
        tried += any(change.name == BAD for change in transaction.changes)
        return apply(transaction)

    server.apply = counting  # type: ignore[method-assign]
    await world.add("a")
    same = {BAD: ["10.9.9.9"]}
    await world.publish(plan(same | {f"other.{ZONE}": ["10.0.0.1"]}))
    await world.applied(1)
    first = tried
    for number in range(2, 12):
        await world.publish(plan(same | {f"other.{ZONE}": [f"10.0.0.{number}"]}))
        await world.applied(number)
        found = await entry(world)
        assert found is not None
        assert found.held is not None
        assert found.held.generation == number
    assert tried - first <= 4
    before = tried
    await world.publish(plan({BAD: ["10.9.9.8"], f"other.{ZONE}": ["10.0.0.1"]}))
    await world.applied(12)
    assert tried > before, "a plan that changes it"


@pytest.mark.parametrize("store_up", [True, False])
async def test_an_emptied_name_is_refilled_while_another_is_refused(world: World, store_up: bool) -> None:
    """I2 holds of the refused name itself, and of all others."""
    member = await world.add("a")
    await world.publish(plan(fleet(20, 1)))
    await world.applied(1)
    server = world.servers[ZONE]
    server.refuse(BAD, REFUSED)
    await world.publish(plan(fleet(20, 2)))
    await world.applied(2)
    if not store_up:
        member.store.cut()
        await world.until(lambda: not member.enactor.store_up)
    server.put_foreign(f"n00003.{ZONE}")
    await world.until(lambda: world.serves({f"n00003.{ZONE}": fleet(20, 2)[f"n00003.{ZONE}"]}))
    server.refuse(BAD)
    server.put_foreign(BAD)
    await world.until(lambda: not server.serve(BAD).records.empty)


class Stuck(Gated):
    """A way on which no message that changes one name is ever answered."""

    async def write(self, transaction: Transaction) -> Outcome:
        if any(change.name == BAD and not change.after.empty for change in transaction.changes):
            return Unknown(detail="lost by the test")
        return await super().write(transaction)


class StuckWorld(World):
    def gate(self, zone: MemoryZone) -> Gated:
        return Stuck(zone) if self.stuck else Gated(zone)

    stuck = False


async def test_an_emptied_name_is_refilled_while_its_write_has_no_end() -> None:
    """Marked as pending for as long as a neighbour's message is lost, it gets back what was applied last."""
    world = StuckWorld()
    await world.add("a")
    await world.publish(plan(fleet(20, 1)))
    await world.applied(1)
    await world.stop("a")
    world.stuck = True
    member = await world.add("b")
    await world.publish(plan(fleet(20, 2)))
    await world.until(lambda: member.enactor.cache.ledger.totals.pending == 20)
    await world.until(lambda: "not finished" in str(member.enactor.account.notes()) or member.enactor.reasons() != [])
    victim = f"n00003.{ZONE}"
    world.servers[ZONE].put_foreign(victim)
    await world.until(lambda: world.serves({victim: fleet(20, 1)[victim]}))
    assert [h.name for h in member.recorder.of(EndpointRepaired)] == [victim]
    found = await entry(world, victim)
    assert found is not None
    assert found.pending is not None
    scope = Scope(store=world.store, name=SCOPE, zones=[ZONE], limits=Limits(), clock=world.clock)
    reader = MemoryZone(world.servers[ZONE])
    world.servers[ZONE].put_foreign(f"n00004.{ZONE}", records=FOREIGN)
    verified = await operations.verify(scope, {ZONE: [("memory", reader)]})
    settings, ports = member.enactor.settings, {ZONE: replace(member.enactor.ports.zones[ZONE], zone=reader)}
    assert [(f.name, f.wrong) for f in verified.findings] == [(f"n00004.{ZONE}", "drifted")]
    assert (verified.names, verified.pending, verified.unasked) == (20, 20, 0)
    await world.stop("b")
    world.servers[ZONE].put_foreign(victim)
    looks = await operations.repair(scope, ports, settings, author="op")
    assert [name for look in looks for name in look.repaired] == [victim]
    await world.close()


# Dropped in silence


@pytest.mark.parametrize("types", [("A", "AAAA"), ("A",)], ids=["all", "one type"])
async def test_a_name_that_is_dropped_in_silence_is_held(world: World, types: tuple[str, ...]) -> None:
    """It counts as applied nowhere, costs the others no time, and keeps what it served."""
    server = world.servers[ZONE]
    member = await world.add("a")
    await world.publish(plan(fleet(20, 1)))
    await world.applied(1)
    server.drop(BAD, *types)
    new = f"new.{ZONE}"
    server.drop(new, "A", "AAAA")
    loop = asyncio.get_running_loop()
    start = loop.time()
    await world.publish(plan(fleet(20, 2) | {BAD: ["10.2.0.7", "2001:db8::7"], new: ["10.2.2.2"]}))
    await world.applied(2)
    assert loop.time() - start < member.enactor.settings.verify_timeout_s
    assert world.serves(but(fleet(20, 2), BAD) | {new: []})
    assert "did not keep the records" in await held(world, BAD, "server")
    assert "did not keep the records: the zone holds nothing" in await held(world, new, "server")
    found = await entry(world)
    assert found is not None
    assert found.applied is not None
    assert found.applied.generation == 1
    assert server.serve(BAD).records.a != ()
    server.drop(BAD)
    server.drop(new)
    await world.until(lambda: world.serves({BAD: ["10.2.0.7", "2001:db8::7"], new: ["10.2.2.2"]}))


async def test_a_new_name_of_which_a_part_is_kept_is_ours(world: World) -> None:
    """What stands of it goes when the plan withdraws it."""
    server = world.servers[ZONE]
    server.drop(BAD, "AAAA")
    await world.add("a")
    await world.publish(plan({BAD: ["10.2.0.7", "2001:db8::7"], f"n00001.{ZONE}": ["10.0.0.1"]}))
    await world.applied(1)
    assert "the zone holds 10.2.0.7" in await held(world, BAD, "server")
    await world.publish(plan({f"n00001.{ZONE}": ["10.0.0.1"]}))
    await world.applied(2)
    assert server.holds(BAD) == NO_RECORDS


async def test_a_repair_that_is_not_kept_is_none(world: World) -> None:
    """A server that caps TTLs, or drops a name, is told of once and then ever more rarely; nothing is said repaired."""
    server = world.servers[ZONE]
    member = await world.add("a")
    await world.publish(plan(fleet(5, 1)))
    await world.applied(1)
    name = f"n00001.{ZONE}"
    server.put_foreign(name, records=FOREIGN)
    server.drop(name, "A", "AAAA")
    await world.until(lambda: member.recorder.of(EndpointDrifted))
    await asyncio.sleep(2.0)
    assert member.recorder.of(EndpointRepaired) == []
    assert len(member.recorder.of(EndpointDrifted)) <= 4
    server.drop(name)
    await world.until(lambda: world.serves(fleet(5, 1)))
    await world.until(lambda: member.recorder.of(EndpointRepaired))


async def test_a_repair_that_is_not_kept_under_a_wildcard_is_none(world: World) -> None:
    """The wildcard's answer is not taken for what was put back."""
    server = world.servers[ZONE]
    member = await world.add("a")
    await world.publish(plan(fleet(10, 1)))
    await world.applied(1)
    server.put_foreign(f"*.{ZONE}", records=WILD)
    server.drop(BAD, "A", "AAAA")
    server.put_foreign(BAD)
    assert "did not keep the records" in await held(world, BAD, "server")
    assert member.recorder.of(EndpointRepaired) == []
    server.drop(BAD)
    await world.until(lambda: world.serves(fleet(10, 1)))


class Forgetful(Gated):
    """A way on which the first update of requirements alone is lost, once there are any."""

    async def write(self, transaction: Transaction) -> Outcome:
        if transaction.requires and not self.held:
            self.held = 1
            return Unknown(detail="lost")
        return await super().write(transaction)


class ForgetfulWorld(World):
    def gate(self, zone: MemoryZone) -> Gated:
        return Forgetful(zone)


async def test_a_lost_message_does_not_make_a_dropped_name_applied() -> None:
    """The question whether the zone holds the name is asked again."""
    world = ForgetfulWorld(repair_interval_s=3600.0)
    await world.add("a")
    await world.publish(plan(fleet(10, 1)))
    await world.applied(1)
    world.servers[ZONE].drop(BAD, "A", "AAAA")
    await world.publish(plan(fleet(10, 2)))
    await world.applied(2)
    assert "did not keep the records" in await held(world, BAD, "server")
    await world.close()


FENCE = Fence(scope=SCOPE, generation=1, plan="1" * 16)


@pytest.mark.parametrize("there", [FOREIGN, WILD, NO_RECORDS], ids=["written", "another's", "dropped"])
@pytest.mark.parametrize("owned", [True, False])
async def test_only_the_server_itself_says_that_a_name_was_dropped(there: Records, owned: bool) -> None:
    """Not a secondary that lags, and not where somebody else was there since."""
    server = MemoryServer(ZONE)
    server.put_fence(FENCE.seen)
    server.put_foreign(BAD, records=there)
    late = MemoryZone(MemoryServer(ZONE))
    ports = ZonePorts(
        settings=ZoneSettings(name=ZONE),
        zone=MemoryZone(server),
        verifiers=[Verifier(server="secondary", bulk=late, sample=late)],
    )
    back = await read_back(
        ports,
        ZoneWriter(ports, Recorder(), random.Random(1)),
        FENCE,
        {BAD: FOREIGN},
        lambda _: [FOREIGN._replace(a=(b"\x0a\0\0\x08",)), *([] if owned else [NO_RECORDS])],
        timeout_s=0.2,
        rng=random.Random(1),
        narrowing=Narrowing(),
    )
    assert back.seen == set()
    dropped = there is NO_RECORDS and not owned
    assert {name: written.fate for name, written in back.unserved.items()} == ({BAD: Fate.DROPPED} if dropped else {})


# Covered


@pytest.mark.parametrize("kind", ["NS", "DNAME"])
async def test_a_covered_name_is_held_with_its_cut_and_served_when_that_has_left(world: World, kind: str) -> None:
    """New, changed, withdrawn: below a cut nothing counts as applied and served, and nothing is repaired."""
    server = world.servers[ZONE]
    cut = f"sub.{ZONE}"
    name, other = f"api.{cut}", f"gone.{cut}"
    server.put_cut(cut, kind)
    member = await world.add("a")
    loop = asyncio.get_running_loop()
    for number in (1, 2):
        start = loop.time()
        await world.publish(plan(fleet(10, number) | {name: [f"10.1.1.{number}"], other: ["10.1.1.9"]}))
        await world.applied(number)
        assert loop.time() - start < member.enactor.settings.verify_timeout_s
        assert f"covered by {kind} {cut}" in await held(world, name, "covered")
        assert world.serves(fleet(10, number))
        found = await entry(world, name)
        assert found is not None
        assert found.state == "held"
        assert found.good is None
    before = server.writes_committed
    await world.publish(plan(fleet(10, 2) | {name: ["10.1.1.2"]}))
    await world.applied(3)
    assert server.holds(other) == NO_RECORDS
    await asyncio.sleep(1.0)  # several looks
    assert server.writes_committed - before <= 3, "an open, a removal, and no repair"
    assert member.recorder.of(EndpointDrifted) == []
    scope = Scope(store=world.store, name=SCOPE, zones=[ZONE], limits=Limits(), clock=world.clock)
    verified = await operations.verify(scope, {ZONE: [("memory", MemoryZone(server))]})
    assert [(f.name, f.wrong, f.served) for f in verified.findings] == [
        (name, "covered", (f"covered by {kind} {cut}",))
    ]
    server.put_cut(cut)
    await world.until(lambda: world.serves({name: ["10.1.1.2"]}))
    await unheld(world, name)


async def test_a_cut_put_above_an_applied_name_later_is_found_by_repair(world: World) -> None:
    """It is reported as covered, once, and not as drift; when the cut has left, all is as before."""
    server = world.servers[ZONE]
    cut = f"sub.{ZONE}"
    name = f"api.{cut}"
    member = await world.add("a")
    await world.publish(plan(fleet(10, 1) | {name: ["10.1.1.1"]}))
    await world.applied(1)
    before = server.writes_committed
    server.put_cut(cut, "NS")
    assert f"covered by NS {cut}" in await held(world, name, "covered")
    await asyncio.sleep(1.0)
    assert member.recorder.of(EndpointDrifted, EndpointRepaired) == []
    assert [h.name for h in member.recorder.of(EndpointHeld)] == [name]
    assert server.writes_committed == before
    server.put_cut(cut)
    await unheld(world, name)
    assert world.serves({name: ["10.1.1.1"]})


async def test_a_write_without_an_end_below_a_cut_is_kept_in_mind(world: World) -> None:
    """A cut hides whether it landed: the name is held, and once the cut has left the plan is served."""
    server = world.servers[ZONE]
    cut = f"sub.{ZONE}"
    name = f"api.{cut}"
    member = await world.add("a")
    await world.publish(plan(fleet(3, 1)))
    await world.applied(1)
    member.zones[ZONE].open.clear()
    await world.publish(plan(fleet(3, 1) | {name: ["10.1.1.1"]}))
    await world.until(lambda: member.zones[ZONE].held)
    await world.stop("a")
    server.put_cut(cut, "NS")
    await world.add("b")
    await world.publish(plan(fleet(3, 2) | {name: ["10.1.1.2"]}))
    await world.applied(3)
    await held(world, name, "covered")
    server.put_cut(cut)
    await world.until(lambda: world.serves({name: ["10.1.1.2"]}))
    await unheld(world, name)


# Wildcards


async def test_a_name_that_its_foreign_record_left_is_served_under_a_wildcard(world: World) -> None:
    """The wildcard's answer is not the name's own: it is tried again, at the next look, and served."""
    server = world.servers[ZONE]
    server.put_foreign(BAD, records=FOREIGN)
    await world.add("a")
    await world.publish(plan(fleet(10, 1)))
    await world.applied(1)
    assert "the zone holds 10.99.0.1" in await held(world, BAD, "foreign")
    server.put_foreign(f"*.{ZONE}", records=WILD)
    server.put_foreign(BAD)
    await world.until(lambda: world.serves(fleet(10, 1)))
    await unheld(world, BAD)


@pytest.mark.parametrize("alias", [False, True], ids=["addresses", "CNAME"])
async def test_a_name_emptied_under_a_wildcard_is_refilled(world: World, alias: bool) -> None:
    """It drifted from nothing that is somebody's: it is emptied, and its repair requires that nothing is there."""
    server = world.servers[ZONE]
    member = await world.add("a")
    await world.publish(plan(fleet(10, 1)))
    await world.applied(1)
    server.put_foreign(f"*.{ZONE}", records=NO_RECORDS if alias else WILD, cname="elsewhere.test." if alias else None)
    server.put_foreign(BAD)
    await world.until(lambda: world.serves(fleet(10, 1)))
    assert {h.kind for h in member.recorder.of(EndpointRepaired)} == {"emptied"}


async def test_a_name_is_withdrawn_under_a_wildcard_at_once(world: World) -> None:
    """The wildcard answers for it then; nobody waits for it to serve nothing."""
    server = world.servers[ZONE]
    server.put_foreign(f"*.{ZONE}", records=WILD)
    member = await world.add("a")
    await world.publish(plan(fleet(10, 1)))
    await world.applied(1)
    loop = asyncio.get_running_loop()
    start = loop.time()
    await world.publish(plan(but(fleet(10, 1), BAD)))
    await world.applied(2)
    assert loop.time() - start < member.enactor.settings.verify_timeout_s
    assert server.serve(BAD).records == WILD
    assert await entry(world) is None


async def test_a_record_of_a_wildcards_content_is_still_somebodys(world: World) -> None:
    """Both answers are the same; only a prerequisite tells, and the name stays held."""
    server = world.servers[ZONE]
    server.put_foreign(BAD, records=WILD)
    server.put_foreign(f"*.{ZONE}", records=WILD)
    await world.add("a")
    await world.publish(plan(fleet(10, 1)))
    await world.applied(1)
    await held(world, BAD, "foreign")
    await asyncio.sleep(1.0)
    assert server.holds(BAD) == WILD
    await held(world, BAD, "foreign")
    server.put_foreign(BAD)
    await world.until(lambda: world.serves(fleet(10, 1)))
