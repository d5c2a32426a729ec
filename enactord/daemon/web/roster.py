"""The roster: every name of the ledger in order, with its state, brought up to date when somebody asks."""

import asyncio
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from enactord.core.buckets import BucketId
from enactord.core.names import zone_of
from enactord.registry.mirror import Mirror

_BUCKETS_AT_ONCE = 8
"""Unpacked between two turns of the loop: under a millisecond each, so that nothing else has to wait long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One page of names: those after the cursor, how many there are in all, and the next cursor ("": the end)."""

    names: Sequence[str]
    total: int
    after: str


class Roster:
    """Only buckets that changed since the last question are unpacked: a search costs no more than the list's length."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._revisions: dict[BucketId, int] = {}
        self._states: dict[BucketId, Mapping[str, str]] = {}
        self._names: list[str] = []
        self._lock = asyncio.Lock()

    async def find(self, *, search: str, state: str, zone: str, zones: Sequence[str], after: str, limit: int) -> Found:
        """Return the names that hold `search`, are in this state and in this zone ("": any), sorted."""
        async with self._lock:
            states = await self._refresh()
        names = self._names
        if search:
            names = [name for name in names if search in name]
        if state:
            names = [name for name in names if states[name] == state]
        if zone:
            names = [name for name in names if name.endswith(zone) and zone_of(name, zones) == zone]
        start = bisect_right(names, after) if after else 0
        page = names[start : start + limit]
        return Found(names=page, total=len(names), after=page[-1] if start + limit < len(names) else "")

    async def _refresh(self) -> dict[str, str]:
        """Bring the list up to date; returns the state by name."""
        unpacked = 0
        moved = False
        index = self._mirror.ledger
        stored = {bucket: index.revision(bucket) for bucket in index.all_stored()}
        for gone in self._revisions.keys() - stored.keys():
            del self._revisions[gone]
            moved = bool(self._states.pop(gone)) or moved
        for bucket, revision in stored.items():
            if revision == self._revisions.get(bucket):
                continue
            before = self._states.get(bucket, {})
            now = {name: entry.state for name, entry in index.bucket(bucket).items()}
            self._states[bucket] = now
            self._revisions[bucket] = revision
            moved = moved or before.keys() != now.keys()
            unpacked += 1
            if unpacked % _BUCKETS_AT_ONCE == 0:
                await asyncio.sleep(0)
        states = {name: state for bucket in self._states.values() for name, state in bucket.items()}
        if moved:
            self._names = sorted(states)
        return states
