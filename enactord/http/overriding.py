"""Overrides over HTTP: which are in force, and an operator's orders to begin and end them."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from aiohttp import web

from enactord.core.errors import InvalidName
from enactord.core.names import parse_name
from enactord.core.overrides import KINDS, LASTS_MAX_S, WEIGHT
from enactord.core.tokens import Role, Token
from enactord.http.access import Access
from enactord.http.order import allowed, author_of, denied, flag_of, read_order, text_of
from enactord.http.query import Query, bad
from enactord.operations.acts import How
from enactord.operations.override import end_override, override
from enactord.operations.override_draft import Wanted
from enactord.operations.scope import Denied, Scope
from enactord.store.cache import Cache

_TAKES = ("name", "kind", "address", "weight", "lasts_s", "reason", "author", "approve", "dry_run")
_AT_ONCE = 2
"""Orders side by side."""


class Overriding:
    """Overrides of one scope."""

    def __init__(self, cache: Cache, scope: Callable[[], Scope], access: Access) -> None:
        """`scope`: returns the scope with the limits that are in force."""
        self._cache = cache
        self._scope_now = scope
        self._access = access
        self._orders = asyncio.Semaphore(_AT_ONCE)

    def _scope(self, token: Token) -> Scope:
        return replace(self._scope_now(), role=token.role.value)

    def routes(self) -> list[web.RouteDef]:
        access, operator = self._access, Role.OPERATOR
        return [
            web.get("/api/v1/overrides", self.overrides),
            web.post("/api/v1/overrides", allowed(access, operator, self.begin)),
            web.post("/api/v1/overrides/{id}/end", allowed(access, operator, self.end)),
        ]

    async def overrides(self, request: web.Request) -> web.Response:
        """What operators override, by name."""
        Query(request)
        return web.json_response({"overrides": [one.document() for one in self._cache.overrides]})

    async def begin(self, request: web.Request, token: Token) -> web.Response:
        """Override one endpoint: {"name": "…", "kind": "drain", "address": "…", "lasts_s": 7200, "reason": "…"}."""
        order = await read_order(request, _TAKES)
        how = How(dry_run=flag_of(order, "dry_run"))
        wanted, approved = _wanted(order), flag_of(order, "approve")
        author, reason = author_of(order, token), text_of(order, "reason")
        async with self._orders:
            scope = self._scope(token)
            done = await override(scope, wanted, author=author, reason=reason, approved=approved, how=how)
        if isinstance(done, Denied):
            raise denied(done)
        status = HTTPStatus.OK if how.dry_run else HTTPStatus.CREATED
        return web.json_response(await asyncio.to_thread(done.document), status=status)

    async def end(self, request: web.Request, token: Token) -> web.Response:
        """End an override: {"reason": "…"}."""
        order = await read_order(request, ("reason", "author", "approve"))
        author, reason, approved = author_of(order, token), text_of(order, "reason"), flag_of(order, "approve")
        async with self._orders:
            scope, ident = self._scope(token), request.match_info["id"]
            done = await end_override(scope, ident, author=author, reason=reason, approved=approved)
        if isinstance(done, Denied):
            raise denied(done)
        return web.json_response(await asyncio.to_thread(done.document), status=HTTPStatus.CREATED)


def _wanted(order: dict[str, Any]) -> Wanted:
    try:
        name = parse_name(text_of(order, "name"))
    except InvalidName as error:
        raise bad(f"name: {error}") from error
    kind = text_of(order, "kind")
    if kind not in KINDS:
        raise bad(f"kind: must be one of {', '.join(KINDS)}")
    weight, lasts_s = order.get("weight", 0), order.get("lasts_s")
    if type(weight) is not int or (kind == WEIGHT) != ("weight" in order):
        raise bad(f"weight: must be a whole number, with the kind {WEIGHT} and with no other")
    if isinstance(lasts_s, bool) or not isinstance(lasts_s, int | float) or not 0 < lasts_s <= LASTS_MAX_S:
        raise bad(f"lasts_s: must be a number of seconds, at most {LASTS_MAX_S:.0f}")
    return Wanted(name=name, kind=kind, address=text_of(order, "address", ""), weight=weight, lasts_s=float(lasts_s))
