"""The embedded server: sockets, limits and lifetime around the responder and the writer."""

import asyncio
import contextlib
import errno
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType

from enactord.dns_server.answers import SERVFAIL
from enactord.dns_server.journal import Journal
from enactord.dns_server.rates import RESPONSES_PER_S, ResponseRates
from enactord.dns_server.responder import PendingUpdate, Responder, Response, Signed
from enactord.dns_server.tcp import Connection
from enactord.dns_server.udp import UdpListener
from enactord.dns_server.writer import Writer
from enactord.dns_server.zone import Node, Zone, new_zone
from enactord.wire.names import HEADER_BYTES
from enactord.wire.tsig import TsigKey

Key = TsigKey
"""A key that may update and transfer every zone of the server."""

_LAST_TURNS = 4
"""Turns of the loop at the end: an accepted connection takes one to be made, and two to be closed."""
_SWEEP_S = 1.0
_BACKLOG = 256
_FREE_PORT_TRIES = 50


class PortInUse(OSError):
    """The address of the server is taken by another program."""


class EmbeddedServer:
    """An authoritative server for the types A, AAAA, TXT, SOA, NS and CNAME, over UDP and TCP.

    Zones change by signed RFC 2136 updates alone; every key may change every zone. With
    a `state_dir` an acknowledged update is on disk; without one all is gone at `close`.
    A zone that is not in the state directory yet starts with a SOA and one NS record
    (`nameserver`, in which `<zone>` stands for the zone's name).

    Answers over UDP are limited for each network, /24 or /56: `udp_responses_per_s`, infinity for
    no limit. Loopback is limited only with `udp_limits_loopback`.

    `clock` tells seconds since the epoch and counts only for signatures. `on_problem` is
    told, in a sentence, what an operator should know; it must not raise.
    """

    def __init__(
        self,
        *,
        zones: Sequence[str],
        keys: Sequence[Key],
        state_dir: Path | None,
        nameserver: str = "ns.<zone>",
        soa_minimum_s: int = 5,
        on_problem: Callable[[str], None] | None = None,
        clock: Callable[[], float] = time.time,
        connections_max: int = 256,
        idle_timeout_s: float = 120.0,
        udp_bytes_max: int = 4096,
        udp_responses_per_s: float = RESPONSES_PER_S,
        udp_limits_loopback: bool = False,
        journal_bytes_max: int = 16 * 1024 * 1024,
        queue_bytes_max: int = 16 * 1024 * 1024,
    ) -> None:
        self._zones: dict[bytes, Zone] = {}
        for name in zones:
            zone = new_zone(name, nameserver.replace("<zone>", name), soa_minimum_s)
            self._zones[zone.origin] = zone
        self._journal = None if state_dir is None else Journal(state_dir)
        self._journal_bytes_max = journal_bytes_max
        self._queue_bytes_max = queue_bytes_max
        self._on_problem = on_problem
        self._connections_max = connections_max
        self._idle_timeout_s = idle_timeout_s
        self._responder = Responder(self._zones, keys, clock=clock, udp_bytes_max=udp_bytes_max)
        self._rates = ResponseRates(time.monotonic, per_s=udp_responses_per_s, loopback=udp_limits_loopback)
        self._connections: dict[Connection, None] = {}
        self._closed = False
        self._writer: Writer | None = None
        self._writing: asyncio.Task[None] | None = None
        self._sweep: asyncio.TimerHandle | None = None
        self._udp: UdpListener | None = None
        self._tcp: asyncio.Server | None = None
        self.host = ""
        self.port = 0
        self.updates_dropped = 0
        """Updates over UDP that found the queue full; they get no answer."""
        self.connections_dropped = 0
        """Connections closed because they were idle, took no answers, or were too many."""

    @property
    def queries(self) -> int:
        """Questions received, well-formed and not dropped."""
        return self._responder.queries

    @property
    def updates(self) -> int:
        """UPDATE messages received, well-formed."""
        return self._responder.updates

    @property
    def updates_applied(self) -> int:
        return 0 if self._writer is None else self._writer.applied

    @property
    def updates_refused(self) -> int:
        """Updates with a good signature whose prerequisites or records were refused."""
        return 0 if self._writer is None else self._writer.refused

    @property
    def update_groups(self) -> int:
        """Groups of updates that shared one flush."""
        return 0 if self._writer is None else self._writer.groups

    @property
    def updates_waiting(self) -> int:
        """Updates that no group has taken up yet."""
        return 0 if self._writer is None else self._writer.waiting

    @property
    def responses_limited(self) -> int:
        """Answers over UDP that were dropped or sent truncated, because their network had too many."""
        return self._rates.dropped + self._rates.truncated

    @property
    def connections(self) -> int:
        """TCP connections that are open."""
        return len(self._connections)

    async def __aenter__(self) -> "EmbeddedServer":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def start(self, host: str, port: int) -> None:
        """Load the zones and listen; port 0 takes one that is free for UDP and TCP.

        Raises `PortInUse` or another OSError, `StateInUse`, `StateDamaged`; nothing is left open then.
        """
        assert self._writer is None, "a server starts once"
        loop = asyncio.get_running_loop()
        udp, tcp = await _bind(host, port)
        try:
            self._writer = Writer(
                self._zones,
                self._journal,
                dormant=await self._load(),
                journal_bytes_max=self._journal_bytes_max,
                queue_bytes_max=self._queue_bytes_max,
                changed=self._responder.forget,
                drained=self._drained,
                problem=self._problem,
            )
            self.host, self.port = host, udp.getsockname()[1]
            self._writing = loop.create_task(self._writer.run())
            self._udp = UdpListener(udp, self._handle_udp, self._rates)
            self._tcp = await loop.create_server(self._new_connection, sock=tcp, backlog=_BACKLOG)
            self._sweep = loop.call_later(_SWEEP_S, self._sweep_connections)
        except BaseException:
            await self.close()
            udp.close()
            tcp.close()
            raise

    async def _load(self) -> dict[bytes, dict[bytes, Node]]:
        """Fill the zones from the state directory, and put those on disk that are new; return the others in it."""
        if self._journal is None:
            return {}
        stored = await asyncio.to_thread(self._journal.open)
        new = False
        for origin, zone in self._zones.items():
            nodes = stored.pop(origin, None)
            if nodes is None:
                new = True
            else:
                for name, node in nodes.items():
                    zone.replace(name, node)
        if new:
            everything = {**stored, **{origin: zone.nodes() for origin, zone in self._zones.items()}}
            await asyncio.to_thread(self._journal.snapshot, everything)
        return stored

    async def close(self) -> None:
        """Stop listening, finish the group of updates in hand, and let go of everything; harmless when repeated."""
        if self._sweep is not None:
            self._sweep.cancel()
        self._closed = True
        if self._tcp is not None:
            self._tcp.close()
        if self._writer is not None and self._writing is not None:
            self._writer.close()
            await self._writing
            self._writer.release()
        if self._udp is not None:
            self._udp.close()
        for connection in list(self._connections):
            connection.abort()
        for _ in range(_LAST_TURNS):
            await asyncio.sleep(0)  # what the kernel had accepted is made a connection, dropped, and closed
        if self._journal is not None:
            self._journal.close()

    def _handle(self, message: bytes, over_tcp: bool) -> Response:
        try:
            return self._responder.respond(message, over_tcp)
        except Exception as error:  # a bug of ours; one message must not end the server
            self._problem(f"answering a message failed: {error!r}")
            if len(message) < HEADER_BYTES:
                return None
            return message[:2] + bytes((message[2] | 0x80, SERVFAIL)) + b"\0\0\0\0\0\0\0\0"

    def _handle_udp(self, message: bytes, later: Callable[[bytes], None]) -> bytes | None:
        response = self._handle(message, over_tcp=False)
        if isinstance(response, PendingUpdate):
            assert self._writer is not None
            if self._writer.full:
                self.updates_dropped += 1
            else:
                self._submit(response, later)
            return None
        if isinstance(response, Signed):
            later(response)
            return None
        assert response is None or isinstance(response, bytes)
        return response

    def _submit(self, update: PendingUpdate, later: Callable[[bytes], None]) -> None:
        assert self._writer is not None
        self._writer.submit(update, lambda rcode: self._finish(update, rcode, later))

    def _finish(self, update: PendingUpdate, rcode: int, later: Callable[[bytes], None]) -> None:
        later(self._responder.finish(update, rcode))

    def _new_connection(self) -> Connection:
        def handle(message: bytes, later: Callable[[bytes], None]) -> bytes | Iterator[bytes] | None:
            response = self._handle(message, over_tcp=True)
            if isinstance(response, PendingUpdate):
                connection.expect_answer()
                self._submit(response, later)
                return None
            return response

        connection = Connection(handle, opened=self._opened, closed=self._connection_closed, full=self._is_full)
        return connection

    def _drained(self) -> None:
        for connection in list(self._connections):
            connection.resume()

    def _is_full(self) -> bool:
        return self._writer is not None and self._writer.full

    def _opened(self, connection: Connection) -> None:
        """Make room for a new connection at the cost of the one that has been silent longest."""
        if self._closed:  # accepted just before the end
            connection.abort()
            return
        self._connections[connection] = None
        if len(self._connections) > self._connections_max:
            idle = [other for other in self._connections if not other.working]
            self._drop(min(idle, key=lambda other: other.active_at, default=connection))

    def _connection_closed(self, connection: Connection) -> None:
        self._connections.pop(connection, None)

    def _drop(self, connection: Connection) -> None:
        self.connections_dropped += 1
        self._connections.pop(connection, None)
        connection.abort()

    def _sweep_connections(self) -> None:
        loop = asyncio.get_running_loop()
        self._sweep = loop.call_later(_SWEEP_S, self._sweep_connections)
        silent_since = loop.time() - self._idle_timeout_s
        for connection in list(self._connections):
            if connection.active_at < silent_since and not connection.working:
                self._drop(connection)

    def _problem(self, text: str) -> None:
        if self._on_problem is not None:
            self._on_problem(text)


async def _bind(host: str, port: int) -> tuple[socket.socket, socket.socket]:
    """Return a UDP and a TCP socket on one address and port."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    family, _, _, _, address = found[0]
    for tries_left in range(_FREE_PORT_TRIES if port == 0 else 1, 0, -1):
        with contextlib.ExitStack() as stack:
            udp = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
            tcp = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            what = "UDP"
            try:
                udp.bind(address)
                what = "TCP"
                tcp.bind((address[0], udp.getsockname()[1], *address[2:]))
                tcp.listen(_BACKLOG)
            except OSError as error:
                if port == 0 and what == "TCP" and tries_left > 1:
                    continue  # the port that UDP was given is taken for TCP
                if error.errno == errno.EADDRINUSE:
                    raise PortInUse(error.errno, f"{host}:{port} ({what}) is in use by another program") from error
                raise OSError(error.errno, f"cannot listen on {host}:{port} ({what}): {error.strerror}") from error
            udp.setblocking(False)
            tcp.setblocking(False)
            stack.pop_all()
            return udp, tcp
    raise AssertionError("the last try either returned or raised")
