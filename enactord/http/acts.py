"""The audit log over HTTP: read from the store each time, as no cache holds it."""

import asyncio
import re

from aiohttp import web

from enactord.core.moment import parse_moment
from enactord.http.problems import from_outside
from enactord.http.query import PAGE, PAGE_MAX, Query, bad
from enactord.operations import audit
from enactord.operations.scope import Scope

_PLACE = re.compile(r"[0-9]{20}-[0-9a-f]{1,20}\Z")
_AT_ONCE = 2
"""Reads side by side: each goes over the whole log."""


class Acts:
    """What operators and planners did to a scope."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._busy = asyncio.Semaphore(_AT_ONCE)

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/api/v1/audit", from_outside(self.audit))]

    async def audit(self, request: web.Request) -> web.Response:
        """The newest entries, newest first; `since`: only later ones; `before`: a page's `next`, to go on."""
        query = Query(request, ("limit", "since", "before"))
        limit = query.integer("limit", PAGE, low=1, high=PAGE_MAX)
        text, before = query.text("since"), query.text("before")
        if before and not _PLACE.match(before):
            raise bad("before: must be the `next` of a page")
        try:
            since = parse_moment(text, self._scope.clock.now()) if text else 0.0
        except ValueError as error:
            raise bad(f"since: {error}") from error
        async with self._busy:
            acts, older = await audit.acts(self._scope, limit=limit, since=since, before=before)
        return web.json_response({"audit": [act.document() for act in acts], "next": older or None})
