"""What is published and stopped over HTTP: plans, rollbacks, freezes and pauses of planners, by the command line's
operations, as far as a token's role goes.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from aiohttp import web

from enactord.core.moment import parse_moment
from enactord.core.plan import GENERATION_MAX, parse_plan
from enactord.core.tokens import Role, Token
from enactord.http.access import Access
from enactord.http.order import TEXT_MAX, allowed, author_of, denied, flag_of, read_body, read_order, text_of
from enactord.http.problems import Problem
from enactord.http.query import Query, bad, whole_number
from enactord.http.refused import handle_of
from enactord.operations.acts import (
    Denied,
    Earlier,
    How,
    Published,
    Scope,
    approve,
    approve_refused,
    freeze,
    freeze_document,
    pause,
    pauses_document,
    publish,
    resume,
    resumed_document,
    rollback,
    thaw,
)
from enactord.store.control import MODES
from enactord.store.planners import check_planner
from enactord.store.plans import Orders

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
        access, planner, operator = self._access, Role.PLANNER, Role.OPERATOR
        return [
            web.post("/api/v1/plans", allowed(access, planner, self.publish, queried=True)),
            web.post("/api/v1/plans/{generation}/approve", allowed(access, operator, self.approve)),
            web.post("/api/v1/freeze", allowed(access, operator, self.freeze)),
            web.post("/api/v1/thaw", allowed(access, operator, self.thaw)),
            web.post("/api/v1/rollback", allowed(access, operator, self.rollback)),
            web.post("/api/v1/refused/{digest}/approve", allowed(access, operator, self.approve_refused)),
            web.post("/api/v1/planners/{planner}/pause", allowed(access, operator, self.pause)),
            web.post("/api/v1/planners/{planner}/resume", allowed(access, operator, self.resume)),
        ]

    async def publish(self, request: web.Request, token: Token) -> web.Response:
        """Publish the plan that is the body; 201 with its generation, 422 with every refusal.

        `approve`: as an operator, whose reason is kept, and whom guards that weigh change do not refuse. Another author
        in the plan is no error, as somebody else may have written the file; the answer warns.
        """
        query = Query(request, ("dry_run", "fail_on_held", "approve", "reason", "author"))
        how = How(dry_run=query.flag("dry_run"), fail_on_held=query.flag("fail_on_held"))
        approves, reason = query.flag("approve"), query.text("reason", length_max=TEXT_MAX)
        author_of(query.given("author"), token)
        if approves:
            self._access.require(request, Role.OPERATOR)
            if not reason:
                raise bad("reason: an approval needs one, which is kept")
        async with self._publications:
            body = await read_body(request, self._plan_bytes_max)
            draft = await asyncio.to_thread(parse_plan, body)  # a large one must not hold up the enactor
            scope = self._scope(token)
            if approves:
                return await _answer(await approve(scope, draft, author=token.name, reason=reason, how=how))
            done = await publish(scope, draft, Orders(author=token.name, reason=reason), how=how)
        if isinstance(done, Published) and draft.author not in ("", token.name):
            note = f"the author is {token.name}, the name of the token; what the plan says of its author does not count"
            done = replace(done, warnings=(note, *done.warnings))
        return await _answer(done)

    async def approve(self, request: web.Request, token: Token) -> web.Response:
        """Publish a stored plan anew as an approved generation: {"reason": "…"}."""
        generation = whole_number("generation", request.match_info["generation"], low=1, high=GENERATION_MAX - 1)
        order = await read_order(request, ("reason", "author", "dry_run", "fail_on_held"))
        how = How(dry_run=flag_of(order, "dry_run"), fail_on_held=flag_of(order, "fail_on_held"))
        author, reason = author_of(order, token), text_of(order, "reason")
        async with self._publications:
            return await _answer(await approve(self._scope(token), generation, author=author, reason=reason, how=how))

    async def rollback(self, request: web.Request, token: Token) -> web.Response:
        """Publish an older plan's content anew: {"generation": 7, "reason": "…"}; or "to_time", or "to_last_whole".

        The planner whose content it changes is paused, unless "pause" is false.
        """
        order = await read_order(request, (*_ROLLBACK_TAKES, "reason", "author", "pause", "dry_run"))
        pauses, how = flag_of(order, "pause", default=True), How(dry_run=flag_of(order, "dry_run"))
        scope = self._scope(token)
        what = _which(order, scope.clock.now())
        author, reason = author_of(order, token), text_of(order, "reason")
        async with self._rollbacks:
            return await _answer(await rollback(scope, what, author=author, reason=reason, how=how, pause=pauses))

    async def approve_refused(self, request: web.Request, token: Token) -> web.Response:
        """Publish exactly a refused publication, merged onto the newest plan: {"reason": "…"}."""
        handle = handle_of(request)
        order = await read_order(request, ("reason", "author", "dry_run", "fail_on_held"))
        how = How(dry_run=flag_of(order, "dry_run"), fail_on_held=flag_of(order, "fail_on_held"))
        author, reason = author_of(order, token), text_of(order, "reason")
        async with self._publications:
            done = await approve_refused(self._scope(token), handle, author=author, reason=reason, how=how)
        return await _answer(done)

    async def pause(self, request: web.Request, token: Token) -> web.Response:
        """Refuse what a planner publishes: {"reason": "…"}."""
        planner = _planner(request)
        order = await read_order(request, ("reason", "author"))
        author, reason = author_of(order, token), text_of(order, "reason")
        paused = await pause(self._scope(token), planner, reason=reason, author=author)
        return web.json_response({"paused": pauses_document({planner: paused})})

    async def resume(self, request: web.Request, token: Token) -> web.Response:
        """Let a planner publish again; no pause is no error. A reason may be given."""
        planner = _planner(request)
        order = await read_order(request, ("reason", "author"))
        author, reason = author_of(order, token), text_of(order, "reason", "")
        before = await resume(self._scope(token), planner, author=author, reason=reason)
        return web.json_response(resumed_document(planner, before))

    async def freeze(self, request: web.Request, token: Token) -> web.Response:
        """Freeze the scope: {"mode": "all" or "repair-only", "reason": "…"}."""
        order = await read_order(request, ("mode", "reason", "author"))
        mode = order.get("mode", "all")
        if mode not in MODES:
            raise bad(f"mode: must be one of {', '.join(MODES)}")
        frozen = await freeze(
            self._scope(token), mode=mode, reason=text_of(order, "reason"), author=author_of(order, token)
        )
        return web.json_response({"frozen": freeze_document(frozen)})

    async def thaw(self, request: web.Request, token: Token) -> web.Response:
        """Undo a freeze; none is no error. A reason may be given."""
        order = await read_order(request, ("reason", "author"))
        before = await thaw(self._scope(token), author=author_of(order, token), reason=text_of(order, "reason", ""))
        return web.json_response({"frozen": None, "before": freeze_document(before)})


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


async def _answer(done: Published | Denied) -> web.Response:
    """Return how a publication ended, with all that the command line shows of it."""
    if isinstance(done, Denied):
        raise denied(done)
    # With what a large plan would change, it may be long.
    text = await asyncio.to_thread(lambda: json.dumps(done.document()))
    if done.dry_run:
        return web.json_response(text=text)
    return web.json_response(text=text, status=201, headers={"Location": f"/api/v1/plans/{done.manifest.generation}"})
