"""dev: everything on one machine, nothing to install.

This process runs the embedded DNS server and watches the store; three enactors and the
planner are processes of their own, so that each can be stopped or killed to see what happens.
"""

import asyncio
import base64
import ctypes
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click

from enactord.cli.plan_file import parse_document
from enactord.cli.program import common, examples
from enactord.cli.terminal import lines_beside, rendered_line
from enactord.clock import SystemClock
from enactord.core.errors import ConfigError, InvalidPlan, StoreDown
from enactord.core.guards import Limits
from enactord.core.names import zone_of
from enactord.core.plan import PLAN_BYTES_MAX, Draft
from enactord.core.refusal import Refusal
from enactord.dns_server import EmbeddedServer
from enactord.operations.news import follow_news
from enactord.operations.scope import Scope
from enactord.store.plans import Orders
from enactord.stores.by_url import open_store
from enactord.telemetry.lines import LineWriter
from enactord.wire.tsig import TsigKey

SCOPE = "us-east-1"
HOST = "127.0.0.1"
ENACTORS = ("enactor-a", "enactor-b", "enactor-c")
KEY = "dev"
_STOP_LIMIT_S = 10.0
_NAMES_LIMIT_S = 60.0
_SUFFIXES = (
    "amazonaws.com.",
    "api.aws.",
    "amazonaws.com.cn.",
    "api.amazonwebservices.com.cn.",
    "amazonaws.eu.",
    "api.amazonwebservices.eu.",
)
"""DNS suffixes of the partitions, plain and dual-stack. Source: botocore data/partitions.json."""
_SHOWN = ("plan.published", "plan.applied", "frozen", "thawed", "plan.unreadable", "enactor.gone")


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A process of this scope."""

    name: str
    process: asyncio.subprocess.Process


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where everything of a dev scope is."""

    state: Path
    dns_port: int
    http_port: int
    endpoints: int
    interval_s: float
    zones: Sequence[str]

    @property
    def store_url(self) -> str:
        return f"sqlite://{self.state}/store.sqlite"

    @property
    def tools_config(self) -> Path:
        return self.state / "enactorctl.toml"

    def config(self, enactor: str) -> Path:
        return self.state / f"{enactor}.toml"


@click.command(epilog=examples("enactord dev\nenactord dev --endpoints 2000 --for 60\nenactord dev --plan plan.json"))
@click.option("--endpoints", type=click.IntRange(1, 100_000), default=200, show_default=True, help="How many names.")
@click.option("--plan", "plan_file", type=click.Path(path_type=Path), metavar="FILE", help="Publish this, not a fleet.")
@click.option(
    "--state",
    type=click.Path(path_type=Path),
    metavar="DIR",
    default=Path(".enactord/dev"),
    show_default=True,
    help="Where everything is kept.",
)
@click.option("--for", "for_s", type=click.FloatRange(min=0), metavar="SECONDS", help="Stop after so long.")
@click.option("--interval", type=click.FloatRange(min=0.1), default=5.0, show_default=True, help="Seconds a plan.")
@click.option("--dns-port", type=click.IntRange(1024, 65_535), default=5354, show_default=True, help="UDP and TCP.")
@click.option(
    "--http-port", type=click.IntRange(1024, 65_533), default=8451, show_default=True, help="The first of three."
)
@common
def dev(
    endpoints: int,
    plan_file: Path | None,
    state: Path,
    for_s: float | None,
    interval: float,
    dns_port: int,
    http_port: int,
) -> int:
    """Run everything on this machine: a SQLite store, an embedded DNS server, three enactors and a planner.

    Keeps to loopback and high ports. Stop it with Ctrl-C; kill one of the enactors to see
    that nothing changes.
    """
    draft = _read_plan(plan_file) if plan_file else None
    names = sorted(draft.endpoints) if draft else _fleet_names(endpoints)
    site = Site(
        state=state.absolute(),
        dns_port=dns_port,
        http_port=http_port,
        endpoints=endpoints,
        interval_s=interval,
        zones=names_zones(names),
    )
    _check_ports(site)
    return asyncio.run(_run(site, draft, for_s))


def _read_plan(path: Path) -> Draft:
    if path.stat().st_size > PLAN_BYTES_MAX:
        raise InvalidPlan((f"{path}: more than {PLAN_BYTES_MAX:,} bytes",))
    draft = parse_document(str(path), path.read_bytes())
    if draft.base is not None or not draft.endpoints:
        raise InvalidPlan((f"{path}: dev wants a whole plan: endpoints, and no base",))
    return draft


def _fleet_names(count: int) -> list[str]:
    """Return the names that the planner stub will plan for: it is a program of its own, and is asked."""
    command = [sys.executable, "-m", "planner_stub.cli", "names", "--endpoints", str(count)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_NAMES_LIMIT_S, check=True)
    return done.stdout.split()


def names_zones(names: Iterable[str]) -> list[str]:
    """Return the zones that the names need: AWS's DNS suffixes, or the last two labels of any other name."""
    found: dict[str, None] = {}
    for name in names:
        found[zone_of(name, _SUFFIXES) or ".".join(name.split(".")[-3:])] = None
    return sorted(found)


def _check_ports(site: Site) -> None:
    """A port in use is told before anything is started, with the option that changes it."""
    wanted = [("--dns-port", site.dns_port, kind) for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM)]
    wanted += [("--http-port", site.http_port + i, socket.SOCK_STREAM) for i in range(len(ENACTORS))]
    for option, port, kind in wanted:
        with socket.socket(socket.AF_INET, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, kind == socket.SOCK_STREAM)
            try:
                probe.bind((HOST, port))
            except OSError as error:
                what = "UDP" if kind == socket.SOCK_DGRAM else "TCP"
                raise ConfigError(
                    (f"{HOST} {what} port {port}: {error.strerror}; choose others with {option}",)
                ) from error


def _write_state(site: Site) -> TsigKey:
    """Write configs and the TSIG secret; a state that is there already is gone on with."""
    site.state.mkdir(parents=True, exist_ok=True)
    secret_file = site.state / "tsig.secret"
    if not secret_file.exists():
        with os.fdopen(os.open(secret_file, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
            file.write(base64.b64encode(secrets.token_bytes(32)) + b"\n")
    for index, enactor in enumerate(ENACTORS):
        site.config(enactor).write_text(_config(site, enactor, site.http_port + index), encoding="utf-8")
    site.tools_config.write_text(_config(site, ENACTORS[0], site.http_port), encoding="utf-8")
    return TsigKey(name=KEY, algorithm="hmac-sha256", secret=base64.b64decode(secret_file.read_bytes()))


def _config(site: Site, enactor: str, http_port: int) -> str:
    zones = "\n".join(
        f'[[zone]]\nname = "{zone}"\nbackend = "rfc2136"\nserver = "{HOST}:{site.dns_port}"\n'
        f'tsig_name = "{KEY}"\ntsig_secret_file = "tsig.secret"\n'
        for zone in site.zones
    )
    return f"""# Written by `enactord dev`; written anew at each start.
[enactor]
id = "{enactor}"
scope = "{SCOPE}"
state_dir = "{site.state / enactor}"

[store]
url = "{site.store_url}"
claim_ttl_s = 5

{zones}
[guard]
allow_private = true

[repair]
interval_s = 5
names_per_s = 2000

[http]
listen = "{HOST}:{http_port}"
"""


async def _run(site: Site, draft: Draft | None, for_s: float | None) -> int:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    key = _write_state(site)
    server = EmbeddedServer(zones=site.zones, keys=[key], state_dir=site.state / "dns")
    await server.start(HOST, site.dns_port)
    store = await open_store(site.store_url)
    try:
        scope = Scope(store=store, name=SCOPE, zones=site.zones, limits=Limits(allow_private=True), clock=SystemClock())
        if draft is not None:
            published = await scope.plans.publish(draft, Orders(author="enactord dev"))
            if isinstance(published, Refusal):
                raise InvalidPlan((str(published),))
        # The DNS server answers from this process: it must not wait for whoever reads these lines.
        with lines_beside() as lines:
            say = _Sayer(lines)
            async with _children(site, planner=draft is None) as children:
                _welcome(say, site, children)
                tasks = [asyncio.create_task(_show_news(scope, say))]
                tasks += [asyncio.create_task(_report_end(child, stop, say)) for child in children]
                with suppress(TimeoutError):
                    async with asyncio.timeout(for_s):
                        await stop.wait()
                stop.set()
                say.news("stopping")
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            say.news("stopped")
    finally:
        await store.close()
        await server.close()
    return 0


class _Sayer:
    """Says what happens, a line each."""

    def __init__(self, lines: LineWriter) -> None:
        self._lines = lines

    def line(self, text: str, style: str = "") -> None:
        self._lines.write(rendered_line((text, style)))

    def news(self, text: str, style: str = "") -> None:
        """Say a line with the time of day."""
        self.line(f"{datetime.now(UTC):%H:%M:%S}  {text}", style)


@asynccontextmanager
async def _children(site: Site, *, planner: bool) -> AsyncIterator[list[Child]]:
    """Start the enactors and the planner; end all of them at the end."""
    started: list[Child] = []
    try:
        for enactor in ENACTORS:
            arguments = ["-m", "enactord.cli.daemon", "run", "--config", str(site.config(enactor))]
            started.append(await _start(site, enactor, arguments))
        if planner:
            arguments = ["-m", "planner_stub.cli", "run", "--config", str(site.tools_config)]
            arguments += ["--endpoints", str(site.endpoints), "--interval", str(site.interval_s)]
            started.append(await _start(site, "planner-stub", arguments))
        yield started
    finally:
        for child in started:
            if child.process.returncode is None:
                child.process.terminate()
        for child in started:
            try:
                async with asyncio.timeout(_STOP_LIMIT_S):
                    await child.process.wait()
            except TimeoutError:
                child.process.kill()
                await child.process.wait()


def _end_with_parent() -> None:
    """Have the kernel end this child when its parent is killed. Source: prctl(2), PR_SET_PDEATHSIG."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


async def _start(site: Site, name: str, arguments: Sequence[str]) -> Child:
    # Of its own session, so that Ctrl-C reaches this process alone, which then ends the others in order.
    with (site.state / f"{name}.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=_end_with_parent,
        )
    return Child(name=name, process=process)


async def _report_end(child: Child, stop: asyncio.Event, say: _Sayer) -> None:
    code = await child.process.wait()
    if not stop.is_set():
        say.news(f"{child.name} has ended (exit {code}); the others go on", "yellow")


async def _show_news(scope: Scope, say: _Sayer) -> None:
    """One line for each plan that is published and for each zone that it is applied in."""
    published: dict[int, float] = {}
    said: set[tuple[str, int]] = set()
    loop = asyncio.get_running_loop()
    while True:
        try:
            async for event in follow_news(scope):
                if event["event"] not in _SHOWN:
                    continue
                text = str(event["text"])
                generation = int(event.get("generation", 0))
                if event["event"] == "plan.published":
                    published[generation] = loop.time()
                elif event["event"] == "plan.applied" and generation in published:
                    if (text, generation) in said:
                        continue  # every enactor that finds a zone settled says so
                    said.add((text, generation))
                    text += f" after {(loop.time() - published[generation]) * 1000:.0f} ms"
                say.news(text, {"warning": "yellow", "error": "red"}.get(str(event["severity"]), ""))
        except StoreDown:
            await asyncio.sleep(0.5)


def _welcome(say: _Sayer, site: Site, children: Sequence[Child]) -> None:
    name = "dynamodb.us-east-1.amazonaws.com" if "amazonaws.com." in site.zones else f"NAME.{site.zones[0]}"
    say.line(f"enactord dev: {len(site.zones)} zones, everything under {site.state}", "bold")
    for child in children:
        say.line(f"  {child.name:<13} pid {child.process.pid:<7} log {site.state / (child.name + '.log')}")
    say.line("Look:")
    say.line(f"  dig @{HOST} -p {site.dns_port} {name} A")
    for index in range(len(ENACTORS)):
        say.line(f"  http://{HOST}:{site.http_port + index}/   …/api/v1/status   …/metrics   …/readyz")
    program = Path(sys.argv[0]).with_name("enactorctl")
    tool = str(program) if program.exists() else "enactorctl"
    say.line(f"  {tool} --config {site.tools_config} status")
    say.line("Kill an enactor by its pid to see that nothing changes. Ctrl-C stops all.")
