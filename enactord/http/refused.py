"""Refused publications over HTTP: which there are, and what each would change."""

import asyncio
from collections.abc import Collection
from http import HTTPStatus

from aiohttp import web

from enactord.core.contribution import Contribution, is_handle
from enactord.core.errors import PlanUnreadable
from enactord.core.plan import Manifest
from enactord.core.refusal import Refusal
from enactord.http.problems import Problem, from_outside
from enactord.http.query import PAGE, PAGE_MAX, Query
from enactord.operations.documents import Document, contribution_document, diff_plans
from enactord.operations.refused import choose, contrast
from enactord.store.cache import Cache
from enactord.store.plans import Plans

_NAMES_A_PAGE = 5000
_AT_ONCE = 2
"""Comparisons side by side: each may read a whole plan."""


class RefusedPublications:
    """What guards last refused of each planner, from the enactor's cache; chunks come from the store."""

    def __init__(self, cache: Cache, plans: Plans) -> None:
        self._cache = cache
        self._plans = plans
        self._busy = asyncio.Semaphore(_AT_ONCE)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/v1/refused", self.refused),
            web.get("/api/v1/refused/{digest}/diff", from_outside(self.diff)),
            web.get("/api/v1/refused/{digest}/changes", from_outside(self.changes)),
        ]

    async def refused(self, request: web.Request) -> web.Response:
        """The refused publications, by planner."""
        Query(request)
        return web.json_response({"refused": [contribution_document(kept) for kept in self._cache.contributions]})

    async def diff(self, request: web.Request) -> web.Response:
        """What a refused publication would change of the newest plan; `limit` bounds each list."""
        query = Query(request, ("limit",))
        limit = query.integer("limit", PAGE, low=0, high=PAGE_MAX)
        ends, changes = await self._compare(request)
        return web.json_response(
            {
                **ends,
                "counts": {kind: len(some) for kind, some in changes.items()},
                "complete": True,
                **{kind: some[:limit] for kind, some in changes.items()},
            }
        )

    async def changes(self, request: web.Request) -> web.Response:
        """All that a refused publication would change, some thousand names to a page; `after`: a page's `next`."""
        after = Query(request, ("after",)).text("after")
        ends, changes = await self._compare(request)
        left = sorted(change["name"] for some in changes.values() for change in some if change["name"] > after)
        page = frozenset(left[:_NAMES_A_PAGE])
        told = {kind: [change for change in some if change["name"] in page] for kind, some in changes.items()}
        more = left[_NAMES_A_PAGE - 1] if len(left) > _NAMES_A_PAGE else None
        return web.json_response({**ends, "next": more, **told})

    async def _compare(self, request: web.Request) -> tuple[Document, Document]:
        """Return between what a path's refused publication is compared, and all that it would change."""
        kept, newest = self._find(handle_of(request)), self._newest()
        async with self._busy:
            found = await contrast(self._read, newest, kept)
            changes = await asyncio.to_thread(diff_plans, found.before, found.after)
        return {"from": newest.generation if newest else 0, "to": kept.digest}, changes

    def _find(self, handle: str) -> Contribution:
        found = choose(self._cache.contributions, handle)
        if isinstance(found, Refusal):
            told = {"guard": found.guard, "detail": found.detail}
            raise Problem(HTTPStatus.NOT_FOUND, f"{found.detail}; or /api/v1/refused", refusals=[told])
        return found

    def _newest(self) -> Manifest | None:
        """Return the newest plan; None where there is none, or none that can be read."""
        try:
            return self._cache.manifest(self._cache.head)
        except PlanUnreadable:
            return None

    async def _read(self, digests: Collection[str]) -> dict[str, str]:
        return await self._plans.texts(digests, self._cache.chunks(digests))


def handle_of(request: web.Request) -> str:
    """Return the digest, or its start, that a path names. Raises `Problem` where it is none."""
    handle = request.match_info["digest"].lower()
    if not is_handle(handle):
        detail = "digest: must be 12 to 64 hexadecimal digits, from the start of a digest; see /api/v1/refused"
        raise Problem(HTTPStatus.NOT_FOUND, detail)
    return handle
