"""A whole scope under watch: three enactors and a planner on the ground, Prometheus, Alertmanager, and who is told."""

import asyncio
import contextlib
import itertools
import json
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from tests.alerts.faster import FACTOR, faster_alertmanager, faster_rules, faster_scrape, seconds, written
from tests.chaos.children import Child
from tests.faults.ground import FIRST, Ground
from tests.servers.alertmanager import Alertmanager
from tests.servers.certificates import Authority
from tests.servers.dns_server import DnsServer, free_port
from tests.servers.prometheus import Prometheus
from tests.servers.proxy import Relay
from tests.servers.secondaries import MovableBind
from tests.world import SCOPE

ENACTORS = ("a", "b", "c")
VICTIM = "c"
"""The enactor at which faults of one enactor are made; it has ways of its own to the store and to the primary."""
HEARTBEAT = "EnactordHeartbeat"
_LIMIT_S = 120.0
_BETWEEN_PLANS_S = 60 / FACTOR
_POLL_S = 0.1
_LOOKBACK = f"{round(seconds('5m') * 1000 / FACTOR)}ms"


@dataclass(frozen=True, kw_only=True)
class Told:
    """An alert, as people are told of it first."""

    at: float
    """When, in seconds."""
    labels: Mapping[str, str]
    summary: str

    @property
    def name(self) -> str:
        return self.labels["alertname"]


class Inbox:
    """What people are told by the messages of the Alertmanager: each alert once, in order."""

    def __init__(self) -> None:
        self.told: list[Told] = []
        self.port = free_port()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        application = web.Application()
        application.router.add_post("/people", self._take)
        runner = web.AppRunner(application)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", self.port).start()
            yield
        finally:
            await runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        now = asyncio.get_running_loop().time()
        for alert in json.loads(await request.read())["alerts"]:
            labels = alert["labels"]
            if alert["status"] == "firing" and not any(told.labels == labels for told in self.told):
                self.told.append(Told(at=now, labels=labels, summary=alert["annotations"]["summary"]))
        return web.Response()


class Scope(Ground):
    """Runs while `stack` is open. Each of its enactors can be killed, stopped and started."""

    def __init__(self, folder: Path, stack: AsyncExitStack, primary: type[DnsServer]) -> None:
        super().__init__(folder, stack, Authority(folder / "authority", days=90), primary)
        self.children: dict[str, Child] = {}
        self.ports = {name: free_port() for name in ENACTORS}
        self.inbox = Inbox()
        self.planning = True
        """Whether the planner is at work."""
        self._planner: asyncio.Task[None]
        self.to_store: Relay
        self.to_primary: Relay
        self.prometheus: Prometheus

    async def start(self) -> None:
        """Start everything, and wait until plans are applied and nothing alerts."""
        await self.start_servers()
        self.to_store = await self._relay(self.etcd.port)
        self.to_primary = await self._relay(self.primary.port, udp=True)
        for name in ENACTORS:
            ways = {}
            if name == VICTIM:
                ways = {
                    "store": f"127.0.0.1:{self.to_store.port}",
                    "server": f"127.0.0.1:{self.to_primary.port}",
                }
            path = self.write_config(name, self.ports[name], **ways)
            arguments = ("-m", "enactord.cli.daemon", "run", "--config", str(path))
            self.children[name] = child = Child(name, arguments, self.folder / f"{name}.log")
            self.stack.push_async_callback(child.kill)
            await child.start()
        self.config, self.victim = self.folder / f"{ENACTORS[0]}.toml", self.folder / f"{VICTIM}.toml"
        self.state = self.folder / VICTIM
        await self._watch()
        for _ in range(3):
            await self.publish(self.applied)
        self._planner = asyncio.create_task(self._plan())
        self.stack.callback(self._planner.cancel)
        await self.until(lambda: self._asked('min(enactord_generation{kind="applied"}) > 3', 1))
        await self.until(self._calm)

    async def _relay(self, port: int, *, udp: bool = False) -> Relay:
        return await self.stack.enter_async_context(Relay("127.0.0.1", port, listen_port=free_port(), udp=udp))

    async def _watch(self) -> None:
        await self.stack.enter_async_context(self.inbox.open())
        told_at = f"http://127.0.0.1:{self.inbox.port}/people"
        config = written(faster_alertmanager(told_at), self.folder / "alertmanager.yml")
        manager = Alertmanager(config)
        await asyncio.to_thread(manager.__enter__)
        self.stack.push(manager.__exit__)
        self.prometheus = Prometheus(
            [f"127.0.0.1:{port}" for port in self.ports.values()],
            scope=SCOPE,
            rules=[written(faster_rules(), self.folder / "rules.yml")],
            intervals=faster_scrape(),
            alertmanager=f"127.0.0.1:{manager.port}",
            lookback=_LOOKBACK,
        )
        await asyncio.to_thread(self.prometheus.__enter__)
        self.stack.push(self.prometheus.__exit__)
        # Counters must have been seen at 0 before they rise.
        await self.until(lambda: self._asked("enactord_build_info", len(ENACTORS)))

    async def _plan(self) -> None:
        """Publish a plan that changes the second name, about once a minute of the faster clock."""
        for number in itertools.count():
            await asyncio.sleep(_BETWEEN_PLANS_S)
            if self.planning:
                second = list(self.applied)[1]
                self.applied[second] = [f"10.1.1.{1 + (number + at) % 200}" for at in (0, 1)]
                await self.publish(self.applied, code=None)

    def check(self) -> None:
        """Raise what has ended the planner, which should be at work."""
        if self._planner.done():
            self._planner.result()

    def reread(self) -> None:
        """Have the victim read its config anew."""
        self.children[VICTIM].send(signal.SIGHUP)

    async def _asked(self, expression: str, count: int) -> bool:
        """Whether Prometheus answers an expression with so many series."""
        return len(await asyncio.to_thread(self.prometheus.query, expression)) == count

    async def _calm(self) -> bool:
        """Whether every enactor has looked at the zone, and nothing alerts or is about to."""
        if set(await asyncio.to_thread(self.prometheus.alerts)) != {HEARTBEAT}:
            return False
        return await self._asked("min(enactord_last_verified_timestamp_seconds) > 0", 1)

    async def until(self, met: Callable[[], Any]) -> None:
        """Wait for a condition, with a limit."""
        try:
            async with asyncio.timeout(_LIMIT_S):
                while not await met():
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            said = {name: await self.ready(name) for name in ENACTORS}
            raise AssertionError(f"waited in vain; active: {self.prometheus.alerts()}; enactors: {said}") from None

    async def scraped(self) -> None:
        """Wait for as long as it takes until every enactor was scraped once more."""
        await asyncio.sleep(seconds("15s") / FACTOR)

    async def restart(self, name: str) -> None:
        """Restart an enactor in good order, and wait until it answers."""
        await self.children[name].stop()
        await self.children[name].start()
        await self.until(lambda: self._answers(name))

    async def _answers(self, name: str) -> bool:
        return await self.ready(name) is not None

    async def ready(self, name: str) -> str | None:
        """What an enactor says of itself; None: it does not answer."""
        url = f"http://127.0.0.1:{self.ports[name]}/readyz"
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with aiohttp.ClientSession() as session, session.get(url, timeout=aiohttp.ClientTimeout(2)) as answer:
                found = await answer.json()
                return "; ".join([*found["reasons"], *found["notes"]])
        return None

    @property
    def first(self) -> str:
        """The name that faults of names are made at."""
        return FIRST


@asynccontextmanager
async def scope(primary: type[DnsServer] = MovableBind) -> AsyncIterator[Scope]:
    """Run a scope while the context lasts."""
    folder = Path(tempfile.mkdtemp(prefix="enactord-alerts-"))
    try:
        async with AsyncExitStack() as stack:
            running = Scope(folder, stack, primary)
            await running.start()
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)
