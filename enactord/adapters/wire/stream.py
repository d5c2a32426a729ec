"""A DNS connection over TCP with many requests in flight, matched by message id.

Why our own: `dns.asyncquery` opens a socket and waits for the answer on each call,
and a writer that waits a round trip a message spends its time waiting. Servers answer
pipelined requests out of order, so nothing but the id tells whose answer it is
(RFC 7766 sections 6.2.1.1 and 7).

What a caller must learn when there is no answer is whether its request can have
reached the server: `NeverSent` says surely not, `MaybeReceived` says perhaps.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Sequence
from typing import cast

from enactord.core.errors import EnactordError

_HEADER_BYTES = 12
_ID_COUNT = 65536


class NeverSent(EnactordError):
    """No byte of the request was handed to a connection."""


class MaybeReceived(EnactordError):
    """The request was sent and no answer came: the server may have acted on it."""

    def __init__(self, message: str, *, lost: bool) -> None:
        self.lost = lost
        """True when the connection broke, False when the time ran out."""
        super().__init__(message)


class _Exchange:
    """Some requests sent together, and the replies that have come."""

    __slots__ = ("done", "heard_before", "left", "lost", "replies")

    def __init__(self, count: int, heard_before: int, done: asyncio.Future[None]) -> None:
        self.replies: list[bytes | None] = [None] * count
        self.left = count
        self.lost = ""
        self.heard_before = heard_before
        self.done = done

    def answered(self, index: int, message: bytes) -> None:
        self.replies[index] = message
        self.left -= 1
        if self.left == 0 and not self.done.done():
            self.done.set_result(None)

    def failed(self, why: str) -> None:
        self.lost = why
        if not self.done.done():
            self.done.set_result(None)


class _Link(asyncio.Protocol):
    """One TCP connection. After it is lost, a new one takes its place."""

    def __init__(self, released: Callable[[int], None]) -> None:
        self._released = released
        self._rest = b""
        self._waiting: dict[int, tuple[_Exchange, int] | None] = {}
        self._transport: asyncio.Transport | None = None
        self._writable: asyncio.Future[None] | None = None
        self.heard = 0
        self.abandoned = 0

    @property
    def usable(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not of asyncio's class

    def connection_lost(self, exc: Exception | None) -> None:
        why = f"the connection was lost: {exc}" if exc else "the connection was closed"
        waiting = list(self._waiting.values())
        self._waiting.clear()
        self._transport = None
        self.resume_writing()
        for place in waiting:
            if place is not None:
                place[0].failed(why)
        self._released(len(waiting))

    def pause_writing(self) -> None:
        if self._writable is None:
            self._writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        if self._writable is not None:
            self._writable.set_result(None)
            self._writable = None

    async def writable(self) -> None:
        """Wait until the socket takes more, or the connection is lost."""
        if self._writable is not None:
            await asyncio.shield(self._writable)

    def send(self, count: int, frames: Callable[[Sequence[int]], bytes]) -> _Exchange:
        """Send `count` requests in one write; the caller holds as many slots."""
        assert self._transport is not None
        exchange = _Exchange(count, self.heard, asyncio.get_running_loop().create_future())
        waiting = self._waiting
        ids: list[int] = []
        for index in range(count):
            message_id = random.getrandbits(16)
            while message_id in waiting:
                message_id = random.getrandbits(16)
            waiting[message_id] = (exchange, index)
            ids.append(message_id)
        try:
            data = frames(ids)
        except BaseException:
            for message_id in ids:
                del waiting[message_id]
            raise
        self._transport.write(data)
        return exchange

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        waiting = self._waiting
        position, size, released = 0, len(data), 0
        while size - position >= 2:
            end = position + 2 + (data[position] << 8 | data[position + 1])
            if end > size:
                break
            message = data[position + 2 : end]
            position = end
            if len(message) < _HEADER_BYTES:
                self.abort()  # no DNS server: nothing else on this connection can be trusted
                break
            message_id = message[0] << 8 | message[1]
            if message_id not in waiting:
                continue  # nobody asked
            place = waiting.pop(message_id)
            released += 1
            if place is None:
                self.abandoned -= 1
            else:
                place[0].answered(place[1], message)
        self._rest = data[position:]
        self.heard += released
        if released:
            self._released(released)

    def abandon(self, exchange: _Exchange, abandoned_max: int, *, late: bool) -> None:
        """Stop waiting for an exchange, because it is `late` or its caller was cancelled.

        Its ids stay taken, so that a late answer cannot pass for another's. A connection
        that said nothing from sending to deadline is taken for half-open, and dropped.
        """
        for message_id, place in self._waiting.items():
            if place is not None and place[0] is exchange:
                self._waiting[message_id] = None
                self.abandoned += 1
        if (late and self.heard == exchange.heard_before) or self.abandoned > abandoned_max:
            self.abort()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class Stream:
    """A connection to one server that opens itself when it is needed.

    `in_flight_max` bounds the requests that are unanswered at any time; callers beyond
    it wait their turn, in order, within their own deadline.
    """

    def __init__(self, host: str, port: int, *, in_flight_max: int) -> None:
        assert 0 < in_flight_max < _ID_COUNT // 2  # so that a free id is found at once
        self._host = host
        self._port = port
        self._in_flight_max = in_flight_max
        self._taken = 0
        self._turns: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._link: _Link | None = None
        self._opening = asyncio.Lock()
        self._closed = False

    @property
    def load(self) -> int:
        """Requests in flight, and callers that wait to send one."""
        return self._taken + len(self._turns)

    async def ask(self, make: Callable[[int], bytes], timeout_s: float) -> bytes:
        """Send the request that `make` returns for a message id; return its reply.

        Raises `NeverSent`, or `MaybeReceived`, or whatever `make` raises.
        """

        def frames(ids: Sequence[int]) -> bytes:
            message = make(ids[0])
            return len(message).to_bytes(2, "big") + message

        reply = (await self._exchange(1, frames, timeout_s))[0]
        assert reply is not None
        return reply

    async def ask_all(self, bodies: Sequence[bytes], timeout_s: float) -> list[bytes | None]:
        """Send requests, each given without its message id, in one write; return a reply or None for each.

        At most `in_flight_max` of them. Raises `NeverSent`, or `MaybeReceived` when not
        one was answered.
        """

        def frames(ids: Sequence[int]) -> bytes:
            return b"".join(
                [
                    (len(body) + 2).to_bytes(2, "big") + message_id.to_bytes(2, "big") + body
                    for message_id, body in zip(ids, bodies, strict=True)
                ]
            )

        return await self._exchange(len(bodies), frames, timeout_s)

    async def close(self) -> None:
        """Drop the connection; requests in flight fail with `MaybeReceived`, waiting ones with `NeverSent`."""
        self._closed = True
        link, self._link = self._link, None
        if link is not None:
            link.abort()
        await asyncio.sleep(0)  # connection_lost is called by the loop

    async def _exchange(
        self, count: int, frames: Callable[[Sequence[int]], bytes], timeout_s: float
    ) -> list[bytes | None]:
        link: _Link | None = None
        exchange: _Exchange | None = None
        try:
            async with asyncio.timeout(timeout_s):
                await self._take(count)
                try:
                    link = await self._connected()
                    exchange = link.send(count, frames)
                except BaseException:
                    self._give(count)
                    raise
                await exchange.done
        except TimeoutError as error:
            if link is None or exchange is None:
                raise NeverSent(f"{self._peer} took no request within {timeout_s} s") from error
            link.abandon(exchange, self._in_flight_max // 2, late=True)
        except asyncio.CancelledError:
            if link is not None and exchange is not None:
                link.abandon(exchange, self._in_flight_max // 2, late=False)
            raise
        if exchange.left == count:
            why = exchange.lost or f"no answer within {timeout_s} s"
            raise MaybeReceived(f"{self._peer}: {why}", lost=bool(exchange.lost))
        return exchange.replies

    async def _connected(self) -> _Link:
        """Return a link that can take a request now, opening one if need be."""
        while True:
            async with self._opening:
                if self._closed:
                    raise NeverSent(f"{self._peer}: closed")
                link = self._link
                if link is None or not link.usable:
                    link = self._link = await self._open()
            await link.writable()
            if self._closed:
                raise NeverSent(f"{self._peer}: closed")
            if link.usable:
                return link

    async def _open(self) -> _Link:
        loop = asyncio.get_running_loop()
        try:
            _, link = await loop.create_connection(lambda: _Link(self._give), self._host, self._port)
        except OSError as error:
            raise NeverSent(f"cannot connect to {self._peer}: {error}") from error
        return link

    async def _take(self, count: int) -> None:
        """Wait for slots, first come first served."""
        assert 0 < count <= self._in_flight_max
        if not self._turns and self._taken + count <= self._in_flight_max:
            self._taken += count
            return
        turn = asyncio.get_running_loop().create_future()
        self._turns.append((count, turn))
        try:
            await turn
        except asyncio.CancelledError:
            turn.cancel()  # False where the turn had come already
            self._give(0 if turn.cancelled() else count)
            raise

    def _give(self, count: int) -> None:
        self._taken -= count
        assert self._taken >= 0
        while self._turns:
            size, turn = self._turns[0]
            if not turn.cancelled():
                if self._taken + size > self._in_flight_max:
                    return
                self._taken += size
                turn.set_result(None)
            self._turns.popleft()

    @property
    def _peer(self) -> str:
        return f"{self._host}:{self._port}"
