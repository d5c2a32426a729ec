"""`enactord run` as a service manager starts it: with a socket for its notices, which are kept."""

import asyncio
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

_LIMIT_S = 40.0


class Service:
    """A running enactor, its notices in order, and the events of its log."""

    def __init__(self, notices: socket.socket, process: asyncio.subprocess.Process) -> None:
        self.notices: list[str] = []
        self.events: list[dict[str, Any]] = []
        self.text = ""
        self._socket = notices
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def ended(self) -> int:
        async with asyncio.timeout(_LIMIT_S):
            return await self._process.wait()

    async def until(self, what: Callable[[], object]) -> None:
        """Wait for a condition, with a limit."""
        try:
            async with asyncio.timeout(_LIMIT_S):
                while not what():
                    assert self._process.returncode is None, f"it ended: {self.text}"
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"did not come: {self.notices}\n{self.text}") from None

    def event(self, name: str, count: int = 1) -> bool:
        """Return whether an event was logged so many times."""
        return len([event for event in self.events if event["event"] == name]) >= count

    def beats(self) -> int:
        return self.notices.count("WATCHDOG=1")

    def standing(self) -> str:
        """The newest line of status."""
        return next((notice for notice in reversed(self.notices) if notice.startswith("STATUS=")), "")

    async def read_notices(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self.notices += (await loop.sock_recv(self._socket, 65_536)).decode().splitlines()

    async def read_log(self) -> None:
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            self.text += line.decode()
            if line.startswith(b"{"):
                self.events.append(json.loads(line))


@asynccontextmanager
async def service(config: Path) -> AsyncIterator[Service]:
    """Run an enactor by a config while the context lasts, with a watchdog that wants ten beats a second."""
    folder = tempfile.mkdtemp(prefix="notify-")  # short: a socket's path holds 107 bytes
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices:
        notices.bind(f"{folder}/s")
        notices.setblocking(False)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "enactord.cli.daemon", "run", "--config", str(config)),
            env=os.environ | {"NOTIFY_SOCKET": f"{folder}/s", "WATCHDOG_USEC": "300000"},
            stderr=asyncio.subprocess.PIPE,
        )
        running = Service(notices, process)
        reading = [asyncio.create_task(running.read_notices()), asyncio.create_task(running.read_log())]
        try:
            yield running
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            for task in reading:
                task.cancel()
            await asyncio.gather(*reading, return_exceptions=True)
            shutil.rmtree(folder)
