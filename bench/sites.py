"""Where candidates run side by side: one DNS server with a zone for each, and one etcd."""

import asyncio
import base64
import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from bench.usage import cpu_s
from enactord.wire.tsig import TsigKey
from tests.servers.bind import Bind
from tests.servers.dns_server import DnsServer
from tests.servers.etcd import Etcd
from tests.servers.knot import Knot


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of DNS server, with what suits it best."""

    program: type[DnsServer]
    batch_names: int
    """Names of a message."""
    in_flight: int
    """Messages under way at once, where the candidate can."""
    quiet_s: float = 0.0
    """How long a zone is left alone before a round."""


KINDS = {
    # Knot 3.2 plans a NOTIFY a second after an update, by a clock of whole seconds. An update that
    # comes to an idle zone in the second in which that falls due is left until the NOTIFY's turn, up to
    # a second later (seen in its system calls: it sits idle, with the update read). Rounds that
    # follow each other at once would measure that and little else.
    "knot": Kind(program=Knot, batch_names=50, in_flight=64, quiet_s=1.1),
    "bind": Kind(program=Bind, batch_names=25, in_flight=16),
}
"""All candidates that send batches send these: with real names a message holds no more than some 70."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A running server and store."""

    name: str
    kind: Kind
    server: DnsServer
    etcd: Etcd
    dir: Path
    pids: tuple[int, ...]
    """The processes of the DNS server and of etcd."""

    @property
    def key(self) -> TsigKey:
        """May update A, AAAA and TXT, and transfer the zones."""
        return tsig_key("enactor", self.server.secret)

    @property
    def foreign_key(self) -> TsigKey:
        """May update all types."""
        return tsig_key("foreign", self.server.foreign_secret)

    def folder(self, name: str) -> Path:
        """Return a directory of its own for one candidate."""
        path = self.dir / name
        path.mkdir()
        return path

    def quiet(self) -> "Quiet":
        """Return what sees to it that a zone is left alone before each round."""
        return Quiet(self.kind.quiet_s)

    def cpu_s(self) -> float:
        """Return the CPU seconds that server and store have used."""
        return cpu_s(self.pids)


class Quiet:
    """Entered before a round and left after it: waits until the last round is long enough ago."""

    def __init__(self, quiet_s: float) -> None:
        self._quiet_s = quiet_s
        self._next = time.perf_counter() + quiet_s

    async def __aenter__(self) -> None:
        await asyncio.sleep(max(0.0, self._next - time.perf_counter()))

    async def __aexit__(self, *exc: object) -> None:
        self._next = time.perf_counter() + self._quiet_s


def tsig_key(name: str, secret: str) -> TsigKey:
    return TsigKey(name=name, algorithm="hmac-sha256", secret=base64.b64decode(secret))


@contextlib.contextmanager
def open_site(name: str, zones: Sequence[str]) -> Iterator[Site]:
    """Start a server of this kind with these zones, and etcd; both end, with all data, with the context."""
    kind = KINDS[name]
    folder = Path(tempfile.mkdtemp(prefix="enactord-bench-"))
    before = set(_children())
    try:
        with Etcd() as etcd, kind.program(zones) as server:
            pids = tuple(sorted(set(_children()) - before))
            yield Site(name=name, kind=kind, server=server, etcd=etcd, dir=folder, pids=pids)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _children() -> list[int]:
    return [child.pid for child in psutil.Process().children()]
