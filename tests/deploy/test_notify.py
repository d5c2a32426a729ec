"""The service manager is told when the enactor serves, reloads and stops, and is fed while its loop turns."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from enactord.daemon.notify import Notifier
from enactord.telemetry.failures import Failures
from tests.deploy.process import service
from tests.servers.dns_server import free_port

CONFIG = """
[enactor]
id = "e1"
scope = "test"
state_dir = "state"
[store]
url = "{url}"
timeout_s = 0.5
[[zone]]
name = "example.test."
backend = "embedded"
server = "127.0.0.1:{dns}"
[http]
listen = "127.0.0.1:{http}"
"""


def write(folder: Path, url: str) -> Path:
    ports = free_port(2)
    config = folder / "enactord.toml"
    config.write_text(CONFIG.format(url=url, dns=ports, http=ports + 1))
    return config


@pytest.fixture
def listener(tmp_path_factory: pytest.TempPathFactory) -> Iterator[socket.socket]:
    """A service manager's end, under an abstract name."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(f"\0enactord-test-{os.getpid()}")
        made.setblocking(False)
        yield made


def heard(listener: socket.socket) -> list[str]:
    found = []
    with contextlib.suppress(BlockingIOError):
        while True:
            found.append(listener.recv(65_536).decode())
    return found


def environ(listener: socket.socket, **more: str) -> dict[str, str]:
    return {"NOTIFY_SOCKET": listener.getsockname().decode().replace("\0", "@")} | more


@pytest.mark.parametrize("store", ["sqlite", "away"])
async def test_an_enactor_is_ready_fed_and_says_that_it_stops(tmp_path: Path, store: str) -> None:
    """A store that is away keeps nothing of it from event: a dependency must not get an enactor killed."""
    away = store == "away"
    url = f"etcd://127.0.0.1:{free_port()}" if away else f"sqlite://{tmp_path}/store.db"
    async with service(write(tmp_path, url)) as enactor:
        await enactor.until(lambda: enactor.beats() >= 5)
        assert enactor.notices.count("READY=1") == 1
        await enactor.until(lambda: ("degraded: store" in enactor.standing()) == away)
        before = enactor.beats()
        await enactor.until(lambda: enactor.beats() >= before + 5)
        enactor.signal(signal.SIGTERM)
        assert await enactor.ended() == 0
    assert enactor.notices.index("READY=1") < enactor.notices.index("STOPPING=1")
    assert "Traceback" not in enactor.text


async def test_an_enactor_that_hangs_feeds_no_watchdog(tmp_path: Path) -> None:
    """What systemd kills for: a process that does not run on."""
    async with service(write(tmp_path, f"sqlite://{tmp_path}/store.db")) as enactor:
        await enactor.until(lambda: enactor.beats() >= 2)
        enactor.signal(signal.SIGSTOP)
        await asyncio.sleep(0.5)  # those on their way arrive
        before = enactor.beats()
        await asyncio.sleep(1)
        assert enactor.beats() == before
        enactor.signal(signal.SIGCONT)
        await enactor.until(lambda: enactor.beats() > before)


@contextlib.asynccontextmanager
async def attending(notifier: Notifier, alive: Callable[[], bool], standing: Callable[[], str]) -> AsyncIterator[None]:
    """The notifier at work while the context lasts."""
    task = asyncio.create_task(notifier.attend(alive, standing))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def fed(listener: socket.socket, times: int) -> list[str]:
    """Wait until the watchdog was fed so often; return all that was said."""
    said: list[str] = []
    async with asyncio.timeout(20):
        while said.count("WATCHDOG=1") < times:
            await asyncio.sleep(0.01)
            said += heard(listener)
    return said


async def test_the_watchdog_is_fed_only_while_the_loop_turns(listener: socket.socket) -> None:
    """An event loop that runs proves nothing: the judgement is the engine's progress."""
    notifier = Notifier.of(environ(listener, WATCHDOG_USEC="30000"))
    alive = True
    async with attending(notifier, lambda: alive, lambda: "so it stands"):
        said = await fed(listener, 3)
        assert said.count("STATUS=so it stands") == 1, "the same line is sent once"
        alive = False
        heard(listener)
        await asyncio.sleep(0.2)
        assert heard(listener) == []


def test_reloading_tells_the_time_and_is_one_notice(listener: socket.socket) -> None:
    """RELOADING=1 without MONOTONIC_USEC in the same notice is not taken by newer versions. Source: sd_notify(3)."""
    notifier = Notifier.of(environ(listener))
    notifier.reloading()
    (notice,) = heard(listener)
    reloading, time_us = notice.splitlines()
    assert reloading == "RELOADING=1"
    assert time_us.partition("=")[2].isdecimal()


def test_a_status_stays_one_short_line(listener: socket.socket) -> None:
    """A reason with line ends in it must not become other notices."""
    Notifier.of(environ(listener)).status("store: gone\nREADY=0\n" + "x" * 2000)
    (notice,) = heard(listener)
    assert "\n" not in notice
    assert len(notice) < 600


@pytest.mark.parametrize(
    ("given", "watchdog_s"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, 0.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
        ({}, 0.0),
    ],
)
def test_a_watchdog_of_another_process_is_not_ours(given: dict[str, str], watchdog_s: float) -> None:
    """Source: sd_watchdog_enabled(3)."""
    assert Notifier.of(given).watchdog_s == watchdog_s


def test_without_a_manager_nothing_is_said(listener: socket.socket) -> None:
    """No socket, one of a kind that is not known, or one that is gone: the enactor goes on."""
    for address in ("", "relative", "@gone", "/nowhere/at/all"):
        Notifier.of({"NOTIFY_SOCKET": address}).ready()
    assert heard(listener) == []


async def test_a_status_that_cannot_be_made_or_sent_does_not_starve_the_watchdog(listener: socket.socket) -> None:
    """A watchdog that is not fed kills the process; an author's half of a surrogate pair must not do that."""
    failures = Failures()
    notifier = Notifier.of(environ(listener, WATCHDOG_USEC="30000"), failures=failures)
    lines = iter(["frozen by \ud800", "frozen by \x1b[2J"])

    def standing() -> str:
        return next(lines, "") or str(1 // 0)

    async with attending(notifier, lambda: True, standing):
        said = await fed(listener, 6)
    assert [line for line in said if line != "WATCHDOG=1"] == [
        "STATUS=frozen by \\ud800",
        "STATUS=frozen by \\u001b[2J",
    ]
    assert failures.totals["notify"] >= 3


async def test_a_manager_that_is_busy_gets_ready_later(listener: socket.socket) -> None:
    """Without READY=1 systemd would take the start for failed; a full socket delays it, and holds up nobody."""
    failures = Failures()
    notifier = Notifier.of(environ(listener, WATCHDOG_USEC="30000"), failures=failures)
    for number in count():
        notifier.status(f"line {number}")
        if failures.totals["notify"]:
            break  # the socket is full
    notifier.ready()
    assert failures.totals["notify"] == 2
    heard(listener)
    async with attending(notifier, lambda: True, lambda: "so it stands"):
        said = await fed(listener, 3)
    assert said.count("READY=1") == 1
