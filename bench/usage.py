"""CPU seconds and memory of processes, and programs that are run to their end."""

import asyncio
import os
import subprocess
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]

_MB = 1e6
_LOOK_S = 0.02


class ToolFailed(Exception):
    """A program did not do what it was run for."""


def cpu_s(pids: Iterable[int]) -> float:
    """Return the CPU seconds that live processes have used, user and system, in all their threads."""
    total = 0.0
    for pid in pids:
        times = psutil.Process(pid).cpu_times()
        total += times.user + times.system
    return total


def resident_mb(pid: int) -> float:
    """Return what a process holds in memory now, in MB."""
    return float(psutil.Process(pid).memory_info().rss / _MB)


def peak_mb(pid: int) -> float:
    """Return the most memory that a process has held, in MB. Source: proc(5), VmHWM."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) * 1024 / _MB


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a program took from its start to its end."""

    took_s: float
    cpu_s: float
    peak_mb: float | None
    output: str


async def run_tool(command: Sequence[str], *, cwd: Path) -> Done:
    """Run a program to its end. Raises `ToolFailed` with the end of its output where it does not exit with 0."""
    return await asyncio.to_thread(_run_tool, command, cwd)


def _run_tool(command: Sequence[str], cwd: Path) -> Done:
    log = cwd / "tool.log"
    with log.open("wb") as output:
        start = time.perf_counter()
        process = subprocess.Popen(command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        peak = _Peak(process.pid)
        peak.start()
        _, status, usage = os.wait4(process.pid, 0)
        took_s = time.perf_counter() - start
        peak.join()
    process.returncode = os.waitstatus_to_exitcode(status)
    text = log.read_text(encoding="utf-8", errors="replace")
    if process.returncode:
        raise ToolFailed(f"{command[0]} ended with {process.returncode}: {text[-500:].strip()}")
    return Done(took_s=took_s, cpu_s=usage.ru_utime + usage.ru_stime, peak_mb=peak.mb, output=text)


class _Peak(threading.Thread):
    """Looks at a process's peak until it ends: the kernel's own report of it would begin with ours, which it was."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid = pid
        self.mb: float | None = None

    def run(self) -> None:
        while True:
            try:
                self.mb = peak_mb(self._pid)
            except (OSError, StopIteration):
                return  # it has ended
            time.sleep(_LOOK_S)
