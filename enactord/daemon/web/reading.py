"""What can be read of a scope over HTTP: plans and what changed between them, endpoints and what they were."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from http import HTTPStatus
from typing import Any

from aiohttp import web

from enactord.core.content import content_json, parse_content
from enactord.core.errors import InvalidName, PlanUnreadable, StoreDown, StoreRefused
from enactord.core.ledger import Entry
from enactord.core.names import parse_name
from enactord.core.plan import GENERATION_MAX, NO_PART, Manifest, merge
from enactord.daemon.documents import (
    STATES,
    Document,
    diff_plans,
    endpoint_document,
    find_entries,
    history_document,
    plans_document,
    version_content,
)
from enactord.daemon.web.problems import Handler, Problem
from enactord.daemon.web.query import Query, bad, whole_number
from enactord.daemon.web.roster import Roster
from enactord.engine.evidence import Seen
from enactord.registry.mirror import Mirror
from enactord.registry.plans import Plans

PAGE = 50
PAGE_MAX = 500
HISTORY_PLANS_MAX = 50
AMISS = "amiss"
"""Not a state of the ledger: names that the last look saw otherwise than they should be."""
_DIFF_BUCKETS_MAX = 512
_DIFF_BUCKETS_AT_ONCE = 16


class Reading:
    """The reading part of the API, from the enactor's mirror; chunks of plans come from the store."""

    def __init__(
        self,
        mirror: Mirror,
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
        self._mirror = mirror
        self._plans = plans
        self._zones = zones
        self._roster = Roster(mirror)
        self._busy = asyncio.Semaphore(4)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/v1/plans", self.plans),
            web.get("/api/v1/plans/{generation}", self.plan),
            web.get("/api/v1/plans/{generation}/diff", from_store(self.diff)),
            web.get("/api/v1/endpoints", self.endpoints),
            web.get("/api/v1/holds", self.holds),
            web.get("/api/v1/endpoints/{name}", from_store(self.endpoint)),
            web.get("/api/v1/endpoints/{name}/history", from_store(self.history)),
        ]

    # -- plans

    async def plans(self, request: web.Request) -> web.Response:
        """Stored plans, newest first; `before`: only generations below."""
        query = Query(request, ("before", "limit"))
        before = query.integer("before", GENERATION_MAX, low=1, high=GENERATION_MAX)
        limit = query.integer("limit", PAGE, low=1, high=PAGE_MAX)
        stored = self._mirror.generations
        older = [generation for generation in reversed(stored) if generation < before]
        page = older[:limit]
        return web.json_response(
            {
                "plans": [self._marked(plan) for plan in plans_document(self._mirror, page)],
                "total": len(stored),
                "next": page[-1] if len(older) > limit else None,
            }
        )

    async def plan(self, request: web.Request) -> web.Response:
        """One plan, without its content."""
        Query(request)
        generation = _generation(request)
        found = plans_document(self._mirror, [generation])
        if not found:
            raise _no_plan(generation)
        return web.json_response(self._marked(found[0]))

    def _marked(self, plan: Document) -> Document:
        """Add in which zones a plan is the one that is open, and in which it is applied."""
        generation = plan["generation"]
        fences = self._mirror.fences
        return plan | {
            "open_in": [zone for zone in fences if fences[zone] == generation],
            "applied_in": [zone for zone in fences if self._mirror.applied(zone) == generation],
        }

    async def diff(self, request: web.Request) -> web.Response:
        """What leads to a plan from another, by default the one stored before it; `limit` bounds each list."""
        query = Query(request, ("from", "limit"))
        generation = _generation(request)
        limit = query.integer("limit", PAGE, low=0, high=PAGE_MAX)
        earlier = [g for g in self._mirror.generations if g < generation]
        origin = query.integer("from", earlier[-1] if earlier else 0, low=0, high=GENERATION_MAX - 1)
        after = self._manifest(generation)
        before = self._manifest(origin) if origin else None
        async with self._busy:
            return web.json_response(await self._diff(before, after, limit))

    async def _diff(self, before: Manifest | None, after: Manifest, limit: int) -> Document:
        differing = _differing(before, after)
        read = differing[:_DIFF_BUCKETS_MAX]
        found: dict[str, list[Any]] = {"added": [], "removed": [], "changed": []}
        counts = dict.fromkeys(found, 0)
        for start in range(0, len(read), _DIFF_BUCKETS_AT_ONCE):
            some = read[start : start + _DIFF_BUCKETS_AT_ONCE]
            part = diff_plans(
                await self._contents(digest for old, _ in some for digest in old),
                await self._contents(digest for _, new in some for digest in new),
            )
            for kind, changes in part.items():
                counts[kind] += len(changes)
                found[kind] = sorted([*found[kind], *changes], key=_name)[:limit]
        return {
            "from": before.generation if before else 0,
            "to": after.generation,
            "counts": counts,
            "complete": len(read) == len(differing),
            **found,
        }

    async def _contents(self, digests: Any) -> dict[str, str]:
        """Return name to content text of some chunks."""
        wanted = list(digests)
        texts = await self._plans.texts(wanted, self._mirror.chunks(wanted))
        await asyncio.sleep(0)
        return merge(texts.values())

    def _manifest(self, generation: int) -> Manifest:
        manifest = self._mirror.manifest(generation)
        if manifest is None:
            raise _no_plan(generation)
        return manifest

    # -- endpoints

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
        entries = find_entries(self._mirror, found.names)
        return web.json_response(
            {
                "endpoints": [self._document(entries[name]) for name in found.names if name in entries],
                "total": found.total,
                "next": found.after or None,
            }
        )

    async def holds(self, request: web.Request) -> web.Response:
        """What is held, by guard, the guard with most names first: how many, and one of them."""
        Query(request)
        groups = await self._roster.groups()
        entries = find_entries(self._mirror, [group.first for group in groups])
        return web.json_response(
            {
                "groups": [
                    {"guard": group.guard, "count": group.count, "example": self._document(entries[group.first])}
                    for group in groups
                    if group.first in entries
                ]
            }
        )

    async def endpoint(self, request: web.Request) -> web.Response:
        """One endpoint: what is applied and last known good, and what the plan at hand wants of it."""
        Query(request)
        name = _endpoint_name(request)
        entry = self._mirror.ledger.entry(name)
        if entry is None:
            raise _no_endpoint(name)
        document = self._document(entry)
        document["good_content"] = version_content(entry.good)
        document["wanted"] = None
        awaited = entry.pending or entry.held
        manifest = self._mirror.manifest(awaited.generation) if awaited else None
        digest = None if manifest is None else manifest.chunk_of(name)
        if digest is not None:
            content = (await self._contents([digest])).get(name)
            document["wanted"] = None if content is None else content_json(parse_content(content))
        return web.json_response(document)

    def _document(self, entry: Entry) -> Document:
        """One endpoint as the ledger has it, and how it was last seen served."""
        document = endpoint_document(entry, self._zones, self._mirror.overrides)
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
        """What a name was in the newest stored plans, where that changed, and what the ledger has."""
        query = Query(request, ("plans",))
        name = _endpoint_name(request)
        newest = query.integer("plans", 20, low=1, high=HISTORY_PLANS_MAX)
        generations = self._mirror.generations[-newest:]
        async with self._busy:
            document = await history_document(self._mirror, self._plans, name, self._zones, generations)
        if document["ledger"] is None and not document["plans"]:
            raise _no_endpoint(name)
        return web.json_response(document)


def _differing(before: Manifest | None, after: Manifest) -> list[tuple[Sequence[str], Sequence[str]]]:
    """Return the chunks that differ between two plans, by digest: those of a slot, or of a zone that was cut anew."""
    found: list[tuple[Sequence[str], Sequence[str]]] = []
    for zone in sorted({*(before.zones if before else ()), *after.zones}):
        old, new = before.part(zone) if before else NO_PART, after.part(zone)
        if old.slots != new.slots:
            found.append((list(old.chunks.values()), list(new.chunks.values())))
            continue
        for slot in sorted(old.chunks.keys() | new.chunks.keys()):
            pair = [[part.chunks[slot]] if slot in part.chunks else [] for part in (old, new)]
            if pair[0] != pair[1]:
                found.append((pair[0], pair[1]))
    return found


def _name(change: Document) -> str:
    return str(change["name"])


def _generation(request: web.Request) -> int:
    return whole_number("generation", request.match_info["generation"], low=1, high=GENERATION_MAX - 1)


def _endpoint_name(request: web.Request) -> str:
    try:
        return parse_name(request.match_info["name"])
    except InvalidName as error:
        raise bad(f"name: {error}") from error


def _no_plan(generation: int) -> Problem:
    return Problem(HTTPStatus.NOT_FOUND, f"plan {generation} is not in the store; what is: /api/v1/plans")


def _no_endpoint(name: str) -> Problem:
    return Problem(HTTPStatus.NOT_FOUND, f"{name} is in neither ledger nor plans; search: /api/v1/endpoints?search=…")


def from_store(handler: Handler) -> Handler:
    """Turn what the store may fail with into problems."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except PlanUnreadable as error:
            raise Problem(HTTPStatus.CONFLICT, str(error)) from error
        except (StoreDown, StoreRefused) as error:
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE, f"the plan store: {error}", headers={"Retry-After": "5"}
            ) from error

    return guarded
