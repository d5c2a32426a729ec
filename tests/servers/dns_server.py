"""A real DNS server as a child process: loopback only, a directory of its own, no privileges."""

import base64
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Self

import dns.message
import dns.query
import dns.tsig
import pytest

_TEMPLATES = Path(__file__).parent / "templates"
_SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_READY_LIMIT_S = 20.0
_STOP_LIMIT_S = 20.0
_PORTS_FROM, _PORTS_EACH, _WORKERS_MAX = 10_000, 2_700, 8
_GIVEN: deque[int] = deque(maxlen=500)

SECRET = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
FOREIGN_SECRET = "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="


def free_port(count: int = 1) -> int:
    """Return the first of `count` ports in a row that were free for UDP and for TCP on loopback a moment ago.

    They lie below the range that the kernel takes the ports of outgoing connections from: a
    client that waits for a server on such a port could be given the very port it asks, and
    so talk to itself and keep the server from it. Tests that run side by side have a range each:
    a server that was stopped finds its port free when it comes back. A port that was given lately is
    not given again: who got it may not have bound it yet.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _WORKERS_MAX
    low = _PORTS_FROM + worker * _PORTS_EACH
    for _ in range(1000):
        first = random.SystemRandom().randrange(low, low + _PORTS_EACH - count)
        if any(port in _GIVEN for port in range(first, first + count)):
            continue
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for port in range(first, first + count):
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                    stack.enter_context(socket.socket(socket.AF_INET, kind)).bind(("127.0.0.1", port))
            _GIVEN.extend(range(first, first + count))
            return first
    raise RuntimeError(f"no {count} ports in a row are free for both UDP and TCP")


class DnsServer:
    """A server with zones that the key "enactor" may change (A, AAAA, TXT), and "foreign" in full.

    Use as a context manager, or call `start` and `stop`. `stop`, `kill` and `start` may
    follow each other: the directory, and so the data, stays until `remove`.
    """

    program: ClassVar[str]
    template: ClassVar[str]
    signed_only = False
    """Whether only signed questions are answered."""
    secret = SECRET
    foreign_secret = FOREIGN_SECRET

    def __init__(self, zones: Sequence[str]) -> None:
        self.zones = tuple(zones)
        self.host = "127.0.0.1"
        self.port = free_port()
        self.dir = Path(tempfile.mkdtemp(prefix="enactord-"))  # short: knotd puts a socket in it
        self.cwd = self.dir
        self._process: subprocess.Popen[bytes] | None = None
        self._write_config()

    def command(self, path: str) -> list[str]:
        """The command that runs the server in the foreground."""
        raise NotImplementedError

    def zone_stanza(self, zone: str) -> str:
        """The configuration of one zone, whose file is `<zone>zone` in the directory."""
        raise NotImplementedError

    def start(self) -> None:
        path = shutil.which(self.program) or shutil.which(self.program, path=_SEARCH_PATH)
        if path is None:
            pytest.fail(f"{self.program} is not installed: run `make setup`")
        with (self.dir / "output.log").open("ab") as output:
            self._process = subprocess.Popen(self.command(path), stdout=output, stderr=output, cwd=self.cwd)
        self._wait_ready()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def stop(self) -> None:
        """End the server in good order."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the server at once, as a power cut would."""
        self._end(signal.SIGKILL)

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()

    def _write_config(self) -> None:
        config = (_TEMPLATES / self.template).read_text()
        for mark, value in (
            ("@DIR@", str(self.dir)),
            ("@PORT@", str(self.port)),
            ("@SECRET@", self.secret),
            ("@FOREIGN_SECRET@", self.foreign_secret),
            ("@ZONES@", "\n".join(self.zone_stanza(zone) for zone in self.zones)),
        ):
            config = config.replace(mark, value)
        (self.dir / self.template).write_text(config)
        self.write_zones()

    def write_zones(self) -> None:
        """Write the file of each zone as it is at first."""
        for zone in self.zones:
            (self.dir / f"{zone}zone").write_text((_TEMPLATES / "zone").read_text().replace("@ZONE@", zone))

    def _wait_ready(self) -> None:
        """Wait until the last zone is answered for with authority."""
        assert self._process is not None
        deadline = time.monotonic() + _READY_LIMIT_S
        query = dns.message.make_query(self.zones[-1], "SOA")
        if self.signed_only:
            query.use_tsig(dns.tsig.Key("enactor.", base64.b64decode(self.secret), dns.tsig.HMAC_SHA256))
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError, dns.exception.DNSException):
                if dns.query.udp(query, self.host, timeout=0.5, port=self.port).answer:
                    return
            time.sleep(0.02)
        self.kill()
        log = "".join(path.read_text() for path in sorted(self.dir.glob("*.log")))[-2000:]
        pytest.fail(f"{self.program} did not get ready: {log}")

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
