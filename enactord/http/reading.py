"""Endpoints over HTTP: what they are, how they were seen served, and what they were."""

import asyncio
from collections.abc import Callable, Collection, Sequence

from aiohttp import web

from enactord.core.content import content_json, parse_content
from enactord.core.errors import InvalidName
from enactord.core.ledger import Entry
from enactord.core.names import parse_name
from enactord.core.overrides import Override
from enactord.core.plan import GENERATION_MAX, parse_chunk
from enactord.engine.evidence import Seen
from enactord.http.problems import Problem, from_outside, missing
from enactord.http.query import PAGE, PAGE_MAX, Query, bad
from enactord.http.roster import Roster
from enactord.operations.documents import (
    STATES,
    Document,
    endpoint_document,
    find_entries,
    history_document,
    version_content,
)
from enactord.store.cache import Cache
from enactord.store.plans import Plans

HISTORY_PLANS_MAX = 50
AMISS = "amiss"
"""Not a state of the ledger: names that the last look saw otherwise than they should be."""


class Reading:
    """What can be read of endpoints, from the enactor's cache; chunks of plans come from the store."""

    def __init__(
        self,
        cache: Cache,
        plans: Plans,
        zones: Sequence[str],
        seen: Callable[[Entry, str], Seen],
        amiss: Callable[[], Collection[str]],
    ) -> None:
        """`seen`: how a name of a zone is served, as the enactor last saw it; `amiss`: the names that it saw otherwise
        than they should be.
        """
        self._seen = seen
        self._amiss = amiss
        self._cache = cache
        self._plans = plans
        self._zones = zones
        self._roster = Roster(cache)
        self._busy = asyncio.Semaphore(4)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/v1/endpoints", self.endpoints),
            web.get("/api/v1/holds", self.holds),
            web.get("/api/v1/endpoints/{name}", from_outside(self.endpoint)),
            web.get("/api/v1/endpoints/{name}/history", from_outside(self.history)),
        ]

    async def endpoints(self, request: web.Request) -> web.Response:
        """Endpoints of the ledger in natural order: those that hold a text, in a state, in a zone, seen amiss."""
        query = Query(request, ("search", "state", "zone", "after", "limit"))
        limit = query.integer("limit", PAGE, low=1, high=PAGE_MAX)
        zone = query.text("zone").lower()
        state = query.choice("state", (*STATES, AMISS))
        found = await self._roster.find(
            search=query.text("search").strip().lower(),
            state=state if state in STATES else "",
            only=self._amiss() if state == AMISS else None,
            zone=zone if not zone or zone.endswith(".") else zone + ".",
            zones=self._zones,
            after=query.text("after").lower(),
            limit=limit,
        )
        entries, overrides = find_entries(self._cache, found.names), self._cache.overrides
        return web.json_response(
            {
                "endpoints": [self._document(entries[name], overrides) for name in found.names if name in entries],
                "total": found.total,
                "next": found.after or None,
            }
        )

    async def holds(self, request: web.Request) -> web.Response:
        """What is held, by guard, the guard with most names first: how many, and one of them."""
        Query(request)
        groups = await self._roster.groups()
        entries, overrides = find_entries(self._cache, [group.first for group in groups]), self._cache.overrides
        return web.json_response(
            {
                "groups": [
                    {
                        "guard": group.guard,
                        "count": group.count,
                        "example": self._document(entries[group.first], overrides),
                    }
                    for group in groups
                    if group.first in entries
                ]
            }
        )

    async def endpoint(self, request: web.Request) -> web.Response:
        """One endpoint: what is applied and last known good, and what the plan at hand wants of it."""
        Query(request)
        name = _endpoint_name(request)
        entry = self._cache.ledger.entry(name)
        if entry is None:
            raise _no_endpoint(name)
        document = self._document(entry, self._cache.overrides)
        document["good_content"] = version_content(entry.good)
        document["wanted"] = None
        awaited = entry.pending or entry.held
        manifest = self._cache.manifest(awaited.generation) if awaited else None
        digest = None if manifest is None else manifest.chunk_of(name)
        if digest is not None:
            texts = await self._plans.texts([digest], self._cache.chunks([digest]))
            content = parse_chunk(texts[digest]).get(name)
            document["wanted"] = None if content is None else content_json(parse_content(content))
        return web.json_response(document)

    def _document(self, entry: Entry, overrides: Sequence[Override]) -> Document:
        """One endpoint as the ledger has it, its overrides of those of the scope, and how it was last seen served."""
        document = endpoint_document(entry, self._zones, overrides)
        seen = self._seen(entry, document["zone"])
        other = seen.otherwise
        document["served"] = {
            "state": seen.state,
            "at": seen.at,
            "behind": list(seen.behind),
            "instead": None if other is None else {"served": list(other.served), "wanted": list(other.wanted)},
        }
        return document

    async def history(self, request: web.Request) -> web.Response:
        """What a name was in the newest stored plans, where that changed, and what the ledger has.

        `before`: a page's `next`. The oldest plan of a page is looked at again in the next one: only there it is known
        whether the name changed in it.
        """
        query = Query(request, ("plans", "before"))
        name = _endpoint_name(request)
        newest = query.integer("plans", 20, low=2, high=HISTORY_PLANS_MAX)
        before = query.integer("before", GENERATION_MAX, low=1, high=GENERATION_MAX)
        older = [generation for generation in self._cache.generations if generation < before]
        page = older[-newest:]
        async with self._busy:
            document = await history_document(self._cache, self._plans, name, self._zones, page)
        if document["ledger"] is None and not document["plans"] and len(page) == len(older):
            raise _no_endpoint(name)
        return web.json_response(document | {"next": page[0] + 1 if len(page) < len(older) else None})


def _endpoint_name(request: web.Request) -> str:
    try:
        return parse_name(request.match_info["name"])
    except InvalidName as error:
        raise bad(f"name: {error}") from error


def _no_endpoint(name: str) -> Problem:
    detail = f"{name} is in neither ledger nor plans; list names: enactorctl endpoints, or /api/v1/endpoints?search=…"
    return missing("unknown", detail)
