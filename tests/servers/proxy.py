"""Proxies that can hold, drop and cut what passes through them: one for DNS messages, one for any bytes."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Sequence
from types import TracebackType

import dns.message
import dns.opcode
import dns.rdatatype


class Proxy:
    """Between a client and a server on loopback; `hold` keeps the client's bytes until `release`.

    `answers` says what is passed on in place of an answer of the server.
    """

    def __init__(self, host: str, port: int) -> None:
        self._upstream = (host, port)
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.held = 0
        self._which: Callable[[bytes], bool] = lambda message: True
        self.answers: Callable[[bytes], Sequence[bytes]] = lambda message: [message]
        self.host = "127.0.0.1"
        self.port = 0

    async def __aenter__(self) -> "Proxy":
        self._server = await asyncio.start_server(self._serve, self.host, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def hold(self, which: Callable[[bytes], bool] = lambda message: True) -> None:
        """Keep back what clients send from the first message on that `which` picks, on each connection."""
        self._which = which
        self._flowing.clear()

    def release(self) -> None:
        """Let go of everything that was kept back, in order."""
        self._flowing.set()

    def cut(self) -> None:
        """Reset every connection."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            up_reader, up_writer = await asyncio.open_connection(*self._upstream)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, up_writer}
        pumps = [
            asyncio.create_task(self._pump(reader, up_writer, held=True)),
            asyncio.create_task(self._pump(up_reader, writer, held=False)),
        ]
        self._tasks.update(pumps)
        try:
            await asyncio.wait(pumps)
        except asyncio.CancelledError:
            pass  # the proxy is closing
        finally:
            for pump in pumps:
                pump.cancel()
            self._tasks.difference_update(pumps)
            self._writers -= {writer, up_writer}
            writer.transport.abort()
            up_writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, held: bool) -> None:
        """Pass on DNS messages, each with its two bytes of length (RFC 1035 section 4.2.2)."""
        try:
            while True:
                length = await reader.readexactly(2)
                message = await reader.readexactly(int.from_bytes(length, "big"))
                if held and not self._flowing.is_set() and self._which(message):
                    self.held += 1
                    await self._flowing.wait()
                for passed in [message] if held else self.answers(message):
                    writer.write(len(passed).to_bytes(2, "big") + passed)
                await writer.drain()
        except (ConnectionError, OSError, asyncio.IncompleteReadError):
            writer.transport.abort()


def is_batch(message: bytes) -> bool:
    """Whether a message is an UPDATE of endpoints: any but those that move a fence, which update TXT alone."""
    if message[2] >> 3 & 15 != dns.opcode.UPDATE:
        return False
    update = dns.message.from_wire(message, keyring=False)
    return any(rrset.rdtype != dns.rdatatype.TXT for rrset in update.authority)


_ONE_SIDED_LIMIT_S = 30.0


class Relay:
    """Passes on TCP, and where asked UDP, whatever it carries; a network that can be disturbed.

    `hold` keeps bytes back, in one direction or both, and `heal` lets them go, late and in
    order, be their sender still there or not. `drop` swallows them, and `heal` resets what
    was swallowed from. `cut` resets each connection after so many more bytes from its client,
    in the middle of a message. `framed`: it carries DNS, and messages of clients can be told apart.
    """

    def __init__(self, host: str, port: int, *, listen_port: int = 0, udp: bool = False, framed: bool = False) -> None:
        self._upstream = (host, port)
        self._udp = udp
        self._framed = framed
        self._which: Callable[[bytes], bool] | None = None
        self._server: asyncio.Server | None = None
        self._datagrams: _Datagrams | None = None
        self._connections: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.flowing = {True: asyncio.Event(), False: asyncio.Event()}
        self.dropping = False
        self.cut_after: int | None = None
        self.host = "127.0.0.1"
        self.port = listen_port
        self.heal()

    async def __aenter__(self) -> "Relay":
        self._server = await asyncio.start_server(self._serve, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        if self._udp:
            loop = asyncio.get_running_loop()
            transport, self._datagrams = await loop.create_datagram_endpoint(
                lambda: _Datagrams(self, self._upstream), local_addr=(self.host, self.port)
            )
            self._datagrams.transport = transport
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._datagrams is not None:
            await self._datagrams.close()
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.reset()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def hold(self, *, up: bool = True, down: bool = True, which: Callable[[bytes], bool] | None = None) -> None:
        """Keep back what clients send (`up`), what the server sends (`down`), or both.

        `which`: of what clients send, keep back on each connection from the first DNS message on that it picks.
        """
        assert which is None or self._framed
        self._which = which
        for direction, held in ((True, up), (False, down)):
            if held:
                self.flowing[direction].clear()

    @property
    def holds_all(self) -> bool:
        """Whether what is held back is not picked message by message."""
        return self._which is None

    def drop(self) -> None:
        """Swallow everything; new connections are taken and never heard."""
        self.dropping = True

    def cut(self, after: int = 0) -> None:
        """Reset each connection, those to come too, once its client has sent so many more bytes."""
        self.cut_after = after
        for connection in list(self._connections):
            connection.left = after
            if after == 0:
                connection.reset()

    def heal(self) -> None:
        """Pass on everything again."""
        self.dropping = False
        self._which = None
        self.cut_after = None
        for connection in list(self._connections):
            connection.left = None
            if connection.spoilt:
                connection.reset()
        for event in self.flowing.values():
            event.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(writer, self.cut_after)
        if self.cut_after == 0:
            connection.reset()
            return
        self._connections.add(connection)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if self.dropping:
                connection.spoilt = True
                while await reader.read(65_536):
                    pass
                return
            up_reader, up_writer = await asyncio.open_connection(*self._upstream)
            connection.writers.append(up_writer)
            pumps = [
                asyncio.create_task(self._pump(connection, reader, up_writer, up=True)),
                asyncio.create_task(self._pump(connection, up_reader, writer, up=False)),
            ]
            self._tasks.update(pumps)
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            # One side has gone. What it had sent is still on its way, however long it is held.
            await asyncio.wait(pumps, timeout=_ONE_SIDED_LIMIT_S)
            for pump in pumps:
                pump.cancel()
            self._tasks.difference_update(pumps)
        except (OSError, asyncio.CancelledError):
            pass  # the server cannot be reached, or the relay is closing
        finally:
            connection.reset()
            self._connections.discard(connection)
            self._tasks.discard(task)

    async def _pump(
        self, connection: "_Connection", reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, up: bool
    ) -> None:
        """Pass on one direction until its sender has ended, then end it towards the receiver."""
        holding = False
        try:
            while data := await (_message(reader) if up and self._framed else reader.read(65_536)):
                if holding or self._which is None or not up or self._which(data[2:]):
                    holding = not self.flowing[up].is_set()
                    await self.flowing[up].wait()
                if self.dropping:
                    connection.spoilt = True
                    continue
                if up and connection.left is not None:
                    data = data[: connection.left]
                    connection.left -= len(data)
                writer.write(data)
                await writer.drain()
                if up and connection.left == 0:
                    connection.reset()
        except OSError:
            pass
        await self.flowing[up].wait()
        if not connection.spoilt and writer.can_write_eof():
            with contextlib.suppress(OSError):
                writer.write_eof()


async def _message(reader: asyncio.StreamReader) -> bytes:
    """Read a DNS message with its two bytes of length (RFC 1035 section 4.2.2); b"" at the end."""
    try:
        length = await reader.readexactly(2)
        return length + await reader.readexactly(int.from_bytes(length, "big"))
    except asyncio.IncompleteReadError:
        return b""


class _Connection:
    """One connection of a relay: its two ends, and how much more its client may send (None: no limit)."""

    def __init__(self, writer: asyncio.StreamWriter, left: int | None) -> None:
        self.writers = [writer]
        self.left = left
        self.spoilt = False

    def reset(self) -> None:
        for writer in self.writers:
            if (peer := writer.get_extra_info("socket")) is not None:
                with contextlib.suppress(OSError):
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()


_UDP_CLIENTS_MAX = 64


class _Datagrams(asyncio.DatagramProtocol):
    """The UDP side of a relay: a socket towards the server for each client, the oldest closed beyond a limit."""

    def __init__(self, relay: Relay, upstream: tuple[str, int]) -> None:
        self._relay = relay
        self._upstream = upstream
        self._clients: dict[tuple[str, int], asyncio.Queue[bytes]] = {}
        self._tasks: dict[tuple[str, int], asyncio.Task[None]] = {}
        self.transport: asyncio.DatagramTransport | None = None

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if addr not in self._clients:
            while len(self._clients) >= _UDP_CLIENTS_MAX:
                self._forget(next(iter(self._clients)))
            self._clients[addr] = asyncio.Queue(_UDP_CLIENTS_MAX)
            self._tasks[addr] = asyncio.get_running_loop().create_task(self._serve(addr, self._clients[addr]))
        with contextlib.suppress(asyncio.QueueFull):
            self._clients[addr].put_nowait(data)

    async def close(self) -> None:
        tasks = list(self._tasks.values())
        for addr in list(self._clients):
            self._forget(addr)
        await asyncio.gather(*tasks, return_exceptions=True)
        if self.transport is not None:
            self.transport.close()
        await asyncio.sleep(0)  # sockets are closed by the loop

    def _forget(self, addr: tuple[str, int]) -> None:
        self._clients.pop(addr, None)
        self._tasks.pop(addr).cancel()

    async def _serve(self, addr: tuple[str, int], questions: "asyncio.Queue[bytes]") -> None:
        loop = asyncio.get_running_loop()
        transport, answers = await loop.create_datagram_endpoint(_Answers, remote_addr=self._upstream)
        try:
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump(questions, transport.sendto, up=True))
                pumps.create_task(self._pump(answers.queue, lambda data: self._answer(data, addr), up=False))
        finally:
            transport.close()

    async def _pump(self, queue: "asyncio.Queue[bytes]", send: Callable[[bytes], None], *, up: bool) -> None:
        while True:
            data = await queue.get()
            if not up or self._relay.holds_all:
                await self._relay.flowing[up].wait()
            if not self._relay.dropping and self._relay.cut_after is None:
                send(data)

    def _answer(self, data: bytes, addr: tuple[str, int]) -> None:
        if self.transport is not None:
            self.transport.sendto(data, addr)


class _Answers(asyncio.DatagramProtocol):
    """What the server sends back to one client, in order."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[bytes] = asyncio.Queue(_UDP_CLIENTS_MAX)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        with contextlib.suppress(asyncio.QueueFull):
            self.queue.put_nowait(data)
