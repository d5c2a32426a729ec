"""What is shown as served was seen, on each server, and lately; what was not is unknown."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from enactord.backends.memory import MemoryServer, MemoryZone
from enactord.core.events import (
    EndpointDrifted,
    EndpointRepaired,
    ServerNotWell,
    ServerNudged,
    ServerWell,
    StepFailed,
    TtlKept,
    TtlTaken,
)
from enactord.core.ledger import Entry
from enactord.core.records import NO_RECORDS, Outcome, Served, Transaction
from enactord.engine import evidence, look, witnesses
from enactord.engine.evidence import Evidence, State
from enactord.engine.health import HELD_S, Health, Settled
from enactord.engine.settings import ZonePorts
from enactord.engine.witnesses import Witnesses
from enactord.operations import documents
from enactord.operations.documents import status_document
from enactord.ports import Verifier
from enactord.store.cache import Presence
from tests.world import ZONE, Gated, JumpingClock, Member, Recorder, Secondary, World, fleet, plan

COUNT = 12
FIRST = next(iter(fleet(COUNT)))


class CopiedWorld(World):
    """A world in which each zone has a secondary that is verified, beside the primary or alone."""

    def __init__(self, *, own: bool = True, **settings: Any) -> None:
        self._own = own
        super().__init__(repair_interval_s=0.05, verify_timeout_s=0.1, **settings)

    def ports(self, zone: str, gated: Gated) -> ZonePorts:
        return self.with_secondary(zone, super().ports(zone, gated), own=self._own)

    @property
    def copy(self) -> Secondary:
        return self.secondaries[ZONE]


@pytest.fixture(autouse=True)
def _asked_at_each_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks follow each other fast here: so do questions to a server that is away."""
    monkeypatch.setattr(evidence, "_ASK_AGAIN_S", 0.0)


@pytest.fixture
async def world() -> AsyncIterator[CopiedWorld]:
    made = CopiedWorld()
    yield made
    await made.close()


async def begun(world: World) -> Member:
    member = await world.add("a")
    await world.publish(plan(fleet(COUNT, 1)))
    await world.applied(1)
    await world.until(lambda: state(member) is State.WELL)
    return member


def entry(member: Member, name: str = FIRST) -> Entry:
    found = member.enactor.cache.ledger.entry(name)
    return found or Entry(name=name)


def state(member: Member, name: str = FIRST) -> State:
    return member.enactor.account.seen(entry(member, name), ZONE).state


def reasons(member: Member) -> str:
    return "; ".join(member.enactor.reasons())


async def looks(member: Member, count: int = 4) -> None:
    """Wait until some more looks have ended."""
    view = member.enactor.health.evidence
    for _ in range(count):
        before = view.looked_at(ZONE)
        while view.looked_at(ZONE) == before:
            await asyncio.sleep(0.005)


async def test_a_server_that_is_behind_is_named_and_keeps_contents_from_being_the_last_known_good(
    world: CopiedWorld,
) -> None:
    """With its number of names and since when; told once, and once more when it has caught up."""
    member = await begun(world)
    assert state(member) is State.WELL
    world.copy.follows = False
    await world.publish(plan(fleet(COUNT, 2)))
    await world.applied(2)
    await world.until(lambda: "secondary is behind since" in reasons(member))
    assert f"{COUNT} names are not as the zone's own server has them" in reasons(member)
    await looks(member)
    assert state(member) is State.BEHIND
    assert member.enactor.account.seen(entry(member), ZONE).behind == ("secondary",)
    assert [entry(member).good, entry(member).applied] != [entry(member).applied] * 2
    world.copy.follows = True
    await world.until(lambda: not member.enactor.reasons())
    await world.until(lambda: state(member) is State.WELL)
    told = [(type(one), one.state) for one in member.recorder.events if isinstance(one, ServerNotWell | ServerWell)]
    assert told == [(ServerNotWell, "behind"), (ServerWell, "behind")]


async def test_a_copy_that_is_late_for_a_moment_is_no_state(world: CopiedWorld) -> None:
    """What one look finds behind and the next does not was on its way."""
    member = await begun(world)
    view = member.enactor.health.evidence
    found = evidence.Looked(
        names=1, behind={"secondary": {FIRST: evidence.Otherwise(served=(), wanted=("10.0.0.1",), generation=1)}}
    )
    view.looked(ZONE, found)
    assert not any(server.behind for server in view.servers(ZONE))
    newer = evidence.Looked(
        names=1, behind={"secondary": {FIRST: evidence.Otherwise(served=(), wanted=("10.0.0.1",), generation=2)}}
    )
    view.looked(ZONE, newer)  # another content, and as young
    assert not any(server.behind for server in view.servers(ZONE))
    assert [(one.server, behind) for one, behind in view.looked(ZONE, newer)] == [("secondary", True)]


async def test_a_server_that_is_away_blocks_for_a_while_and_is_left_out_then(
    world: CopiedWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Contents wait for it at first; after its time they count without it, and it is still named."""
    member = await begun(world)
    world.copy.away = True
    await world.until(lambda: "secondary has not answered since" in reasons(member))
    await world.publish(plan(fleet(COUNT, 2)))
    await world.applied(2)
    await looks(member)
    assert entry(member).good != entry(member).applied
    assert state(member) is State.NOT_READ
    monkeypatch.setattr(evidence, "LEFT_OUT_AFTER_S", 0.0)
    await world.until(lambda: state(member) is State.WELL)
    assert "secondary has not answered since" in reasons(member)
    world.copy.away = False
    await world.until(lambda: not member.enactor.reasons())
    told = [(type(one), one.state) for one in member.recorder.events if isinstance(one, ServerNotWell | ServerWell)]
    assert told == [(ServerNotWell, "away"), (ServerWell, "away")]


async def test_where_no_verify_server_answers_nothing_becomes_the_last_known_good(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All left out is nobody: one at least must have shown it."""
    monkeypatch.setattr(evidence, "LEFT_OUT_AFTER_S", 0.0)
    world = CopiedWorld(own=False)
    member = await begun(world)
    world.copy.away = True
    await world.until(lambda: "secondary has not answered since" in reasons(member))
    await world.publish(plan(fleet(COUNT, 2)))
    await world.applied(2)
    await looks(member)
    assert entry(member).good != entry(member).applied
    world.copy.away = False
    await world.until(lambda: state(member) is State.WELL)
    await world.close()


async def test_a_server_that_leaves_out_one_name_keeps_that_name_alone(world: CopiedWorld) -> None:
    """Its answers for the others count."""
    member = await begun(world)
    world.copy.deaf_to.add(FIRST)
    await world.publish(plan(fleet(COUNT, 2)))
    await world.applied(2)
    second = list(fleet(COUNT))[1]
    await world.until(lambda: entry(member, second).good == entry(member, second).applied)
    await looks(member)
    assert entry(member).good != entry(member).applied


async def test_a_ttl_that_the_server_keeps_is_told_once_and_is_no_drift(world: CopiedWorld) -> None:
    """As of a server with a greatest TTL; and no longer so once it takes the TTL."""
    server = world.servers[ZONE]
    member = await begun(world)
    wanted = server.holds(FIRST).ttl_s
    server.ttl_max_s = wanted - 1
    for name in fleet(COUNT):
        server.put_foreign(name, records=server.holds(name)._replace(ttl_s=wanted - 1))
    await world.until(lambda: member.recorder.of(TtlKept))
    await world.until(lambda: state(member) is State.WELL)
    drifted, repaired = len(member.recorder.of(EndpointDrifted)), len(member.recorder.of(EndpointRepaired))
    assert f"{ZONE}: its server keeps TTL {wanted - 1}" in "; ".join(member.enactor.account.notes())
    await looks(member, 8)
    assert [(one.asked_s, one.kept_s) for one in member.recorder.of(TtlKept)] == [(wanted, wanted - 1)]
    assert len(member.recorder.of(EndpointDrifted)) == drifted
    assert len(member.recorder.of(EndpointRepaired)) == repaired == 0
    await world.publish(plan(fleet(COUNT, 2)))  # a write counts as seen, too
    await world.applied(2)
    assert entry(member).good == entry(member).applied
    server.ttl_max_s = None
    await world.publish(plan(fleet(COUNT, 3)))
    await world.applied(3)
    await world.until(lambda: member.recorder.of(TtlTaken))
    assert member.enactor.account.notes() == []


@pytest.mark.parametrize("served", [Served(records=NO_RECORDS), None], ids=["older", "another TTL of one family"])
async def test_one_family_with_another_ttl_has_drifted(world: CopiedWorld, served: Served | None) -> None:
    """An answer with two TTLs shows nothing that could be wanted."""
    records = world.servers[ZONE].holds(FIRST)._replace(ttl_s=5, a=(b"\x0a\0\0\1",), aaaa=(bytes(16),))
    answer = served or Served(records=records, ttl_most_s=86_400)
    assert not answer.shows(records)
    assert answer.shows_but_for_ttl(records) is (served is None)
    told = answer.unlike(records)
    assert told[0] != told[1]
    assert ("TTL 5 to 86400" in told[0]) is (served is None)


class SignedServer(MemoryServer):
    """Answers come from a signed copy that leaves out the last change until the zone changes once more."""

    lags = False

    def __init__(self, zone: str) -> None:
        super().__init__(zone)
        self._late: dict[str, Served] = {}

    def apply(self, transaction: Transaction) -> Outcome:
        before = {change.name: super(SignedServer, self).serve(change.name) for change in transaction.changes}
        outcome = super().apply(transaction)
        changes = transaction.changes or transaction.fence_after is not None
        if changes:
            self._late = before if self.lags else {}
        return outcome

    def serve(self, name: str) -> Served:
        return self._late.get(name) or super().serve(name)


async def test_a_server_that_holds_what_it_does_not_show_is_nudged(monkeypatch: pytest.MonkeyPatch) -> None:
    """BIND 9.18 with inline-signing: the fence is written anew as it stands, and what was written is served."""
    world = World(repair_interval_s=5.0, verify_timeout_s=3.0)
    server = world.servers[ZONE] = SignedServer(ZONE)
    member = await begun(world)
    server.lags = True
    await world.publish(plan(fleet(COUNT, 1) | {FIRST: ["10.9.9.9"]}))
    await world.applied(2, timeout_s=20.0)
    assert len(member.recorder.of(ServerNudged)) == 1
    assert server.serve(FIRST).texts() == ("10.9.9.9",)
    assert entry(member).good == entry(member).applied
    await world.close()


class SlowToShow(MemoryServer):
    """Shows an emptied name as empty for some more answers after it was put back."""

    hides = 0

    def serve(self, name: str) -> Served:
        answer = super().serve(name)
        if name == FIRST and self.hides and not answer.empty:
            self.hides -= 1
            return Served(records=NO_RECORDS)
        return answer


async def test_a_repair_counts_once_it_was_read_back() -> None:
    """And is told then, once, however many answers that takes."""
    world = World(repair_interval_s=0.05)
    server = world.servers[ZONE] = SlowToShow(ZONE)
    member = await begun(world)
    server.hides = 3
    server.put_foreign(FIRST)
    await world.until(lambda: member.recorder.of(EndpointRepaired), timeout_s=20.0)
    assert server.hides == 0
    await looks(member)
    assert [one.name for one in member.recorder.of(EndpointRepaired)] == [FIRST]
    await world.close()


async def test_what_was_not_looked_at_lately_is_unknown(world: CopiedWorld) -> None:
    """A zone whose server hangs: neither up nor down, and nothing of it is shown as served."""
    member = await begun(world)
    member.zones[ZONE].answers.clear()
    await world.until(lambda: "not looked at since" in reasons(member))
    assert state(member) is State.UNKNOWN
    status = status_document(
        member.enactor.cache,
        [ZONE],
        world.clock.now(),
        own=("a", {zone: state for zone, (state, _) in member.enactor.account.zone_states().items()}),
    )
    assert [zone["state"] for zone in status["zones"]] == ["unknown"]
    member.zones[ZONE].answers.set()
    await world.until(lambda: state(member) is State.WELL)


async def test_before_the_first_look_all_is_unknown() -> None:
    """An enactor that has just started knows nothing of what is served."""
    world = World(repair_interval_s=60.0)
    member = await world.add("a")
    assert member.enactor.account.zone_states()[ZONE][0] == "unknown"
    await world.close()


async def test_a_zone_that_was_never_opened_on_a_server_that_is_away_is_told() -> None:
    """Nothing is published yet: a server that does not answer shows all the same."""
    world = World(repair_interval_s=0.05)
    world.servers[ZONE].up = False
    member = await world.add("a")
    await world.until(lambda: "is down" in reasons(member))
    world.servers[ZONE].up = True
    await world.until(lambda: not member.enactor.reasons())
    await world.close()


async def test_a_store_without_room_is_told_while_nobody_writes(
    world: CopiedWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An enactor says anew what it does, now and then: so it notices."""
    monkeypatch.setattr("enactord.store.session.RENEWED_S", 0.05)
    member = await begun(world)
    member.store.full = True
    await world.until(lambda: "filled by the test" in reasons(member))
    assert member.enactor.health.store_full
    member.store.full = False
    await world.until(lambda: not member.enactor.reasons())
    assert not member.enactor.health.store_full


async def test_an_enactor_that_says_nothing_new_is_stale(world: CopiedWorld) -> None:
    """Its lease lives, and it cannot write: what it last said tells nothing of now."""
    member = await begun(world)
    await world.until(lambda: [one.facts.get("zones") for one in member.enactor.cache.enactors] == [{}])
    now = world.clock.now()
    fresh, late = (status_document(member.enactor.cache, [ZONE], at) for at in (now, now + 61))
    assert [enactor["stale"] for enactor in fresh["enactors"]] == [False]
    assert [enactor["stale"] for enactor in late["enactors"]] == [True]
    assert ([zone["state"] for zone in fresh["zones"]], [zone["state"] for zone in late["zones"]]) == (
        ["applied"],
        ["unknown"],
    )


async def test_an_empty_answer_that_is_kept_for_long_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The zone's negative-caching time: who saw a name empty waits so long after the repair."""
    monkeypatch.setattr(look, "_NEGATIVE_TTL_EVERY_S", 0.0)
    world = World(repair_interval_s=0.05)
    member = await begun(world)
    assert member.enactor.account.notes() == []
    world.servers[ZONE].negative_ttl_s = 3600
    await world.until(lambda: "keeps that answer for 3600 s" in "; ".join(member.enactor.account.notes()))
    assert member.enactor.reasons() == []
    await world.close()


def test_a_passing_state_is_told_once_it_has_held_and_until_it_has_been_gone() -> None:
    """For `HELD_S` each way; one that comes and goes in between is not told."""
    settled = Settled()
    assert settled.of({"copy": "full"}, 0.0) == []
    assert settled.of({"copy": "full"}, HELD_S - 1) == []
    assert settled.of({}, HELD_S - 0.5) == []
    assert settled.of({"copy": "full"}, HELD_S) == []
    assert settled.of({"copy": "fuller"}, 2 * HELD_S) == ["fuller"]
    assert settled.of({}, 2 * HELD_S + 1) == ["fuller"]
    assert settled.of({"copy": "full"}, 2 * HELD_S + 2) == ["full"]
    assert settled.of({}, 3 * HELD_S + 1) == ["full"]
    assert settled.of({}, 3 * HELD_S + 2) == []


async def test_a_server_that_stays_behind_is_told_once_however_many_plans_come(world: CopiedWorld) -> None:
    """A plan that changes the same names is no end of it."""
    member = await begun(world)
    world.copy.follows = False
    for generation in range(2, 6):
        await world.publish(plan(fleet(COUNT, generation)))
        await world.applied(generation)
        await looks(member)
    told = [type(one) for one in member.recorder.events if isinstance(one, ServerNotWell | ServerWell)]
    assert told == [ServerNotWell]


class Deaf(Gated):
    """A way to a zone on which the questions for some names are lost."""

    lost: frozenset[str] = frozenset()

    async def read(self, names: Sequence[str]) -> Mapping[str, Served]:
        return await super().read([name for name in names if name not in self.lost])


async def test_what_the_zone_s_own_server_did_not_answer_is_not_verified() -> None:
    """Nor is it well: it is unknown, and a note says how many there are."""

    class DeafWorld(World):
        def gate(self, zone: MemoryZone) -> Gated:
            return Deaf(zone)

    world = DeafWorld(repair_interval_s=0.05, verify_timeout_s=0.1)
    member = await begun(world)
    await world.until(lambda: member.enactor.verified == 1)
    way = member.zones[ZONE]
    assert isinstance(way, Deaf)
    way.lost = frozenset(list(fleet(COUNT))[1:])
    await world.publish(plan(fleet(COUNT, 2)))
    await world.applied(2)
    await looks(member)
    assert member.enactor.verified == 1
    assert state(member, max(way.lost)) is State.UNKNOWN
    assert f"{COUNT - 1} endpoints are served otherwise" in "; ".join(member.enactor.account.notes())
    way.lost = frozenset()
    await world.until(lambda: member.enactor.verified == 2)
    await world.close()


async def test_a_verify_server_that_hangs_does_not_hold_up_repair(
    world: CopiedWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The zone's own server is asked and mended all the same; whoever hangs is away."""
    monkeypatch.setattr(witnesses, "_PATIENCE_S", 0.05)
    monkeypatch.setattr(evidence, "_ASK_AGAIN_S", 3600.0)
    member = await begun(world)

    async def hang(names: Sequence[str]) -> Mapping[str, Served]:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(world.copy, "read", hang)
    await world.until(lambda: "secondary has not answered since" in reasons(member))
    world.servers[ZONE].put_foreign(FIRST)
    await world.until(lambda: member.recorder.of(EndpointRepaired))


async def test_one_that_answers_a_part_of_a_look_is_away_all_along(world: CopiedWorld) -> None:
    """Told once: its patience is not begun anew by each portion that it does answer."""
    health = Health(Recorder(), Evidence({ZONE: ["secondary"]}, JumpingClock()))
    copy = Secondary(world.servers[ZONE])
    ports = replace(
        world.ports(ZONE, Gated(MemoryZone(world.servers[ZONE]))),
        verifiers=[Verifier(server="secondary", bulk=copy, sample=copy)],
    )
    for _ in range(3):
        look = Witnesses(ports, health, Served.shows)
        await look.read(ports.zone, [FIRST])
        copy.away = True
        await look.read(ports.zone, [FIRST])
        copy.away = False
        look.end()
    assert [view.state for view in health.evidence.servers(ZONE)] == [State.AWAY]
    look = Witnesses(ports, health, Served.shows)
    await look.read(ports.zone, [FIRST])
    look.end()
    assert [view.state for view in health.evidence.servers(ZONE)] == [State.WELL]


async def test_a_full_store_keeps_no_name_from_being_put_back(world: CopiedWorld) -> None:
    """What was seen cannot be entered; what is empty is put back all the same."""
    member = await begun(world)
    world.copy.follows = False
    await world.publish(plan(fleet(COUNT, 2)))
    await world.applied(2)
    await looks(member)
    member.store.full = True
    world.copy.follows = True  # there is something to promote in the look that finds the name empty
    world.servers[ZONE].put_foreign(FIRST)
    await world.until(lambda: member.recorder.of(EndpointRepaired))
    assert not member.recorder.of(StepFailed)
    member.store.full = False
    await world.until(lambda: not member.enactor.reasons())


def test_many_zones_that_are_not_well_are_not_shown_well_by_leaving_them_out() -> None:
    """An enactor tells the first hundred, and how many there are: the others are unknown."""
    facts = {"updated_at": 1.0, "zones": {"a.test.": "not well"}, "zones_left_out": 1}
    seen = documents._seen([documents._enactor_document(Presence(id="a", facts=facts), 1.0)], None)
    assert (seen("a.test."), seen("b.test.")) == ("not well", "unknown")
