"""Real servers under real faults: a wiped zone, a killed store, a killed DNS server, a killed enactor."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import dns.query
import dns.update
import pytest

from enactord.clock import SystemClock
from enactord.core.errors import StoreDown
from enactord.core.plan import Manifest, read_plan
from enactord.store.cache import Cache
from enactord.store.keys import Keys
from enactord.store.plans import Orders, Plans
from enactord.stores.by_url import open_store
from tests.daily import daily
from tests.e2e.watcher import Watcher
from tests.servers.bind import Bind
from tests.servers.dns_server import DnsServer
from tests.servers.etcd import Etcd
from tests.servers.knot import Knot
from tests.world import SCOPE, ZONE, fleet, plan

pytestmark = pytest.mark.timeout(300)

COUNT = 200
INTERVAL_S = 2


@pytest.fixture(params=daily([Knot, Bind], 1))
def server(request: pytest.FixtureRequest) -> Iterator[DnsServer]:
    with request.param([ZONE]) as started:
        yield started


@pytest.fixture
def etcd() -> Iterator[Etcd]:
    with Etcd() as started:
        yield started


class Fleet:
    """Enactors in processes of their own."""

    def __init__(self, etcd: Etcd, server: DnsServer) -> None:
        self._etcd = etcd
        self._server = server
        self.processes: dict[str, asyncio.subprocess.Process] = {}

    async def start(self, name: str) -> None:
        spec: dict[str, Any] = {
            "id": name,
            "store": self._etcd.url,
            "zone": ZONE,
            "host": self._server.host,
            "port": self._server.port,
            "secret": self._server.secret,
            "repair_interval_s": INTERVAL_S,
        }
        self.processes[name] = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.e2e.runner", json.dumps(spec), stdout=asyncio.subprocess.DEVNULL
        )

    async def kill(self, name: str) -> None:
        process = self.processes.pop(name)
        process.kill()
        await process.wait()


@pytest.fixture
async def enactors(etcd: Etcd, server: DnsServer) -> AsyncIterator[Fleet]:
    fleet_ = Fleet(etcd, server)
    yield fleet_
    for name in list(fleet_.processes):
        await fleet_.kill(name)


async def publish(etcd: Etcd, generation: int) -> None:
    """Publish a generation, trying again while the store is away."""
    async with asyncio.timeout(90):
        while True:
            store = await open_store(etcd.url, timeout_s=2)
            try:
                plans = Plans(store, Keys(SCOPE), SystemClock(), zones=[ZONE])
                if (await plans.newest())[0] >= generation:
                    return
                published = await plans.publish(read_plan(plan(fleet(COUNT, generation))), Orders())
                assert isinstance(published, Manifest), published
                return
            except StoreDown:
                await asyncio.sleep(0.2)
            finally:
                await store.close()


async def serves(server: DnsServer, generation: int, limit_s: float = 90.0) -> None:
    """Wait until the server answers with a generation's addresses for every name."""
    wanted = {name: frozenset(addresses) for name, addresses in fleet(COUNT, generation).items()}
    async with Watcher(server.host, server.port, list(wanted)) as users, asyncio.timeout(limit_s):
        while True:
            await users.look(1)
            latest = {answer.name: answer.addresses for answer in users.history}
            if latest == wanted:
                return


async def test_a_zone_wiped_while_etcd_is_down_is_restored(etcd: Etcd, server: DnsServer, enactors: Fleet) -> None:
    """By hand, fence and all, with a key of its own: back from the last known good, with no store at all."""
    for name in ("a", "b"):
        await enactors.start(name)
    await publish(etcd, 1)
    await serves(server, 1)
    await asyncio.sleep(1.5)  # the copies on local disk are at most half a second behind
    etcd.kill()
    keyring = {dns.name.from_text("foreign"): dns.tsig.Key("foreign", server.foreign_secret, "hmac-sha256")}
    names = [*fleet(COUNT), f"_enactord.{ZONE}"]
    for start in range(0, len(names), 50):
        update = dns.update.UpdateMessage(ZONE, keyring=keyring)
        for name in names[start : start + 50]:
            update.delete(dns.name.from_text(name))
        answer = await asyncio.to_thread(dns.query.tcp, update, server.host, 5, server.port)
        assert answer.rcode() == 0
    await serves(server, 1)
    etcd.start()
    await publish(etcd, 2)
    await serves(server, 2)


async def test_everything_may_be_killed_at_any_time(etcd: Etcd, server: DnsServer, enactors: Fleet) -> None:
    """kill -9 of an enactor, of etcd and of the DNS server while plans are applied: the newest is served after."""
    for name in ("a", "b", "c"):
        await enactors.start(name)
    await publish(etcd, 1)
    await serves(server, 1)
    await publish(etcd, 2)
    await enactors.kill("a")
    await publish(etcd, 3)
    server.kill()
    await publish(etcd, 4)
    await asyncio.sleep(1)
    server.start()
    await serves(server, 4)
    await publish(etcd, 5)
    etcd.kill()
    await enactors.kill("b")
    await asyncio.sleep(1)
    etcd.start()
    await enactors.start("a")
    await publish(etcd, 6)
    await serves(server, 6)
    store = await open_store(etcd.url)
    cache = Cache(Keys(SCOPE))
    async with asyncio.timeout(30):
        while cache.applied(ZONE) != 6:
            await cache.load(store)
            await asyncio.sleep(0.1)
    assert cache.ledger.totals.owned == COUNT
    assert cache.ledger.totals.pending == 0
    await store.close()
