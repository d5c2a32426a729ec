"""Every metric that is promised is there, and is really set: a scope is led through all that can happen to it."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import pytest

from enactord.backends.memory import MemoryZone
from enactord.core.fence import Fence
from enactord.core.kv import Put
from enactord.core.plan import read_plan
from enactord.core.records import NO_RECORDS, Outcome, Records, Served, Transaction, Unknown
from enactord.core.retention import Keep
from enactord.engine import look
from enactord.engine.settings import ZonePorts
from enactord.http.app import standing
from enactord.operations.limits import set_limit
from enactord.operations.override import override
from enactord.operations.override_draft import Wanted
from enactord.operations.publishing import publish
from enactord.operations.scope import Scope
from enactord.store.control import Freeze, freeze, thaw
from enactord.store.planners import Pause, pause, resume
from enactord.store.plans import Orders
from enactord.telemetry.failures import Failures
from enactord.telemetry.lag import watch_lag
from enactord.telemetry.lines import ClosedSink, LineWriter
from enactord.telemetry.metrics import Metrics
from enactord.telemetry.registry import IsolatingRegistry
from tests.world import SCOPE, ZONE, DictCopy, Gated, Member, World, fleet, plan, tolerant

COUNT = 20
FIRST, SECOND = list(fleet(COUNT))[:2]
STRAY = Records(ttl_s=60, a=(b"\x0a\x63\x00\x01",), aaaa=())

# By family, the values of its telling label that must each be seen to move; none where it has no such label.
PROMISED = {
    "enactord_generation": {"head", "fence", "applied", "verified"},
    "enactord_apply_duration_seconds": set(),
    "enactord_write_duration_seconds": {"committed", "refused", "unknown"},
    "enactord_writes": {"committed", "refused", "unknown"},
    "enactord_stale_writes_refused": set(),
    "enactord_endpoints": {"applied", "pending", "held", "drifted"},
    "enactord_endpoints_empty": set(),
    "enactord_endpoints_drifted": set(),
    "enactord_refusals": {"targets_min", "endpoints_removed"},
    "enactord_repairs": {"emptied", "drifted"},
    "enactord_fences_lost": set(),
    "enactord_prune_refusals": {"fence"},
    "enactord_plans": {"newer", "applied", "older"},
    "enactord_claims": set(),
    "enactord_store_up": set(),
    "enactord_zone_up": set(),
    "enactord_zone_down": {"server", "identity"},
    "enactord_zone_known": set(),
    "enactord_endpoints_unread": set(),
    "enactord_server_up": {"secondary"},
    "enactord_server_behind_names": {"secondary"},
    "enactord_negative_ttl_seconds": set(),
    "enactord_kept_ttls": set(),
    "enactord_store_full": set(),
    "enactord_zone_lag_seconds": set(),
    "enactord_copy_up": set(),
    "enactord_identity_up": {"zone"},
    "enactord_damaged_values": {"head"},
    "enactord_head_timestamp_seconds": set(),
    "enactord_fence_interval_seconds": set(),
    "enactord_other_format_values": {"retired"},
    "enactord_head_refused": {"endpoints_removed"},
    "enactord_limits_differing": set(),
    "enactord_frozen": {"all", "repair-only"},
    "enactord_planner_paused": {"default"},
    "enactord_publication_refused": {"default"},
    "enactord_overrides": set(),
    "enactord_override_ends_timestamp_seconds": set(),
    "enactord_retries": set(),
    "enactord_retry_budget_ratio": set(),
    "enactord_in_flight": set(),
    "enactord_concurrency_limit": set(),
    "enactord_last_verified_timestamp_seconds": set(),
    "enactord_steps_failed": {"copy"},
    "enactord_apply_loop_still_seconds": set(),
    "enactord_loop_lag_seconds": set(),
    "enactord_log_lines_lost": set(),
    "enactord_tell_failures": {"scrape"},
}
ELSEWHERE = {"enactord_build_info", "enactord_config_refused", "enactord_certificate_expiry_timestamp_seconds"}
"""The first is constant; the daemon sets the others, which are seen to move in test_prometheus."""


class Lossy(Gated):
    """A way to a zone on which messages can be lost, and questions for some names."""

    lost = 0
    unheard: str = ""

    async def read(self, names: Sequence[str]) -> Mapping[str, Served]:
        return await super().read([name for name in names if name != self.unheard])

    async def write(self, transaction: Transaction) -> Outcome:
        if transaction.changes and self.lost:
            self.lost -= 1
            return Unknown(detail="no answer came")
        return await super().write(transaction)


class LossyWorld(World):
    def gate(self, zone: MemoryZone) -> Gated:
        return Lossy(zone)

    def ports(self, zone: str, gated: Gated) -> ZonePorts:
        return self.with_secondary(zone, super().ports(zone, gated))


class FullDisk(DictCopy):
    full = False

    async def save(self, items: object, chunks: object, keep_chunks: object) -> None:
        if self.full:
            raise OSError("no space left")
        await super().save(items, chunks, keep_chunks)


class Page:
    """The metrics of one enactor, read again and again: which values has each sample had?"""

    def __init__(self, member: Member) -> None:
        self.seen: dict[tuple[str, str], set[float]] = defaultdict(set)
        self._member = member
        self.failures = Failures()
        self.lines = LineWriter(ClosedSink())
        self._registry = IsolatingRegistry(self.failures)
        self._metrics = Metrics(self._registry, [ZONE])
        self._told = 0
        self.lag = asyncio.create_task(watch_lag(self._metrics.lag.observe))

    @property
    def families(self) -> set[str]:
        return {family.name for family in self._registry.collect()}

    def moved(self, family: str, value: str = "") -> bool:
        """Whether any sample of the family, of those with such a label's value, was seen to change."""
        return any(
            len(values) > 1 for (name, labels), values in self.seen.items() if name == family and value in labels
        )

    def unmoved(self) -> Iterator[str]:
        for family, values in PROMISED.items():
            for value in sorted(values) or [""]:
                if not self.moved(family, value and f"|{value}|"):
                    yield f"{family} {value}"

    def fail(self) -> None:
        """Have one collector of the registry raise from now on."""

        def unreadable() -> float:
            raise ValueError("cannot be read")

        self._metrics.config_refused.set_function(unreadable)

    def read(self) -> None:
        events = self._member.recorder.events
        for event in events[self._told :]:
            self._metrics.observe(event)
        self._told = len(events)
        self._metrics.refresh(standing(self._member.enactor))
        self._metrics.refresh_told(self.lines.lost, self.failures.totals)
        for family in self._registry.collect():
            for sample in family.samples:
                if not sample.name.endswith("_created"):
                    labels = f"|{'|'.join(sample.labels.values())}|{sample.name}"
                    self.seen[family.name, labels].add(sample.value)

    async def read_on(self) -> None:
        while True:
            self.read()
            await asyncio.sleep(0.002)


async def test_every_metric_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plans, holds, refusals, losses, late writes, faults of store, zone and disk: each shows, in each family."""
    monkeypatch.setattr(look, "_NEGATIVE_TTL_EVERY_S", 0.0)
    world = LossyWorld(prune_interval_s=0.1, repair_interval_s=0.05, keep=Keep(plans=0))
    disk = FullDisk()
    member = await world.add("a", disk)
    zone = member.zones[ZONE]
    assert isinstance(zone, Lossy)
    server = world.servers[ZONE]
    page = Page(member)
    reading = asyncio.create_task(page.read_on())

    # A plan is applied, another although its messages are lost, and a third late: its message is held on its way.
    await world.publish(plan(fleet(COUNT, 1)))
    await world.applied(1)
    zone.lost = 4
    await world.publish(plan(fleet(COUNT, 2)))
    await world.applied(2)
    zone.open.clear()
    await world.publish(plan(fleet(COUNT, 3)))
    await world.until(lambda: zone.held and page.moved("enactord_in_flight"))
    await world.add("b")
    await world.publish(plan(fleet(COUNT, 4)))
    await world.applied(4)
    zone.open.set()
    await world.stop("b")
    await world.until(lambda: page.moved("enactord_stale_writes_refused"))

    # An endpoint is held, a plan refused; then all is well again.
    await world.publish(plan(fleet(COUNT, 5) | {FIRST: []}))
    await world.until(lambda: page.moved("enactord_endpoints", "|held|"))
    await world.publish(plan(fleet(COUNT // 4, 6)))
    await world.until(lambda: page.moved("enactord_head_refused"))
    await world.publish(plan(fleet(COUNT, 7)))
    await world.applied(7)

    # Names are emptied and changed, and the fence is removed; put back once nothing is frozen.
    await freeze(world.store, world.keys, Freeze(mode="all", reason="drill", author="me", since=0.0))
    await world.until(lambda: page.moved("enactord_frozen", "|all|"))
    server.put_foreign(FIRST, records=NO_RECORDS)
    server.put_foreign(SECOND, records=STRAY)
    await world.until(lambda: page.moved("enactord_endpoints_empty") and page.moved("enactord_endpoints", "|drifted|"))
    await freeze(world.store, world.keys, Freeze(mode="repair-only", reason="drill", author="me", since=0.0))
    await world.until(lambda: page.moved("enactord_repairs", "|drifted|"))
    await thaw(world.store, world.keys)
    scope = Scope(store=world.store, name=SCOPE, zones=[ZONE], limits=tolerant(), clock=world.clock)
    await set_limit(scope, tolerant(), "targets_min", "2", author="me", reason="drill")
    await world.until(lambda: page.moved("enactord_limits_differing"))
    await set_limit(scope, tolerant(), "targets_min", "1", author="me", reason="drill")
    await pause(world.store, world.keys, "default", Pause(reason="drill", author="me", at=0.0))
    await world.until(lambda: page.moved("enactord_planner_paused", "|default|"))
    await resume(world.store, world.keys, "default")
    await publish(replace(scope, limits=tolerant(endpoints_removed_max_ratio=0.2)), read_plan(plan(fleet(1))), Orders())
    await world.until(lambda: page.moved("enactord_publication_refused", "|default|"))
    server.put_fence(())
    await world.until(lambda: page.moved("enactord_fences_lost"))

    # Questions stay without an answer, a secondary falls behind and goes away, the server keeps a TTL of its own.
    zone.unheard = FIRST
    await world.until(lambda: page.moved("enactord_endpoints_unread"))
    zone.unheard = ""
    world.secondaries[ZONE].follows = False
    await world.publish(plan(fleet(COUNT, 8)))
    await world.applied(8)
    await world.until(lambda: page.moved("enactord_server_behind_names"))
    world.secondaries[ZONE].follows = True
    world.secondaries[ZONE].away = True
    await world.until(lambda: page.moved("enactord_server_up"))
    world.secondaries[ZONE].away = False
    server.negative_ttl_s = 3600
    await world.until(lambda: page.moved("enactord_negative_ttl_seconds"))
    server.ttl_max_s = 2
    server.put_foreign(FIRST, records=server.holds(FIRST)._replace(ttl_s=2))
    await world.until(lambda: page.moved("enactord_kept_ttls"))
    server.ttl_max_s = None
    zone.answers.clear()
    await world.until(lambda: page.moved("enactord_zone_known"))
    zone.answers.set()

    # The store, the zone's server and the disk are away, each for a while.
    member.store.cut()
    await world.until(lambda: page.moved("enactord_store_up"))
    member.store.mend()
    member.store.full = True
    await world.publish(plan(fleet(COUNT, 8)))
    await world.until(lambda: page.moved("enactord_store_full"))
    member.store.full = False
    server.up = False
    await world.publish(plan(fleet(COUNT, 8)))
    await world.until(lambda: page.moved("enactord_zone_up"))
    server.up = True
    disk.full = True
    await world.applied(10)
    await world.until(lambda: page.moved("enactord_steps_failed") and page.moved("enactord_copy_up"))

    # For a while the zone is another installation's.
    own = server.fence
    theirs = Fence(scope=SCOPE, generation=9, plan="f" * 16, installation="f" * 16)
    server.put_fence(theirs.seen)
    await world.until(lambda: page.moved("enactord_identity_up"))
    server.put_fence(own)

    # An operator overrides an endpoint.
    await override(scope, Wanted(name=FIRST, kind="pin", lasts_s=60.0), author="me", reason="drill")
    await world.until(lambda: page.moved("enactord_overrides"))
    await world.until(lambda: page.moved("enactord_override_ends_timestamp_seconds"))

    # Another version writes what this version does not read.
    newer = Put(key=world.keys.retired("old.test."), value=b"retired 2\n{}")
    await world.store.transact((), (newer,))
    await world.until(lambda: page.moved("enactord_other_format_values", "|retired|"))

    # Somebody spoils what is stored.
    await world.store.transact((), (Put(key=world.keys.head, value=b"garbage"),))
    await world.until(lambda: page.moved("enactord_damaged_values", "|head|"))

    # The config is changed.
    member.enactor.retune(replace(member.enactor.settings, fence_interval_s=7.0))
    await world.until(lambda: page.moved("enactord_fence_interval_seconds"))

    # The log has no reader any more, and a metric cannot be read.
    page.lines.write("a line\n")
    page.fail()
    await world.until(lambda: page.moved("enactord_log_lines_lost") and page.moved("enactord_tell_failures"))

    for task in (reading, page.lag):
        task.cancel()
    await asyncio.gather(reading, page.lag, return_exceptions=True)
    await world.close()
    assert list(page.unmoved()) == []


async def test_no_metric_is_there_that_is_not_promised() -> None:
    """A metric that is added is added here, too, with what makes it move."""
    world = World()
    page = Page(await world.add("a"))
    assert page.families == PROMISED.keys() | ELSEWHERE
    page.lag.cancel()
    await world.close()
