"""A real program for tests that says by HTTP whether it is ready: loopback only, a directory of its own."""

import contextlib
import shutil
import subprocess
import tempfile
import time
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.servers.dns_server import free_port

_READY_LIMIT_S = 30.0
_STOP_LIMIT_S = 20.0


def program(name: str) -> str:
    """Return the path of a program that comes with Prometheus or Alertmanager."""
    path = shutil.which(name)
    if path is None:
        pytest.fail(f"{name} is not installed: run `make setup`")
    return path


class WebServer(ABC):
    """A child process that runs while the context does, and is asked at `url`."""

    def __init__(self, name: str) -> None:
        """`name`: the program's."""
        self._name = name
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.dir = Path(tempfile.mkdtemp(prefix=f"enactord-{name}-"))
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def _arguments(self) -> Sequence[str]:
        """What the program is called with."""

    def __enter__(self) -> Self:
        with (self.dir / "output.log").open("ab") as output:
            self._process = subprocess.Popen(
                [program(self._name), *self._arguments(), f"--web.listen-address=127.0.0.1:{self.port}"],
                stdout=output,
                stderr=output,
            )
        deadline = time.monotonic() + _READY_LIMIT_S
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError):
                if urllib.request.urlopen(f"{self.url}/-/ready", timeout=1).status == 200:
                    return self
            time.sleep(0.05)
        said = (self.dir / "output.log").read_text()[-2000:]
        self._remove()
        pytest.fail(f"{self._name} did not get ready: {said}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def _remove(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(_STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(_STOP_LIMIT_S)
        shutil.rmtree(self.dir, ignore_errors=True)
