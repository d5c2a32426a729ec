"""A real Alertmanager for tests: loopback only, a directory of its own, asked by HTTP."""

import contextlib
import json
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from shutil import rmtree
from types import TracebackType
from typing import Any

import pytest

from tests.servers.dns_server import free_port
from tests.servers.prometheus import program

_READY_LIMIT_S = 30.0
_STOP_LIMIT_S = 20.0


class Alertmanager:
    """Takes alerts by HTTP, and says which of them another one silences."""

    def __init__(self, config: Path) -> None:
        self._config = config
        self.port = free_port()
        self.dir = Path(tempfile.mkdtemp(prefix="enactord-alertmanager-"))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Alertmanager":
        with (self.dir / "output.log").open("ab") as output:
            self._process = subprocess.Popen(
                [
                    program("prometheus-alertmanager"),
                    f"--config.file={self._config}",
                    f"--storage.path={self.dir / 'data'}",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                    "--cluster.listen-address=",
                ],
                stdout=output,
                stderr=output,
            )
        deadline = time.monotonic() + _READY_LIMIT_S
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=1).close()
                return self
            time.sleep(0.05)
        self._end()
        pytest.fail(f"the Alertmanager did not get ready: {(self.dir / 'output.log').read_text()[-2000:]}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()
        rmtree(self.dir, ignore_errors=True)

    def _end(self) -> None:
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(_STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(_STOP_LIMIT_S)

    def fire(self, alerts: Sequence[Mapping[str, str]]) -> None:
        """Have alerts with these labels fire."""
        body = json.dumps([{"labels": labels} for labels in alerts]).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/api/v2/alerts", data=body, headers={"Content-Type": "application/json"}
        )
        urllib.request.urlopen(request, timeout=5).close()

    def alerts(self) -> list[dict[str, Any]]:
        """Return the alerts that fire, with whether another one silences them (`status.inhibitedBy`)."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v2/alerts", timeout=5) as answer:
            found: list[dict[str, Any]] = json.load(answer)
        return found
