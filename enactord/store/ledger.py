"""Ledger transactions: begin marks endpoints pending, commit records what is applied, both fenced."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from enactord.core.buckets import BucketId
from enactord.core.errors import StoreUnknown
from enactord.core.fence import FenceRecord
from enactord.core.kv import MAX_REQUEST_BYTES, Compare, Delete, Item, Operation, Put, prefix_end, unmodified
from enactord.core.ledger import Bucket
from enactord.ports import KeyValue
from enactord.store.cache import Cache
from enactord.store.fences import Fences, fence_is, not_frozen
from enactord.store.keys import Keys, applied_value
from enactord.store.ledger_index import NOT_STORED_SO, LedgerIndex, bucket_value
from enactord.store.reshaping import Move, plan_moves
from enactord.store.session import Claim

BUCKETS_A_TRANSACTION = 100
"""Beside them stand the compares of the claim, the freeze and the zone's fence, far below the store's limit."""
_MOVES_A_TRANSACTION = 40
"""Moves of the ledger's buckets, each of which touches two keys."""
_BYTES_A_TRANSACTION = MAX_REQUEST_BYTES // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """What every store transaction on a plan in a zone compares: the claim, and the zone's fence."""

    claim: Claim
    zone: str
    record: FenceRecord

    def compares(self, keys: Keys) -> list[Compare]:
        return [self.claim.lives, fence_is(keys, self.zone, self.record)]


class Ledger:
    """The ledger of one scope: writes go to the store, and at once into the cache.

    `read` maps each bucket that is written to its mod revision as it was judged.
    """

    def __init__(self, store: KeyValue, keys: Keys, cache: Cache) -> None:
        self._store = store
        self._keys = keys
        self._cache = cache
        self._fences = Fences(store, keys)

    async def begin(self, permit: Permit, buckets: Mapping[BucketId, Bucket], read: Mapping[BucketId, int]) -> bool:
        """Store the buckets with their new pending marks; False if anything compared has moved."""
        return await self._store_buckets([*permit.compares(self._keys), not_frozen(self._keys)], buckets, read)

    async def commit(self, permit: Permit, buckets: Mapping[BucketId, Bucket], read: Mapping[BucketId, int]) -> bool:
        """Store the buckets with what is applied; False if anything compared has moved.

        Not compared with the freeze: what is served already must be recorded.
        """
        return await self._store_buckets(permit.compares(self._keys), buckets, read)

    async def amend(
        self,
        compares: Sequence[Compare],
        buckets: Mapping[BucketId, Bucket],
        read: Mapping[BucketId, int],
        *also: Operation,
    ) -> bool:
        """Store buckets under conditions of the caller's: adoption, or a last known good that was seen late.

        `also` is done in the same transaction.
        """
        return await self._store_buckets(list(compares), buckets, read, *also)

    async def unchanged(self, zone: str, record: FenceRecord, buckets: Sequence[BucketId]) -> bool:
        """Whether fence and buckets are, in the store now, as the cache has them."""
        index = self._cache.ledger
        compares = [fence_is(self._keys, zone, record)]
        compares += [unmodified(self._keys.ledger(bucket), index.revision(bucket)) for bucket in buckets]
        return (await self._store.transact(compares, ())).succeeded

    async def settle(self, permit: Permit) -> bool:
        """Record that every endpoint of the zone conforms to the generation or is held.

        What is recorded must be as the cache has it: another version may have recorded more.
        """
        key = self._keys.applied(permit.zone)
        put = Put(key=key, value=applied_value(permit.record.generation, permit.record.plan))
        unmoved = unmodified(key, self._cache.applied_revision(permit.zone))
        return (await self._store.transact([*permit.compares(self._keys), unmoved], (put,))).succeeded

    async def reshape(self, permit: Permit, slots: int) -> Permit | None:
        """Bring all buckets of the zone to one number of slots; returns the permit to go on with.

        A bucket is split into two, or two are joined into one, in one transaction: at any
        moment the ledger holds each name once, and says the same of it. At the end the zone's
        record says how many slots there are; every begin compares it. The zone's keys are
        read from the store, not from the cache, which may lack one. None: what was compared
        has moved.
        """
        keys, zone = self._keys, permit.zone
        prefix = keys.zone_ledger(zone)
        while True:
            page = await self._store.range(prefix, prefix_end(prefix))
            index = LedgerIndex()
            index.replace({item.key[len(keys.all_ledger) :]: item for item in page.items})
            moves = plan_moves(index, zone, slots)
            if not moves:
                break
            for written in _portions([_packed(keys, move) for move in moves]):
                if not await self._move(permit, index, written):
                    return None
        record = replace(permit.record, slots=slots)
        if not await self._fences.reshaped(permit.compares(keys), zone, record, page):
            return None
        return replace(permit, record=record)

    async def _move(self, permit: Permit, index: LedgerIndex, moves: Sequence[Mapping[str, bytes | None]]) -> bool:
        """Carry out moves, each a value (None: none) by key, in one transaction, and take them into the cache."""
        keys = self._keys
        compares = [*permit.compares(keys), not_frozen(keys)]
        operations: list[Operation] = []
        for move in moves:
            for key, value in move.items():
                item = index.item(key[len(keys.all_ledger) :])
                compares.append(unmodified(key, item.mod_revision if item else 0))
                operations.append(Delete(key=key) if value is None else Put(key=key, value=value))
        try:
            result = await self._store.transact(compares, operations)
        except StoreUnknown:
            return False  # the next reading tells
        if result.succeeded:
            self._cache.unlearn([o.key for o in operations if isinstance(o, Delete)], result.revision)
            self._cache.learn(_written(operations, result.revision))
        return result.succeeded

    async def _store_buckets(
        self,
        conditions: list[Compare],
        buckets: Mapping[BucketId, Bucket],
        read: Mapping[BucketId, int],
        *also: Operation,
    ) -> bool:
        assert len(buckets) <= BUCKETS_A_TRANSACTION, len(buckets)
        order = sorted(buckets)
        if any(read[bucket] == NOT_STORED_SO for bucket in order):
            # Either the number of slots is changing, or the cache has missed that it did.
            await self._refresh_zones({bucket.zone for bucket in order})
            return False
        puts = [Put(key=self._keys.ledger(b), value=bucket_value(buckets[b], b.slots)) for b in order]
        for bucket, put in zip(order, puts, strict=True):
            # Before it is sent: the watch often brings our own change sooner than the answer.
            self._cache.ledger.keep_parsed(bucket, put.value, dict(buckets[bucket]))
        compares = conditions + [unmodified(self._keys.ledger(b), read[b]) for b in order]
        try:
            result = await self._store.transact(compares, [*puts, *also])
        except StoreUnknown:
            await self.refresh(order)
            return all((item := self._cache.items.get(put.key)) is not None and item.value == put.value for put in puts)
        if result.succeeded:
            self._cache.learn(_written(puts, result.revision))
            return True
        await self.refresh(order)
        return False

    async def refresh(self, buckets: Sequence[BucketId]) -> None:
        """Read buckets anew into the cache, ahead of the watch."""
        keys = [self._keys.ledger(bucket) for bucket in buckets]
        found = await self._store.get(keys)
        self._cache.learn(found.values())
        if any(key not in found and key in self._cache.items for key in keys):
            await self._refresh_zones({bucket.zone for bucket in buckets})

    async def _refresh_zones(self, zones: Collection[str]) -> None:
        """Read every bucket of zones anew, and forget those that are gone."""
        for zone in sorted(zones):
            prefix = self._keys.zone_ledger(zone)
            page = await self._store.range(prefix, prefix_end(prefix))
            there = {item.key for item in page.items}
            known = [self._keys.ledger(bucket) for bucket in self._cache.ledger.stored(zone)]
            self._cache.unlearn([key for key in known if key not in there], page.revision)
            self._cache.learn(page.items)


def _packed(keys: Keys, move: Move) -> dict[str, bytes | None]:
    """Return what a move leaves under each key that it touches, in order of key; None: nothing."""
    left: dict[str, bytes | None] = dict.fromkeys(keys.ledger(bucket) for bucket in move.read)
    left.update({keys.ledger(bucket): bucket_value(entries, bucket.slots) for bucket, entries in move.written.items()})
    return dict(sorted(left.items()))


def _portions(moves: Sequence[Mapping[str, bytes | None]]) -> Iterator[list[Mapping[str, bytes | None]]]:
    """Cut moves into what one transaction carries."""
    portion: list[Mapping[str, bytes | None]] = []
    size = 0
    for move in moves:
        more = sum(len(value) for value in move.values() if value is not None)
        if portion and (len(portion) == _MOVES_A_TRANSACTION or size + more > _BYTES_A_TRANSACTION):
            yield portion
            portion, size = [], 0
        portion.append(move)
        size += more
    if portion:
        yield portion


def _written(operations: Sequence[Operation], revision: int) -> Iterator[Item]:
    """Yield the items that puts have made."""
    for operation in operations:
        if isinstance(operation, Put):
            yield Item(key=operation.key, value=operation.value, create_revision=0, mod_revision=revision, version=0)
