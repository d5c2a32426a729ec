"""A few DNS connections over TCP to one server, with many requests in flight on each, matched by message id.

Why our own: `dns.asyncquery` opens a socket and waits for the answer on each call,
and a writer that waits a round trip a message spends its time waiting. Servers answer
pipelined requests out of order, so nothing but the id tells whose answer it is
(RFC 7766 sections 6.2.1.1 and 7).

What a caller must learn when there is no answer is whether its request can have
reached the server: `NeverSent` says surely not, `MaybeReceived` says perhaps.
"""

import asyncio
import os
import random
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import cast

from enactord.core.errors import EnactordError

IDLE_S = 60.0
"""A connection that nobody used for so long is closed."""
EXTRA_IDLE_S = 5.0
"""So is one beside another, which only load had made necessary."""
STALL_S = 1.0
"""A connection with requests that has said nothing for so long gets no more of them: another takes its place."""
_DROP_S = 5.0
"""One that is given up, and still said nothing after so long, makes room where another is needed."""
_SPARE = 1
"""Connections beyond the bound, for those that hang."""
_CONNECT_S = 10.0
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
    """Some requests of one owner sent together, and the replies that have come."""

    __slots__ = ("abandoned", "done", "heard_before", "left", "lost", "owner", "replies")

    def __init__(self, count: int, owner: str, heard_before: int, done: asyncio.Future[None]) -> None:
        self.replies: list[bytes | None] = [None] * count
        self.left = count
        self.lost = ""
        self.owner = owner
        self.heard_before = heard_before
        self.abandoned = False
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
    """One TCP connection, from the decision to open it on. After it is lost, a new one takes its place."""

    def __init__(self, stream: "Stream") -> None:
        loop = asyncio.get_running_loop()
        self.taken = 0
        """Requests that were given a place here and have no answer yet."""
        self.heard = 0
        self.abandoned = 0
        self.retired = False
        """Given up: it only gets the time that its requests still have."""
        self.failure = ""
        self.opening = loop.create_task(stream.connect(self), name=f"dns-connect {stream.peer}")
        self.quiet_since = loop.time()
        self.idle_since = loop.time()
        self._stream = stream
        self._rest = b""
        self._waiting: dict[int, tuple[_Exchange, int]] = {}
        self._transport: asyncio.Transport | None = None
        self._writable: asyncio.Future[None] | None = None
        self._socket: socket.socket | None = None

    @property
    def usable(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    @property
    def live(self) -> int:
        """Requests whose callers still wait for the answer."""
        return len(self._waiting) - self.abandoned

    def stalled(self, now: float) -> bool:
        """Whether it should have said something by now: an answer, or that it is open."""
        return (self.live > 0 or not self.opening.done()) and now - self.quiet_since > STALL_S

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not of asyncio's class
        self._socket = transport.get_extra_info("socket")
        self._acknowledge_at_once()

    def _acknowledge_at_once(self) -> None:
        """Let the kernel acknowledge what comes without its usual 40 ms.

        Servers send one answer a segment, and the next one only after the acknowledgement of the last (Nagle's
        algorithm, RFC 9293 section 3.7.4): several answers on one connection would take 40 ms and more.
        The kernel goes back to waiting by itself, so it is told again and again. Source: tcp(7), TCP_QUICKACK.
        """
        if self._socket is not None:
            try:
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            except OSError:
                pass  # it is closed

    def eof_received(self) -> None:
        """Give the connection up: a server that sends no more answers nothing, and what it still took goes nowhere.

        A transport that ends by itself here first waits until the server has taken all that was sent.
        """
        self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        why = f"the connection was lost: {exc}" if exc else "the connection was closed"
        waiting = list(self._waiting.values())
        self._waiting.clear()
        self.abandoned = 0
        self._transport = None
        self.resume_writing()
        released: dict[str, int] = {}
        for exchange, _ in waiting:
            released[exchange.owner] = released.get(exchange.owner, 0) + 1
            if not exchange.abandoned:
                exchange.failed(why)
        self._stream.ended(self)
        self._stream.released(self, released)

    def pause_writing(self) -> None:
        if self._writable is None:
            self._writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        if self._writable is not None:
            self._writable.set_result(None)
            self._writable = None

    async def writable(self) -> None:
        """Wait until the connection is there and takes more, or is lost."""
        if not self.opening.done():
            await asyncio.wait({self.opening})
        if self._writable is not None:
            await asyncio.shield(self._writable)

    def send(self, count: int, owner: str, frames: Callable[[Sequence[int]], bytes]) -> _Exchange:
        """Send `count` requests in one write; the caller holds as many places."""
        assert self._transport is not None
        loop = asyncio.get_running_loop()
        exchange = _Exchange(count, owner, self.heard, loop.create_future())
        waiting = self._waiting
        idle = self.live == 0
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
        if idle:
            self.quiet_since = loop.time()
        self._transport.write(data)
        return exchange

    def data_received(self, data: bytes) -> None:
        self._acknowledge_at_once()
        if self._rest:
            data = self._rest + data
        waiting = self._waiting
        position, size = 0, len(data)
        released: dict[str, int] = {}
        heard = 0
        while size - position >= 2:
            end = position + 2 + (data[position] << 8 | data[position + 1])
            if end > size:
                break
            message = data[position + 2 : end]
            position = end
            if len(message) < _HEADER_BYTES:
                self.abort()  # no DNS server: nothing else on this connection can be trusted
                break
            place = waiting.pop(message[0] << 8 | message[1], None)
            if place is None:
                continue  # nobody asked
            exchange, index = place
            heard += 1
            released[exchange.owner] = released.get(exchange.owner, 0) + 1
            if exchange.abandoned:
                self.abandoned -= 1
            else:
                exchange.answered(index, message)
        self._rest = data[position:]
        self.heard += heard
        self.quiet_since = asyncio.get_running_loop().time()
        if released:
            self._stream.released(self, released)
            self.end_if_done()

    def abandon(self, exchange: _Exchange, abandoned_max: int, *, late: bool) -> None:
        """Stop waiting for an exchange, because it is `late` or its caller was cancelled.

        Its ids stay taken, so that a late answer cannot pass for another's. A connection
        that said nothing from sending to deadline is taken for half-open: it gets no more
        requests, and ends once nobody waits for an answer on it.
        """
        if not exchange.abandoned:
            exchange.abandoned = True
            self.abandoned += sum(place[0] is exchange for place in self._waiting.values())
        if (late and self.heard == exchange.heard_before) or self.abandoned > abandoned_max:
            self.retired = True
        self.end_if_done()

    def end_if_done(self) -> None:
        if self.retired and self.live == 0:
            self.abort()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class Stream:
    """Connections to one server that open themselves when they are needed, shared by those who ask it.

    At most `connections_max`, and one more while a connection hangs; a second one is opened
    only where `spread_at` requests are under way on each that is there. `in_flight_max`
    bounds the requests that are unanswered on one; callers beyond it wait their turn within
    their own deadline. Turns go round by `owner`, and once several have asked, none of them gets more
    than `share_max_ratio` of all places: so whoever floods the server, or hangs there, keeps no other out.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        in_flight_max: int,
        connections_max: int = 1,
        spread_at: int = 1,
        share_max_ratio: float = 0.5,
        idle_s: float = IDLE_S,
    ) -> None:
        assert 0 < in_flight_max < _ID_COUNT // 2  # so that a free id is found at once
        assert connections_max > 0
        self.connections_max = connections_max
        self._host = host
        self._port = port
        self._in_flight_max = in_flight_max
        self._spread_at = spread_at
        self._share_max = int(in_flight_max * connections_max * share_max_ratio)
        self._owners: set[str] = set()
        """Everyone who has ever asked: as many as zones, at most."""
        self._idle_s = idle_s
        self._links: list[_Link] = []
        self._held: dict[str, int] = {}
        """Places by owner; those with none are not in it."""
        self._turns: dict[str, deque[tuple[int, asyncio.Future[_Link]]]] = {}
        """Who waits, by owner in the order of their turns, with the number of places."""
        self._serving: asyncio.TimerHandle | None = None
        self._sweeping: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def load(self) -> int:
        """Requests in flight, and callers that wait to send one."""
        return sum(link.taken for link in self._links) + sum(len(queue) for queue in self._turns.values())

    @property
    def connections(self) -> int:
        """Connections that are open, or being opened."""
        return len(self._links)

    async def ask(self, make: Callable[[int], bytes], timeout_s: float, *, owner: str = "") -> bytes:
        """Send the request that `make` returns for a message id; return its reply.

        Raises `NeverSent`, or `MaybeReceived`, or whatever `make` raises.
        """

        reply = (await self.ask_made(1, lambda ids: [make(ids[0])], timeout_s, owner=owner))[0]
        assert reply is not None
        return reply

    async def ask_all(self, bodies: Sequence[bytes], timeout_s: float, *, owner: str = "") -> list[bytes | None]:
        """Send requests, each given without its message id, in one write; return a reply or None for each.

        At most `in_flight_max` of them. Raises `NeverSent`, or `MaybeReceived` when not
        one was answered.
        """

        def make(ids: Sequence[int]) -> list[bytes]:
            return [message_id.to_bytes(2, "big") + body for message_id, body in zip(ids, bodies, strict=True)]

        return await self.ask_made(len(bodies), make, timeout_s, owner=owner)

    async def ask_made(
        self, count: int, make: Callable[[Sequence[int]], Sequence[bytes]], timeout_s: float, *, owner: str = ""
    ) -> list[bytes | None]:
        """Do as `ask_all` does with the requests that `make` returns for so many message ids, as they go out.

        Raises whatever `make` raises, too; it is called at most once.
        """

        def frames(ids: Sequence[int]) -> bytes:
            return b"".join([part for message in make(ids) for part in (len(message).to_bytes(2, "big"), message)])

        return await self._exchange(count, owner, frames, timeout_s)

    async def close(self) -> None:
        """Drop all connections; requests in flight fail with `MaybeReceived`, waiting ones with `NeverSent`."""
        self._closed = True
        for timer in (self._serving, self._sweeping):
            if timer is not None:
                timer.cancel()
        for queue in self._turns.values():
            for _, turn in queue:
                if not turn.done():
                    turn.set_exception(NeverSent(f"{self.peer}: closed"))
        self._turns.clear()
        opening = [link.opening for link in self._links]
        for link in list(self._links):
            link.abort()
        for task in opening:
            task.cancel()
        await asyncio.gather(*opening, return_exceptions=True)
        await asyncio.sleep(0)  # connection_lost is called by the loop

    async def _exchange(
        self, count: int, owner: str, frames: Callable[[Sequence[int]], bytes], timeout_s: float
    ) -> list[bytes | None]:
        link: _Link | None = None
        exchange: _Exchange | None = None
        try:
            async with asyncio.timeout(timeout_s):
                while exchange is None:
                    link = await self._take(count, owner)
                    try:
                        await link.writable()
                        if self._closed:
                            raise NeverSent(f"{self.peer}: closed")
                        if link.failure:
                            raise NeverSent(f"cannot connect to {self.peer}: {link.failure}")
                        if link.usable:
                            exchange = link.send(count, owner, frames)
                        else:  # it was lost before anything was sent; it may not have been told yet
                            self.ended(link)
                    finally:
                        if exchange is None:
                            self.released(link, {owner: count})
                await exchange.done
        except TimeoutError as error:
            if link is None or exchange is None:
                raise NeverSent(f"{self.peer} took no request within {timeout_s} s") from error
            link.abandon(exchange, self._in_flight_max // 2, late=True)
        except asyncio.CancelledError:
            if link is not None and exchange is not None:
                link.abandon(exchange, self._in_flight_max // 2, late=False)
            raise
        if exchange.left == count:
            why = exchange.lost or f"no answer within {timeout_s} s"
            raise MaybeReceived(f"{self.peer}: {why}", lost=bool(exchange.lost))
        return exchange.replies

    # -- places and turns

    async def _take(self, count: int, owner: str) -> _Link:
        """Return a connection with so many places for an owner, once its turn has come."""
        assert 0 < count <= self._in_flight_max
        if self._closed:
            raise NeverSent(f"{self.peer}: closed")
        self._owners.add(owner)
        if not self._turns and not self._has_its_share(owner, count):
            link = self._fitting(count)
            if link is not None:
                self._give(link, owner, count)
                return link
        turn: asyncio.Future[_Link] = asyncio.get_running_loop().create_future()
        self._turns.setdefault(owner, deque()).append((count, turn))
        self._serve()
        try:
            return await turn
        except asyncio.CancelledError:
            if not turn.cancelled() and turn.exception() is None:  # its turn had come already
                self.released(turn.result(), {owner: count})
            else:
                self._serve()
            raise

    def released(self, link: _Link, places: dict[str, int]) -> None:
        """Take back places on a connection, by owner."""
        for owner, count in places.items():
            link.taken -= count
            self._held[owner] -= count
            assert self._held[owner] >= 0
            if not self._held[owner]:
                del self._held[owner]
        assert link.taken >= 0
        if link.taken == link.abandoned:
            link.idle_since = asyncio.get_running_loop().time()
            self._plan_sweep()
        self._serve()

    def _serve(self) -> None:
        """Give those who wait their turn, as long as there are places."""
        if self._closed:
            return
        passed: set[str] = set()
        while (owner := next((one for one in self._turns if one not in passed), None)) is not None:
            queue = self._turns[owner]
            while queue and queue[0][1].done():
                queue.popleft()
            if not queue:
                del self._turns[owner]
                continue
            count, turn = queue[0]
            if self._has_its_share(owner, count):
                passed.add(owner)
                continue
            link = self._fitting(count)
            if link is None:  # nobody passes by who needs fewer places: many would never be free together
                break
            queue.popleft()
            del self._turns[owner]
            if queue:
                self._turns[owner] = queue  # behind the others
            self._give(link, owner, count)
            turn.set_result(link)
        if self._turns and self._serving is None:
            # That a connection hangs shows by time alone.
            self._serving = asyncio.get_running_loop().call_later(STALL_S, self._serve_again)

    def _give(self, link: _Link, owner: str, count: int) -> None:
        link.taken += count
        self._held[owner] = self._held.get(owner, 0) + count

    def _serve_again(self) -> None:
        self._serving = None
        self._serve()

    def _has_its_share(self, owner: str, count: int) -> bool:
        """Whether an owner has all the places that it may have beside others; with none it may always have some.

        It counts also while no other asks: places whose requests are never answered cannot be taken back later.
        """
        held = self._held.get(owner, 0)
        return held > 0 and len(self._owners) > 1 and held + count > self._share_max

    def _fitting(self, count: int) -> _Link | None:
        """Return the connection that has the least to do and room for so many, or a new one, or None."""
        now = asyncio.get_running_loop().time()
        open_to_all = [link for link in self._links if not link.retired]
        fresh = [link for link in open_to_all if not link.stalled(now)]
        best = min(fresh, key=lambda link: link.taken, default=None)
        if best is not None and best.taken + count > self._in_flight_max:
            best = None
        if (best is None or best.taken >= self._spread_at) and len(fresh) < self.connections_max:
            if len(self._links) >= self.connections_max + _SPARE:
                self._make_room(now)
            if len(self._links) < self.connections_max + _SPARE:
                return self._new()
        if best is None and not fresh:  # all hang, and there may be no more of them
            best = min(open_to_all, key=lambda link: link.taken, default=None)
            if best is not None and best.taken + count > self._in_flight_max:
                best = None
        return best

    def _make_room(self, now: float) -> None:
        """Drop the connection that was given up and has said nothing for the longest time."""
        given_up = [link for link in self._links if link.retired and now - link.quiet_since > _DROP_S]
        if given_up:
            longest = min(given_up, key=lambda link: link.quiet_since)
            self._links.remove(longest)
            longest.abort()

    # -- connections

    def _new(self) -> _Link:
        link = _Link(self)
        self._links.append(link)
        return link

    async def connect(self, link: _Link) -> None:
        """Open a connection; whoever waits for it learns from `failure` if there will be none."""
        try:
            async with asyncio.timeout(_CONNECT_S):
                await asyncio.get_running_loop().create_connection(lambda: link, self._host, self._port)
            link.quiet_since = asyncio.get_running_loop().time()
        except TimeoutError:
            link.failure = f"no connection within {_CONNECT_S:g} s"
        except (OSError, asyncio.CancelledError) as error:
            link.failure = _reason(error) or "closed"
        finally:
            if not link.usable:
                link.failure = link.failure or "the connection was lost at once"
                self.ended(link)

    def ended(self, link: _Link) -> None:
        """Use a connection no more."""
        if link in self._links:
            self._links.remove(link)

    def _plan_sweep(self) -> None:
        if self._sweeping is None and not self._closed:
            self._sweeping = asyncio.get_running_loop().call_later(min(EXTRA_IDLE_S, self._idle_s), self._sweep)

    def _sweep(self) -> None:
        """Close connections that nobody has used for long; all but one of them sooner."""
        self._sweeping = None
        now = asyncio.get_running_loop().time()
        idle = sorted(
            (link for link in self._links if link.opening.done() and not link.live), key=lambda link: link.idle_since
        )
        for link in idle:
            limit_s = self._idle_s if len(self._links) == 1 else min(EXTRA_IDLE_S, self._idle_s)
            if link.taken == link.abandoned and now - link.idle_since >= limit_s:
                self._links.remove(link)
                link.close()
        if self._links:
            self._plan_sweep()

    @property
    def peer(self) -> str:
        return f"{self._host}:{self._port}"


def _reason(error: BaseException) -> str:
    """Return why there is no connection: of an error of the system its own words, without number and address."""
    number = error.errno if isinstance(error, OSError) else None
    return os.strerror(number) if number is not None and number > 0 else str(error)
