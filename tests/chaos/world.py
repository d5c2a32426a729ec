"""A whole installation of real parts on loopback: etcd of three, Knot and BIND, three enactors, a planner."""

import asyncio
import json
import os
import random
import shutil
import signal
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from enactord.core.fence import parse_fence
from planner_stub.names import bundled_names
from tests.chaos.checkers import Violation
from tests.chaos.children import Child, command
from tests.chaos.disk import Disk
from tests.chaos.history import TYPES, History
from tests.chaos.observer import Prober, probing
from tests.chaos.store_view import StoreView
from tests.servers.bind import Bind
from tests.servers.dns_server import DnsServer, free_port
from tests.servers.etcd_cluster import EtcdCluster
from tests.servers.knot import Knot
from tests.servers.proxy import Relay

SCOPE = "chaos"
ZONES = ("amazonaws.com.", "api.aws.")
"""Served by Knot and by BIND; DynamoDB's real endpoint names lie in both."""
ENACTORS = ("a", "b", "c")
ANSWERS_MAX = 8
"""Below the twelve load balancers of the largest endpoint, so that a sample is drawn."""
CLAIM_TTL_S = 3
ETCD_QUOTA_BYTES = 48 * 1024 * 1024
ETCD_OPTIONS = (
    f"--quota-backend-bytes={ETCD_QUOTA_BYTES}",
    "--auto-compaction-mode=periodic",
    "--auto-compaction-retention=30s",
)

_METRICS_PAUSE_S = 1.0
_METRICS_LIMIT_S = 5.0
_COUNTED = (
    "enactord_writes_total",
    "enactord_stale_writes_refused_total",
    "enactord_repairs_total",
    "enactord_retries_total",
    "enactord_refusals_total",
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a run is told."""

    seconds: float = 600.0
    seed: int = 1
    names_a_zone: int = 30
    interval_s: float = 0.7
    churn: float = 0.5
    unfenced: bool = False
    """Run the enactors without the fence: the control, which must be found out."""


class KnotHere(Knot):
    """Knot, which can also be stopped for a while."""

    def send(self, number: signal.Signals) -> None:
        send(self, number)


class BindHere(Bind):
    """BIND, which can also be stopped for a while."""

    def send(self, number: signal.Signals) -> None:
        send(self, number)


def send(server: DnsServer, number: signal.Signals) -> None:
    """Send a DNS server a signal; one that does not run gets none."""
    if server._process is not None:
        os.kill(server._process.pid, number)


@dataclass
class Enactor:
    """One enactor, with its own ways to the store and to the DNS servers, and its own disk."""

    id: str
    child: Child
    disk: Disk
    http_port: int
    to_store: Sequence[Relay]
    to_dns: Sequence[Relay]
    counted: dict[int, dict[str, float]] = field(default_factory=dict)
    """Counters as last scraped, by life."""
    gauges: dict[str, float] = field(default_factory=dict)
    expected: bool = True
    """Whether it should be running now."""
    paused: bool = False


class World:
    """Everything that runs. Make it with `running`."""

    def __init__(self, options: Options, directory: Path) -> None:
        self.options = options
        self.dir = directory
        names = [name for name in bundled_names() if not name.startswith("_")]
        self.history = History(
            scope=SCOPE,
            zones={
                zone: tuple([name for name in names if name.endswith("." + zone)][: options.names_a_zone])
                for zone in ZONES
            },
            answers_max=ANSWERS_MAX,
        )
        self.cluster = EtcdCluster(options=ETCD_OPTIONS)
        self.servers: dict[str, KnotHere | BindHere] = {}
        self.probers: dict[str, Prober] = {}
        self.enactors: dict[str, Enactor] = {}
        self.violations: list[Violation] = []
        self.rng = random.Random(f"world {options.seed}")
        self.view: StoreView
        self.planner: Child
        self.http: aiohttp.ClientSession

    @property
    def tools(self) -> Path:
        """The config of commands: straight to the store."""
        return self.dir / "tools.toml"

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def violated(self, invariant: str, subject: str, text: str) -> None:
        self.violations.append(Violation(invariant, self.now(), subject, text))

    async def ctl(self, *arguments: str) -> tuple[int, str]:
        """Run enactorctl."""
        return await command("-m", "enactord.cli.ctl", "--config", str(self.tools), *arguments)

    async def stub(self, *arguments: str) -> tuple[int, str]:
        """Run planner-stub."""
        return await command("-m", "planner_stub.cli", "--config", str(self.tools), *arguments)

    async def at_work(self, enactor: "Enactor", limit_s: float = 3.0) -> bool:
        """Wait until an enactor has a plan half applied, as the store shows it; returns whether it came to that."""
        give_up = self.now() + limit_s
        while self.now() < give_up:
            cache = self.view.cache
            if cache.ledger.totals.pending and any(ident == enactor.id for _, ident in cache.all_claims):
                return True
            await asyncio.sleep(0.005)
        return False

    def totals(self) -> Counter[str]:
        """Every counter, summed over enactors and their lives: what a killed one did in its last second is missing."""
        found: Counter[str] = Counter()
        for enactor in self.enactors.values():
            for counted in enactor.counted.values():
                found.update(counted)
        return found

    async def scrape(self, enactor: Enactor) -> bool:
        """Read an enactor's metrics; returns whether it answered."""
        life = enactor.child.lives
        try:
            async with self.http.get(f"http://127.0.0.1:{enactor.http_port}/metrics") as answer:
                text = await answer.text()
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False
        counted: dict[str, float] = {}
        gauges: dict[str, float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name.startswith("enactord_") and "_bucket" not in sample.name:
                    labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()) if value)
                    into = counted if sample.name in _COUNTED else gauges
                    into[f"{sample.name}{{{labels}}}"] = sample.value
        if life == enactor.child.lives:
            enactor.counted[life] = counted
            enactor.gauges = gauges
        return True

    async def status(self, enactor: Enactor) -> str:
        """What an enactor says of itself, for a report."""
        try:
            async with self.http.get(f"http://127.0.0.1:{enactor.http_port}/api/v1/status") as answer:
                return json.dumps((await answer.json())["self"])
        except (aiohttp.ClientError, TimeoutError, OSError, KeyError, ValueError) as error:
            return f"no status: {error!r}"

    def unlike(self, since: float, generation: int) -> str:
        """The first name or fence that is not, in an answer asked for since, as of this generation or newer; or ""."""
        plan = self.history.plans[generation]
        for zone, names in self.history.zones.items():
            prober = self.probers[zone]
            for name, rtype in ((name, rtype) for name in names for rtype in TYPES):
                read = prober.latest.get((name, rtype))
                if read is None or read.sent < since:
                    return f"{name} {rtype} has not been answered since"
                possible = self.view.versions.of(name, rtype, read.addresses)
                held = "[]" in plan.contents.get(name, "")
                if not possible or (possible[-1] < generation and not (held and read.addresses)):
                    shown = ", ".join(sorted(read.addresses)) or f"nothing ({read.rcode})"
                    return f"{name} {rtype} serves {shown}, not what plan {generation} says"
            fence = parse_fence((bytes([len(prober.fence)]) + prober.fence.encode(),)) if prober.fence else None
            if fence is None or not (
                fence.generation >= generation or self.history.alike(zone, fence.generation, generation)
            ):
                return f"the fence of {zone} is {prober.fence or 'missing'}, not {generation}"
        return ""

    def unsettled(self) -> str:
        """What the store shows to be left undone of the newest plan that may be followed; "" when nothing is."""
        cache = self.view.cache
        newest = self.view.newest_acceptable()
        applied = {zone: cache.applied(zone) for zone in ZONES}
        if not cache.ledger.totals.pending and all(generation == newest for generation in applied.values()):
            return ""
        return f"{cache.ledger.totals.pending} names are pending, applied {applied}, newest plan {newest}"

    async def _watch_children(self) -> None:
        """Scrape all the time, and notice who ended without being told to."""
        while True:
            for enactor in self.enactors.values():
                if not enactor.paused and enactor.child.running:
                    await self.scrape(enactor)
                code = enactor.child.ended_by_itself
                if enactor.expected and code is not None:
                    self.violated("alive", f"enactor {enactor.id}", f"ended by itself with exit code {code}")
                    await enactor.child.kill()
                    await enactor.child.start()
            code = self.planner.ended_by_itself
            if code is not None:
                self.violated("alive", "planner-stub", f"ended by itself with exit code {code}")
                await self.planner.kill()
                await self.planner.start()
            await asyncio.sleep(_METRICS_PAUSE_S)

    # -- building

    async def _build(self, stack: AsyncExitStack) -> None:
        stack.callback(self.cluster.remove)
        await asyncio.to_thread(self.cluster.start)
        for server in (KnotHere([ZONES[0]]), BindHere([ZONES[1]])):
            zone = server.zones[0]
            self.servers[zone] = server
            stack.callback(server.remove)
            await asyncio.to_thread(server.start)
            self.probers[zone] = Prober(zone, server.host, server.port, self.history.zones[zone], self.history)
        secret = self.dir / "tsig.secret"
        secret.write_text(server.secret)
        secret.chmod(0o600)
        (self.dir / "names").write_text("".join(f"{n}\n" for names in self.history.zones.values() for n in names))
        servers = [f"127.0.0.1:{server.port}" for server in self.servers.values()]
        self.tools.write_text(self._config("tools", self.cluster.url, servers, self.dir / "tools", free_port()))
        self.http = await stack.enter_async_context(
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_METRICS_LIMIT_S))
        )
        self.view = StoreView(self.cluster.endpoints, self.history)
        stack.push_async_callback(self.view.close)
        for ident in ENACTORS:
            self.enactors[ident] = await self._enactor(ident, stack)
        names = sum(map(len, self.history.zones.values()))
        planning = ["-m", "planner_stub.cli", "run", "--config", str(self.tools), "--names", str(self.dir / "names")]
        planning += ["--endpoints", str(names), "--interval", str(self.options.interval_s)]
        planning += ["--churn", str(self.options.churn), "--seed", str(self.options.seed)]
        self.planner = Child("planner-stub", planning, self.dir / "planner-stub.log")
        stack.push_async_callback(self.planner.kill)
        await stack.enter_async_context(probing(list(self.probers.values())))
        await stack.enter_async_context(_background(self.view.run()))
        for enactor in self.enactors.values():
            await enactor.child.start()
        await self.planner.start()
        await stack.enter_async_context(_background(self._watch_children()))

    async def _enactor(self, ident: str, stack: AsyncExitStack) -> Enactor:
        directory = self.dir / ident
        directory.mkdir()
        disk = Disk(directory / "state")
        disk.mount()
        stack.callback(disk.unmount)
        to_store = [await stack.enter_async_context(Relay("127.0.0.1", member.port)) for member in self.cluster.members]
        to_dns = [
            await stack.enter_async_context(
                Relay(server.host, server.port, listen_port=free_port(), udp=True, framed=True)
            )
            for server in self.servers.values()
        ]
        http_port = free_port()
        url = "etcd://" + ",".join(f"127.0.0.1:{relay.port}" for relay in to_store)
        servers = [f"127.0.0.1:{relay.port}" for relay in to_dns]
        config = directory / "enactord.toml"
        config.write_text(self._config(ident, url, servers, disk.path, http_port))
        module = "tests.chaos.unfenced" if self.options.unfenced else "enactord.cli.daemon"
        arguments = ["-m", module, "run", "--config", str(config)]
        child = Child(f"enactor {ident}", arguments, directory / "log")
        stack.push_async_callback(child.kill)
        return Enactor(id=ident, child=child, disk=disk, http_port=http_port, to_store=to_store, to_dns=to_dns)

    def _config(self, ident: str, store: str, servers: Sequence[str], state: Path, http_port: int) -> str:
        zones = "\n".join(
            f'[[zone]]\nname = "{zone}"\nbackend = "rfc2136"\nserver = "{server}"\ntsig_name = "enactor"\n'
            f'tsig_secret_file = "{self.dir}/tsig.secret"\ntimeout_s = 2\nanswers_max = {ANSWERS_MAX}\n'
            "batch_names_max = 3\nin_flight_max = 3\n"
            for zone, server in zip(ZONES, servers, strict=True)
        )
        return f"""
[enactor]
id = "{ident}"
scope = "{SCOPE}"
state_dir = "{state}"

[store]
url = "{store}"
timeout_s = 2
claim_ttl_s = {CLAIM_TTL_S}

{zones}
[guard]
allow_private = true
endpoints_replaced_max_ratio = 1.0
scope_capacity_removed_max_ratio = 1.0
velocity_window_s = 10

[prune]
keep_plans = 8
keep_s = 0
interval_s = 2

[repair]
interval_s = 1
names_per_s = 10000

[http]
listen = "127.0.0.1:{http_port}"

[log]
format = "json"
"""


@asynccontextmanager
async def _background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Let something run while the context lasts; what it raises is raised at the end."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            pass


@asynccontextmanager
async def running(options: Options) -> AsyncIterator[World]:
    """Build a world, and end every part of it at the end; `keep` in it leaves its directory."""
    directory = Path(tempfile.mkdtemp(prefix="enactord-chaos-"))
    world: World | None = None
    try:
        async with AsyncExitStack() as stack:
            world = World(options, directory)
            await world._build(stack)
            yield world
    finally:
        if world is None or not world.violations:
            shutil.rmtree(directory, ignore_errors=True)
