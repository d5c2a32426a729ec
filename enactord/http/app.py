"""HTTP of an enactor: is it alive, is it ready, its metrics, what it knows, and, with a token, what it is told."""

import asyncio
import json
import ssl
import traceback
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import lru_cache
from http import HTTPStatus
from importlib.resources import files
from typing import Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from enactord import __version__
from enactord.client.enactor import STORE_AWAY
from enactord.config.tables import HttpConfig
from enactord.core.errors import ConfigError, StoreNotOurs
from enactord.core.events import StepFailed
from enactord.engine.enactor import Enactor
from enactord.engine.evidence import ServerView, State
from enactord.http.access import Access, readable
from enactord.http.acts import Acts
from enactord.http.feed import Feed
from enactord.http.hosts import hosted
from enactord.http.limits import add_headers, rated, timed
from enactord.http.overriding import Overriding
from enactord.http.page import page
from enactord.http.plans import PlanPages
from enactord.http.problems import Problem, problems
from enactord.http.query import Query
from enactord.http.reading import Reading
from enactord.http.refused import RefusedPublications
from enactord.http.serving import listen, note
from enactord.http.steering import Steering
from enactord.http.stream import Streams
from enactord.http.writing import Writing
from enactord.operations.documents import held_notes, override_notes, pause_notes, refused_notes, status_document
from enactord.operations.scope import Scope
from enactord.store.damage import damaged
from enactord.store.reports import WAIT_S
from enactord.telemetry.failures import Failures
from enactord.telemetry.metrics import Metrics, Pacing, Reached, Standing
from enactord.wire.tls import BadCertificate, load_pair

STUCK_S = 30.0
"""An apply loop that has not turned for so long is not alive."""
_EVENTS = "/api/v1/events"
_HEARTBEAT_S = 5.0
_WRITE_TIMEOUT_S = 10.0


class Pages:
    """The pages of one enactor. `feed` is the one that hears it; without one, news come from the store alone."""

    def __init__(
        self,
        enactor: Enactor,
        metrics: Metrics,
        registry: CollectorRegistry,
        config: HttpConfig | None = None,
        feed: Feed | None = None,
        *,
        failures: Failures | None = None,
    ) -> None:
        config = config or HttpConfig()
        self._failures = failures or Failures()
        self._enactor = enactor
        self._metrics = metrics
        self._registry = registry
        self._timeout_s = config.request_timeout_s
        self._hosts = config.hosts
        self.before_scrape: Callable[[], None] = lambda: None
        """Called before each scrape, for what neither events nor the enactor tell."""
        self._feed = feed or Feed(enactor.ports.clock.now)
        self._requests_per_s = config.requests_per_s
        ports = enactor.ports
        zones = sorted(ports.zones)
        scope = Scope(
            store=ports.store,
            name=enactor.settings.scope,
            zones=zones,
            limits=enactor.settings.limits,
            clock=ports.clock,
            wait_s=min(WAIT_S, config.request_timeout_s / 3),
            answers={name: zone.settings.answers_max for name, zone in ports.zones.items()},
        )
        self._configured_scope = scope
        self._access = Access(config.bearers, read_needs_token=config.read_needs_token)
        self._plans = PlanPages(enactor.cache, scope.plans)
        self._reading = Reading(enactor.cache, scope.plans, zones, enactor.account.seen, enactor.account.amiss)
        self._writing = Writing(self._ordered_scope, self._access, plan_bytes_max=config.plan_bytes_max)
        self._steering = Steering(enactor, self._ordered_scope, self._access)
        self._overriding = Overriding(enactor.cache, self._ordered_scope, self._access)
        self._acts = Acts(scope)
        self._refused = RefusedPublications(enactor.cache, scope.plans)
        self._streams = Streams(
            self._feed,
            self._state,
            clients_max=config.events_clients_max,
            heartbeat_s=_HEARTBEAT_S,
            write_timeout_s=_WRITE_TIMEOUT_S,
            may_read=self._access.shows_all,
        )

    def scope(self) -> Scope:
        """Return the scope with the limits that are in force."""
        return replace(self._configured_scope, limits=self._enactor.settings.limits)

    def _ordered_scope(self) -> Scope:
        """Return the scope for an order.

        Raises `StoreNotOurs` while the store is another installation's, or was wiped: what is stored there is lost.
        """
        if self._enactor.health.store_refused:
            raise StoreNotOurs(self._enactor.health.store_problem)
        return self.scope()

    def retune(self, config: HttpConfig) -> None:
        """Let in whom this config lets in from now on."""
        self._access.retune(config.bearers, read_needs_token=config.read_needs_token)

    def application(self) -> web.Application:
        middlewares = [
            note(_endless),
            problems(self._note_failure),
            rated(self._requests_per_s, asyncio.get_running_loop().time, self._access.knows),
            hosted(self._hosts, self._access.knows),
            readable(self._access),
            timed(self._timeout_s, _endless),
        ]
        app = web.Application(middlewares=middlewares)
        app.on_response_prepare.append(add_headers)
        app.on_response_prepare.append(self._tell_age)
        app.cleanup_ctx.append(self._feeding)
        app.on_shutdown.append(self._close_streams)
        app.add_routes(
            [
                web.get("/", self.page),
                web.get("/healthz", self.health),
                web.get("/readyz", self.ready),
                web.get("/metrics", self.metrics),
                web.get("/api/v1/openapi.json", self.openapi),
                web.get("/api/v1/status", self.status),
                web.get(_EVENTS, self._streams.events, allow_head=False),
                *self._plans.routes(),
                *self._reading.routes(),
                *self._acts.routes(),
                *self._refused.routes(),
                *self._writing.routes(),
                *self._steering.routes(),
                *self._overriding.routes(),
            ]
        )
        return app

    async def _feeding(self, app: web.Application) -> AsyncIterator[None]:
        """Have the feed follow the cache while the pages are served."""
        following = asyncio.create_task(self._feed.follow(self._enactor.cache), name="feed")
        yield
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)

    async def _tell_age(self, request: web.Request, response: web.StreamResponse) -> None:
        """Say with each answer of the API whether the store answers: without it, what is shown is of before."""
        if request.path.startswith("/api/") and not self._enactor.store_up:
            response.headers[STORE_AWAY] = "true"

    async def _close_streams(self, app: web.Application) -> None:
        self._feed.close()

    def _note_failure(self, error: BaseException) -> None:
        told = "".join(traceback.format_exception(error))
        self._enactor.ports.observer.observe(StepFailed(step="http", detail=repr(error), traceback=told))

    # -- pages

    async def page(self, request: web.Request) -> web.Response:
        """The status page: one document that holds all it needs."""
        Query(request)
        made = page()
        response = web.Response(
            body=made.html, content_type="text/html", charset="utf-8", headers={"Content-Security-Policy": made.policy}
        )
        response.enable_compression()
        return response

    async def health(self, request: web.Request) -> web.Response:
        """200 while the loop turns. A dependency that is away never makes an enactor unhealthy."""
        still_s = asyncio.get_running_loop().time() - self._enactor.progress
        if still_s > STUCK_S:
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, f"the apply loop has not turned for {still_s:.0f} s")
        return web.json_response({"status": "ok"})

    async def ready(self, request: web.Request) -> web.Response:
        """200 once started; "degraded" is ready, and says why. Held names are notes: no reason to be degraded.

        Whoever may not read is told the status alone, and which process this is: the doctor compares it with the store.
        """
        enactor = self._enactor
        reasons = enactor.reasons()
        notes = [*held_notes(enactor.cache), *pause_notes(enactor.cache)]
        notes += [
            *refused_notes(enactor.cache),
            *override_notes(enactor.cache, enactor.ports.clock.now()),
            *enactor.account.notes(),
        ]
        status = "degraded" if reasons else "ready"
        if not self._access.shows_all(request):
            reasons, notes = [], ["reasons and notes are shown to whoever gives a token (http.read_needs_token)"]
        document = {"status": status, "process": enactor.session.process, "reasons": reasons, "notes": notes}
        return web.json_response(document)

    async def metrics(self, request: web.Request) -> web.Response:
        # What cannot be read leaves its metrics as they were; the others are still told.
        with self._failures.caught("scrape"):
            self._metrics.refresh(standing(self._enactor))
        with self._failures.caught("scrape"):
            self.before_scrape()
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def openapi(self, request: web.Request) -> web.Response:
        """What this API promises. Source: OpenAPI 3.1."""
        Query(request)
        return web.Response(text=openapi_text(), content_type="application/json")

    async def status(self, request: web.Request) -> web.Response:
        """What `enactorctl status` shows, and what this enactor itself knows, under "self"."""
        Query(request)
        return web.json_response(self._state())

    def _state(self) -> dict[str, Any]:
        """The state of the scope and of this enactor; equal while nothing has changed."""
        enactor = self._enactor
        states = {zone: state for zone, (state, _) in enactor.account.zone_states().items()}
        now = enactor.ports.clock.now()
        document = status_document(enactor.cache, sorted(enactor.writers), now, own=(enactor.settings.id, states))
        own = {"version": __version__, "revision": enactor.cache.revision, "repairs": self._feed.repairs}
        return document | {"self": enactor.account.status() | own}


def _endless(request: web.Request) -> bool:
    return request.path == _EVENTS


@lru_cache(maxsize=1)
def openapi_text() -> str:
    """Return the OpenAPI document of this version."""
    document = json.loads(files("enactord.http").joinpath("openapi.json").read_bytes())
    document["info"]["version"] = __version__
    return json.dumps(document)


def standing(enactor: Enactor) -> Standing:
    """Return what metrics read of an enactor."""
    pacing = {
        zone: Pacing(
            budget_ratio=writer.budget.ratio, in_flight=writer.limiter.in_flight, limit=int(writer.limiter.limit)
        )
        for zone, writer in enactor.writers.items()
    }
    evidence = enactor.health.evidence
    return Standing(
        cache=enactor.cache,
        store_up=enactor.store_up,
        verified=enactor.verified,
        pacing=pacing,
        zones_down={zone: enactor.health.zone_aspect(zone) for zone in enactor.zone_problems},
        zones_unknown={zone for zone in enactor.writers if evidence.unknown(zone, enactor.account.look_interval_s)},
        servers={zone: _reached(evidence.servers(zone)) for zone in enactor.writers},
        negative_ttl_s={zone: evidence.negative_ttl_s(zone) for zone in enactor.writers},
        kept_ttls={zone: len(enactor.health.kept_ttls.rules(zone)) for zone in enactor.writers},
        store_full=enactor.health.store_full,
        copy_up=not enactor.copy_problem,
        identities=enactor.health.identities,
        damaged=damaged(enactor.cache).values(),
        published_at=enactor.account.published_at(),
        lag_s=enactor.account.lag_s(),
        fence_interval_s=enactor.fence_intervals_s(),
        head_refused=enactor.head_refusal.guard if enactor.head_refusal else "",
        limits_differing=len(enactor.limits_notes()),
        still_s=asyncio.get_running_loop().time() - enactor.progress,
    )


def _reached(views: Sequence[ServerView]) -> dict[str, Reached]:
    return {
        view.server: Reached(answers=view.state is not State.AWAY, behind=len(view.behind))
        for view in views
        if view.state is not State.UNKNOWN
    }


@asynccontextmanager
async def serve_http(config: HttpConfig, pages: Pages) -> AsyncIterator[ssl.SSLContext | None]:
    """Serve while the context lasts; yields what holds the certificate, where there is one.

    Raises `ConfigError` where an address or the certificate cannot be had.
    """
    context = open_tls(config)
    async with listen(pages.application(), config, context):
        yield context


def open_tls(config: HttpConfig) -> ssl.SSLContext | None:
    """Return the certificate of a config ready for use; None is plain HTTP. Raises `ConfigError`."""
    if not config.tls_cert:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        load_pair(context, config.tls_cert, config.tls_key)
    except BadCertificate as error:
        raise ConfigError((f"http.tls_cert_file: {error}",)) from error
    return context
