"""What may be done to a scope over HTTP: off without a token, and the same operations as the command line's."""

import asyncio
import hmac
import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from enactord.core.errors import InvalidPlan, PlanUnreadable, StoreDown, StoreRefused
from enactord.core.plan import PLAN_BYTES_MAX, parse_plan
from enactord.daemon.operations import Denied, Published, Scope, freeze, freeze_document, publish, rollback, thaw
from enactord.registry.control import MODES
from enactord.registry.plans import Orders

_ORDER_BYTES_MAX = 64 * 1024
_TEXT_MAX = 1024

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Orderly:
    """The writing part of the API."""

    def __init__(self, scope: Scope, token: bytes) -> None:
        self._scope = scope
        self._token = token

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/api/v1/plans", self._allowed(self.publish)),
            web.post("/api/v1/freeze", self._allowed(self.freeze)),
            web.post("/api/v1/thaw", self._allowed(self.thaw)),
            web.post("/api/v1/rollback", self._allowed(self.rollback)),
        ]

    def _allowed(self, handler: Handler) -> Handler:
        async def guarded(request: web.Request) -> web.StreamResponse:
            if not self._token:
                raise web.HTTPForbidden(text="writing over HTTP is off: set http.token_file to allow it")
            kind, _, given = request.headers.get("Authorization", "").partition(" ")
            # Compared in constant time: how long a wrong token takes must not tell how much of it is right.
            if kind.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self._token):
                raise web.HTTPUnauthorized(text="give the token: Authorization: Bearer …")
            try:
                return await handler(request)
            except InvalidPlan as error:
                raise web.HTTPUnprocessableEntity(text="; ".join(error.problems)) from error
            except PlanUnreadable as error:
                raise web.HTTPConflict(text=str(error)) from error
            except (StoreDown, StoreRefused) as error:
                raise web.HTTPServiceUnavailable(text=f"the plan store: {error}") from error

        return guarded

    async def publish(self, request: web.Request) -> web.Response:
        """Publish the plan that is the body; 201 with its generation, 422 with every refusal."""
        body = await _body(request, PLAN_BYTES_MAX)
        draft = await asyncio.to_thread(parse_plan, body)  # a large one must not hold up the enactor
        return _answer(await publish(self._scope, draft, Orders()))

    async def rollback(self, request: web.Request) -> web.Response:
        """Publish an older plan's content anew: {"generation": 7, "reason": "…"}."""
        order = await _order(request)
        generation = order.get("generation")
        if type(generation) is not int or generation < 1:
            raise web.HTTPBadRequest(text="generation: must be the number of a stored plan")
        done = await rollback(self._scope, generation, author=_author(order), reason=_text(order, "reason"))
        return _answer(done)

    async def freeze(self, request: web.Request) -> web.Response:
        """Freeze the scope: {"mode": "all" or "repair-only", "reason": "…"}."""
        order = await _order(request)
        mode = order.get("mode", "all")
        if mode not in MODES:
            raise web.HTTPBadRequest(text=f"mode: must be one of {', '.join(MODES)}")
        frozen = await freeze(self._scope, mode=mode, reason=_text(order, "reason"), author=_author(order))
        return web.json_response({"frozen": freeze_document(frozen)})

    async def thaw(self, request: web.Request) -> web.Response:
        """Undo a freeze; none is no error."""
        before = await thaw(self._scope)
        return web.json_response({"frozen": None, "was": freeze_document(before)})


def _answer(done: Published | Denied) -> web.Response:
    if isinstance(done, Denied):
        raise web.HTTPUnprocessableEntity(text="; ".join(str(refusal) for refusal in done.refusals))
    document = {
        "generation": done.manifest.generation,
        "digest": done.manifest.digest,
        "endpoints": done.manifest.endpoints,
        "held": [{"name": h.name, "guard": h.refusal.guard, "detail": h.refusal.detail} for h in done.held],
        "warnings": list(done.warnings),
    }
    return web.json_response(document, status=201)


async def _body(request: web.Request, bytes_max: int) -> bytes:
    """Read a body up to a limit, whatever length the client declared."""
    body = bytearray()
    async for data in request.content.iter_chunked(65_536):
        body += data
        if len(body) > bytes_max:
            raise web.HTTPRequestEntityTooLarge(bytes_max, len(body), text=f"at most {bytes_max:,} bytes")
    return bytes(body)


async def _order(request: web.Request) -> dict[str, Any]:
    try:
        order = json.loads(await _body(request, _ORDER_BYTES_MAX) or b"{}")
    except ValueError as error:
        raise web.HTTPBadRequest(text=f"not JSON: {error}") from error
    if not isinstance(order, dict):
        raise web.HTTPBadRequest(text="must be a JSON object")
    return order


def _text(order: dict[str, Any], key: str) -> str:
    value = order.get(key)
    if not isinstance(value, str) or not 0 < len(value) <= _TEXT_MAX:
        raise web.HTTPBadRequest(text=f"{key}: must be a text of 1 to {_TEXT_MAX} characters")
    return value


def _author(order: dict[str, Any]) -> str:
    return _text(order, "author") if "author" in order else "http"
