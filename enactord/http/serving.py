"""Connections: how many there may be at once, and how long each may take to ask, to be answered, and to idle."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from http import HTTPStatus
from typing import Any, cast

from aiohttp import web

from enactord.config.tables import HttpConfig
from enactord.http.problems import problem_response
from enactord.http.sockets import BACKLOG, open_sockets

ASK_S = 10.0
"""Within so long of connecting, or of the last answer, the head of a request has to be there."""
IDLE_S = 75.0
ANSWER_GRACE_S = 15.0
"""Beyond the request's own limit: for an answer to be taken."""
_STOP_LIMIT_S = 2.0
_FULL_BODY = json.dumps(
    {
        "type": "about:blank",
        "title": "Service Unavailable",
        "status": 503,
        "detail": "there are as many connections as there may be (http.connections_max); come again",
    }
)
_FULL = (
    "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: 5\r\n"
    f"Connection: close\r\nContent-Length: {len(_FULL_BODY)}\r\n\r\n{_FULL_BODY}"
).encode("ascii")


class Connection(web.RequestHandler):
    """One connection; it is cut where its client is slower than the limits allow."""

    __slots__ = ("_answer_s", "_limit", "idle_since")

    def __init__(self, server: web.Server, *, answer_s: float) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]
            keepalive_timeout=IDLE_S,
            lingering_time=2.0,
        )
        self._answer_s = answer_s
        self._limit: asyncio.TimerHandle | None = None
        self.idle_since: float | None = asyncio.get_running_loop().time()
        """Since when it has nothing to do, on the loop's clock; None while a request is there."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.allow(ASK_S)

    def connection_lost(self, exc: BaseException | None) -> None:
        self.allow(None)
        super().connection_lost(exc)

    def allow(self, seconds: float | None) -> None:
        """Cut the connection after so long, unless told otherwise by then; None: no limit."""
        if self._limit is not None:
            self._limit.cancel()
        self._limit = None
        if seconds is not None:
            self._limit = asyncio.get_running_loop().call_later(seconds, self.cut)

    def asked(self, *, endless: bool) -> None:
        """A request is there."""
        self.idle_since = None
        self.allow(None if endless else self._answer_s)

    def log_access(self, request: web.BaseRequest, response: web.StreamResponse, time: float | None) -> None:
        """Called once an answer has gone out: the connection idles."""
        self.idle_since = asyncio.get_running_loop().time()
        self.allow(IDLE_S)

    def cut(self) -> None:
        """Drop the connection with whatever was not sent."""
        self.idle_since = None
        if self.transport is not None:
            self.transport.abort()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is no HTTP: without a log line, since anybody can send any bytes."""
        if request.writer.output_size > 0:
            raise ConnectionError("cut off in the middle of an answer") from exc
        detail = "this is no HTTP request that can be read" if status == HTTPStatus.BAD_REQUEST else "it failed"
        response = problem_response(status, detail, "")
        response.force_close()
        return response


class _Full(asyncio.Protocol):
    """Says that there are too many connections, and hangs up."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        refused = cast(asyncio.Transport, transport)  # uvloop's is not of asyncio's class
        refused.write(_FULL)
        refused.close()


@asynccontextmanager
async def listen(app: web.Application, config: HttpConfig, context: ssl.SSLContext | None) -> AsyncIterator[None]:
    """Serve an application while the context lasts. Raises `ConfigError` where an address cannot be had."""
    runner = web.AppRunner(app, shutdown_timeout=_STOP_LIMIT_S)
    await runner.setup()
    try:
        server = runner.server
        assert server is not None
        answer_s = config.request_timeout_s + ANSWER_GRACE_S

        def connect() -> asyncio.Protocol:
            if len(server.connections) >= config.connections_max:
                # Whoever only holds a connection makes room: a probe must always get in.
                open_ones = [one for one in server.connections if isinstance(one, Connection)]
                idle = [(one.idle_since, index) for index, one in enumerate(open_ones) if one.idle_since is not None]
                if not idle:
                    return _Full()
                open_ones[min(idle)[1]].cut()
            return Connection(server, answer_s=answer_s)

        loop = asyncio.get_running_loop()
        with ExitStack() as stack:
            sockets = [stack.enter_context(opened) for opened in await open_sockets(config.listen)]
            for opened in sockets:
                listening = await loop.create_server(
                    connect,
                    sock=opened,
                    ssl=context,
                    ssl_handshake_timeout=ASK_S if context else None,
                    backlog=BACKLOG,
                )
                stack.callback(listening.close)
            yield
    finally:
        await runner.cleanup()


def note(endless: Any) -> Any:
    """Return the middleware that tells the connection of its requests."""

    @web.middleware
    async def noted(request: web.Request, handler: Any) -> web.StreamResponse:
        if isinstance(request.protocol, Connection):
            request.protocol.asked(endless=endless(request))
        answer: web.StreamResponse = await handler(request)
        return answer

    return noted
