"""The daemon with a log that cannot be written: it starts, applies plans, answers its probes, and stops."""

import asyncio
import errno
import fcntl
import json
import os
import pty
import resource
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from enactord.core.plan import Manifest, read_plan
from enactord.store.keys import Keys
from enactord.store.plans import Orders, Plans
from enactord.stores.by_url import open_store
from tests.daily import daily
from tests.servers.dns_server import free_port
from tests.world import SCOPE, ZONE, WallClock, fleet, plan

LIMIT_S = 40.0
STOP_S = 15.0
PIPE_BYTES = 4096
DISK_BYTES = 64 * 1024 * 1024
CONFIG = """
[enactor]
id = "e1"
scope = "{scope}"
state_dir = "{folder}/state"
[store]
url = "{url}"
timeout_s = 0.5
[[zone]]
name = "{zone}"
backend = "embedded"
server = "127.0.0.1:{dns}"
[guard]
allow_private = true
endpoints_replaced_max_ratio = 1.0
scope_capacity_removed_max_ratio = 1.0
[http]
listen = "127.0.0.1:{http}"
[log]
level = "debug"
format = "{format}"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """A daemon that runs, and the plans of its scope."""

    process: asyncio.subprocess.Process
    http: str
    url: str

    async def get(self, path: str) -> Any:
        async with aiohttp.ClientSession() as client, client.get(f"{self.http}{path}") as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json(content_type=None) if path != "/metrics" else await answer.text()

    async def until(self, path: str, what: Callable[[Any], object]) -> Any:
        """Wait for a page that shows something; the process must live."""
        shown: Any = None
        try:
            async with asyncio.timeout(LIMIT_S):
                while True:
                    assert self.process.returncode is None, f"it ended: {self.process.returncode}"
                    try:
                        shown = await self.get(path)
                        if what(shown):
                            return shown
                    except aiohttp.ClientError:
                        pass  # it has only begun
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"did not come: {shown}") from None

    async def applies(self, plans: int, author: str = "test") -> None:
        """Publish plans one after the other; each is applied."""
        store = await open_store(self.url)
        try:
            scope = Plans(store, Keys(SCOPE), WallClock(), zones=[ZONE])
            newest, _ = await scope.newest()
            for number in range(newest + 1, newest + plans + 1):
                published = await scope.publish(read_plan(plan(fleet(20, number))), Orders(author=author))
                assert isinstance(published, Manifest), published
                await self.until("/api/v1/status", partial(has_applied, number))
        finally:
            await store.close()

    async def stops(self) -> None:
        """Stop it as systemd does; it ends soon and well."""
        start = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(LIMIT_S):
            assert await self.process.wait() == 0
        assert time.monotonic() - start < STOP_S


def has_applied(generation: int, status: dict[str, Any]) -> bool:
    return all(int(zone["applied"]) >= generation for zone in status["zones"])


@asynccontextmanager
async def daemon(
    folder: Path, stderr: int | None, *, shell: str = "", format_: str = "json", url: str = "", **env: str
) -> AsyncIterator[Daemon]:
    """Run a daemon that writes to a descriptor; `shell`: redirections that a shell makes first."""
    ports = free_port(2)
    store = f"sqlite://{folder}/store.db"
    config = folder / "enactord.toml"
    text = CONFIG.format(
        scope=SCOPE, folder=folder, zone=ZONE, url=url or store, dns=ports, http=ports + 1, format=format_
    )
    config.write_text(text)
    command = [sys.executable, "-m", "enactord.cli.daemon", "run", "--config", str(config)]
    if shell:
        command = ["/bin/sh", "-c", f'exec "$@" {shell}', "sh", *command]
    given = {key: value for key, value in os.environ.items() if key != "NOTIFY_SOCKET"}
    process = await asyncio.create_subprocess_exec(
        *command, stdout=stderr, stderr=stderr, env=given | env, start_new_session=True
    )
    try:
        yield Daemon(process=process, http=f"http://127.0.0.1:{ports + 1}", url=store)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@contextmanager
def broken_pipe() -> Iterator[int]:
    """A pipe whose reader has gone."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


@contextmanager
def unread_pipe() -> Iterator[int]:
    """A small pipe whose reader lives and reads nothing, as a log driver that is stuck, or a `tee` that was stopped."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, 1031, PIPE_BYTES)  # F_SETPIPE_SZ
    yield writing
    os.close(writing)
    os.close(reading)


@contextmanager
def full_disk() -> Iterator[int]:
    """Each write fails with ENOSPC."""
    descriptor = os.open("/dev/full", os.O_WRONLY)
    yield descriptor
    os.close(descriptor)


@contextmanager
def terminal_that_left() -> Iterator[int]:
    """Each write fails with EIO: somebody closed the window."""
    ours, theirs = pty.openpty()
    os.close(ours)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        os.write(theirs, b"x")
    yield theirs
    os.close(theirs)


@pytest.mark.parametrize("format_", daily(["json", "console"], 1))
@pytest.mark.parametrize("broken", [broken_pipe, unread_pipe, full_disk, terminal_that_left])
async def test_a_log_that_takes_nothing_stops_nothing(tmp_path: Path, broken: Callable[[], Any], format_: str) -> None:
    """From the start on: plans are applied, the loop turns, each lost line is counted, and the stop does not wait."""
    with broken() as stderr:
        async with daemon(tmp_path, stderr, format_=format_) as enactor:
            await enactor.applies(12)
            assert await enactor.get("/healthz") == {"status": "ok"}
            if broken is not unread_pipe:  # there the queue takes all that comes here
                ready = await enactor.until("/readyz", lambda page: page["reasons"])
                assert ready["status"] == "degraded"
                assert "log: " in ready["reasons"][0]
                assert "lines of stderr were lost" in ready["reasons"][0]
                (line,) = [
                    line
                    for line in (await enactor.get("/metrics")).splitlines()
                    if line.startswith("enactord_log_lines_lost_total ")
                ]
                assert float(line.split()[1]) > 0
            await enactor.applies(1)
            await enactor.stops()


@pytest.mark.parametrize("shell", ["2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
async def test_streams_that_are_closed_at_the_start_stop_nothing(tmp_path: Path, shell: str) -> None:
    """Nor does a socket or a database get the number of stderr, and what a library writes there."""
    async with daemon(tmp_path, None, shell=shell, GRPC_VERBOSITY="debug") as enactor:
        await enactor.applies(2)
        ready = await enactor.until("/readyz", lambda page: page["reasons"])
        assert "it was closed when enactord was started" in ready["reasons"][0]
        of_streams = [os.readlink(f"/proc/{enactor.process.pid}/fd/{number}") for number in range(3)]
        assert all(target.startswith(("/dev/null", "pipe:")) for target in of_streams), of_streams
        await enactor.stops()


async def test_a_reader_that_has_enough_stops_nothing(tmp_path: Path) -> None:
    """As with `enactord run 2>&1 | head -1`: one line, and then nobody."""
    reading, writing = os.pipe()
    async with daemon(tmp_path, writing) as enactor:
        os.close(writing)
        with os.fdopen(reading, "rb") as reader:
            assert b"started" in await asyncio.to_thread(reader.readline)
        await enactor.applies(2)
        await enactor.until("/readyz", lambda page: any("Broken pipe" in reason for reason in page["reasons"]))
        await enactor.stops()


async def test_a_disk_that_has_room_again_is_told_what_it_missed(tmp_path: Path) -> None:
    """The reason ends once the gap stands in the log, though no other line comes; each line is a document."""
    with (tmp_path / "log").open("ab") as log:
        log.truncate(DISK_BYTES)  # a hole: what is written now would be beyond what the process may write
        async with daemon(tmp_path, log.fileno()) as enactor:
            resource.prlimit(enactor.process.pid, resource.RLIMIT_FSIZE, (DISK_BYTES, DISK_BYTES))
            await enactor.applies(2)
            await enactor.until("/readyz", lambda page: any("File too large" in reason for reason in page["reasons"]))
            os.truncate(tmp_path / "log", 0)
            await enactor.until("/readyz", lambda page: not page["reasons"])
            await enactor.applies(1)
            await enactor.stops()
    events = [json.loads(line) for line in (tmp_path / "log").read_bytes().splitlines()]
    assert events[0]["event"] == "lines.lost"
    assert (events[0]["level"], events[0]["enactor"], events[0]["detail"]) == ("warning", "e1", "File too large")
    assert events[0]["lines"] > 0
    assert events[-1]["event"] == "stopped"


@pytest.mark.parametrize("format_", daily(["console", "json"], 1))
@pytest.mark.parametrize(
    "env", [{"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}, {"PYTHONIOENCODING": "latin-1"}]
)
async def test_a_locale_without_a_character_loses_no_line(tmp_path: Path, env: dict[str, str], format_: str) -> None:
    """Authors write in any script; what the encoding lacks is escaped, and no half of a pair is an error."""
    with (tmp_path / "log").open("ab") as log:
        async with daemon(tmp_path, log.fileno(), format_=format_, **env) as enactor:
            await enactor.applies(1, author="Jörg ✓ 漢字")
            assert (await enactor.get("/readyz"))["reasons"] == []
            await enactor.stops()
    text = (tmp_path / "log").read_bytes().decode("latin-1")
    assert "plan.seen" in text
    assert "Traceback" not in text


async def test_a_log_that_is_cut_by_rotation_goes_on(tmp_path: Path) -> None:
    """As logrotate's `copytruncate` does it: the file is emptied under the writer, and has only new lines after."""
    with (tmp_path / "log").open("ab") as log:
        async with daemon(tmp_path, log.fileno()) as enactor:
            await enactor.applies(1)
            os.truncate(tmp_path / "log", 0)
            await enactor.applies(1)
            await enactor.stops()
    events = [json.loads(line) for line in (tmp_path / "log").read_bytes().splitlines()]
    assert [event["generation"] for event in events if event["event"] == "plan.seen"] == [2]


async def test_every_line_of_a_json_log_is_a_document_of_ours(tmp_path: Path) -> None:
    """Also what a library in C writes to stderr by itself (gRPC, told to say much)."""
    away = f"etcd://127.0.0.1:{free_port()}"
    with (tmp_path / "log").open("ab") as log:
        settings = {"GRPC_VERBOSITY": "debug", "GRPC_TRACE": "api"}
        async with daemon(tmp_path, log.fileno(), url=away, **settings) as enactor:
            await enactor.until("/readyz", lambda page: any("store" in reason for reason in page["reasons"]))
            await enactor.stops()
    lines = (tmp_path / "log").read_bytes().splitlines()
    last = next(number for number, line in enumerate(lines) if b'"stopped"' in line)
    events = [json.loads(line) for line in lines[: last + 1]]  # the interpreter's end is no more the daemon's
    assert any(event["event"] == "library.said" and event["library"] == "stderr" for event in events)


@pytest.mark.parametrize("broken", [broken_pipe, unread_pipe, full_disk])
async def test_a_start_that_fails_ends_with_its_code_though_nobody_reads_why(
    tmp_path: Path, broken: Callable[[], Any]
) -> None:
    """A stuck reader must not turn a wrong config into a process that hangs."""
    with broken() as stderr:
        if broken is unread_pipe:
            assert os.write(stderr, b"x" * PIPE_BYTES) == PIPE_BYTES  # now it is full
        async with daemon(tmp_path, stderr, format_="neither") as enactor, asyncio.timeout(LIMIT_S):
            assert await enactor.process.wait() == 2
