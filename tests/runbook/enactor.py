"""An enactor as its unit for systemd runs it, and what `systemctl` and `journalctl` would do with it.

No service manager runs where tests run. So the drill sends the signals that the unit tells systemd to send, and keeps
what systemd would keep: the notices, and the lines on stderr.
"""

import asyncio
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.docs.reference import ROOT

UNIT = (ROOT / "deploy" / "systemd" / "enactord.service").read_text(encoding="utf-8")
RELOAD = re.findall(r"^ExecReload=(.*)$", UNIT, re.MULTILINE)
"""The commands of a reload, in order."""
_LIMIT_S = 40.0


class Enactor:
    """One enactor by its config; it may be started and ended over and over."""

    def __init__(
        self, name: str, config: Path, program: Sequence[str] = (sys.executable, "-m", "enactord.cli.daemon")
    ) -> None:
        self.name = name
        self._program = program
        self.config = config
        self.notices: list[str] = []
        self.journal = config.with_suffix(".journal")
        self.process: asyncio.subprocess.Process | None = None
        self._folder = tempfile.mkdtemp(prefix="unit-")  # short: a socket's path holds 107 bytes
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"{self._folder}/s")
        self._socket.setblocking(False)
        self._reading = asyncio.create_task(self._read_notices())

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def standing(self) -> str:
        """The newest line of status that it has told the service manager."""
        told = [notice.partition("=")[2] for notice in self.notices if notice.startswith("STATUS=")]
        return told[-1] if told else ""

    def alive(self) -> bool:
        return self.process is not None and self.process.returncode is None

    async def start(self, env: Mapping[str, str], *, stderr: int | None = None) -> bool:
        """Start it, and wait until it says that it is ready; False: it has ended before."""
        ready = self.notices.count("READY=1")
        with self.journal.open("ab") as journal:
            self.process = await asyncio.create_subprocess_exec(
                *self._program,
                *("run", "--config", str(self.config)),
                env={**env, "NOTIFY_SOCKET": f"{self._folder}/s"},
                stderr=journal if stderr is None else stderr,
            )
        async with asyncio.timeout(_LIMIT_S):
            while self.notices.count("READY=1") == ready:
                if self.process.returncode is not None:
                    return False
                await asyncio.sleep(0.02)
        return True

    async def stop(self) -> None:
        """End it as systemd does, which wakes what was stopped."""
        if not self.alive():
            return
        for number in (signal.SIGTERM, signal.SIGCONT):
            os.kill(self.pid, number)
        await self._ended()

    async def kill(self) -> None:
        if self.alive():
            os.kill(self.pid, signal.SIGKILL)
            await self._ended()

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    async def remove(self) -> None:
        await self.kill()
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        self._socket.close()
        shutil.rmtree(self._folder)

    async def _ended(self) -> None:
        assert self.process is not None
        async with asyncio.timeout(_LIMIT_S):
            await self.process.wait()

    async def _read_notices(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self.notices += (await loop.sock_recv(self._socket, 65_536)).decode().splitlines()
