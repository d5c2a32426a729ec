"""A socket whose every wait ends at one moment, for http.client, which knows of a limit for each single wait alone."""

import io
import socket
import time
from typing import Any


class TimedSocket:
    """What http.client uses of a socket; every wait ends at `until` (monotonic), however slowly the peer sends."""

    def __init__(self, plain: socket.socket) -> None:
        self._plain = plain
        self._readers = 0
        self._closed = False
        self.until = 0.0

    def wait(self) -> socket.socket:
        """Return the socket, which waits no longer than that."""
        left = self.until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._plain.settimeout(left)
        return self._plain

    def sendall(self, data: Any) -> None:
        self.wait().sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        self._readers += 1
        return io.BufferedReader(_Incoming(self))

    def close(self) -> None:
        """Close it once nobody reads from it: http.client closes before it reads a last answer."""
        self._closed = True
        if self._readers == 0:
            self._plain.close()

    def let_go(self) -> None:
        """One reader less."""
        self._readers -= 1
        if self._closed:
            self.close()


class _Incoming(io.RawIOBase):
    """What comes in through a timed socket."""

    def __init__(self, timed: TimedSocket) -> None:
        self._timed = timed

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._timed.wait().recv_into(buffer)

    def close(self) -> None:
        if not self.closed:
            self._timed.let_go()
        super().close()
