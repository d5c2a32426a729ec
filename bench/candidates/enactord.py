"""enactord: one or three enactors as processes of their own (`enactord run`), on etcd or SQLite."""

import asyncio
import json
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.candidates.protocol import Took
from bench.fleet import Fleet
from bench.sites import Site
from bench.usage import cpu_s, peak_mb
from enactord.clock import SystemClock
from enactord.core.guards import Limits
from enactord.core.plan import Manifest, read_plan
from enactord.operations.acts import Denied, Scope, publish
from enactord.store.plans import Orders
from enactord.stores.by_url import open_store
from tests.servers.dns_server import free_port

APPLY_LIMIT_S = 300.0
_START_LIMIT_S = 60.0
_LINE_BYTES_MAX = 1 << 20
_QUIET_REPAIR: Mapping[str, float] = {"interval_s": 3600.0}
"""What is measured is the apply: repair's own slow look at all names would share the machine with the others."""

_CONFIG = """
[enactor]
id = "{id}"
scope = "{scope}"
state_dir = "{dir}"
[store]
url = "{store}"
[[zone]]
name = "{zone}"
backend = "rfc2136"
server = "{server}"
tsig_name = "enactor"
tsig_algorithm = "hmac-sha256"
tsig_secret_file = "{dir}/tsig.secret"
verify = ["{verify}"]
batch_names_max = {batch_names}
in_flight_max = {in_flight}
[guard]
allow_private = true
endpoints_replaced_max_ratio = 1.0
scope_capacity_removed_max_ratio = 1.0
[repair]
{repair}
[http]
listen = "127.0.0.1:{http_port}"
[log]
format = "json"
"""


class Member:
    """One enactor's process. Each line of its log is handed to `hear` as it comes."""

    def __init__(self, config: Path, hear: Callable[[Mapping[str, Any]], None]) -> None:
        self._config = config
        self._hear = hear
        self._process: asyncio.subprocess.Process | None = None
        self._listening: asyncio.Task[None] | None = None
        self.last_line = ""

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "enactord.cli.daemon",
            "run",
            "--config",
            str(self._config),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            limit=_LINE_BYTES_MAX,
        )
        self._listening = asyncio.create_task(self._listen(self._process))

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        async for line in process.stderr:
            self.last_line = line.decode("utf-8", "replace")
            if line.startswith(b"{"):
                self._hear(json.loads(line))

    async def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it: in good order, or at once."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            process.send_signal(how)
            process.send_signal(signal.SIGCONT)  # a stopped one would never hear it
        await process.wait()
        if self._listening is not None:
            await self._listening


class Enactord:
    """A scope with its enactors, and a planner's hands."""

    def __init__(
        self,
        site: Site,
        fleet: Fleet,
        *,
        store: str = "etcd",
        enactors: int = 1,
        repair: Mapping[str, float] = _QUIET_REPAIR,
        last_through: str = "",
    ) -> None:
        """`last_through`: where the last enactor reaches the DNS server; all verify at the server itself."""
        self.name = f"enactord {enactors}, {store}" if store == "etcd" else f"enactord {enactors}, SQLite"
        self.fleet = fleet
        self._site = site
        self._dir = site.folder(f"enactord-{fleet.zone}")
        self._store_url = site.etcd.url if store == "etcd" else f"sqlite://{self._dir}/store.db"
        self._scope_name = fleet.zone.removesuffix(".")
        self._repair = repair
        address = f"{site.server.host}:{site.server.port}"
        servers = [address] * (enactors - 1) + [last_through or address]
        self.members = [
            Member(self._write_config(f"e{number}", server, address), self._take)
            for number, server in enumerate(servers, start=1)
        ]
        self.scope: Scope
        self.generation = 0
        self.applied: dict[int, float] = {}
        """Generation to when the first enactor said that it is applied, as `time.perf_counter` counts."""
        self.batches: dict[int, list[Mapping[str, Any]]] = {}
        self.counts: dict[str, int] = {}
        """How often each event was heard."""
        self._heard = asyncio.Event()

    def _write_config(self, name: str, server: str, verify: str) -> Path:
        folder = self._dir / name
        folder.mkdir()
        (folder / "tsig.secret").write_text(self._site.server.secret, encoding="ascii")
        (folder / "tsig.secret").chmod(0o600)
        text = _CONFIG.format(
            id=name,
            scope=self._scope_name,
            dir=folder,
            store=self._store_url,
            zone=self.fleet.zone,
            server=server,
            verify=verify,
            batch_names=self._site.kind.batch_names,
            in_flight=self._site.kind.in_flight,
            repair="\n".join(f"{key} = {value}" for key, value in self._repair.items()),
            http_port=free_port(),
        )
        (folder / "enactord.toml").write_text(text, encoding="utf-8")
        return folder / "enactord.toml"

    async def prepare(self) -> None:
        store = await open_store(self._store_url)
        self.scope = Scope(
            store=store,
            name=self._scope_name,
            zones=[self.fleet.zone],
            limits=Limits(allow_private=True, endpoints_replaced_max_ratio=1.0, scope_capacity_removed_max_ratio=1.0),
            clock=SystemClock(),
        )
        for member in self.members:
            await member.start()
        await self.until(lambda: self.counts.get("store.up", 0) >= len(self.members), _START_LIMIT_S)

    def _take(self, line: Mapping[str, Any]) -> None:
        event = line["event"]
        self.counts[event] = self.counts.get(event, 0) + 1
        if event == "plan.applied":
            self.applied.setdefault(line["generation"], time.perf_counter())
        elif event == "slice.committed":
            self.batches.setdefault(line["generation"], []).append(line)
        self._heard.set()

    async def until(self, condition: Callable[[], bool], limit_s: float = APPLY_LIMIT_S) -> None:
        """Wait for something that the enactors' logs tell."""
        try:
            async with asyncio.timeout(limit_s):
                while not condition():
                    self._heard.clear()
                    await self._heard.wait()
        except TimeoutError:
            said = " | ".join(member.last_line.strip() for member in self.members)
            raise AssertionError(f"{self.name}: waited {limit_s} s in vain; last lines: {said}") from None

    async def publish(self) -> tuple[Manifest, float, float]:
        """Publish the fleet's last step as a planner does; returns also the seconds for reading and for storing it."""
        base = None if self.fleet.whole else self.generation
        document = self.fleet.document(scope=self._scope_name, base=base)
        start = time.perf_counter()
        draft = read_plan(document)
        parsed = time.perf_counter()
        published = await publish(self.scope, draft, Orders(author="bench"))
        assert not isinstance(published, Denied), published.refusals
        assert not published.held, published.held[:3]
        self.generation = published.manifest.generation
        return published.manifest, parsed - start, time.perf_counter() - parsed

    async def until_applied(self, generation: int, limit_s: float = APPLY_LIMIT_S) -> float:
        """Wait until a generation, or a newer one, is applied; returns when that was."""
        await self.until(lambda: max(self.applied, default=0) >= generation, limit_s)
        return next(at for applied, at in sorted(self.applied.items()) if applied >= generation)

    async def apply(self) -> Took:
        """Publish, and wait until every endpoint was written, seen served, and entered in the ledger."""
        before_s = cpu_s(self.pids)
        start = time.perf_counter()
        manifest, parse_s, publish_s = await self.publish()
        done = await self.until_applied(manifest.generation)
        # Of three, the one that says "applied" need not be the one that wrote: logs come when they come.
        await self.until(lambda: self._seen(manifest.generation) >= len(self.fleet.changed))
        batches = self.batches.pop(manifest.generation)
        return Took(
            took_s=done - start - parse_s,
            cpu_s=cpu_s(self.pids) - before_s,
            peak_mb=max(peak_mb(pid) for pid in self.pids),
            endpoints=len(self.fleet.changed),
            parse_s=parse_s,
            publish_s=publish_s,
            latencies_s=[batch["apply_max_s"] for batch in batches for _ in range(batch["seen"])],
        )

    def _seen(self, generation: int) -> int:
        """Return how many endpoints were seen served by those who wrote them."""
        return sum(batch["seen"] for batch in self.batches.get(generation, ()))

    @property
    def pids(self) -> Sequence[int]:
        return [member.pid for member in self.members]

    async def close(self) -> None:
        for member in self.members:
            await member.end()
        await self.scope.store.close()
