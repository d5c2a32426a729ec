"""The events stream: server-sent events, resumable, to a bounded number of clients that must keep up.

There is no queue a client: each has a place in the feed's ring. One that is too slow for the
ring is told `reset`; one that takes no bytes at all for a while is let go.
"""

import asyncio
import socket
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from aiohttp import web

from enactord.http.feed import Feed, frame
from enactord.http.problems import Problem
from enactord.http.query import Query

_NEWS_AT_ONCE = 200
_SEND_BUFFER_BYTES = 64 * 1024
_RETRY_MS = 2000


class Streams:
    """Serves `/api/v1/events`."""

    def __init__(
        self,
        feed: Feed,
        state: Callable[[], Any],
        *,
        clients_max: int,
        heartbeat_s: float,
        write_timeout_s: float,
        may_read: Callable[[web.Request], bool],
    ) -> None:
        """`may_read`: whether a client may still read; its stream ends once it may not."""
        self._feed = feed
        self._state = state
        self._clients_max = clients_max
        self._heartbeat_s = heartbeat_s
        self._write_timeout_s = write_timeout_s
        self._may_read = may_read
        self.clients = 0
        self._state_turn = -1
        self._state_frame = b""

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Send the state, then each change of it and all news, until the client goes."""
        place, missed = self._place(request)
        if self._feed.closed or self.clients >= self._clients_max:
            detail = f"{self.clients} clients follow the events, at most {self._clients_max} (http.events_clients_max)"
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers={"Retry-After": "10"})
        self.clients += 1
        try:
            response = web.StreamResponse(
                headers={"Content-Type": "text/event-stream; charset=utf-8", "X-Accel-Buffering": "no"}
            )
            response.headers["Connection"] = "close"
            await response.prepare(request)
            _keep_small(request)
            try:
                await self._send_all(request, response, place, missed)
            except TimeoutError:
                if request.transport is not None:
                    request.transport.abort()  # it takes nothing: closing would wait for what it does not read
            return response
        finally:
            self.clients -= 1

    def _place(self, request: web.Request) -> tuple[int, bool]:
        """Return after which number the client goes on, and whether it missed what cannot be sent any more."""
        query = Query(request, ("after",))
        given = request.headers.get("Last-Event-ID") or query.text("after", length_max=64)
        if not given:
            return self._feed.newest, False
        if given == "0":
            return 0, False
        number = self._feed.number_of(given)
        return (0, True) if number is None else (number, False)

    async def _send_all(self, request: web.Request, response: web.StreamResponse, place: int, missed: bool) -> None:
        loop = asyncio.get_running_loop()
        await self._write(response, f"retry: {_RETRY_MS}\n\n".encode("ascii") + self._heartbeat())
        sent_at = loop.time()
        shown = b""
        while not self._feed.closed and self._may_read(request):
            found, lost = self._feed.after(place, _NEWS_AT_ONCE)
            frames = [told.frame for told in found]
            if lost or missed:
                # What it knows cannot be brought up to date by news alone: it has to read afresh.
                frames.insert(0, frame("reset", {}))
                missed = False
            if found:
                place = found[-1].number
            state = self._current_state()
            if state is not shown:
                frames.append(state)
                shown = state
            if not frames and loop.time() - sent_at >= self._heartbeat_s:
                frames.append(self._heartbeat())
            if frames:
                await self._write(response, b"".join(frames))
                sent_at = loop.time()
            if place >= self._feed.newest:
                await self._feed.wait_turn(self._heartbeat_s)

    def _heartbeat(self) -> bytes:
        return frame("heartbeat", {"at": round(self._feed.now(), 3)})

    def _current_state(self) -> bytes:
        """Return the state as a message, made once a turn for all clients; the same object while it is the same."""
        if self._state_turn != self._feed.turn or not self._state_frame:
            self._state_turn = self._feed.turn
            made = frame("state", self._state())
            if made != self._state_frame:
                self._state_frame = made
        return self._state_frame

    async def _write(self, response: web.StreamResponse, data: bytes) -> None:
        async with asyncio.timeout(self._write_timeout_s):
            await response.write(data)


def _keep_small(request: web.Request) -> None:
    """Bound what the kernel keeps for a client that reads slowly: it would grow to megabytes by itself."""
    channel = request.get_extra_info("socket")
    if channel is not None:
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
