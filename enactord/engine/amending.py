"""Amending the ledger by what was seen, without a write: names that are held, and contents that are seen served."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

from enactord.core.buckets import BucketId
from enactord.core.events import EndpointHeld
from enactord.core.fence import FenceRecord
from enactord.core.ledger import Bucket, Entry, Hold
from enactord.engine.settings import Ports
from enactord.store.cache import Cache
from enactord.store.fences import fence_is
from enactord.store.keys import Keys
from enactord.store.ledger import Ledger


class Amender:
    """Amends the ledger of one enactor's scope, each zone under its fence."""

    def __init__(self, ports: Ports, keys: Keys, cache: Cache) -> None:
        self._ports = ports
        self._keys = keys
        self._cache = cache
        self._ledger = Ledger(ports.store, keys, cache)

    async def hold(self, zone: str, record: FenceRecord, guard: str, details: Mapping[str, str]) -> None:
        """Enter names as held that the zone does not serve, whatever is put there: their drift is none to repair."""
        since_s = int(self._ports.clock.now())
        held: list[tuple[str, Hold]] = []

        def hold(entry: Entry) -> Entry:
            if entry.pending is not None or (entry.held is not None and entry.held.guard == guard):
                return entry
            detail = details[entry.name]
            entered = Hold(generation=record.generation, guard=guard, detail=detail, since_s=since_s)
            held.append((entry.name, entered))
            return entry._replace(held=entered)

        if await self._amend(zone, record, details, hold):
            for name, entered in held:
                self._ports.observer.observe(
                    EndpointHeld(
                        zone=zone,
                        generation=entered.generation,
                        name=name,
                        guard=entered.guard,
                        detail=entered.detail,
                    )
                )

    async def promote(self, zone: str, record: FenceRecord, seen: Mapping[str, Entry]) -> None:
        """Enter as last known good what was applied and only now is seen served; entries that moved since stay."""
        await self._amend(
            zone,
            record,
            seen,
            lambda entry: entry._replace(good=entry.applied) if entry == seen[entry.name] else entry,
        )

    async def _amend(
        self, zone: str, record: FenceRecord, names: Iterable[str], change: Callable[[Entry], Entry]
    ) -> bool:
        """Change the entries of names, under the zone's fence; returns whether the store took it."""
        index = self._cache.ledger
        by_bucket: dict[BucketId, list[str]] = defaultdict(list)
        for name in names:
            bucket_id = index.find(zone, name)
            if bucket_id is not None:
                by_bucket[bucket_id].append(name)
        read = {bucket_id: index.revision(bucket_id) for bucket_id in by_bucket}
        buckets: dict[BucketId, Bucket] = {}
        for bucket_id, some in by_bucket.items():
            bucket = index.bucket(bucket_id)
            bucket.update({name: change(bucket[name]) for name in some if name in bucket})
            buckets[bucket_id] = bucket
        return await self._ledger.amend([fence_is(self._keys, zone, record)], buckets, read)
