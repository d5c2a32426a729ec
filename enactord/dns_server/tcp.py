"""The TCP side: pipelined messages with a limit on everything a client can make the server hold.

A connection stops being read while its answers are not taken, while a transfer runs,
while too many of its updates wait, or while the queue of updates is full. What it can
leave in memory is then one read, and one write buffer (RFC 7766 section 6.2, RFC 9210).
"""

import asyncio
from collections.abc import Callable, Iterator
from typing import cast

_LENGTH_BYTES = 2
_WRITE_BUFFER_BYTES = 256 * 1024
_UPDATES_WAITING_MAX = 64
_TRANSFER_MESSAGES_A_TURN = 8

Handle = Callable[[bytes, Callable[[bytes], None]], bytes | Iterator[bytes] | None]
"""Returns an answer, or the messages of one, or None and perhaps calls the function with it later."""


class Connection(asyncio.Protocol):
    """One client's connection; `closed` is called with it when it is gone."""

    def __init__(
        self,
        handle: Handle,
        *,
        opened: Callable[["Connection"], None],
        closed: Callable[["Connection"], None],
        full: Callable[[], bool],
    ) -> None:
        self._handle = handle
        self._opened = opened
        self._closed = closed
        self._full = full
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._waiting = 0
        self._held = False
        self._write_paused = False
        self._read_paused = False
        self._ended = False
        self._transfer: Iterator[bytes] | None = None
        self.active_at = self._loop.time()
        """When a whole message last came, or an answer last went, on the loop's clock."""

    @property
    def working(self) -> bool:
        """Whether it waits for the server rather than the server for it."""
        return self._waiting > 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not of asyncio's class
        self._transport.set_write_buffer_limits(high=_WRITE_BUFFER_BYTES)
        self._opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._transfer = None
        self._buffer.clear()
        self._closed(self)

    def abort(self) -> None:
        """Drop the connection with whatever was not sent."""
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._process()

    def eof_received(self) -> bool:
        """A client may close its side after its last question; it still gets its answers."""
        self._ended = True
        return self._waiting > 0 or self._blocked

    def pause_writing(self) -> None:
        self._write_paused = True

    def resume_writing(self) -> None:
        self._write_paused = False
        self.active_at = self._loop.time()
        self._continue()

    def resume(self) -> None:
        """Look again whether the queue of updates takes more."""
        if self._held:
            self._held = False
            self._continue()

    @property
    def _blocked(self) -> bool:
        return self._write_paused or self._held or self._transfer is not None or self._waiting >= _UPDATES_WAITING_MAX

    def _process(self) -> None:
        """Answer the whole messages in the buffer, as far as the limits allow, in few writes."""
        buffer, position = self._buffer, 0
        replies: list[bytes] = []
        replies_bytes = 0
        while not self._blocked:
            start = position + _LENGTH_BYTES
            end = start + int.from_bytes(buffer[position:start], "big")
            if start > len(buffer) or end > len(buffer):
                break
            response = self._handle(bytes(buffer[start:end]), self._answer_later)
            position = end
            if isinstance(response, bytes):
                replies += (len(response).to_bytes(2, "big"), response)
                replies_bytes += len(response)
                if replies_bytes >= _WRITE_BUFFER_BYTES:
                    self._write(replies)  # may block, and so end the loop
                    replies, replies_bytes = [], 0
            elif response is not None:
                self._transfer = response
            if self._full():
                self._held = True
        if position:
            self.active_at = self._loop.time()
            del buffer[:position]
        self._write(replies)
        if self._transfer is not None:
            self._send_transfer()
        else:
            self._settle()

    def _write(self, parts: list[bytes]) -> None:
        if parts and self._transport is not None:
            self._transport.write(b"".join(parts))

    def expect_answer(self) -> None:
        """Count an update whose answer comes later."""
        self._waiting += 1

    def _answer_later(self, reply: bytes) -> None:
        self._waiting -= 1
        if self._transport is None:
            return
        self.active_at = self._loop.time()
        self._transport.write(len(reply).to_bytes(2, "big") + reply)
        if self._transfer is None:  # a transfer goes on by itself
            self._continue()

    def _send_transfer(self) -> None:
        """Send as much of a transfer as the client takes, and let others have their turn in between."""
        for _ in range(_TRANSFER_MESSAGES_A_TURN):
            if self._transfer is None or self._transport is None:
                return
            if self._write_paused:
                self._settle()
                return  # `resume_writing` goes on
            message = next(self._transfer, None)
            if message is None:
                self._transfer = None
                self._continue()
                return
            self.active_at = self._loop.time()
            self._transport.write(len(message).to_bytes(2, "big") + message)
        self._settle()
        if not self._write_paused:
            self._loop.call_soon(self._send_transfer)

    def _continue(self) -> None:
        if self._transfer is not None:
            self._send_transfer()
        elif self._buffer:
            self._process()
        else:
            self._settle()

    def _settle(self) -> None:
        """Read exactly while nothing blocks; close when all is said after the client's last word."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        blocked = self._blocked
        if self._ended:
            if not blocked and self._waiting == 0:
                transport.close()
        elif blocked != self._read_paused:
            self._read_paused = blocked
            if blocked:
                transport.pause_reading()
            else:
                transport.resume_reading()
