"""Entries of the ledger, read from the store by name."""

from collections.abc import Collection, Iterable

from enactord.core.buckets import bucket_of
from enactord.core.fence import FenceRecord
from enactord.core.ledger import Bucket, Entry
from enactord.core.names import zone_of
from enactord.ports import Reading
from enactord.store.keys import Keys, parse_record
from enactord.store.ledger_index import read_bucket


async def entries_of(store: Reading, keys: Keys, zones: Collection[str], names: Iterable[str]) -> dict[str, Entry]:
    """Return the entries of the buckets that hold these names, as their zones' records say; a hint, for early words.

    Raises `StoreDown`.
    """
    by_zone: dict[str, list[str]] = {}
    known = frozenset(zones)
    for name in names:
        by_zone.setdefault(zone_of(name, known) or "", []).append(name)
    records = await store.get([keys.fence(zone) for zone in sorted(by_zone)])
    wanted = set()
    for zone, some in by_zone.items():
        item = records.get(keys.fence(zone))
        record = parse_record(item.value) if item else None
        slots = record.slots if isinstance(record, FenceRecord) else 0
        wanted |= {keys.ledger(bucket_of(name, zone, slots)) for name in some} if slots else set()
    found: Bucket = {}
    for item in (await store.get(sorted(wanted))).values():
        found.update(read_bucket(item.value))
    return found


async def applied_of(store: Reading, keys: Keys, zones: Collection[str], names: Collection[str]) -> dict[str, str]:
    """Return the content texts of what is applied, by name, of those names that are owned. Raises `StoreDown`."""
    entries = await entries_of(store, keys, zones, names)
    return {name: e.applied.content for name in names if (e := entries.get(name)) is not None and e.applied is not None}
