"""The plan store in memory: the double of etcd for simulation and tests.

Deterministic, without threads; every call is decided in one step. Leases run by the
event loop's clock, so a virtual-time loop has virtual leases. Several enactors share
one `MemoryStore`; delays, losses and lies are the business of a wrapper around it.
"""

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator, Sequence

from enactord.core.errors import Compacted, LeaseLost
from enactord.core.kv import (
    Changes,
    Compare,
    Delete,
    Item,
    KeyChange,
    Operation,
    Page,
    Put,
    Result,
    check_transaction,
    holds,
)


class MemoryStore:
    """Implements `KeyValue`."""

    def __init__(self) -> None:
        self._revision = 1
        self._compacted = 0
        self._versions: dict[str, list[tuple[int, Item | None]]] = {}
        self._log: list[Changes] = []
        self._leases: dict[int, tuple[int, float]] = {}
        self._lease_last = 0
        self._changed = asyncio.Event()

    async def range(self, start: str, end: str = "", *, revision: int = 0, limit: int = 0) -> Page:
        await asyncio.sleep(0)
        if revision and revision < self._compacted:
            raise Compacted(self._compacted)
        keys = [key for key in self._versions if (start <= key < end if end else key == start)]
        items = [item for key in sorted(keys) if (item := self._at(key, revision or self._revision)) is not None]
        more = bool(limit) and len(items) > limit
        return Page(revision=revision or self._revision, items=tuple(items[:limit] if limit else items), more=more)

    async def get(self, keys: Sequence[str]) -> dict[str, Item]:
        await asyncio.sleep(0)
        return {key: item for key in keys if (item := self._at(key, self._revision)) is not None}

    async def transact(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> Result:
        await asyncio.sleep(0)
        check_transaction(compares, operations)
        for compare in compares:
            if compare.prefix:
                found: list[Item | None] = [
                    item for key in self._versions if key.startswith(compare.key) and (item := self._now(key))
                ]
            else:
                found = [self._now(compare.key)]
            if not all(holds(compare, item) for item in found):
                return Result(succeeded=False, revision=self._revision)
        for operation in operations:
            if isinstance(operation, Put) and operation.lease and operation.lease not in self._leases:
                raise LeaseLost(f"lease {operation.lease} is gone")
        self._carry_out(operations)
        return Result(succeeded=True, revision=self._revision)

    async def watch(self, prefix: str, *, start_revision: int) -> AsyncIterator[Changes]:
        following = start_revision
        while True:
            if following <= self._compacted:
                raise Compacted(self._compacted)
            first = bisect_right(self._log, following - 1, key=lambda changes: changes.revision)
            for changes in self._log[first:]:
                following = changes.revision + 1
                events = tuple(event for event in changes.events if event.key.startswith(prefix))
                if events:
                    yield Changes(revision=changes.revision, events=events)
            if following > self._revision:
                await self._changed.wait()

    async def grant(self, ttl_s: int) -> int:
        await asyncio.sleep(0)
        self._lease_last += 1
        lease = self._lease_last
        loop = asyncio.get_running_loop()
        self._leases[lease] = (ttl_s, loop.time() + ttl_s)
        loop.call_at(loop.time() + ttl_s, self._expire, lease)
        return lease

    async def keep_alive(self, lease: int) -> None:
        await asyncio.sleep(0)
        if lease not in self._leases:
            raise LeaseLost(f"lease {lease} is gone")
        loop = asyncio.get_running_loop()
        ttl_s = self._leases[lease][0]
        self._leases[lease] = (ttl_s, loop.time() + ttl_s)
        loop.call_at(loop.time() + ttl_s, self._expire, lease)

    async def revoke(self, lease: int) -> None:
        await asyncio.sleep(0)
        if self._leases.pop(lease, None) is not None:
            keys = [key for key in sorted(self._versions) if (item := self._now(key)) and item.lease == lease]
            self._carry_out([Delete(key=key) for key in keys])

    async def close(self) -> None:
        """Nothing to let go of: others may share this store."""

    def compact(self, revision: int) -> None:
        """Forget what was before a revision, as etcd's compaction does."""
        self._compacted = max(self._compacted, min(revision, self._revision))
        self._log = [changes for changes in self._log if changes.revision > self._compacted]
        for key, versions in list(self._versions.items()):
            keep = max((i for i, (at, _) in enumerate(versions) if at <= self._compacted), default=0)
            kept = versions[keep:]
            if len(kept) == 1 and kept[0][1] is None:
                del self._versions[key]
            else:
                self._versions[key] = kept

    def _at(self, key: str, revision: int) -> Item | None:
        versions = self._versions.get(key, ())
        for at, item in reversed(versions):
            if at <= revision:
                return item
        return None

    def _now(self, key: str) -> Item | None:
        versions = self._versions.get(key)
        return versions[-1][1] if versions else None

    def _carry_out(self, operations: Sequence[Operation]) -> None:
        revision = self._revision + 1
        events: list[KeyChange] = []
        for operation in operations:
            if isinstance(operation, Put):
                old = self._now(operation.key)
                item = Item(
                    key=operation.key,
                    value=operation.value,
                    create_revision=old.create_revision if old else revision,
                    mod_revision=revision,
                    version=old.version + 1 if old else 1,
                    lease=operation.lease,
                )
                events.append(KeyChange(key=operation.key, item=item))
            else:
                prefix = operation.key
                keys = [k for k in sorted(self._versions) if k.startswith(prefix)] if operation.prefix else [prefix]
                events.extend(KeyChange(key=key, item=None) for key in keys if self._now(key) is not None)
        if not events:
            return
        for event in events:
            self._versions.setdefault(event.key, []).append((revision, event.item))
        self._revision = revision
        self._log.append(Changes(revision=revision, events=tuple(events)))
        self._changed.set()
        self._changed = asyncio.Event()

    def _expire(self, lease: int) -> None:
        known = self._leases.get(lease)
        if known is not None and known[1] <= asyncio.get_running_loop().time():
            del self._leases[lease]
            keys = [key for key in sorted(self._versions) if (item := self._now(key)) and item.lease == lease]
            self._carry_out([Delete(key=key) for key in keys])
