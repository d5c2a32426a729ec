"""Plans over HTTP: which are stored, what one holds, and what leads from one to another or from the ledger to it."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from aiohttp import web

from enactord.core.buckets import BucketId
from enactord.core.errors import PlanUnreadable
from enactord.core.plan import GENERATION_MAX, NO_PART, Manifest, merge
from enactord.http.problems import Problem, from_outside, missing
from enactord.http.query import PAGE, PAGE_MAX, Query, whole_number
from enactord.operations.documents import Document, contents_document, diff_plans, owned_in, plans_document
from enactord.store.cache import Cache
from enactord.store.plans import Plans

LEDGER = "ledger"
"""What is applied, in the place of a plan to compare with."""
_DIFF_BUCKETS_MAX = 512
_BUCKETS_AT_ONCE = 16
_NAMES_A_PAGE = 2000
"""A page of contents ends with the bucket that brings it there."""
_INDEX_MAX = 10**9


class _Pair(NamedTuple):
    """Chunks to compare, by digest; with `ledger`, what is applied in that bucket is with the first."""

    old: Sequence[str]
    new: Sequence[str]
    ledger: BucketId | None = None


class PlanPages:
    """What can be read of plans, from the enactor's cache; their chunks come from the store."""

    def __init__(self, cache: Cache, plans: Plans) -> None:
        self._cache = cache
        self._plans = plans
        self._busy = asyncio.Semaphore(4)

    def routes(self) -> list[web.RouteDef]:
        plan = "/api/v1/plans/{generation}"
        return [
            web.get("/api/v1/plans", self.plans),
            web.get(plan, from_outside(self.plan)),
            web.get(f"{plan}/content", from_outside(self.content)),
            web.get(f"{plan}/diff", from_outside(self.diff)),
            web.get(f"{plan}/changes", from_outside(self.changes)),
        ]

    async def plans(self, request: web.Request) -> web.Response:
        """Stored plans, newest first; `before`: only generations below."""
        query = Query(request, ("before", "limit"))
        before = query.integer("before", GENERATION_MAX, low=1, high=GENERATION_MAX)
        limit = query.integer("limit", PAGE, low=1, high=PAGE_MAX)
        stored = self._cache.generations
        older = [generation for generation in reversed(stored) if generation < before]
        page = older[:limit]
        return web.json_response(
            {
                "plans": plans_document(self._cache, page),
                "total": len(stored),
                "next": page[-1] if len(older) > limit else None,
            }
        )

    async def plan(self, request: web.Request) -> web.Response:
        """One plan, without its content; `check`: whether each of its chunks can be read."""
        query = Query(request, ("check",))
        generation = _generation(request)
        found = plans_document(self._cache, [generation])
        if not found:
            raise _no_plan(generation)
        document = found[0]
        if query.flag("check") and "unreadable" not in document:
            async with self._busy:
                document |= await self._checked(self._manifest(generation))
        return web.json_response(document)

    async def _checked(self, manifest: Manifest) -> Document:
        """Read every chunk of a plan from the store, whatever the cache has, and keep none."""
        digests = sorted(set(manifest.digests()))
        try:
            for start in range(0, len(digests), _BUCKETS_AT_ONCE):
                await self._plans.texts(digests[start : start + _BUCKETS_AT_ONCE])
                await asyncio.sleep(0)
        except PlanUnreadable as error:
            return {"readable": False, "problem": str(error)}
        return {"readable": True}

    async def content(self, request: web.Request) -> web.Response:
        """What a plan holds, whole chunks to a page; `after`: the `next` of a page, to go on."""
        query = Query(request, ("after",))
        manifest = self._manifest(_generation(request))
        start = query.integer("after", 0, low=0, high=_INDEX_MAX)
        digests = list(manifest.digests())
        found: dict[str, str] = {}
        async with self._busy:
            while start < len(digests) and len(found) < _NAMES_A_PAGE:
                found |= await self._contents(digests[start : start + 1])
                start += 1
        return web.json_response(
            {
                "generation": manifest.generation,
                "content": contents_document(found),
                "next": start if start < len(digests) else None,
            }
        )

    async def diff(self, request: web.Request) -> web.Response:
        """What leads to a plan from another, by default the one stored before it; `limit` bounds each list."""
        query = Query(request, ("from", "limit"))
        generation = _generation(request)
        limit = query.integer("limit", PAGE, low=0, high=PAGE_MAX)
        earlier = [g for g in self._cache.generations if g < generation]
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
        for start in range(0, len(read), _BUCKETS_AT_ONCE):
            for kind, changes in (await self._changes(read[start : start + _BUCKETS_AT_ONCE])).items():
                counts[kind] += len(changes)
                found[kind] = sorted([*found[kind], *changes], key=_name)[:limit]
        return {
            "from": before.generation if before else 0,
            "to": after.generation,
            "counts": counts,
            "complete": len(read) == len(differing),
            **found,
        }

    async def changes(self, request: web.Request) -> web.Response:
        """All that leads to a plan from another one, or from the ledger, whole buckets to a page."""
        query = Query(request, ("from", "after"))
        after = self._manifest(_generation(request))
        start = first = query.integer("after", 0, low=0, high=_INDEX_MAX)
        origin = query.text("from") or LEDGER
        if origin == LEDGER:
            pairs = self._against_ledger(after)
        else:
            before = self._manifest(whole_number("from", origin, low=1, high=GENERATION_MAX - 1))
            pairs = _differing(before, after)
        found: dict[str, list[Any]] = {"added": [], "removed": [], "changed": []}
        async with self._busy:
            while start < min(len(pairs), first + _DIFF_BUCKETS_MAX) and sum(map(len, found.values())) < _NAMES_A_PAGE:
                for kind, changes in (await self._changes(pairs[start : start + _BUCKETS_AT_ONCE])).items():
                    found[kind] += changes
                start += _BUCKETS_AT_ONCE
        told = {kind: sorted(changes, key=_name) for kind, changes in found.items()}
        return web.json_response(
            {
                "from": origin if origin == LEDGER else int(origin),
                "to": after.generation,
                "next": start if start < len(pairs) else None,
                **told,
            }
        )

    def _against_ledger(self, after: Manifest) -> list[_Pair]:
        """Return the buckets of the ledger and of a plan, cut as the plan cuts its zones."""
        pairs = []
        for zone in sorted({*self._cache.ledger.zones, *after.zones}):
            part = after.part(zone)
            slots = part.slots or 1
            for slot in range(slots):
                new = (part.chunks[slot],) if slot in part.chunks else ()
                pairs.append(_Pair((), new, BucketId(zone, slot, slots)))
        return pairs

    # -- what they read

    async def _contents(self, digests: Iterable[str]) -> dict[str, str]:
        """Return name to content text of some chunks."""
        wanted = list(digests)
        texts = await self._plans.texts(wanted, self._cache.chunks(wanted))
        await asyncio.sleep(0)
        return merge(texts.values())

    async def _changes(self, pairs: Sequence[_Pair]) -> Document:
        """Return what leads from the first of each pair to the second."""
        before = await self._contents(digest for pair in pairs for digest in pair.old)
        for pair in pairs:
            if pair.ledger is not None:
                before |= owned_in(self._cache.ledger.bucket(pair.ledger))
                await asyncio.sleep(0)
        return diff_plans(before, await self._contents(digest for pair in pairs for digest in pair.new))

    def _manifest(self, generation: int) -> Manifest:
        manifest = self._cache.manifest(generation)
        if manifest is None:
            raise _no_plan(generation)
        return manifest


def _differing(before: Manifest | None, after: Manifest) -> list[_Pair]:
    """Return the chunks that differ between two plans, by digest: those of a slot, or of a zone that was cut anew."""
    found: list[_Pair] = []
    for zone in sorted({*(before.zones if before else ()), *after.zones}):
        old, new = before.part(zone) if before else NO_PART, after.part(zone)
        if old.slots != new.slots:
            found.append(_Pair(list(old.chunks.values()), list(new.chunks.values())))
            continue
        for slot in sorted(old.chunks.keys() | new.chunks.keys()):
            pair = [[part.chunks[slot]] if slot in part.chunks else [] for part in (old, new)]
            if pair[0] != pair[1]:
                found.append(_Pair(pair[0], pair[1]))
    return found


def _name(change: Document) -> str:
    return str(change["name"])


def _generation(request: web.Request) -> int:
    return whole_number("generation", request.match_info["generation"], low=1, high=GENERATION_MAX - 1)


def _no_plan(generation: int) -> Problem:
    detail = f"plan {generation} is not in the store; see those that are: enactorctl plans, or /api/v1/plans"
    return missing("generation", detail)
