"""The question for the fence, every few seconds, and what enactors report of it to those who publish."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from enactord.core.errors import ZoneDown
from enactord.core.events import FenceOpened, Verified
from enactord.core.fence import Fence, FenceSeen, parse_fence
from enactord.core.kv import Put
from enactord.core.plan import read_plan
from enactord.engine import fence_watch
from enactord.engine.evidence import Evidence
from enactord.engine.fence_watch import FenceWatch
from enactord.engine.health import Health
from enactord.engine.settings import Ports, Settings, ZonePorts, ZoneSettings
from enactord.operations import acts as operations
from enactord.operations.acts import Denied, How, Published, Scope
from enactord.store.cache import Cache
from enactord.store.keys import Keys
from enactord.store.layout import REPORT
from enactord.store.plans import Orders
from enactord.store.reports import Report, await_reports, pack_report, parse_report
from tests.world import SCOPE, ZONE, DictCopy, JumpingClock, Recorder, World, fleet, plan, tolerant

MARK = "0123456789abcdef"
SLOW_S = 3600.0
"""No look comes by itself while a test lasts."""


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(fence_watch, "_SURE_S", 0.1)
    made = World(repair_interval_s=SLOW_S, fence_interval_s=0.2)
    yield made
    await made.close()


async def begun(world: World) -> Any:
    """An enactor that has applied a plan, and looked at its zone once."""
    member = await world.add("a")
    await world.publish(plan(fleet(5, 1)))
    await world.applied(1)
    await world.until(lambda: member.recorder.of(Verified))
    return member


# -- looks that are started


@pytest.mark.parametrize(
    "seen",
    [(), Fence(scope=SCOPE, generation=0, plan=MARK).seen, (b"\x07garbage",)],
    ids=["gone", "older", "garbled"],
)
async def test_a_fence_that_is_lost_is_back_long_before_the_next_look(world: World, seen: FenceSeen) -> None:
    await begun(world)
    stands = world.servers[ZONE].fence
    world.servers[ZONE].put_fence(seen)
    await world.until(lambda: world.servers[ZONE].fence == stands)


async def test_a_fence_that_stays_strange_starts_one_look_and_no_more(world: World) -> None:
    """What a look could not mend is left to the looks that come by themselves."""
    member = await begun(world)
    world.servers[ZONE].put_fence(Fence(scope="other", generation=7, plan=MARK).seen)
    await world.until(lambda: any("other" in reason for reason in member.enactor.reasons()))
    asked: list[float] = []
    zone = member.enactor.ports.zones[ZONE].zone
    look = member.enactor.repairer.look

    async def counted(*given: Any, **options: Any) -> Any:
        asked.append(asyncio.get_running_loop().time())
        return await look(*given, **options)

    member.enactor.repairer.look = counted
    await asyncio.sleep(1.0)
    assert not asked
    world.servers[ZONE].put_fence(Fence(scope="third", generation=7, plan=MARK).seen)
    await world.until(lambda: asked)
    assert parse_fence(await zone.read_fence()) is not None


async def test_a_look_under_way_ends_for_a_fence_that_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look at many names takes long, as it is paced."""
    monkeypatch.setattr(fence_watch, "_SURE_S", 0.1)
    made = World(repair_interval_s=0.2, repair_names_per_s=100.0, fence_interval_s=0.2)
    await made.add("a")
    await made.publish(plan(fleet(3000, 1)))
    await made.applied(1, timeout_s=60.0)
    await asyncio.sleep(0.5)
    stands = made.servers[ZONE].fence
    made.servers[ZONE].put_fence(())
    await made.until(lambda: made.servers[ZONE].fence == stands)
    await made.close()


async def test_a_plan_that_is_opened_starts_no_look(world: World) -> None:
    """Store and zone change in turn, and are different in between."""
    member = await begun(world)
    looks = len(member.recorder.of(Verified))
    for generation in range(2, 12):
        await world.publish(plan(fleet(5, generation)))
        await world.applied(generation)
    assert len(member.recorder.of(Verified)) == looks
    assert len(member.recorder.of(FenceOpened)) == 11


# -- the pace


class Counted:
    """A zone that answers for its fence, later or never, and counts the questions."""

    def __init__(self, times: list[float]) -> None:
        self.times = times
        self.hangs = False
        self.down = False
        self.broken = False

    async def read_fence(self) -> FenceSeen:
        self.times.append(asyncio.get_running_loop().time())
        if self.hangs:
            await asyncio.sleep(SLOW_S)
        if self.down:
            raise ZoneDown("away")
        if self.broken:
            raise KeyError("unforeseen")
        return ()


class Site:
    """Zones on servers, as `zones` says: zone to (server, bound of its own)."""

    def __init__(self, zones: Mapping[str, tuple[str, float | None]], **settings: Any) -> None:
        self.times: dict[str, list[float]] = {zone: [] for zone in zones}
        self.zones = {zone: Counted(self.times[zone]) for zone in zones}
        each = {
            zone: ZoneSettings(name=zone, server=server, fence_questions_per_s=bound)
            for zone, (server, bound) in zones.items()
        }
        ports = Ports(
            store=None,  # type: ignore[arg-type]
            zones={zone: ZonePorts(settings=each[zone], zone=self.zones[zone], verifiers=()) for zone in zones},  # type: ignore[arg-type]
            clock=JumpingClock(),
            observer=Recorder(),
            copy=DictCopy(),
        )
        self.settings = Settings(id="a", scope=SCOPE, zones=list(each.values()), **settings)
        self.health = Health(Recorder(), Evidence({}, JumpingClock()))
        self.watch = FenceWatch(self.settings, ports, Cache(Keys(SCOPE)), self.health, look=lambda zone: None)

    async def run(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self.watch.run()
        except TimeoutError:
            pass


async def test_the_interval_grows_with_the_zones_of_a_server_and_of_no_other() -> None:
    zones = {f"z{number}.test.": ("one", None) for number in range(200)} | {"lone.test.": ("two", None)}
    site = Site(zones, fence_interval_s=5.0, fence_questions_per_s=20.0)
    assert site.watch.interval_s("z7.test.") == 10.0
    assert site.watch.interval_s("lone.test.") == 5.0


async def test_a_server_may_bound_its_questions_itself() -> None:
    """The account of Route 53 takes few requests."""
    site = Site({f"z{number}.test.": ("route53", 0.5) for number in range(10)})
    assert site.watch.interval_s("z1.test.") == 20.0


async def test_zones_without_a_server_in_common_have_their_own_pace() -> None:
    site = Site({f"z{number}.test.": ("", None) for number in range(200)})
    assert site.watch.interval_s("z1.test.") == 5.0


async def test_no_server_is_asked_more_often_than_it_may_be() -> None:
    """From the first round on."""
    site = Site(
        {f"z{number}.test.": ("one", None) for number in range(30)}, fence_interval_s=0.01, fence_questions_per_s=40
    )
    await site.run(1.5)
    times = sorted(time for times in site.times.values() for time in times)
    assert 30 < len(times) <= 61
    assert {len(times) for times in site.times.values()} <= {1, 2, 3}


async def test_a_zone_that_hangs_holds_up_no_other_and_is_asked_once() -> None:
    site = Site({f"z{number}.test.": ("one", None) for number in range(4)}, fence_interval_s=0.1)
    site.zones["z0.test."].hangs = True
    site.zones["z1.test."].down = True
    await site.run(1.2)
    assert len(site.times["z0.test."]) == 1
    assert min(len(site.times[zone]) for zone in ("z1.test.", "z2.test.", "z3.test.")) >= 3


async def test_an_error_that_no_rule_foresees_in_one_zone_keeps_no_other_from_being_asked() -> None:
    site = Site({"a.test.": ("one", None), "b.test.": ("one", None)}, fence_interval_s=0.1)
    site.zones["a.test."].broken = True
    await site.run(0.8)
    assert len(site.times["b.test."]) >= 3
    assert "fences a.test." in " ".join(site.health.loop_problems)


# -- what is reported


async def test_a_zone_that_does_not_answer_is_one_of_which_nothing_is_known() -> None:
    site = Site({"a.test.": ("one", None), "b.test.": ("one", None)}, fence_interval_s=0.1)
    assert site.watch.report().unknown == 2
    await site.run(0.3)
    assert site.watch.report().unknown == 0
    site.zones["a.test."].down = True
    await site.run(0.8)
    assert site.watch.report().unknown == 1


async def test_the_next_plan_goes_above_a_fence_that_only_an_enactor_sees(world: World) -> None:
    """Nobody has told the store of it yet: the record in the store still says 1."""
    scope = scope_of(world)
    await begun(world)
    await world.stop("a")
    await put_report(world, "b", Report(at=world.clock.now(), fence=41, zones=1, unknown=0))
    done = await published(scope, 2)
    assert (done.manifest.generation, done.warnings) == (42, ())
    refused = await operations.publish(scope, read_plan(plan(fleet(5, 3), generation=41)), Orders())
    assert isinstance(refused, Denied)
    assert refused.refusals[0].guard == "generation"


async def test_a_report_out_of_reach_counts_for_nothing(world: World) -> None:
    """A report is a value in the store like others: it must not use up the generations."""
    scope = scope_of(world)
    await put_report(world, "b", Report(at=world.clock.now(), fence=10**15, zones=1, unknown=0))
    assert (await published(scope, 1)).manifest.generation == 1


async def test_enactors_report_and_the_plan_is_confirmed(world: World) -> None:
    await begun(world)
    done = await published(scope_of(world), 2)
    assert done.warnings == ()


async def test_without_an_enactor_a_plan_is_published_at_once_and_said_to_be_unconfirmed(world: World) -> None:
    loop = asyncio.get_running_loop()
    before = loop.time()
    done = await published(scope_of(world, wait_s=60.0), 1)
    assert loop.time() - before < 30.0
    assert "unconfirmed" in done.warnings[0]


async def test_a_publication_waits_for_a_report_that_an_enactor_can_make(world: World) -> None:
    scope = scope_of(world, wait_s=30.0)
    await alive(world, "b")
    task = asyncio.create_task(published(scope, 1))
    await asyncio.sleep(0.5)
    assert not task.done()
    await put_report(world, "b", Report(at=world.clock.now(), fence=0, zones=1, unknown=0))
    assert (await task).warnings == ()


async def test_a_publication_does_not_wait_for_ever(world: World) -> None:
    await alive(world, "b")
    done = await published(scope_of(world, wait_s=0.5), 1)
    assert "unconfirmed: no enactor reports" in done.warnings[0]


async def test_a_rehearsal_does_not_wait(world: World) -> None:
    await alive(world, "b")
    scope = scope_of(world, wait_s=60.0)
    async with asyncio.timeout(30.0):
        done = await operations.publish(scope, read_plan(plan(fleet(5, 1))), Orders(), how=How(dry_run=True))
    assert isinstance(done, Published)


async def test_a_fence_that_nobody_knows_makes_a_plan_unconfirmed(world: World) -> None:
    await put_report(world, "b", Report(at=world.clock.now(), fence=0, zones=1, unknown=1))
    done = await published(scope_of(world), 1)
    assert "unconfirmed: of 1 zone the fence is not known" in done.warnings[0]


async def test_an_enactor_of_fewer_zones_confirms_nothing_of_the_others(world: World) -> None:
    await put_report(world, "b", Report(at=world.clock.now(), fence=0, zones=1, unknown=0))
    scope = replace(scope_of(world), zones=[*scope_of(world).zones, "other.test."])
    assert "unconfirmed: of 1 zone the fence is not known" in (await published(scope, 1)).warnings[0]
    await put_report(world, "b", Report(at=world.clock.now(), fence=0, zones=3, unknown=1))
    assert "unconfirmed: of 1 zone the fence is not known" in (await published(scope, 2)).warnings[0]


@pytest.mark.parametrize("behind_s", [3600.0, -3600.0])
async def test_a_report_of_another_clock_is_young_when_it_was_made_meanwhile(world: World, behind_s: float) -> None:
    """Clocks of machines differ; that a value has changed is seen without one."""
    await alive(world, "b")
    await put_report(world, "b", Report(at=world.clock.now() - behind_s, fence=0, zones=1, unknown=0))
    task = asyncio.create_task(published(scope_of(world, wait_s=30.0), 1))
    await asyncio.sleep(0.5)
    assert not task.done()
    await put_report(world, "b", Report(at=world.clock.now() - behind_s + 5, fence=0, zones=1, unknown=0))
    assert (await task).warnings == ()


async def test_an_old_report_is_none(world: World) -> None:
    await put_report(world, "b", Report(at=world.clock.now() - 60, fence=41, zones=1, unknown=0))
    done = await published(scope_of(world), 1)
    assert done.manifest.generation == 1
    assert "unconfirmed" in done.warnings[0]


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\x1bgarbage{",
        b"[]",
        b'{"at": "now", "fence": 1, "zones": 1, "unknown": 0}',
        b'{"at": 1, "fence": true, "zones": 1, "unknown": 0}',
        b'{"at": 1, "fence": -1, "zones": 1, "unknown": 0}',
        b'{"at": 1, "fence": 1, "zones": 1, "unknown": -1}',
        b'{"at": 1, "fence": 1, "zones": 1, "unknown": 2}',
        b'{"at": 1%s, "fence": 1, "zones": 1, "unknown": 0}' % (b"0" * 400),
        b'{"at": NaN, "fence": 1, "zones": 1, "unknown": 0}',
    ],
)
async def test_what_is_no_report_is_left_aside(world: World, value: bytes) -> None:
    assert parse_report(REPORT.value(value)) is None
    await world.store.transact((), (Put(key=world.keys.report("b"), value=REPORT.value(value)),))
    assert await await_reports(world.store, world.keys, world.clock) == []


async def test_a_report_goes_with_its_enactor(world: World) -> None:
    member = await begun(world)
    key = world.keys.report("a")
    while key not in await world.store.get([key]):
        await asyncio.sleep(0.01)
    assert member.enactor.fence_watch.report().fence == 1
    await world.stop("a")
    assert await world.store.get([key]) == {}


# -- hands


def scope_of(world: World, wait_s: float = 10.0) -> Scope:
    limits = tolerant()
    return Scope(store=world.store, name=SCOPE, zones=[ZONE], limits=limits, clock=world.clock, wait_s=wait_s)


async def published(scope: Scope, number: int) -> Published:
    done = await operations.publish(scope, read_plan(plan(fleet(5, number))), Orders())
    assert isinstance(done, Published), done
    return done


async def put_report(world: World, enactor: str, report: Report) -> None:
    await world.store.transact((), (Put(key=world.keys.report(enactor), value=pack_report(report)),))


async def alive(world: World, enactor: str) -> None:
    """There is an enactor, which says nothing."""
    await world.store.transact((), (Put(key=world.keys.enactor(enactor), value=b""),))
