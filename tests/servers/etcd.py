"""etcd for tests: nodes on loopback, each with a directory of its own."""

import contextlib
import os
import shutil
import signal
import ssl
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import pytest

from tests.servers.dns_server import free_port

_READY_LIMIT_S = 30.0
_STOP_LIMIT_S = 20.0


class Etcd:
    """A real etcd. `stop`, `kill` and `start` may follow each other: data and ports stay until `remove`.

    `certificates`: a folder with ca.pem, server.pem and server.key; clients then need a certificate, too.
    `options`: more of etcd's own, as on its command line.
    """

    def __init__(self, certificates: Path | None = None, *, name: str = "one", options: Sequence[str] = ()) -> None:
        self.certificates = certificates
        self._name = name
        self._options = tuple(options)
        self.port = free_port()
        self._peer = f"http://127.0.0.1:{free_port()}"
        self.cluster = self.member
        self.dir = Path(tempfile.mkdtemp(prefix="enactord-etcd-"))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"etcd://{self.endpoint}"

    @property
    def member(self) -> str:
        """Its part of a cluster; set `cluster` of each to all of them, by commas, before the first start."""
        return f"{self._name}={self._peer}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        """Start it without waiting: alone, a member of a cluster does not get ready."""
        path = shutil.which("etcd")
        if path is None:
            pytest.fail("etcd is not installed: run `make setup`")
        tls = []
        if (at := self.certificates) is not None:
            tls = [f"--cert-file={at}/server.pem", f"--key-file={at}/server.key", f"--trusted-ca-file={at}/ca.pem"]
            tls.append("--client-cert-auth")
        with (self.dir / "output.log").open("ab") as output:
            self._process = subprocess.Popen(
                [
                    path,
                    f"--name={self._name}",
                    f"--data-dir={self.dir / 'data'}",
                    f"--listen-client-urls={self._client}",
                    f"--advertise-client-urls={self._client}",
                    f"--listen-peer-urls={self._peer}",
                    f"--initial-advertise-peer-urls={self._peer}",
                    f"--initial-cluster={self.cluster}",
                    "--logger=zap",
                    "--log-level=warn",
                    *tls,
                    *self._options,
                ],
                stdout=output,
                stderr=output,
            )

    def wait_ready(self) -> None:
        assert self._process is not None
        context = None
        if (at := self.certificates) is not None:
            context = ssl.create_default_context(cafile=at / "ca.pem")
            context.load_cert_chain(at / "server.pem", at / "server.key")
        health = f"{self._client}/health"
        deadline = time.monotonic() + _READY_LIMIT_S
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError), urllib.request.urlopen(health, timeout=1, context=context) as answer:
                if b'"true"' in answer.read():
                    return
            time.sleep(0.05)
        self.kill()
        pytest.fail(f"etcd did not get ready: {(self.dir / 'output.log').read_text()[-2000:]}")

    def stop(self) -> None:
        """End it in good order."""
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        """Stop it from answering, with its connections open."""
        os.kill(self.pid, signal.SIGSTOP)
        while not all(_stopped(thread) for thread in Path(f"/proc/{self.pid}/task").iterdir()):
            time.sleep(0.005)  # on a busy machine a thread may go on for a while

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        self._end(signal.SIGKILL)

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self) -> "Etcd":
        try:
            self.start()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    @property
    def _client(self) -> str:
        return f"{'https' if self.certificates else 'http'}://{self.endpoint}"

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(_STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_STOP_LIMIT_S)


def _stopped(thread: Path) -> bool:
    """Whether a thread of a process is stopped by a signal. Source: proc_pid_stat(5)."""
    try:
        stat = (thread / "stat").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return True
    return stat.rpartition(")")[2].split()[0] == "T"
