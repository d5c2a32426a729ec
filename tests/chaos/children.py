"""The processes of a run that are enactord's own: enactors, the planner, and single commands."""

import asyncio
import contextlib
import fcntl
import os
import shutil
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

_PIPE_BYTES = 4096
STOP_LIMIT_S = 60.0
"""A process that is told to end and has not by then hangs."""


def program(*arguments: str) -> list[str]:
    """The command that runs Python so, killed by the kernel when we are. Source: prctl(2), PR_SET_PDEATHSIG.

    By a program of its own where it is there: a function between fork and exec is not safe
    beside the threads of gRPC.
    """
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    with_us = [setpriv, "--pdeathsig", "KILL"] if setpriv else []
    return [*with_us, sys.executable, *arguments]


class Child:
    """A Python program that can be started again and again; what it prints is added to one log.

    It prints into a small pipe, as under systemd or Kubernetes. `reading` cleared: nobody reads that pipe.
    """

    def __init__(self, name: str, arguments: Sequence[str], log: Path) -> None:
        self.name = name
        self.log = log
        self.reading = threading.Event()
        self.reading.set()
        self.lives = 0
        self._arguments = arguments
        self._process: asyncio.subprocess.Process | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def ended_by_itself(self) -> int | None:
        """The exit code of a process that nobody ended."""
        return None if self._process is None else self._process.returncode

    async def start(self) -> None:
        assert not self.running, self.name
        self.lives += 1
        source, sink = os.pipe()
        fcntl.fcntl(sink, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        try:
            self._process = await asyncio.create_subprocess_exec(
                *program(*self._arguments),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
            )
        finally:
            os.close(sink)
            started = f'{{"event": "process.started", "life": {self.lives}}}\n'.encode()
            threading.Thread(target=self._read, args=(source, started), daemon=True).start()

    def _read(self, source: int, started: bytes) -> None:
        """Add what one life prints to the log, until it has ended."""
        with self.log.open("ab", buffering=0) as log, open(source, "rb", buffering=0) as printed:
            log.write(started)
            while data := printed.read(65_536):
                self.reading.wait()
                log.write(data)

    def send(self, number: signal.Signals) -> None:
        """Send a signal; to a process that is gone, none."""
        if self._process is not None and self._process.returncode is None:
            os.kill(self._process.pid, number)

    async def kill(self) -> None:
        """End it at once; stopped or not."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def stop(self) -> int | None:
        """Ask it to end, and wait; returns its exit code, None where it hung and had to be killed."""
        process, self._process = self._process, None
        assert process is not None
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(STOP_LIMIT_S):
                return await process.wait()
        except TimeoutError:
            return None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def command(*arguments: str, limit_s: float = 120.0) -> tuple[int, str]:
    """Run one command to its end; returns exit code and what it printed."""
    process = await asyncio.create_subprocess_exec(
        *program(*arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(limit_s):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, output.decode("utf-8", "replace")
