"""The October 2025 outage, replayed on real servers: held bytes, a stopped process, late removals.

Each replay is run with the fence, and once without it to show that the test can fail.
"""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from enactord.core.events import PruneRefused, StaleWriteRefused, StepFailed
from enactord.core.plan import Manifest, read_plan
from enactord.core.retention import Keep
from enactord.engine.prune import Pruner
from enactord.ports import KeyValue
from enactord.store.cache import Cache
from enactord.store.keys import Keys
from enactord.store.ledger_index import read_bucket
from enactord.store.plans import Orders, Plans
from enactord.stores.by_url import open_store
from tests.daily import daily
from tests.e2e.runner import SystemTime, build
from tests.e2e.watcher import Watcher
from tests.servers.bind import Bind
from tests.servers.dns_server import DnsServer
from tests.servers.etcd import Etcd
from tests.servers.knot import Knot
from tests.servers.proxy import Proxy, is_batch
from tests.world import SCOPE, ZONE, Recorder, fleet, plan

pytestmark = pytest.mark.timeout(400)  # real servers and twenty plans; a busy machine takes its time

COUNT = 100
FIRST, LAST = 100, 120


CASES = [(kind, fenced) for kind in (Knot, Bind) for fenced in (True, False)]


def named(case: tuple[type[DnsServer], bool]) -> str:
    return f"{case[0].__name__.lower()}-{'fenced' if case[1] else 'unfenced'}"


@pytest.fixture
def dns(request: pytest.FixtureRequest) -> Iterator[DnsServer]:
    with request.param([ZONE]) as server:
        yield server


@pytest.fixture
def etcd() -> Iterator[Etcd]:
    with Etcd() as server:
        yield server


@pytest.fixture
async def store(etcd: Etcd) -> AsyncIterator[KeyValue]:
    opened = await open_store(etcd.url)
    yield opened
    await opened.close()


class Scope:
    """Three enactors over one store and one server, and hands to publish and look."""

    def __init__(self, store: KeyValue, etcd: Etcd, dns: DnsServer) -> None:
        self.store = store
        self.etcd = etcd
        self.dns = dns
        self.keys = Keys(SCOPE)
        self.plans = Plans(store, self.keys, SystemTime(), zones=[ZONE])
        self.recorders: dict[str, Recorder] = {}
        self.order: dict[frozenset[str], int] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stores: list[KeyValue] = []

    def spec(self, name: str, **changes: Any) -> dict[str, Any]:
        return {
            "id": name,
            "store": self.etcd.url,
            "zone": ZONE,
            "host": self.dns.host,
            "port": self.dns.port,
            "verify_port": self.dns.port,
            "secret": self.dns.secret,
        } | changes

    async def start(self, name: str, **changes: Any) -> Recorder:
        store = await open_store(self.etcd.url)
        self._stores.append(store)
        recorder = self.recorders[name] = Recorder()
        enactor, zones = build(self.spec(name, **changes), store, recorder)

        async def run() -> None:
            try:
                await enactor.run()
            finally:
                for zone in zones:
                    await zone.close()

        self._tasks[name] = asyncio.create_task(run())
        return recorder

    async def stop(self, name: str) -> None:
        task = self._tasks.pop(name)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def close(self) -> None:
        for name in list(self._tasks):
            await self.stop(name)
        for store in self._stores:
            await store.close()

    async def publish(self, generation: int, count: int = COUNT) -> Manifest:
        endpoints = fleet(count, generation)
        for addresses in endpoints.values():
            self.order[frozenset(addresses)] = generation
        published = await self.plans.publish(read_plan(plan(endpoints, generation=generation)), Orders())
        assert isinstance(published, Manifest), published
        return published

    async def cache(self) -> Cache:
        cache = Cache(self.keys)
        await cache.load(self.store)
        return cache

    async def applied(self, generation: int, limit_s: float = 90.0) -> None:
        async with asyncio.timeout(limit_s):
            while (await self.cache()).applied(ZONE) != generation:
                await asyncio.sleep(0.02)

    async def pending(self, generation: int, limit_s: float = 20.0) -> None:
        """Wait until an enactor has marked endpoints pending at a generation: its writes are on their way."""
        key = self.keys.plan(generation)
        published = (await self.store.get([key]))[key]
        async with asyncio.timeout(limit_s):
            async for changes in self.store.watch(self.keys.root, start_revision=published.mod_revision):
                puts = [event.item for event in changes.events if event.item and "/ledger/" in event.key]
                entries = [entry for item in puts for entry in read_bucket(item.value).values()]
                if any(entry.pending and entry.pending.generation == generation for entry in entries):
                    return

    async def why_kept(self, generation: int) -> list[object]:
        pruner = Pruner(self.store, SCOPE, zones=[ZONE], keep=Keep(plans=5), clock=SystemTime(), observer=Recorder())
        found: list[object] = [v for v in await pruner.prune(dry_run=True) if v.generation == generation]
        found += [h for r in self.recorders.values() for h in r.of(PruneRefused, StepFailed)][-5:]
        return found


@pytest.fixture
async def scope(store: KeyValue, etcd: Etcd, dns: DnsServer) -> AsyncIterator[Scope]:
    made = Scope(store, etcd, dns)
    yield made
    await made.close()


async def rush_ahead(scope: Scope, count: int = COUNT) -> None:
    """Publish 101 to 120, each applied by B and C before the next, and wait for prune to take 100 away."""
    await scope.start("b")
    await scope.start("c")
    for generation in range(FIRST + 1, LAST + 1):
        await scope.publish(generation, count)
        await scope.applied(generation)
    deadline = asyncio.get_running_loop().time() + 90
    while FIRST in (await scope.plans.generations()):
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"plan {FIRST} was not pruned: {await scope.why_kept(FIRST)}")
        await asyncio.sleep(0.05)


async def settled_before(scope: Scope, count: int = COUNT) -> None:
    """Plan 99 is applied, and whoever applied it is gone."""
    await scope.start("first")
    await scope.publish(FIRST - 1, count)
    await scope.applied(FIRST - 1)
    await scope.stop("first")


async def unharmed(scope: Scope, users: Watcher) -> None:
    """Nobody was served anything older than before, or nothing; the newest plan is served and kept."""
    assert not users.went_back(scope.order)
    assert not users.emptied()
    cache = await scope.cache()
    assert cache.applied(ZONE) == LAST
    assert LAST in cache.generations


@pytest.mark.parametrize(("dns", "fenced"), daily(CASES, [(Knot, True), (Bind, False)], name=named), indirect=["dns"])
async def test_bytes_of_an_old_plan_that_arrive_late_change_nothing(scope: Scope, fenced: bool) -> None:
    """A's writes of plan 100 are held on the wire until 120 is applied and 100 is pruned, then let go."""
    await settled_before(scope)
    dns = scope.dns
    async with Proxy(dns.host, dns.port) as proxy, Watcher(dns.host, dns.port, list(fleet(COUNT))) as users:
        proxy.hold(is_batch)
        a = await scope.start("a", port=proxy.port, fenced=fenced, timeout_s=90, claim_ttl_s=3)
        await scope.publish(FIRST)
        await wait_for(lambda: proxy.held)
        await rush_ahead(scope)
        await users.look()
        proxy.release()
        if not fenced:
            await wait_for(lambda: users.went_back(scope.order))
            return
        await wait_for(lambda: a.of(StaleWriteRefused))
        await users.look(5)
        await unharmed(scope, users)


@pytest.mark.long
@pytest.mark.parametrize(("dns", "fenced"), CASES, ids=map(named, CASES), indirect=["dns"])
async def test_late_removals_take_no_name_that_a_newer_plan_keeps(scope: Scope, fenced: bool) -> None:
    """A is held with plan 100's removals of 80 names on the wire; 120 keeps them; let go, all resolve."""
    count, dropped = 300, 80
    await settled_before(scope, count)
    dns = scope.dns
    async with Proxy(dns.host, dns.port) as proxy, Watcher(dns.host, dns.port, list(fleet(count))) as users:
        proxy.hold(is_batch)
        a = await scope.start("a", port=proxy.port, fenced=fenced, timeout_s=90, claim_ttl_s=3)
        kept = {name: fleet(count, FIRST - 1)[name] for name in list(fleet(count))[dropped:]}
        published = await scope.plans.publish(read_plan(plan(kept, generation=FIRST)), Orders())
        assert isinstance(published, Manifest), published
        await wait_for(lambda: proxy.held)
        await rush_ahead(scope, count)
        await users.look()
        proxy.release()
        if not fenced:
            await wait_for(users.emptied)
            return
        await wait_for(lambda: a.of(StaleWriteRefused))
        await users.look(5)
        await unharmed(scope, users)


@pytest.mark.parametrize("dns", daily([Knot, Bind], 1), indirect=True)
async def test_an_enactor_stopped_past_its_lease_does_no_harm_when_it_wakes(scope: Scope) -> None:
    """A is stopped (SIGSTOP) in the middle of plan 100, its claim runs out, 120 is applied, it is continued."""
    count = 400
    await settled_before(scope, count)
    dns = scope.dns
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.e2e.runner",
        json.dumps(scope.spec("a", claim_ttl_s=3)),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    events: list[dict[str, Any]] = []

    async def read() -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            events.append(json.loads(line))

    reading = asyncio.create_task(read())
    try:
        async with Watcher(dns.host, dns.port, list(fleet(count))) as users:
            await wait_for(lambda: any(event["event"] == "store.up" for event in events))
            await scope.publish(FIRST, count)
            await scope.pending(FIRST)
            process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(4)
            assert not (await scope.cache()).claims(FIRST), "the claim must have run out"
            await rush_ahead(scope, count)
            await users.look()
            process.send_signal(signal.SIGCONT)
            # Its pass ends superseded, or interrupted with its lease; either way it learns of the newest plan.
            await wait_for(lambda: any(event.get("generation") == LAST for event in events))
            await asyncio.sleep(1)
            await users.look(3)
            await unharmed(scope, users)
    finally:
        process.kill()
        await process.wait()
        await reading


async def wait_for(condition: Callable[[], object], limit_s: float = 60.0) -> None:
    """Wait until the condition is true."""
    async with asyncio.timeout(limit_s):
        while not condition():
            await asyncio.sleep(0.01)
