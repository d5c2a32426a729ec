"""The hot pieces by themselves, timed by pytest-benchmark in bench/micro."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.runner import Bench

_FOLDER = Path(__file__).parents[1] / "micro"
_ROUNDS_MIN = 3


class MicroFailed(Exception):
    """pytest did not end well."""


async def run(bench: Bench) -> None:
    """Run them all, and take over pytest-benchmark's own rounds."""
    with tempfile.TemporaryDirectory(prefix="enactord-bench-") as folder:
        path = Path(folder) / "micro.json"
        bench.tell("pytest-benchmark")
        command = [
            sys.executable, "-m", "pytest", str(_FOLDER), "-q", "-p", "no:cacheprovider", "-p", "no:randomly",
            "--benchmark-only", f"--benchmark-json={path}", f"--benchmark-max-time={bench.sizes.seconds}",
            f"--benchmark-min-rounds={_ROUNDS_MIN}", "--benchmark-disable-gc",
        ]  # fmt: skip
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
        done = await asyncio.to_thread(
            subprocess.run, command, cwd=_FOLDER.parents[1], env=environment, capture_output=True, text=True
        )
        if done.returncode:
            raise MicroFailed(done.stdout[-2000:] + done.stderr[-2000:])
        document = json.loads(path.read_text(encoding="utf-8"))
    for piece in document["benchmarks"]:
        times = piece["stats"]["data"]
        count = piece["extra_info"]["endpoints"]
        name = piece["extra_info"]["piece"]
        bench.record("", f"{count:,} endpoints", name, "time", "ms", *(each * 1000 for each in times))
        bench.record("", f"{count:,} endpoints", name, "an endpoint", "µs", *(each * 1e6 / count for each in times))
