"""A zone on several servers: written on one at a time, and on another only after it says that it is not the primary."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace

import pytest

from enactord.backends.memory import MemoryServer, MemoryZone
from enactord.backends.rfc2136.primaries import SeveralServers
from enactord.core.errors import ZoneDown
from enactord.core.events import PlanSuperseded, PrimaryChosen, StepFailed
from enactord.core.fence import FenceSeen
from enactord.core.records import Outcome, Reason, Refused, Served, Transaction
from enactord.engine.settings import ZonePorts
from enactord.ports import Duty, Said
from enactord.store.keys import parse_record
from tests.world import ZONE, Gated, Member, World, fleet, plan

ONE, TWO, THREE = "192.0.2.1:53", "192.0.2.2:53", "192.0.2.3:53"


class Server:
    """A server that is the zone's primary, something else, or silent."""

    def __init__(self) -> None:
        self.content = MemoryServer(ZONE)
        self.duty = Duty.OTHER
        self.silent = False
        self.asked = 0
        self.writes: list[Transaction] = []


class Ways:
    """An enactor's way to these servers: a double of one connection to each."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.zone = MemoryZone(server.content)

    async def duty(self) -> Said:
        self.server.asked += 1
        if self.server.silent:
            return Said(duty=Duty.UNKNOWN, detail="no answer")
        return Said(duty=self.server.duty, detail=f"it is {self.server.duty}")

    async def read(self, names: Sequence[str]) -> Mapping[str, Served]:
        self._hear()
        return await self.zone.read(names)

    async def read_fence(self) -> FenceSeen:
        self._hear()
        return await self.zone.read_fence()

    async def negative_ttl_s(self) -> int | None:
        self._hear()
        return await self.zone.negative_ttl_s()

    async def write(self, transaction: Transaction) -> Outcome:
        if self.server.silent:
            return Refused(reason=Reason.BUSY, detail="no answer")
        if self.server.duty is Duty.OTHER:
            return Refused(reason=Reason.DENIED, detail="REFUSED", answer="REFUSED")
        self.server.writes.append(transaction)
        return await self.zone.write(transaction)

    def _hear(self) -> None:
        if self.server.silent:
            raise ZoneDown("no answer")

    async def close(self) -> None:
        await self.zone.close()


class Several(SeveralServers):
    """The shipped choice over doubles; no pause, as their copies do not age."""

    def __init__(self, servers: Mapping[str, Server]) -> None:
        super().__init__({name: Ways(server) for name, server in servers.items()})  # type: ignore[misc]


class Fleet(World):
    """Enactors whose configs name several servers for the one zone."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, zones: Sequence[str] = (ZONE,)) -> None:
        monkeypatch.setattr("enactord.backends.rfc2136.primaries.FRESH_COPY_S", 0.0)
        super().__init__(zones, repair_interval_s=0.2)
        self.nodes = {name: Server() for name in (ONE, TWO, THREE)}
        self.nodes[ONE].duty = Duty.PRIMARY

    async def start(self, name: str, *servers: str, store_up: bool = True) -> Member:
        """Start an enactor whose config names these servers."""
        self.zone_settings[ZONE] = replace(self.zone_settings[ZONE], primaries=servers)
        return await self.add(name, store_up=store_up)

    def gate(self, zone: MemoryZone) -> Gated:
        if zone._server.zone != ZONE:
            return super().gate(zone)
        names = self.zone_settings[ZONE].primaries
        return Gated(Several({name: self.nodes[name] for name in names}))  # type: ignore[arg-type]

    def ports(self, zone: str, gated: Gated) -> ZonePorts:
        several = gated.zone
        if not isinstance(several, Several):
            return super().ports(zone, gated)
        return replace(super().ports(zone, gated), primaries=several if len(several.names) > 1 else None)

    def copy(self, source: str, target: str, names: Sequence[str]) -> None:
        """Bring a server to what another one holds, as a transfer of the zone does."""
        content, other = self.nodes[source].content, self.nodes[target].content
        other.put_fence(content.fence)
        for name in names:
            other.put_foreign(name, records=content.serve(name).records)

    def serves_on(self, name: str, endpoints: Mapping[str, Sequence[str]]) -> bool:
        content = self.nodes[name].content
        return all(set(content.serve(each).records.texts()) == set(wanted) for each, wanted in endpoints.items())

    async def recorded(self) -> str:
        item = (await self.store.get([self.keys.fence(ZONE)])).get(self.keys.fence(ZONE))
        record = None if item is None else parse_record(item.value)
        return record.primary if record is not None else ""  # type: ignore[union-attr]


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Fleet]:
    made = Fleet(monkeypatch)
    yield made
    failures = [failed for member in made.members.values() for failed in member.recorder.of(StepFailed)]
    await made.close()
    assert not failures, failures


async def settled(world: Fleet, member: Member, generation: int) -> None:
    """Wait until a plan is applied, as the enactor sees it, and nothing is wrong."""
    await world.until(lambda: member.enactor.cache.applied(ZONE) == generation and not member.enactor.reasons())


async def aside(world: Fleet, member: Member, server: str) -> None:
    """Wait until the enactor says that the zone is written on a server that its config lacks."""
    await world.until(lambda: f"it is written on {server}" in reasons(member))


def reasons(member: Member) -> str:
    return "; ".join(member.enactor.reasons())


def move(world: Fleet, source: str, target: str) -> None:
    """One server hands its duty to another one, which holds what it held."""
    world.copy(source, target, list(fleet(20)))
    world.nodes[source].duty, world.nodes[target].duty = Duty.OTHER, Duty.PRIMARY


async def begun(world: Fleet, *servers: str) -> Member:
    member = await world.start("a", *servers)
    await world.publish(plan(fleet(20, 1)))
    await world.until(lambda: member.enactor.cache.applied(ZONE) == 1)
    await world.until(lambda: not member.enactor.reasons())
    return member


async def test_the_server_that_is_written_on_stands_in_the_record(world: Fleet) -> None:
    await begun(world, ONE, TWO)
    assert await world.recorded() == ONE
    assert world.serves_on(ONE, fleet(20, 1))
    assert not world.nodes[TWO].writes


async def test_the_first_plan_goes_to_the_server_that_is_the_primary(world: Fleet) -> None:
    """Wherever it stands in the list."""
    world.nodes[ONE].duty, world.nodes[THREE].duty = Duty.OTHER, Duty.PRIMARY
    await begun(world, ONE, TWO, THREE)
    assert await world.recorded() == THREE
    assert world.serves_on(THREE, fleet(20, 1))


async def test_a_primary_that_moved_is_followed_by_all(world: Fleet) -> None:
    member = await begun(world, ONE, TWO, THREE)
    other = await world.start("b", ONE, TWO, THREE)
    move(world, ONE, THREE)
    await world.publish(plan(fleet(20, 2)))
    await world.until(lambda: world.serves_on(THREE, fleet(20, 2)))
    assert await world.recorded() == THREE
    assert world.serves_on(ONE, fleet(20, 1))
    for each in (member, other):
        await settled(world, each, 2)
    chosen = [event for each in (member, other) for event in each.recorder.of(PrimaryChosen)]
    assert [(one.before, one.primary) for one in chosen] == [("", ONE), (ONE, THREE)] or [
        (one.before, one.primary) for one in chosen
    ] == [(ONE, THREE)]


async def test_a_new_primary_counts_as_a_zone_that_was_restored(world: Fleet) -> None:
    """It had not copied all: every name is looked at, and put back."""
    await begun(world, ONE, TWO)
    move(world, ONE, TWO)
    lost = sorted(fleet(20))[3]
    world.nodes[TWO].content.put_foreign(lost)
    world.nodes[TWO].content.put_fence(())
    await world.until(lambda: world.serves_on(TWO, fleet(20, 1)))
    assert world.nodes[TWO].content.fence == world.nodes[ONE].content.fence


async def test_silence_is_no_word(world: Fleet) -> None:
    """A server that does not answer may take the writes of others: nothing moves."""
    member = await begun(world, ONE, TWO)
    move(world, ONE, TWO)
    world.nodes[ONE].silent = True
    await world.publish(plan(fleet(20, 2)))
    await asyncio.sleep(1.0)
    assert await world.recorded() == ONE
    assert not world.nodes[TWO].writes
    assert reasons(member)
    world.nodes[ONE].silent = False
    await world.until(lambda: world.serves_on(TWO, fleet(20, 2)))


async def test_a_server_that_does_not_say_stays(world: Fleet) -> None:
    """PowerDNS tells no secondary from a primary."""
    await begun(world, ONE, TWO)
    world.nodes[TWO].duty = Duty.PRIMARY
    world.nodes[ONE].duty = Duty.UNKNOWN
    await world.publish(plan(fleet(20, 2)))
    await world.until(lambda: world.serves_on(ONE, fleet(20, 2)))
    assert await world.recorded() == ONE


async def test_no_primary_is_said_with_the_word_of_each(world: Fleet) -> None:
    member = await begun(world, ONE, TWO)
    world.nodes[ONE].duty = Duty.OTHER
    await world.until(lambda: "no server of the config" in reasons(member))
    assert f"{ONE}: it is other" in reasons(member)
    assert f"{TWO}: it is other" in reasons(member)
    world.nodes[ONE].duty = Duty.PRIMARY
    await world.until(lambda: not member.enactor.reasons())


async def test_with_the_store_away_nothing_moves(world: Fleet) -> None:
    member = await begun(world, ONE, TWO)
    member.store.cut()
    await world.until(lambda: not member.enactor.store_up)
    move(world, ONE, TWO)
    await asyncio.sleep(1.0)
    assert not world.nodes[TWO].writes
    member.store.mend()
    await world.until(lambda: member.enactor.ports.zones[ZONE].primary == TWO)
    await settled(world, member, 1)


async def test_what_was_begun_before_a_move_goes_to_the_server_that_it_was_begun_for(world: Fleet) -> None:
    member = await begun(world, ONE, TWO)
    gate = member.zones[ZONE]
    gate.open.clear()
    await world.publish(plan(fleet(20, 2)))
    await world.until(lambda: gate.held)
    move(world, ONE, TWO)
    await world.until(lambda: member.enactor.ports.zones[ZONE].primary == TWO)
    world.nodes[ONE].duty = Duty.PRIMARY  # as one that came back and does not know
    gate.open.set()
    await world.until(lambda: world.serves_on(TWO, fleet(20, 2)))
    assert {sent.primary for sent in world.nodes[TWO].writes} <= {TWO, ""}
    assert all(sent.primary == ONE for sent in world.nodes[ONE].writes if sent.changes)


async def test_a_config_that_does_not_name_the_server_stands_aside_while_others_do(world: Fleet) -> None:
    member = await begun(world, ONE, TWO)
    move(world, ONE, TWO)
    await world.until(lambda: member.enactor.ports.zones[ZONE].primary == TWO)
    world.nodes[THREE].duty = Duty.PRIMARY
    for servers in ((THREE,), (ONE, THREE)):
        late = await world.start("z", *servers)
        await aside(world, late, TWO)
        assert f"{TWO}, as the config of a has it" in reasons(late)
        await world.publish(plan(fleet(20, 2)))
        await asyncio.sleep(0.5)
        assert not [sent for sent in world.nodes[THREE].writes if sent.changes or sent.fence_after]
        await world.stop("z")


@pytest.mark.parametrize("servers", [(THREE,), (THREE, TWO), (TWO, THREE)])
async def test_a_server_that_no_config_names_any_more_is_left(world: Fleet, servers: tuple[str, ...]) -> None:
    """All configs were changed, one after another."""
    member = await begun(world, ONE, TWO)
    move(world, ONE, THREE)
    late = await world.start("z", *servers)
    await world.until(lambda: f"it is written on {ONE}" in reasons(late))
    await world.stop("a")
    await world.until(lambda: late.enactor.store_up and not late.enactor.reasons())
    assert await world.recorded() == (THREE if len(servers) > 1 else "")
    await world.publish(plan(fleet(20, 2)))
    await world.until(lambda: world.serves_on(THREE, fleet(20, 2)))
    assert member.enactor.cache.applied(ZONE) == 1


async def test_fleets_of_one_server_each_need_not_agree_on_its_name(world: Fleet) -> None:
    """Two addresses of one server: as nothing can be chosen, nothing is recorded."""
    world.nodes[TWO] = world.nodes[ONE]
    member = await begun(world, ONE)
    late = await world.start("z", TWO)
    await world.publish(plan(fleet(20, 2)))
    await world.until(lambda: world.serves_on(ONE, fleet(20, 2)))
    await world.until(lambda: not member.enactor.reasons() and not late.enactor.reasons())
    assert await world.recorded() == ""


async def test_where_nothing_is_recorded_nothing_is_written_before_the_primary_is_found(world: Fleet) -> None:
    """The config had one server, the second: whoever has a list must not begin on the first of it."""
    world.nodes[ONE].duty, world.nodes[TWO].duty = Duty.UNKNOWN, Duty.PRIMARY
    await begun(world, TWO)
    assert await world.recorded() == ""
    await world.stop("a")
    await world.start("a", ONE, TWO)
    await world.publish(plan(fleet(20, 2)))
    await world.until(lambda: world.serves_on(TWO, fleet(20, 2)))
    assert await world.recorded() == TWO
    assert not [sent for sent in world.nodes[ONE].writes if sent.changes or sent.fence_after]


async def test_a_server_that_is_silent_is_not_chosen_first(world: Fleet) -> None:
    """It would never be left again."""
    world.nodes[ONE].silent = True
    world.nodes[TWO].duty = Duty.PRIMARY
    await begun(world, ONE, TWO)
    assert await world.recorded() == TWO


async def test_servers_that_do_not_say_are_told_apart_by_what_they_take(world: Fleet) -> None:
    """PowerDNS: the first one that takes an update is chosen, once; later no such server takes another one's place."""
    world.nodes[TWO].duty = Duty.UNKNOWN
    world.nodes[ONE].duty = Duty.OTHER
    member = await begun(world, ONE, TWO)
    assert await world.recorded() == TWO
    world.nodes[TWO].duty, world.nodes[ONE].duty = Duty.OTHER, Duty.UNKNOWN
    await world.until(lambda: "no server of the config" in reasons(member))
    assert await world.recorded() == TWO


async def test_one_zone_that_stands_aside_costs_the_others_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """No plan is judged anew because of it, and no pass of another zone is given up."""
    other = "other.test."
    world = Fleet(monkeypatch, zones=(ZONE, other))
    member = await world.start("a", ONE, TWO)
    both = fleet(10, 1) | fleet(10, 1, zone=other)
    await world.publish(plan(both))
    await world.until(lambda: member.enactor.cache.applied(ZONE) == 1 == member.enactor.cache.applied(other))
    late = await world.start("z", THREE)
    await aside(world, late, ONE)
    await world.publish(plan(fleet(10, 2) | fleet(10, 2, zone=other)))
    await world.until(lambda: late.enactor.cache.applied(ZONE) == 2 == late.enactor.cache.applied(other))
    await asyncio.sleep(1.0)
    assert not late.recorder.of(PlanSuperseded)
    await world.close()
