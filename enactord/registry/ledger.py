"""Ledger transactions: begin marks endpoints pending, commit records what is applied, both fenced."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from enactord.core.errors import StoreUnknown
from enactord.core.fence import Fence
from enactord.core.kv import MAX_OPERATIONS, Compare, Item, Put, unmodified
from enactord.core.ledger import Bucket, pack_bucket
from enactord.ports import KeyValue
from enactord.registry.fences import fence_is, not_frozen
from enactord.registry.keys import Keys, fence_value
from enactord.registry.mirror import Mirror
from enactord.registry.session import Claim

BUCKETS_A_TRANSACTION = MAX_OPERATIONS - 28
"""Leaves room for the compares of claim, freeze and the fences of up to 26 zones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """What every store transaction of a plan compares: the claim, and the fence of each zone it writes."""

    claim: Claim
    fences: Mapping[str, Fence]

    def compares(self, keys: Keys) -> list[Compare]:
        return [self.claim.lives, *(fence_is(keys, zone, self.fences[zone]) for zone in sorted(self.fences))]


class Ledger:
    """The ledger of one scope: writes go to the store, and at once into the mirror."""

    def __init__(self, store: KeyValue, keys: Keys, mirror: Mirror) -> None:
        self._store = store
        self._keys = keys
        self._mirror = mirror

    async def begin(self, permit: Permit, buckets: Mapping[int, Bucket], read: Mapping[int, int]) -> bool:
        """Store the buckets with their new pending marks; False if anything compared has moved.

        `read` holds the mod revision of each bucket as it was judged.
        """
        return await self._store_buckets([*permit.compares(self._keys), not_frozen(self._keys)], buckets, read)

    async def commit(self, permit: Permit, buckets: Mapping[int, Bucket], read: Mapping[int, int]) -> bool:
        """Store the buckets with what is applied; False if anything compared has moved.

        Not compared with the freeze: what is served already must be recorded.
        """
        return await self._store_buckets(permit.compares(self._keys), buckets, read)

    async def amend(self, compares: Sequence[Compare], buckets: Mapping[int, Bucket], read: Mapping[int, int]) -> bool:
        """Store buckets under conditions of the caller's: adoption, or a last known good that was seen late."""
        return await self._store_buckets(list(compares), buckets, read)

    async def unchanged(self, zone: str, fence: Fence, numbers: Sequence[int]) -> bool:
        """Whether fence and buckets are, in the store now, as the mirror has them."""
        compares = [fence_is(self._keys, zone, fence)]
        compares += [unmodified(self._keys.ledger(n), self._mirror.bucket_revision(n)) for n in numbers]
        return (await self._store.transact(compares, ())).succeeded

    async def settle(self, permit: Permit, zone: str, fence: Fence) -> bool:
        """Record that every endpoint of the zone conforms to the generation or is held."""
        put = Put(key=self._keys.applied(zone), value=fence_value(fence.generation, fence.plan))
        return (await self._store.transact(permit.compares(self._keys), (put,))).succeeded

    async def _store_buckets(
        self, conditions: list[Compare], buckets: Mapping[int, Bucket], read: Mapping[int, int]
    ) -> bool:
        assert len(buckets) <= BUCKETS_A_TRANSACTION, len(buckets)
        puts = [Put(key=self._keys.ledger(n), value=pack_bucket(buckets[n])) for n in sorted(buckets)]
        for number, put in zip(sorted(buckets), puts, strict=True):
            # Before it is sent: the watch often brings our own change sooner than the answer.
            self._mirror.keep_parsed(number, put.value, dict(buckets[number]))
        compares = conditions + [unmodified(self._keys.ledger(n), read[n]) for n in sorted(buckets)]
        try:
            result = await self._store.transact(compares, puts)
        except StoreUnknown:
            await self.refresh(list(buckets))
            return all(
                (item := self._mirror.items.get(put.key)) is not None and item.value == put.value for put in puts
            )
        if result.succeeded:
            self._mirror.learn(
                Item(key=p.key, value=p.value, create_revision=0, mod_revision=result.revision, version=0) for p in puts
            )
            return True
        await self.refresh(list(buckets))
        return False

    async def refresh(self, numbers: Sequence[int]) -> None:
        """Read buckets anew into the mirror, ahead of the watch."""
        found = await self._store.get([self._keys.ledger(n) for n in numbers])
        self._mirror.learn(found.values())
