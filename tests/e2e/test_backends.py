"""Three enactors as people run them, on PowerDNS, on Route 53 (the double), and on CoreDNS's keys in etcd."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest

from enactord.backends.route53.api import Route53Api
from enactord.backends.route53.zone import Route53Zone
from enactord.backends.skydns.zone import SkydnsZone
from enactord.core.content import unpack_address
from enactord.core.fence import Fence, parse_fence
from enactord.core.kv import Delete
from enactord.core.records import Reason, Refused, Transaction
from enactord.ports import KeyValue, ZoneBackend
from enactord.stores.by_url import open_store
from tests.chaos.children import Child, command
from tests.contract.sites.base import ProcessSite
from tests.daily import daily
from tests.servers.dns_server import SECRET, free_port
from tests.servers.etcd import Etcd
from tests.servers.powerdns import PowerDns
from tests.servers.route53_double import Faults, Route53Double, use_credentials
from tests.servers.route53_double.hosted_zone import Change, RecordSet

pytestmark = pytest.mark.timeout(300)

ZONE = "example.test."
WWW, API, OLD = (f"{label}.{ZONE}" for label in ("www", "api", "old"))
_LIMIT_S = 60.0

CONFIG = """
[enactor]
id = "{id}"
scope = "test"
state_dir = "{folder}/{id}"
[store]
url = "{store}"
claim_ttl_s = 3
[[zone]]
name = "{zone}"
{backend}
[guard]
allow_private = true
endpoints_replaced_max_ratio = 1.0
scope_capacity_removed_max_ratio = 1.0
endpoints_removed_max_ratio = 1.0
capacity_removed_max_ratio = 1.0
[repair]
interval_s = 1
[http]
listen = "127.0.0.1:{port}"
"""

Weights = Mapping[str, int]


class Backend(Protocol):
    """One zone, and what its servers would hand out."""

    config: str

    async def served(self, name: str) -> Weights:
        """Return the addresses of a name with their weights; every weight 1 where the zone has none."""
        ...

    async def wipe(self, name: str) -> None: ...

    def zone(self) -> ZoneBackend: ...


class OnRoute53:
    def __init__(self, double: Route53Double, api: Route53Api) -> None:
        self._double = double
        self._api = api
        self._id = double.ids[ZONE]
        self.config = (
            f'backend = "route53"\nhosted_zone_id = "{self._id}"\nendpoint_url = "{double.url}"\nrequests_per_s = 100'
        )

    def _sets(self, name: str) -> list[RecordSet]:
        return [one for one in self._double.zones[self._id].listed() if one.name == name and one.type in ("A", "AAAA")]

    async def served(self, name: str) -> Weights:
        return {one.values[0]: one.weight or 0 for one in self._sets(name)}

    async def wipe(self, name: str) -> None:
        self._double.zones[self._id].apply([Change(action="DELETE", record_set=one) for one in self._sets(name)])

    def zone(self) -> ZoneBackend:
        return Route53Zone(ZONE, self._api, zone_id=self._id)


async def unweighted(zone: ZoneBackend, name: str) -> Weights:
    """Return the addresses of a name, each as good as the next."""
    served = (await zone.read([name]))[name]
    return {unpack_address(packed): 1 for packed in (*served.records.a, *served.records.aaaa)}


class OnPowerDns:
    def __init__(self, site: ProcessSite, secret_file: Path) -> None:
        self._site = site
        self._zone = site.client()
        secret_file.write_text(SECRET)
        secret_file.chmod(0o600)
        self.config = (
            f'backend = "rfc2136"\nserver = "{site.host}:{site.port}"\n'
            f'tsig_name = "enactor"\ntsig_secret_file = "{secret_file}"'
        )

    async def served(self, name: str) -> Weights:
        return await unweighted(self._zone, name)

    async def wipe(self, name: str) -> None:
        await self._site.put_foreign(name)

    def zone(self) -> ZoneBackend:
        return self._site.client()


class OnSkydns:
    config = 'backend = "skydns"'

    def __init__(self, store: KeyValue) -> None:
        self._store = store

    async def served(self, name: str) -> Weights:
        return await unweighted(self.zone(), name)

    async def wipe(self, name: str) -> None:
        path = "/".join(["/skydns", *reversed(name.rstrip(".").split("."))])
        await self._store.transact([], [Delete(key=path + "/", prefix=True)])

    def zone(self) -> ZoneBackend:
        return SkydnsZone(ZONE, self._store)


@pytest.fixture
def etcd() -> Iterator[Etcd]:
    with Etcd() as server:
        yield server


@pytest.fixture(params=daily(["powerdns", "route53", "skydns"], 1))
async def backend(
    request: pytest.FixtureRequest, etcd: Etcd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Backend]:
    async with AsyncExitStack() as stack:
        if request.param == "powerdns":
            site = ProcessSite.alone(ZONE, PowerDns)
            stack.push_async_callback(site.close)
            yield OnPowerDns(site, tmp_path / "tsig.secret")
        elif request.param == "route53":
            use_credentials(monkeypatch)
            double = await stack.enter_async_context(Route53Double([ZONE]))
            double.faults = Faults(polls_until_in_sync=2)
            api = await Route53Api.open(timeout_s=5, requests_per_s=1000, endpoint_url=double.url)
            stack.push_async_callback(api.close)
            yield OnRoute53(double, api)
        else:
            store = await open_store(etcd.url)
            stack.push_async_callback(store.close)
            yield OnSkydns(store)


class Fleet:
    """Three enactors in processes of their own, and the hands of an operator."""

    def __init__(self, folder: Path, etcd: Etcd, backend: Backend) -> None:
        self._folder = folder
        self.configs: list[Path] = []
        self.enactors: list[Child] = []
        for number in (1, 2, 3):
            name = f"e{number}"
            config = folder / f"{name}.toml"
            fields = {"id": name, "folder": folder, "store": etcd.url, "zone": ZONE, "port": free_port()}
            config.write_text(CONFIG.format(**fields, backend=backend.config))
            self.configs.append(config)
            arguments = ["-m", "enactord.cli.daemon", "run", "--config", str(config)]
            self.enactors.append(Child(name, arguments, folder / f"{name}.log"))

    async def ctl(self, *arguments: str) -> tuple[int, Any]:
        code, printed = await command("-m", "enactord.cli.ctl", "--config", str(self.configs[0]), *arguments, "--json")
        return code, json.loads(printed)

    async def publish(self, endpoints: Mapping[str, Weights]) -> int:
        plan = self._folder / "plan.json"
        targets = {
            name: {"ttl_s": 5, "targets": [{"address": a, "weight": w} for a, w in weights.items()]}
            for name, weights in endpoints.items()
        }
        plan.write_text(json.dumps({"schema": "enactord.plan/v1", "scope": "test", "endpoints": targets}))
        code, answer = await self.ctl("publish", str(plan))
        assert code == 0, answer
        return int(answer["generation"])

    def logs(self) -> str:
        return "".join(child.log.read_text()[-2000:] for child in self.enactors if child.log.exists())


@pytest.fixture
async def fleet(tmp_path: Path, etcd: Etcd, backend: Backend) -> AsyncIterator[Fleet]:
    made = Fleet(tmp_path, etcd, backend)
    for child in made.enactors:
        await child.start()
    yield made
    for child in made.enactors:
        await child.kill()


async def until(condition: Callable[[], Awaitable[bool]], fleet: Fleet) -> None:
    try:
        async with asyncio.timeout(_LIMIT_S):
            while not await condition():
                await asyncio.sleep(0.1)
    except TimeoutError:
        pytest.fail(f"it did not come to be; the enactors said:\n{fleet.logs()}")


async def test_plans_reach_the_zone_and_stay_there(fleet: Fleet, backend: Backend) -> None:
    """Applied, followed by the next, repaired when emptied, held against whoever slept; and verified as served."""
    weighted = isinstance(backend, OnRoute53)

    def as_served(weights: Weights) -> Weights:
        return {address: weight if weighted else 1 for address, weight in weights.items() if weight}

    async def shows(wanted: Mapping[str, Weights]) -> bool:
        return all([await backend.served(name) == as_served(weights) for name, weights in wanted.items()])

    async def applied(generation: int, wanted: Mapping[str, Weights]) -> None:
        async def conforms() -> bool:
            code, status = await fleet.ctl("status")
            return code == 0 and status["zones"][0]["applied"] == generation and await shows(wanted)

        await until(conforms, fleet)

    first = {WWW: {"192.0.2.1": 10, "192.0.2.2": 30, "2001:db8::1": 1}, API: {"192.0.2.3": 5}, OLD: {"192.0.2.4": 1}}
    await applied(await fleet.publish(first), first)
    asleep = fleet.enactors[0]
    asleep.send(signal.SIGSTOP)
    second = {WWW: {"192.0.2.1": 20, "192.0.2.2": 0, "192.0.2.5": 30}, API: {"192.0.2.3": 5}}
    generation = await fleet.publish(second)
    await applied(generation, second | {OLD: {}})
    asleep.send(signal.SIGCONT)
    await fleet.enactors[1].kill()
    await backend.wipe(WWW)
    await until(lambda: shows(second | {OLD: {}}), fleet)

    zone = backend.zone()
    seen = await zone.read_fence()
    standing = parse_fence(seen)
    assert standing is not None
    assert standing.generation == generation
    older = Fence(scope="test", generation=generation - 1, plan="0" * 16)
    outcome = await zone.write(Transaction(fence_seen=older.seen, fence_after=older))
    assert isinstance(outcome, Refused)
    assert outcome.reason is Reason.CONDITION
    await zone.close()

    code, verified = await fleet.ctl("verify")
    assert (code, verified["findings"]) == (0, [])
