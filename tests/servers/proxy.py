"""A TCP proxy for DNS that can hold and cut what passes through it."""

import asyncio
from collections.abc import Callable
from types import TracebackType


class Proxy:
    """Between a client and a server on loopback; `hold` keeps the client's bytes until `release`."""

    def __init__(self, host: str, port: int) -> None:
        self._upstream = (host, port)
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.held = 0
        self._which: Callable[[bytes], bool] = lambda message: True
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
                writer.write(length + message)
                await writer.drain()
        except (ConnectionError, OSError, asyncio.IncompleteReadError):
            writer.transport.abort()


def is_batch(message: bytes) -> bool:
    """Whether a message is an UPDATE of endpoints: more than the two records that move a fence (RFC 2136)."""
    opcode = message[2] >> 3 & 15
    updates = int.from_bytes(message[8:10], "big")
    return opcode == 5 and updates > 2
