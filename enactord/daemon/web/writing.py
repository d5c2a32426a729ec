"""What may be done to a scope over HTTP: the same operations as the command line's, as far as a token's role goes.

The author of whatever is done is the token's name. An order under another name is refused.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from aiohttp import web

from enactord.core.errors import InvalidPlan, PlanUnreadable, StoreDown, StoreRefused
from enactord.core.moment import parse_moment
from enactord.core.plan import GENERATION_MAX, parse_plan
from enactord.core.tokens import Role, Token
from enactord.daemon.operations import (
    Denied,
    Earlier,
    Published,
    Scope,
    approve_refused,
    freeze,
    freeze_document,
    pause,
    pauses_document,
    publish,
    resume,
    rollback,
    thaw,
)
from enactord.daemon.web.access import Access
from enactord.daemon.web.problems import Handler, Problem
from enactord.daemon.web.query import Query, bad
from enactord.daemon.web.refused import handle_of
from enactord.registry.control import MODES
from enactord.registry.planners import check_planner
from enactord.registry.plans import Orders

_Order = Callable[[web.Request, Token], Awaitable[web.StreamResponse]]
_ORDER_BYTES_MAX = 64 * 1024
_TEXT_MAX = 1024
_ROLLBACK_TAKES = {
    "generation": "the number of a stored plan",
    "to_time": "a text: a time in ISO 8601, or how long ago",
    "to_last_whole": "true",
}
_AT_ONCE = 2
"""Publications side by side, and rollbacks: each may hold a whole plan in memory, several times over. A freeze never
waits for one, nor a rollback for a plan that is slow to come."""


class Writing:
    """The writing part of the API."""

    def __init__(self, scope: Callable[[], Scope], access: Access, *, plan_bytes_max: int) -> None:
        """`scope`: returns the scope with the limits that are in force."""
        self._scope_now = scope
        self._access = access
        self._plan_bytes_max = plan_bytes_max
        self._publications = asyncio.Semaphore(_AT_ONCE)
        self._rollbacks = asyncio.Semaphore(_AT_ONCE)

    def _scope(self, token: Token) -> Scope:
        """Return the scope as it is at hand for the bearer of a token."""
        return replace(self._scope_now(), role=token.role.value)

    def routes(self) -> list[web.RouteDef]:
        planner, operator = Role.PLANNER, Role.OPERATOR
        return [
            web.post("/api/v1/plans", self._allowed(planner, self.publish)),
            web.post("/api/v1/freeze", self._allowed(operator, self.freeze)),
            web.post("/api/v1/thaw", self._allowed(operator, self.thaw)),
            web.post("/api/v1/rollback", self._allowed(operator, self.rollback)),
            web.post("/api/v1/refused/{digest}/approve", self._allowed(operator, self.approve)),
            web.post("/api/v1/planners/{planner}/pause", self._allowed(operator, self.pause)),
            web.post("/api/v1/planners/{planner}/resume", self._allowed(operator, self.resume)),
        ]

    def _allowed(self, needed: Role, handler: _Order) -> Handler:
        async def guarded(request: web.Request) -> web.StreamResponse:
            token = self._access.require(request, needed)
            Query(request)
            try:
                return await handler(request, token)
            except InvalidPlan as error:
                detail = "; ".join(error.problems)
                raise Problem(
                    HTTPStatus.UNPROCESSABLE_ENTITY, f"no plan: {detail}", problems=list(error.problems)
                ) from error
            except PlanUnreadable as error:
                raise Problem(HTTPStatus.CONFLICT, str(error)) from error
            except (StoreDown, StoreRefused) as error:
                raise Problem(
                    HTTPStatus.SERVICE_UNAVAILABLE, f"the plan store: {error}", headers={"Retry-After": "5"}
                ) from error

        return guarded

    async def publish(self, request: web.Request, token: Token) -> web.Response:
        """Publish the plan that is the body; 201 with its generation, 422 with every refusal.

        Another author in the plan is no error, as somebody else may have written the file; the answer warns.
        """
        async with self._publications:
            body = await _body(request, self._plan_bytes_max)
            draft = await asyncio.to_thread(parse_plan, body)  # a large one must not hold up the enactor
            done = await publish(self._scope(token), draft, Orders(author=token.name))
        if isinstance(done, Published) and draft.author not in ("", token.name):
            note = f"the author is {token.name}, the name of the token; what the plan says of its author does not count"
            done = replace(done, warnings=(note, *done.warnings))
        return _answer(done)

    async def rollback(self, request: web.Request, token: Token) -> web.Response:
        """Publish an older plan's content anew: {"generation": 7, "reason": "…"}; or "to_time", or "to_last_whole".

        The planner whose content it changes is paused, unless "pause" is false.
        """
        order = await _order(request, (*_ROLLBACK_TAKES, "reason", "author", "pause"))
        pauses = order.get("pause", True)
        if not isinstance(pauses, bool):
            raise bad("pause: must be true or false")
        what = _which(order, self._scope(token).clock.now())
        author, reason = _author(order, token), _text(order, "reason")
        async with self._rollbacks:
            return _answer(await rollback(self._scope(token), what, author=author, reason=reason, pause=pauses))

    async def approve(self, request: web.Request, token: Token) -> web.Response:
        """Publish exactly a refused publication, merged onto the newest plan: {"reason": "…"}."""
        handle = handle_of(request)
        order = await _order(request, ("reason", "author"))
        author, reason = _author(order, token), _text(order, "reason")
        async with self._rollbacks:
            return _answer(await approve_refused(self._scope(token), handle, author=author, reason=reason))

    async def pause(self, request: web.Request, token: Token) -> web.Response:
        """Refuse what a planner publishes: {"reason": "…"}."""
        planner = _planner(request)
        order = await _order(request, ("reason", "author"))
        paused = await pause(self._scope(token), planner, reason=_text(order, "reason"), author=_author(order, token))
        return web.json_response({"paused": pauses_document({planner: paused})[0]})

    async def resume(self, request: web.Request, token: Token) -> web.Response:
        """Let a planner publish again; no pause is no error. A reason may be given."""
        planner = _planner(request)
        reason, author = await _why(request, token)
        before = await resume(self._scope(token), planner, author=author, reason=reason)
        return web.json_response({"paused": None, "was": before and pauses_document({planner: before})[0]})

    async def freeze(self, request: web.Request, token: Token) -> web.Response:
        """Freeze the scope: {"mode": "all" or "repair-only", "reason": "…"}."""
        order = await _order(request, ("mode", "reason", "author"))
        mode = order.get("mode", "all")
        if mode not in MODES:
            raise bad(f"mode: must be one of {', '.join(MODES)}")
        frozen = await freeze(
            self._scope(token), mode=mode, reason=_text(order, "reason"), author=_author(order, token)
        )
        return web.json_response({"frozen": freeze_document(frozen)})

    async def thaw(self, request: web.Request, token: Token) -> web.Response:
        """Undo a freeze; none is no error. A reason may be given."""
        reason, author = await _why(request, token)
        before = await thaw(self._scope(token), author=author, reason=reason)
        return web.json_response({"frozen": None, "was": freeze_document(before)})


def _planner(request: web.Request) -> str:
    planner = request.match_info["planner"]
    wrong = check_planner(planner)
    if wrong:
        raise Problem(HTTPStatus.NOT_FOUND, wrong)
    return planner


def _which(order: Mapping[str, Any], now: float) -> int | Earlier:
    """Return which plan a rollback brings back."""
    given = [key for key in _ROLLBACK_TAKES if key in order]
    if len(given) != 1:
        raise bad(f"give one of {', '.join(_ROLLBACK_TAKES)}")
    value = order[given[0]]
    match given[0]:
        case "generation" if type(value) is int and 0 < value < GENERATION_MAX:
            return value
        case "to_time" if isinstance(value, str):
            try:
                return Earlier(at=parse_moment(value, now))
            except ValueError as error:
                raise bad(f"to_time: {error}") from error
        case "to_last_whole" if value is True:
            return Earlier()
    raise bad(f"{given[0]}: must be {_ROLLBACK_TAKES[given[0]]}")


def _answer(done: Published | Denied) -> web.Response:
    if isinstance(done, Denied):
        detail = "; ".join(str(refusal) for refusal in done.refusals)
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, **done.document())
    document = {
        "generation": done.manifest.generation,
        "digest": done.manifest.digest,
        "endpoints": done.manifest.endpoints,
        "held": [{"name": h.name, "guard": h.refusal.guard, "detail": h.refusal.detail} for h in done.held],
        "warnings": list(done.warnings),
    }
    return web.json_response(document, status=201, headers={"Location": f"/api/v1/plans/{done.manifest.generation}"})


async def _body(request: web.Request, bytes_max: int) -> bytes:
    """Read a JSON body up to a limit, whatever length the client declared, and whatever it calls its type.

    Browsers of other origins are kept out by the token's header, not by the type, which many a client leaves wrong.
    """
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        # Some bytes could be unpacked to any size.
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send the body as it is", headers={"Accept-Encoding": "identity"}
        )
    body = bytearray()
    if (request.content_length or 0) <= bytes_max:
        async for data in request.content.iter_chunked(65_536):
            body += data
            if len(body) > bytes_max:
                break
        else:
            return bytes(body)
    detail = f"at most {bytes_max:,} bytes; of a large plan, publish the changes alone with 'base'"
    raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail, headers={"Connection": "close"})


async def _order(request: web.Request, known: tuple[str, ...]) -> dict[str, Any]:
    try:
        order = json.loads(await _body(request, _ORDER_BYTES_MAX) or b"{}")
    except (ValueError, RecursionError) as error:
        raise bad(f"not JSON: {error}") from error
    if not isinstance(order, dict):
        raise bad("must be a JSON object")
    unknown = sorted(set(order) - set(known))
    if unknown:
        raise bad(f"{unknown[0][:40]!r}: unknown key (known: {', '.join(known) or 'none'})")
    return order


def _text(order: dict[str, Any], key: str) -> str:
    value = order.get(key)
    if not isinstance(value, str) or not 0 < len(value) <= _TEXT_MAX or not _storable(value):
        raise bad(f"{key}: must be a text of 1 to {_TEXT_MAX} characters")
    return value


def _storable(value: str) -> bool:
    """Whether a text can be written as UTF-8: JSON can carry half a surrogate pair, which cannot."""
    return not any("\ud800" <= sign <= "\udfff" for sign in value)


async def _why(request: web.Request, token: Token) -> tuple[str, str]:
    """Return the reason, if there is one, and the author of an order that may come without a body."""
    order = await _order(request, ("reason", "author")) if request.can_read_body else {}
    return _text(order, "reason") if "reason" in order else "", _author(order, token)


def _author(order: dict[str, Any], token: Token) -> str:
    """Return whose order it is. Raises `Problem` where it is given in another name: that would be a false record."""
    if order.get("author", token.name) != token.name:
        raise Problem(HTTPStatus.FORBIDDEN, f"author: it is {token.name}, the name of the token; leave it out")
    return token.name
