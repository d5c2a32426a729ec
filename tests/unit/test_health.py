"""What is not well is told once when it begins and once when it ends, however often it is found."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enactord.core.errors import StoreDown, ZoneDown, ZoneOdd, ZoneUnproved
from enactord.core.events import (
    EnactorOwnId,
    EnactorSameId,
    InstallationAccepted,
    InstallationRefused,
    StoreCameUp,
    StoreWentDown,
    ZoneCameUp,
    ZoneWentDown,
)
from enactord.core.kv import Delete, Put
from enactord.engine.evidence import Evidence
from enactord.engine.health import ASKED_ASPECTS, NOT_CONNECTED, Aspect, Health
from enactord.operations.acts import Published, rollback
from enactord.operations.scope import Scope
from enactord.telemetry.metrics import ASPECTS
from tests.hostile.effort import tries
from tests.world import SCOPE, ZONE, JumpingClock, Recorder, World, fleet, plan, tolerant

OTHER = "other.test."


def test_metrics_know_every_aspect_of_a_zone() -> None:
    """Telemetry imports nothing of the engine, so it lists them itself."""
    assert tuple(Aspect) == ASPECTS


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def health(recorder: Recorder) -> Health:
    return Health(recorder, Evidence({}, JumpingClock()))


def test_the_store_is_told_of_at_each_turn(health: Health, recorder: Recorder) -> None:
    """Not connected at first; then up, down and up, each told once, with what it was like."""
    assert (health.store_up, health.store_problem) == (False, NOT_CONNECTED)
    for _ in range(2):
        health.store_is_up(7)
        assert (health.store_up, health.store_problem) == (True, "")
    for problem in ("no answer", "refused"):
        health.store_is_down(StoreDown(problem))
        assert (health.store_up, health.store_problem) == (False, problem)
    health.store_is_up(9)
    assert recorder.events == [
        StoreCameUp(revision=7),
        StoreWentDown(detail="no answer"),
        StoreCameUp(revision=9),
    ]


def test_a_store_that_was_never_there_is_told_of_once(health: Health, recorder: Recorder) -> None:
    """Whoever starts without a store hears of it, but not at every attempt."""
    for problem in ("no answer", "refused", "refused"):
        health.store_is_down(StoreDown(problem))
    assert recorder.events == [StoreWentDown(detail="no answer")]
    assert health.store_problem == "refused"


def test_a_zone_is_told_of_once_whatever_is_wrong_with_it(health: Health, recorder: Recorder) -> None:
    """A second trouble on top of the first is no news, and while one is left the zone is not well."""
    health.zone_is_down(ZONE, Aspect.WRITING, "refused")
    health.zone_is_down(ZONE, Aspect.SERVER, "no answer")
    health.zone_is_down(ZONE, Aspect.SERVER, "still no answer")
    assert recorder.events == [ZoneWentDown(zone=ZONE, detail="refused")]
    health.zone_is_up(ZONE, Aspect.SERVER)
    assert health.zone_problem(ZONE) == "refused"
    assert len(recorder.events) == 1
    health.zone_is_up(ZONE, Aspect.WRITING, Aspect.FENCE)
    health.zone_is_up(ZONE)
    assert health.zone_problem(ZONE) == ""
    assert recorder.events[1:] == [ZoneCameUp(zone=ZONE)]


def test_a_server_that_answers_otherwise_is_told_from_one_that_does_not(health: Health, recorder: Recorder) -> None:
    """What the last question came to stands in place of the one before; it is one trouble."""
    for error, aspect in (
        (ZoneDown("no answer"), "server"),
        (ZoneUnproved("BADKEY"), "answers"),
        (ZoneOdd("a CNAME stands there"), "answers"),
        (ZoneDown("no answer"), "server"),
    ):
        health.zone_cannot_be_asked(ZONE, error)
        assert health.cannot_be_asked(ZONE)
        assert (health.zone_aspect(ZONE), health.zone_problem(ZONE)) == (aspect, str(error))
    assert recorder.events == [ZoneWentDown(zone=ZONE, detail="no answer")]
    health.zone_is_up(ZONE, *ASKED_ASPECTS)
    assert not health.cannot_be_asked(ZONE)


def test_people_are_told_the_first_aspect_first(health: Health) -> None:
    """A server that does not answer explains what else is wrong, whenever it was found."""
    for aspect in reversed(Aspect):
        health.zone_is_down(ZONE, aspect, f"wrong: {aspect}")
        assert health.zone_problem(ZONE) == f"wrong: {aspect}"
        assert health.zone_problems == {ZONE: f"wrong: {aspect}"}
    for aspect in Aspect:
        assert health.zone_problem(ZONE) == f"wrong: {aspect}"
        health.zone_is_up(ZONE, aspect)


def test_each_zone_is_told_of_by_itself(health: Health, recorder: Recorder) -> None:
    """One that is well is not mentioned; and they are shown in order."""
    health.zone_is_up(ZONE)
    health.zone_is_down(OTHER, Aspect.FENCE, "held")
    health.zone_is_down(ZONE, Aspect.PASS, "failed")
    assert health.zone_problems == {ZONE: "failed", OTHER: "held"}
    assert list(health.zone_problems) == sorted(health.zone_problems)
    assert health.has(OTHER, Aspect.FENCE)
    assert not health.has(OTHER, Aspect.PASS)
    assert not health.has(ZONE, Aspect.FENCE)
    health.zone_is_up(OTHER)
    assert health.zone_problems == {ZONE: "failed"}
    assert not health.has(OTHER, Aspect.FENCE)
    assert recorder.of(ZoneCameUp) == [ZoneCameUp(zone=OTHER)]


changes = st.tuples(
    st.sampled_from([ZONE, OTHER]), st.booleans(), st.lists(st.sampled_from(list(Aspect)), unique=True, max_size=4)
)


@tries(60)
@given(st.lists(changes, max_size=30))
def test_what_was_told_last_is_how_it_is(sequence: list[tuple[str, bool, list[Aspect]]]) -> None:
    """Of each zone down and up take turns, and a zone is down exactly while some aspect of it is."""
    recorder = Recorder()
    health = Health(recorder, Evidence({}, JumpingClock()))
    wrong: dict[str, set[Aspect]] = {ZONE: set(), OTHER: set()}
    for zone, down, aspects in sequence:
        if down:
            for aspect in aspects:
                health.zone_is_down(zone, aspect, aspect.value)
            wrong[zone] |= set(aspects)
        else:
            health.zone_is_up(zone, *aspects)
            wrong[zone] -= set(aspects or Aspect)
        for one, known in wrong.items():
            told = [type(event) for event in recorder.events if getattr(event, "zone", "") == one]
            assert told == [ZoneWentDown, ZoneCameUp] * (len(told) // 2) + [ZoneWentDown] * (len(told) % 2)
            assert bool(len(told) % 2) == bool(known) == bool(health.zone_problem(one))
            assert {aspect for aspect in Aspect if health.has(one, aspect)} == known


def test_a_store_that_is_another_s_is_told_of_as_that(health: Health, recorder: Recorder) -> None:
    """It counts as away, and is told once when it begins and once when it ends, also where it was away between."""
    health.store_is_up(1)
    for _ in range(2):
        health.store_is_refused("empty")
        assert (health.store_up, health.store_problem, health.identity_up) == (False, "empty", False)
    health.store_is_up(2)
    assert (health.store_up, health.identity_up) == (True, True)
    assert recorder.events[1:] == [InstallationRefused(detail="empty"), InstallationAccepted()]
    recorder.events.clear()
    health.store_is_refused("empty")
    health.store_is_down(StoreDown("no answer"))
    health.store_is_refused("empty")
    health.store_is_up(3)
    assert recorder.events == [
        InstallationRefused(detail="empty"),
        StoreWentDown(detail="no answer"),
        StoreCameUp(revision=3),
        InstallationAccepted(),
    ]


def test_what_is_wrong_with_an_identity_is_told_of_once(health: Health, recorder: Recorder) -> None:
    """The installation's id, the enactor's, and a zone of another's: each makes it not well."""
    health.store_is_up(1)
    recorder.events.clear()
    for problem in ("two of them", "two of them", "", ""):
        health.note_id(problem)
        assert health.identity_up == (not problem)
    for problem in ("none yet", "none yet", "", ""):
        health.note_installation(problem)
        assert health.identity_problems == ([problem] if problem else [])
    assert recorder.events == [
        EnactorSameId(detail="two of them"),
        EnactorOwnId(),
        InstallationRefused(detail="none yet"),
        InstallationAccepted(),
    ]
    health.zone_is_down(ZONE, Aspect.IDENTITY, "another's")
    assert health.identities == {"store": True, "zone": False, "id": True}
    assert not health.identity_up
    health.zone_is_up(ZONE)
    assert health.identity_up


@pytest.mark.parametrize("value", [None, b"garbage"])
async def test_a_lost_head_is_told_until_it_is_mended(monkeypatch: pytest.MonkeyPatch, value: bytes | None) -> None:
    """Also while no planner publishes; a rollback to the newest plan mends it."""
    monkeypatch.setattr("enactord.engine.health.HELD_S", 0.0)
    world = World()
    member = await world.add("a")
    await world.publish(plan(fleet(5)))
    await world.applied(1)
    await world.until(lambda: not member.enactor.reasons())
    key = world.keys.head
    await world.store.transact((), [Delete(key=key) if value is None else Put(key=key, value=value)])
    told = "is lost" if value is None else "cannot be read"
    await world.until(lambda: len(member.enactor.reasons()) == 1 and told in member.enactor.reasons()[0])
    scope = Scope(store=world.store, name=SCOPE, zones=[ZONE], limits=tolerant(), clock=world.clock, wait_s=0.0)
    assert isinstance(await rollback(scope, 1, author="op", reason="-"), Published)
    await world.until(lambda: not member.enactor.reasons())
    await world.close()
