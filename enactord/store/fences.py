"""Fences in the store: the half of an open that the store decides, and the compare that guards all others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from enactord.core.errors import StoreUnknown
from enactord.core.fence import Fence, FenceRecord, raised, raised_over
from enactord.core.kv import MAX_OPERATIONS, Compare, Operation, Page, Put, absent, present, unmodified, valued
from enactord.ports import KeyValue
from enactord.store.keys import Keys, applied_value, parse_record, record_value
from enactord.store.layout import OtherFormat
from enactord.store.session import Claim


def fence_is(keys: Keys, zone: str, record: FenceRecord) -> Compare:
    """The store's fence of the zone is exactly this one."""
    return valued(keys.fence(zone), record_value(record))


def not_frozen(keys: Keys) -> Compare:
    """No operator has frozen the scope."""
    return absent(keys.freeze)


def not_lowered(keys: Keys, zone: str) -> Compare:
    """No operator is bringing the zone's fence down."""
    return absent(keys.lowering(zone))


_ATTEMPTS = 5
QUIET_A_TRANSACTION = (MAX_OPERATIONS - 3) // 3
"""Zones that one transaction settles: three compares each, beside claim, plan and freeze."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quiet:
    """A zone of which a plan changes nothing, as it was judged: its fence, and the newest change of its ledger."""

    record: FenceRecord
    ledger_revision: int


class Fences:
    """The fences of one scope, as the store has them."""

    def __init__(self, store: KeyValue, keys: Keys) -> None:
        self._store = store
        self._keys = keys

    async def read(self, zone: str) -> FenceRecord | None:
        """Return the zone's fence in the store; None where there is none, or none that can be read."""
        key = self._keys.fence(zone)
        item = (await self._store.get([key])).get(key)
        record = parse_record(item.value) if item else None
        return record if isinstance(record, FenceRecord) else None

    async def open(self, zone: str, fence: Fence, claim: Claim, seen: FenceRecord | None) -> FenceRecord | None:
        """Raise the store's fence to the claimed generation; returns the record that stands there now.

        One transaction: the claim lives, the plan exists, nothing is frozen, nobody lowers the
        fence, and it is the one that the plan was judged by (`seen`, below it). None: frozen,
        claim or plan gone, or the fence has moved, is being lowered, or is another version's.
        """
        keys = self._keys
        conditions = (claim.lives, present(keys.plan(fence.generation)), not_frozen(keys), not_lowered(keys, zone))
        if seen is None or seen.generation < fence.generation:
            record = raised_over(seen, fence)
            stands = absent(keys.fence(zone)) if seen is None else fence_is(keys, zone, seen)
            if await self._put(zone, record, (*conditions, stands)):
                return record
        item = (await self._store.get([keys.fence(zone)])).get(keys.fence(zone))
        if item is None:
            return None
        found = parse_record(item.value)
        if isinstance(found, OtherFormat):
            return None  # it is not ours to replace
        if found is None:
            # Garbage must not block the way: exactly what was read is replaced.
            record = raised(fence, 0)
            done = await self._put(zone, record, (*conditions, valued(keys.fence(zone), item.value)))
            return record if done else None
        if (found.generation, found.plan) != (fence.generation, fence.plan):
            return None
        # Opened before, by whomever. The zone's own fence may have to be raised all the same: may it, now?
        allowed = await self._store.transact((*conditions, valued(keys.fence(zone), item.value)), ())
        return found if allowed.succeeded else None

    async def retext(self, zone: str, record: FenceRecord, fence: Fence, claim: Claim) -> FenceRecord | None:
        """Record that the zone's TXT is to be this plan's own, where its record kept an older one."""
        fresh = raised_over(record, fence)
        keys = self._keys
        conditions = (claim.lives, not_frozen(keys), not_lowered(keys, zone), fence_is(keys, zone, record))
        return fresh if await self._put(zone, fresh, conditions) else None

    async def follow(self, zone: str, fence: Fence) -> bool:
        """Raise the store's fence to one that was found in the zone itself, ahead of the store.

        The next publication then takes a generation above both. Returns whether the store's stands so high now.
        """
        key = self._keys.fence(zone)
        for _ in range(_ATTEMPTS):
            item = (await self._store.get([key])).get(key)
            known = parse_record(item.value) if item else None
            if isinstance(known, OtherFormat):
                return False
            if known is not None and known.generation >= fence.generation:
                return True
            stands = absent(key) if item is None else valued(key, item.value)
            conditions = (stands, not_lowered(self._keys, zone))
            record = raised_over(known, fence)
            if await self._put(zone, record, conditions):
                return True
        return False

    async def choose(self, zone: str, record: FenceRecord, primary: str) -> FenceRecord | None:
        """Record that the zone is written on another server from now on; None where the record has moved.

        What was begun by the record before is compared with it, and so ends.
        """
        chosen = replace(record, primary=primary)
        conditions = (not_lowered(self._keys, zone), fence_is(self._keys, zone, record))
        return chosen if await self._put(zone, chosen, conditions) else None

    async def reshaped(self, conditions: Sequence[Compare], zone: str, record: FenceRecord, page: Page) -> bool:
        """Record the number of slots of a zone's ledger, none of whose buckets has changed since it was read.

        `conditions`: what the permit compares. The buckets, as far as a transaction has room, are compared one
        by one as well: the revisions of a store that was set back to a backup begin anew.
        """
        ledger = self._keys.zone_ledger(zone)
        unchanged = [Compare(key=ledger, field="mod", operator="<", operand=page.revision + 1, prefix=True)]
        room = MAX_OPERATIONS - len(conditions) - len(unchanged)
        unchanged += [unmodified(item.key, item.mod_revision) for item in page.items[:room]]
        return await self._put(zone, record, (*conditions, *unchanged))

    async def _put(self, zone: str, record: FenceRecord, conditions: Sequence[Compare]) -> bool:
        """Put a record where all conditions hold; False also where nobody knows (a read tells)."""
        put = Put(key=self._keys.fence(zone), value=record_value(record))
        try:
            return (await self._store.transact(tuple(conditions), (put,))).succeeded
        except StoreUnknown:
            return False

    async def keep(self, claim: Claim, generation: int, plan: str, zones: Mapping[str, Quiet]) -> bool:
        """Settle zones of which a plan changes nothing: the TXT in each stays as it is; returns whether all are.

        One transaction for up to `QUIET_A_TRANSACTION` zones: the claim lives, the plan exists,
        nothing is frozen; each zone's record and what is applied there are the same plan, as
        they were judged, and its ledger has not changed since. Without the compare of what is
        applied, a write of a plan that was given up half way, under the TXT that stays, could
        land after a newer plan was settled.
        """
        assert 0 < len(zones) <= QUIET_A_TRANSACTION, len(zones)
        keys = self._keys
        compares = [claim.lives, present(keys.plan(generation)), not_frozen(keys)]
        operations: list[Operation] = []
        for zone in sorted(zones):
            record, ledger_revision = zones[zone].record, zones[zone].ledger_revision
            assert record.generation < generation, (zone, record.generation, generation)
            ledger = keys.zone_ledger(zone)
            compares += [
                fence_is(keys, zone, record),
                valued(keys.applied(zone), applied_value(record.generation, record.plan)),
                Compare(key=ledger, field="mod", operator="<", operand=ledger_revision + 1, prefix=True),
            ]
            kept = replace(record, generation=generation, plan=plan)
            operations += [
                Put(key=keys.fence(zone), value=record_value(kept)),
                Put(key=keys.applied(zone), value=applied_value(generation, plan)),
            ]
        try:
            return (await self._store.transact(compares, operations)).succeeded
        except StoreUnknown:
            return False  # the watch tells
