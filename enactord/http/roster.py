"""The roster: every name of the ledger in order, with its state, brought up to date when somebody asks."""

import asyncio
from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from enactord.core.buckets import BucketId
from enactord.core.names import natural, zone_of
from enactord.store.cache import Cache

_BUCKETS_AT_ONCE = 8
"""Unpacked between two turns of the loop: under a millisecond each, so that nothing else has to wait long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One page of names: those after the cursor, how many there are in all, and the next cursor ("": the end)."""

    names: Sequence[str]
    total: int
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Names that are held by one guard: how many, and the first of them."""

    guard: str
    count: int
    first: str


class Roster:
    """Only buckets that changed since the last question are unpacked: a search costs no more than the list's length."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._revisions: dict[BucketId, int] = {}
        self._states: dict[BucketId, Mapping[str, tuple[str, str]]] = {}
        """By bucket and name: the state, and the guard that holds it ("": none)."""
        self._names: list[str] = []
        self._lock = asyncio.Lock()

    async def find(
        self,
        *,
        search: str,
        state: str,
        zone: str,
        zones: Sequence[str],
        after: str,
        limit: int,
        only: Collection[str] | None = None,
    ) -> Found:
        """Return the names that hold `search`, are in this state and in this zone ("": any), in natural order.

        `only`: those of these names alone.
        """
        async with self._lock:
            states = await self._refresh()
        names = self._names
        if only is not None:
            names = [name for name in names if name in only]
        if search:
            names = [name for name in names if search in name]
        if state:
            names = [name for name in names if states[name][0] == state]
        if zone:
            names = [name for name in names if name.endswith(zone) and zone_of(name, zones) == zone]
        start = bisect_right(names, natural(after), key=natural) if after else 0
        page = names[start : start + limit]
        return Found(names=page, total=len(names), after=page[-1] if start + limit < len(names) else "")

    async def groups(self) -> list[Group]:
        """Return the names that are held, by guard, the guard with most names first."""
        async with self._lock:
            states = await self._refresh()
        counts: dict[str, int] = {}
        first: dict[str, str] = {}
        for name in self._names:
            guard = states[name][1]
            if guard:
                counts[guard] = counts.get(guard, 0) + 1
                first.setdefault(guard, name)
        ordered = sorted(counts, key=lambda guard: (-counts[guard], guard))
        return [Group(guard=guard, count=counts[guard], first=first[guard]) for guard in ordered]

    async def _refresh(self) -> dict[str, tuple[str, str]]:
        """Bring the list up to date; returns state and guard by name."""
        unpacked = 0
        moved = False
        index = self._cache.ledger
        stored = {bucket: index.revision(bucket) for bucket in index.all_stored()}
        for gone in self._revisions.keys() - stored.keys():
            del self._revisions[gone]
            moved = bool(self._states.pop(gone)) or moved
        for bucket, revision in stored.items():
            if revision == self._revisions.get(bucket):
                continue
            before = self._states.get(bucket, {})
            now = {
                name: (entry.state, entry.held.guard if entry.held is not None else "")
                for name, entry in index.bucket(bucket).items()
            }
            self._states[bucket] = now
            self._revisions[bucket] = revision
            moved = moved or before.keys() != now.keys()
            unpacked += 1
            if unpacked % _BUCKETS_AT_ONCE == 0:
                await asyncio.sleep(0)
        states = {name: state for bucket in self._states.values() for name, state in bucket.items()}
        if moved:
            self._names = sorted(states, key=natural)
        return states
