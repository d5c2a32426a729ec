"""The UDP side: many datagrams a wake-up of the loop, answered on the spot.

asyncio's own datagram transport reads one datagram a turn of the loop, which costs more
than the answer; so the socket is read here, as long as there is something, up to a limit.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

from enactord.dns_server.rates import ResponseRates, Verdict, truncated

_DATAGRAMS_A_TURN = 64
_RECEIVE_BYTES = 65535
_SOCKET_BUFFER_BYTES = 4 * 1024 * 1024

Handle = Callable[[bytes, Callable[[bytes], None]], bytes | None]
"""Returns the answer to a message now, or None and perhaps calls the function with it, at once or later."""


class UdpListener:
    """Answers on one bound, non-blocking UDP socket, which it owns."""

    def __init__(self, sock: socket.socket, handle: Handle, rates: ResponseRates) -> None:
        """`rates`: how many answers go to a network. Those that `handle` sends itself are signed: not limited."""
        self._socket = sock
        self._handle = handle
        self._rates = rates
        self._loop = asyncio.get_running_loop()
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, option, _SOCKET_BUFFER_BYTES)
        self._loop.add_reader(sock, self._readable)
        self._closed = False
        self.unsent = 0
        """Answers that the socket did not take; their clients ask again."""

    def _readable(self) -> None:
        receive, handle, judge = self._socket.recvfrom, self._handle, self._rates.judge
        for _ in range(_DATAGRAMS_A_TURN):
            try:
                message, address = receive(_RECEIVE_BYTES)
            except OSError:  # nothing left, or an error that belongs to a datagram sent before
                return
            reply = handle(message, partial(self._send, address))
            if reply is None:
                continue
            match judge(address[0]):
                case Verdict.SEND:
                    self._send(address, reply)
                case Verdict.TRUNCATE:
                    self._send(address, truncated(reply))
                case Verdict.DROP:
                    pass

    def _send(self, address: Any, reply: bytes) -> None:
        if self._closed:
            return
        try:
            self._socket.sendto(reply, address)
        except OSError:  # a full buffer, or an address that cannot be reached
            self.unsent += 1

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._loop.remove_reader(self._socket)
            self._socket.close()
