"""The ledger's buckets as the store last showed them: summaries of all, the entries of those in use.

The number of slots of a zone changes now and then. Then its buckets are of two numbers for a
while: those that were split (or joined) already, and those that were not yet. Together they
hold each name once.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from enactord.core.buckets import BucketId, bucket_of, slot_of
from enactord.core.kv import Item
from enactord.core.ledger import GARBAGE, Bucket, Entry, is_whole, pack_bucket, packed_slots, parse_bucket
from enactord.store.layout import LEDGER, OtherFormat

PARSED_ENTRIES = 20_000
"""Ledger entries kept unpacked: enough for what a plan works on, a bound for scopes of any size."""
OTHER_FORMAT = -1
"""What stands in place of a number of slots where another version has written the bucket."""
NOT_STORED_SO = -1
"""The revision of a bucket that is stored under another number of slots: no compare with it ever holds."""
_SLOT_DIGITS = 5


class Summary(NamedTuple):
    """What must be known of packed buckets without unpacking them: how many entries, and of these how many are so."""

    entries: int = 0
    owned: int = 0
    live: int = 0
    """Owned, or perhaps: a write of it as a new name began."""
    pending: int = 0
    held: int = 0
    unseen: int = 0

    @property
    def settled(self) -> bool:
        return not self.pending and not self.held and self.entries == self.owned


NOTHING = Summary()


def summarise(bucket: Bucket) -> Summary:
    """Return the summary of a bucket."""
    owned = live = pending = held = unseen = 0
    for entry in bucket.values():
        if entry.applied is not None:
            owned += 1
            unseen += entry.good != entry.applied
        live += entry.live
        pending += entry.pending is not None
        held += entry.held is not None
    return Summary(entries=len(bucket), owned=owned, live=live, pending=pending, held=held, unseen=unseen)


def add_up(summaries: Iterable[Summary]) -> Summary:
    """Return the sum of summaries."""
    sums = [sum(counts) for counts in zip(*summaries, strict=True)]
    return Summary(*sums) if sums else NOTHING


def ledger_name(zone: str, slot: int) -> str:
    """Return what follows the ledger's prefix in the key of a slot."""
    return f"{zone}/{slot:0{_SLOT_DIGITS}d}"


def parse_ledger_name(name: str) -> tuple[str, int] | None:
    """Return zone and slot of what follows the ledger's prefix in a key, None where it is no key of ours."""
    zone, _, slot = name.rpartition("/")
    if not zone or len(slot) != _SLOT_DIGITS or not slot.isascii() or not slot.isdigit():
        return None
    return zone, int(slot)


def bucket_value(entries: Bucket, slots: int) -> bytes:
    """Return what is stored for a bucket of a zone of so many slots."""
    return LEDGER.value(pack_bucket(entries, slots))


def stored_slots(value: bytes) -> int:
    """Return the number of slots that a stored bucket was written under; `GARBAGE` or `OTHER_FORMAT` in its place."""
    body = LEDGER.body(value)
    if isinstance(body, OtherFormat):
        return OTHER_FORMAT
    return GARBAGE if body is None else packed_slots(body)


def read_bucket(value: bytes) -> Bucket:
    """Return the entries of a stored bucket; what cannot be read is left out."""
    return parse_bucket(_packed(value))


def _packed(value: bytes) -> bytes:
    body = LEDGER.body(value)
    return body if isinstance(body, bytes) else b""


class _Stored(NamedTuple):
    """A bucket's item, and the number of slots that its header names (or `GARBAGE`, or `OTHER_FORMAT`)."""

    item: Item
    slots: int


class _Zone:
    """The stored buckets of one zone."""

    def __init__(self) -> None:
        self.stored: dict[int, _Stored] = {}
        self.levels: dict[int, int] = {}
        """How many buckets are stored under each number of slots."""
        self.summaries: dict[int, Summary] = {}
        self.unsummarised: dict[int, None] = {}
        self.summed = NOTHING
        """The sum of `summaries`."""

    def forget(self, slot: int) -> None:
        """Take a slot's bucket out."""
        old = self.stored.pop(slot, None)
        if old is not None:
            self.levels[old.slots] -= 1
            if not self.levels[old.slots]:
                del self.levels[old.slots]
        summary = self.summaries.pop(slot, None)
        if summary is not None:
            self.summed = Summary(*[all_ - one for all_, one in zip(self.summed, summary, strict=True)])
        self.unsummarised.pop(slot, None)

    def enter(self, slot: int, stored: _Stored) -> None:
        """Put a slot's bucket in, where there is none."""
        self.stored[slot] = stored
        self.levels[stored.slots] = self.levels.get(stored.slots, 0) + 1
        self.unsummarised[slot] = None

    def summarised(self, slot: int, summary: Summary) -> Summary:
        """Enter the summary of a slot's bucket."""
        del self.unsummarised[slot]
        self.summaries[slot] = summary
        self.summed = Summary(*[all_ + one for all_, one in zip(self.summed, summary, strict=True)])
        return summary


class LedgerIndex:
    """The buckets of one scope's ledger.

    `newest_only`: of buckets that hold the same slot, the one written last is believed. A watch that
    lost an event leaves a bucket behind that was split or joined since; what it says is outdated.
    """

    def __init__(self, *, newest_only: bool = False) -> None:
        self._newest_only = newest_only
        self._zones: dict[str, _Zone] = {}
        self._parsed: OrderedDict[tuple[str, int], tuple[bytes, Bucket]] = OrderedDict()
        self._parsed_entries = 0

    # -- what is stored

    @property
    def zones(self) -> list[str]:
        """The zones of which a bucket is stored, in order."""
        return sorted(self._zones)

    def stored(self, zone: str) -> list[BucketId]:
        """Return the stored buckets of a zone in order, with the slots of each (or what stands in their place)."""
        found = self._zones.get(zone)
        return (
            [] if found is None else [BucketId(zone, slot, found.stored[slot].slots) for slot in sorted(found.stored)]
        )

    def all_stored(self) -> Iterator[BucketId]:
        """Yield the stored buckets of every zone, in order."""
        for zone in self.zones:
            yield from self.stored(zone)

    def levels(self, zone: str) -> set[int]:
        """Return the numbers of slots that buckets of the zone are stored under."""
        found = self._zones.get(zone)
        return set() if found is None else set(found.levels)

    def item(self, name: str) -> Item | None:
        """Return the item of a key, by what follows the ledger's prefix in it."""
        parsed = parse_ledger_name(name)
        zone = self._zones.get(parsed[0]) if parsed else None
        stored = zone.stored.get(parsed[1]) if zone and parsed else None
        return None if stored is None else stored.item

    def is_whole(self, bucket: BucketId) -> bool:
        """Whether a bucket is stored so, and holds nothing that cannot be read."""
        stored = self._exact(bucket)
        return stored is not None and is_whole(_packed(stored.item.value), self.bucket(bucket))

    def revision(self, bucket: BucketId) -> int:
        """Return the mod revision to compare before a bucket is written: 0 where it is not there yet.

        `NOT_STORED_SO` where its names are stored under another number of slots.
        """
        zone = self._zones.get(bucket.zone)
        if zone is None:
            return 0
        stored = zone.stored.get(bucket.slot)
        if stored is not None and stored.slots in (bucket.slots, GARBAGE):
            return stored.item.mod_revision
        if stored is not None and stored.slots == OTHER_FORMAT:
            return NOT_STORED_SO  # it is not ours to replace
        return NOT_STORED_SO if self._overlapping(zone, bucket) else 0

    def zone_revision(self, zone: str) -> int:
        """Return the greatest mod revision of a bucket of the zone; 0: there is none."""
        found = self._zones.get(zone)
        return 0 if found is None else max(stored.item.mod_revision for stored in found.stored.values())

    # -- what they hold

    def bucket(self, bucket: BucketId) -> Bucket:
        """Return the entries of a bucket, in a dict of the caller's own; those of a bucket that is stored
        under another number of slots are gathered."""
        zone = self._zones.get(bucket.zone)
        if zone is None:
            return {}
        stored = zone.stored.get(bucket.slot)
        if stored is not None and stored.slots == bucket.slots:
            return self._believed(zone, bucket, self._entries(bucket.zone, bucket.slot, stored), stored)
        found: Bucket = {}
        for slot, other in sorted(self._overlapping(zone, bucket), key=lambda pair: self._order(pair[1])):
            for name, entry in self._entries(bucket.zone, slot, other).items():
                if slot_of(name, bucket.slots) == bucket.slot:
                    found[name] = entry
        return found

    def find(self, zone: str, name: str) -> BucketId | None:
        """Return the stored bucket of a zone that holds the name if the ledger does."""
        found = self._zones.get(zone)
        if found is None:
            return None
        holding: list[tuple[tuple[int, int], BucketId]] = []
        for slots in found.levels:
            if slots > 0:
                bucket = bucket_of(name, zone, slots)
                stored = found.stored.get(bucket.slot)
                if stored is not None and stored.slots == slots:
                    holding.append((self._order(stored), bucket))
        return max(holding)[1] if holding else None

    def entry(self, name: str) -> Entry | None:
        """Return the entry of a name, of whatever zone: the longest that has it."""
        start = 0
        while True:
            bucket = self.find(name[start:], name)
            entry = None if bucket is None else self.bucket(bucket).get(name)
            start = name.find(".", start) + 1
            if entry is not None or not 0 < start < len(name):
                return entry

    def zone_entries(self, zone: str) -> dict[str, Entry]:
        """Return the entries of a zone by name, in a dict of the caller's own."""
        found: dict[str, Entry] = {}
        for bucket in self.stored(zone):
            found.update(self.bucket(bucket))
        return found

    def applied_contents(self, zones: Iterable[str]) -> dict[str, dict[str, str]]:
        """Return the content text of what is applied, by name, of each of some zones."""
        return {
            zone: {
                name: entry.applied.content
                for name, entry in self.zone_entries(zone).items()
                if entry.applied is not None
            }
            for zone in zones
        }

    def entries(self) -> Iterator[Entry]:
        """Yield every entry of the ledger, bucket by bucket."""
        for bucket in self.all_stored():
            yield from self.bucket(bucket).values()

    def holding(self) -> Iterator[BucketId]:
        """Yield the stored buckets in which something is held, in order."""
        for zone in self.zones:
            if self.zone_totals(zone).held:
                yield from [bucket for bucket in self.stored(zone) if self.summary(bucket).held]

    def unread(self, bucket: BucketId) -> bytes | None:
        """Return a bucket as it was packed, where it is stored so and its entries have not been read yet."""
        stored = self._exact(bucket)
        if stored is None or self._at_hand((bucket.zone, bucket.slot), stored.item.value) is not None:
            return None
        return _packed(stored.item.value)

    def keep_parsed(self, bucket: BucketId, value: bytes, entries: Bucket) -> Bucket:
        """Remember the entries of a stored bucket, within `PARSED_ENTRIES` in all."""
        key = (bucket.zone, bucket.slot)
        old = self._parsed.pop(key, None)
        self._parsed_entries += len(entries) - (len(old[1]) if old else 0)
        self._parsed[key] = (value, entries)
        while self._parsed_entries > PARSED_ENTRIES and len(self._parsed) > 1:
            _, (_, dropped) = self._parsed.popitem(last=False)
            self._parsed_entries -= len(dropped)
        return entries

    # -- sums

    def summary(self, bucket: BucketId) -> Summary:
        """Return a bucket's summary; made when it is first asked for, since most that change are not."""
        stored = self._exact(bucket)
        if stored is None:
            entries = self.bucket(bucket)
            return summarise(entries) if entries else NOTHING
        return self._summary(bucket.zone, bucket.slot, stored)

    def zone_totals(self, zone: str) -> Summary:
        """Return the sum of all buckets of a zone."""
        found = self._zones.get(zone)
        if found is None:
            return NOTHING
        for slot in list(found.unsummarised):
            self._summary(zone, slot, found.stored[slot])
        return found.summed

    def totals_of(self, zones: Iterable[str]) -> Summary:
        """Return the sum of all buckets of some zones."""
        return add_up(self.zone_totals(zone) for zone in zones)

    @property
    def totals(self) -> Summary:
        """The sum of all buckets."""
        return self.totals_of(self._zones)

    # -- how it is kept current

    def take(self, name: str, item: Item | None) -> str | None:
        """Take in one key, by what follows the ledger's prefix in it; returns its zone (None: no key of ours)."""
        parsed = parse_ledger_name(name)
        if parsed is None:
            return None
        zone_name, slot = parsed
        zone = self._zones.setdefault(zone_name, _Zone())
        zone.forget(slot)
        if item is not None:
            slots = stored_slots(item.value)
            # A slot beyond the number that its own header names was never written by anybody.
            stored = _Stored(item, GARBAGE if 0 < slots <= slot else slots)
            if not self._newest_only or not self._outdated(zone, slot, stored):
                zone.enter(slot, stored)
        if not zone.stored:
            del self._zones[zone_name]
        return zone_name

    def replace(self, items: Mapping[str, Item]) -> None:
        """Start anew from these keys, by what follows the ledger's prefix in them."""
        self._zones.clear()
        for name, item in items.items():
            self.take(name, item)

    def unsummarised(self) -> list[BucketId]:
        """Return the buckets whose summary has not been made yet."""
        return [
            BucketId(name, slot, zone.stored[slot].slots)
            for name, zone in self._zones.items()
            for slot in zone.unsummarised
        ]

    # -- within

    def _order(self, stored: _Stored) -> tuple[int, int]:
        """The greatest of this is believed, of buckets that hold the same slot."""
        return (stored.item.mod_revision if self._newest_only else 0, stored.slots)

    def _outdated(self, zone: _Zone, slot: int, stored: _Stored) -> bool:
        """Whether a newer bucket holds all that this one could; older ones that lie within this one are forgotten."""
        for other_slot, other in self._overlapping(zone, BucketId("", slot, stored.slots)):
            newer = other.item.mod_revision > stored.item.mod_revision
            if newer and other.slots < stored.slots:
                return True
            if not newer and other.slots > stored.slots:
                zone.forget(other_slot)
        return False

    def _believed(self, zone: _Zone, bucket: BucketId, entries: Bucket, stored: _Stored) -> Bucket:
        """Return the entries of a bucket, those that a newer and narrower one holds left out."""
        newer = [
            (slot, other.slots)
            for slot, other in self._overlapping(zone, bucket)
            if self._newest_only and other.item.mod_revision > stored.item.mod_revision
        ]
        if not newer:
            return dict(entries)
        return {
            name: entry
            for name, entry in entries.items()
            if not any(slot_of(name, slots) == slot for slot, slots in newer)
        }

    def _exact(self, bucket: BucketId) -> _Stored | None:
        zone = self._zones.get(bucket.zone)
        stored = None if zone is None else zone.stored.get(bucket.slot)
        return stored if stored is not None and (stored.slots == bucket.slots or stored.slots <= 0) else None

    def _overlapping(self, zone: _Zone, bucket: BucketId) -> list[tuple[int, _Stored]]:
        """Return the stored buckets under other numbers of slots that may hold names of this one."""
        found: list[tuple[int, _Stored]] = []
        if bucket.slots <= 0:
            return found  # it cannot be read: it holds no name
        for slots in zone.levels:
            if slots == bucket.slots or slots <= 0:
                continue
            if slots < bucket.slots:
                candidates: Iterable[int] = (bucket.slot & (slots - 1),)
            else:
                candidates = range(bucket.slot, slots, bucket.slots)
            for slot in candidates:
                stored = zone.stored.get(slot)
                if stored is not None and stored.slots == slots:
                    found.append((slot, stored))
        return found

    def _entries(self, zone: str, slot: int, stored: _Stored) -> Bucket:
        entries = self._at_hand((zone, slot), stored.item.value)
        if entries is None:
            bucket = BucketId(zone, slot, stored.slots)
            found = read_bucket(stored.item.value)
            inside = "." + zone
            # A name that does not belong here was never written here: the bucket that is its own tells of it.
            own = {
                name: entry
                for name, entry in found.items()
                if (name.endswith(inside) or name == zone) and slot_of(name, stored.slots) == slot
            }
            entries = self.keep_parsed(bucket, stored.item.value, own)
        return entries

    def _at_hand(self, key: tuple[str, int], value: bytes) -> Bucket | None:
        known = self._parsed.get(key)
        return None if known is None or known[0] != value else known[1]

    def _summary(self, zone: str, slot: int, stored: _Stored) -> Summary:
        found = self._zones[zone]
        if slot in found.unsummarised:
            return found.summarised(slot, summarise(self._entries(zone, slot, stored)))
        return found.summaries[slot]
