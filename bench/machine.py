"""What machine a run was on, and which versions took part."""

import os
import platform
import shutil
import subprocess
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from bench.figures import significant

_PACKAGES = ("enactord", "dnspython", "octodns", "octodns-bind", "grpcio", "protobuf", "aiodns", "uvloop")
_PROGRAMS = {
    "BIND": ("named", "-v"),
    "Knot DNS": ("knotd", "-V"),
    "etcd": ("etcd", "--version"),
    "nsupdate": ("nsupdate", "-V"),
}
_SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_FSYNCS = 50


def machine() -> dict[str, str]:
    """Return what the figures depend on. The rest of this machine's work does not show here: trust ratios."""
    return {
        "processor": _processor(),
        "cores": f"{os.cpu_count()}",
        "memory": f"{significant(psutil.virtual_memory().total / 2**30)} GiB",
        "system": f"{_system()}, Linux {platform.release()}",
        "load before": " ".join(f"{load:.2f}" for load in os.getloadavg()),
        "fsync": f"{significant(fsync_s() * 1000)} ms (median of {_FSYNCS} appends of 4 KiB)",
    }


def versions() -> dict[str, str]:
    """Return the version of everything that takes part."""
    found = {"Python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    for name, command in _PROGRAMS.items():
        found[name] = _first_line(command)
    return found


def fsync_s() -> float:
    """Return how long it takes to append 4 KiB to a file and have it on disk, in seconds (median)."""
    took = []
    with tempfile.NamedTemporaryFile(prefix="enactord-bench-") as file:
        for _ in range(_FSYNCS):
            start = time.perf_counter()
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
            took.append(time.perf_counter() - start)
    return sorted(took)[_FSYNCS // 2]


def _first_line(command: tuple[str, ...]) -> str:
    path = shutil.which(command[0]) or shutil.which(command[0], path=_SEARCH_PATH)
    if path is None:
        return "not installed"
    done = subprocess.run([path, *command[1:]], capture_output=True, text=True, timeout=10, check=False)
    return (done.stdout + done.stderr).strip().partition("\n")[0]


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _system() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        return "Linux"
