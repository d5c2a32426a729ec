"""HTTP of an enactor: is it alive, is it ready, its metrics, what it knows, and, with a token, what it is told."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from enactord.core.errors import ConfigError
from enactord.daemon.config import HttpConfig
from enactord.daemon.documents import status_document
from enactord.daemon.scope import Scope
from enactord.daemon.writing import Orderly
from enactord.engine.enactor import Enactor
from enactord.telemetry.metrics import Metrics, Pacing, Standing

STUCK_S = 30.0
"""An apply loop that has not turned for so long is not alive."""
_BODY_BYTES_MAX = 64 * 1024
_STOP_LIMIT_S = 2.0

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Pages:
    """The pages of one enactor."""

    def __init__(self, enactor: Enactor, metrics: Metrics, registry: CollectorRegistry, token: bytes = b"") -> None:
        self._enactor = enactor
        self._metrics = metrics
        self._registry = registry
        ports = enactor.ports
        scope = Scope(
            store=ports.store,
            name=enactor.settings.scope,
            zones=sorted(ports.zones),
            limits=enactor.settings.limits,
            clock=ports.clock,
        )
        self._writing = Orderly(scope, token)

    def application(self) -> web.Application:
        app = web.Application(middlewares=[_problems], client_max_size=_BODY_BYTES_MAX)
        app.add_routes(
            [
                web.get("/healthz", self.health),
                web.get("/readyz", self.ready),
                web.get("/metrics", self.metrics),
                web.get("/api/v1/status", self.status),
                *self._writing.routes(),
            ]
        )
        return app

    async def health(self, request: web.Request) -> web.Response:
        """200 while the loop turns. A dependency that is away never makes an enactor unhealthy."""
        still_s = asyncio.get_running_loop().time() - self._enactor.progress
        if still_s > STUCK_S:
            raise web.HTTPServiceUnavailable(text=f"the apply loop has not turned for {still_s:.0f} s")
        return web.json_response({"status": "ok"})

    async def ready(self, request: web.Request) -> web.Response:
        """200 once started; "degraded" is ready, and says why."""
        reasons = self._enactor.reasons()
        return web.json_response({"status": "degraded" if reasons else "ready", "reasons": reasons})

    async def metrics(self, request: web.Request) -> web.Response:
        self._metrics.refresh(standing(self._enactor))
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def status(self, request: web.Request) -> web.Response:
        """What `enactorctl status` shows, and what this enactor itself knows, under "self"."""
        document = status_document(self._enactor.mirror, sorted(self._enactor.writers))
        return web.json_response(document | {"self": self._enactor.status()})


def standing(enactor: Enactor) -> Standing:
    """Return what metrics read of an enactor."""
    pacing = {
        zone: Pacing(
            budget_ratio=writer.budget.ratio, in_flight=writer.limiter.in_flight, limit=int(writer.limiter.limit)
        )
        for zone, writer in enactor.writers.items()
    }
    return Standing(mirror=enactor.mirror, store_up=enactor.store_up, verified=enactor.verified, pacing=pacing)


@web.middleware
async def _problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Errors as problem documents. Source: RFC 9457."""
    try:
        response = await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        problem: dict[str, Any] = {
            "type": "about:blank",
            "title": error.reason,
            "status": error.status,
            "detail": error.text if error.text and not error.text.startswith(f"{error.status}:") else error.reason,
            "instance": request.path,
        }
        allowed = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
        return web.Response(
            status=error.status, text=json.dumps(problem), content_type="application/problem+json", headers=allowed
        )
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Cache-Control", "no-store")
    return response


@asynccontextmanager
async def serve_http(config: HttpConfig, pages: Pages) -> AsyncIterator[None]:
    """Serve while the context lasts. Raises `ConfigError` where the port cannot be had."""
    runner = web.AppRunner(pages.application(), access_log=None, shutdown_timeout=_STOP_LIMIT_S)
    await runner.setup()
    try:
        site = web.TCPSite(runner, config.listen.host, config.listen.port, ssl_context=_tls(config), backlog=128)
        try:
            await site.start()
        except OSError as error:
            detail = f"http.listen: {config.listen}: {error.strerror or error}; choose another address"
            raise ConfigError((detail,)) from error
        yield
    finally:
        await runner.cleanup()


def _tls(config: HttpConfig) -> ssl.SSLContext | None:
    if config.tls_cert_file is None or config.tls_key_file is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(config.tls_cert_file, config.tls_key_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError((f"http.tls_cert_file: {config.tls_cert_file}: {error}",)) from error
    return context
