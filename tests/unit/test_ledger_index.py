"""The index of the ledger says what reading every stored bucket anew would say, however its zones are cut."""

import random
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enactord.core.buckets import BucketId, slot_of
from enactord.core.kv import Item
from enactord.core.ledger import Bucket, Entry, Hold, Version
from enactord.store.layout import LEDGER
from enactord.store.ledger_index import (
    NOT_STORED_SO,
    NOTHING,
    OTHER_FORMAT,
    LedgerIndex,
    Summary,
    add_up,
    bucket_value,
    ledger_name,
    parse_ledger_name,
    read_bucket,
    stored_slots,
    summarise,
)
from tests.hostile.effort import tries
from tests.ledger_cuts import Leaf, cuts

ZONE, SUB = "example.test.", "sub.example.test."
LEVELS = (1, 2, 4, 8, 16)
OTHER_VERSION = b"ledger %d\n" % (LEDGER.format + 1)
UNREADABLE = (b"", b"junk", LEDGER.header + b"3\njunk")
APPLIED = Version(generation=5, content='[5,[["10.0.0.1",1]]]', answers_max=8)
NEWER = Version(generation=6, content='[5,[["10.0.0.2",1]]]', answers_max=8)
KINDS = (
    {"applied": APPLIED, "good": APPLIED},
    {"applied": APPLIED},
    {"applied": APPLIED, "good": APPLIED, "pending": APPLIED},
    {"pending": APPLIED},
    {"held": Hold(generation=6, guard="foreign", detail="x", since_s=9)},
    {"applied": APPLIED, "held": Hold(generation=6, guard="velocity", detail="x", since_s=9)},
)


def entry(number: int, kind: int, zone: str) -> Entry:
    parts: dict[str, Any] = dict(KINDS[kind % len(KINDS)])
    return Entry(name=f"n{number:03d}.{zone}", **parts)


def item(value: bytes, revision: int) -> Item:
    return Item(key="", value=value, create_revision=1, mod_revision=revision, version=1)


def entries_of(kinds: Mapping[int, int], zone: str) -> Bucket:
    return {made.name: made for number, kind in kinds.items() for made in [entry(number, kind, zone)]}


some_entries = st.dictionaries(st.integers(0, 99), st.integers(0, 5), max_size=30)


def overlap(bucket: BucketId, slot: int, slots: int) -> bool:
    """Whether a name could lie in both."""
    fewer = min(bucket.slots, slots)
    return bucket.slot % fewer == slot % fewer


def index_of(entries: Bucket, leaves: list[Leaf], zone: str = ZONE, *, keep_empty: bool = True) -> LedgerIndex:
    index = LedgerIndex()
    add(index, entries, leaves, zone, keep_empty=keep_empty)
    return index


def add(index: LedgerIndex, entries: Bucket, leaves: list[Leaf], zone: str, *, keep_empty: bool = True) -> None:
    for revision, (slot, slots) in enumerate(leaves, 10):
        bucket = {name: one for name, one in entries.items() if slot_of(name, slots) == slot}
        if bucket or keep_empty:
            index.take(ledger_name(zone, slot), item(bucket_value(bucket, slots), revision))


puts = st.tuples(
    st.sampled_from([ZONE, SUB]),
    st.integers(0, 15),
    st.none() | st.sampled_from(UNREADABLE) | st.tuples(st.sampled_from(LEVELS), some_entries),
    st.booleans(),
)


@tries(60)
@given(st.lists(puts, max_size=20))
def test_sums_are_those_of_all_buckets_whatever_came_and_went(
    changes: list[tuple[str, int, bytes | tuple[int, Mapping[int, int]] | None, bool]],
) -> None:
    """Under any number of slots, overlapping or not, read in between or not, readable or not."""
    index = LedgerIndex()
    there: dict[tuple[str, int], tuple[bytes, int]] = {}
    for revision, (zone, slot, what, ask) in enumerate(changes, 1):
        if what is None:
            there.pop((zone, slot), None)
            index.take(ledger_name(zone, slot), None)
        else:
            value = what if isinstance(what, bytes) else bucket_value(entries_of(what[1], zone), what[0])
            there[zone, slot] = value, revision
            assert index.take(ledger_name(zone, slot), item(value, revision)) == zone
        if ask:
            check(index, there)
    check(index, there)
    again = LedgerIndex()
    again.replace({ledger_name(*key): item(*pair) for key, pair in there.items()})
    assert len(again.unsummarised()) == len(there)
    check(again, there)
    assert again.unsummarised() == []


def own(zone: str, slot: int, value: bytes) -> Bucket:
    """What a stored bucket says of names that lie there."""
    slots = stored_slots(value)
    if not slot < slots:
        return {}
    found = read_bucket(value)
    return {n: one for n, one in found.items() if n.endswith("." + zone) and slot_of(n, slots) == slot}


def check(index: LedgerIndex, there: Mapping[tuple[str, int], tuple[bytes, int]]) -> None:
    """Compare with what reading all buckets gives."""
    zones = sorted({zone for zone, _ in there})
    assert index.zones == zones
    for zone in (ZONE, SUB):
        buckets = {slot: own(zone, slot, value) for (of, slot), (value, _) in sorted(there.items()) if of == zone}
        assert [bucket.slot for bucket in index.stored(zone)] == sorted(buckets)
        assert index.levels(zone) == {bucket.slots for bucket in index.stored(zone)}
        assert index.zone_totals(zone) == add_up(map(summarise, buckets.values()))
        assert index.zone_revision(zone) == max([r for (of, _), (_, r) in there.items() if of == zone], default=0)
        for bucket in index.stored(zone):
            value, revision = there[zone, bucket.slot]
            assert (bucket.slots == 0) == (value in UNREADABLE or stored_slots(value) <= bucket.slot)
            stored = index.item(ledger_name(*bucket[:2]))
            assert stored is not None
            assert stored.value == value
            assert index.revision(bucket) == revision
            assert index.summary(bucket) == summarise(buckets[bucket.slot])
    assert index.totals == add_up(summarise(own(*key, value)) for key, (value, _) in there.items())
    assert list(index.holding()) == [b for b in index.all_stored() if index.summary(b).held]


@tries(60)
@given(some_entries, cuts(LEVELS[-1]), st.booleans())
def test_a_bucket_of_any_number_of_slots_is_gathered(
    kinds: Mapping[int, int], leaves: list[Leaf], keep_empty: bool
) -> None:
    """It holds what lies in it, under whatever numbers of slots that is stored; and so its summary says."""
    entries = entries_of(kinds, ZONE)
    index = index_of(entries, leaves, keep_empty=keep_empty)
    for slots in (*LEVELS, 64):
        for slot in range(slots):
            bucket = BucketId(ZONE, slot, slots)
            wanted = {name: one for name, one in entries.items() if slot_of(name, slots) == slot}
            assert index.bucket(bucket) == wanted
            assert index.summary(bucket) == summarise(wanted)


@tries(60)
@given(some_entries, cuts(LEVELS[-1]), st.booleans())
def test_a_bucket_that_is_stored_otherwise_cannot_be_compared(
    kinds: Mapping[int, int], leaves: list[Leaf], keep_empty: bool
) -> None:
    """Its revision is none that a compare could hold for; where nothing is stored of it, it is to be absent."""
    index = index_of(entries_of(kinds, ZONE), leaves, keep_empty=keep_empty)
    stored = {
        (bucket.slot, bucket.slots): 10 + leaves.index((bucket.slot, bucket.slots)) for bucket in index.stored(ZONE)
    }
    for slots in (*LEVELS, 64):
        for slot in range(slots):
            bucket = BucketId(ZONE, slot, slots)
            otherwise = any(overlap(bucket, *leaf) for leaf in stored)
            assert index.revision(bucket) == stored.get((slot, slots), NOT_STORED_SO if otherwise else 0)
    assert index.revision(BucketId(SUB, 0, 1)) == 0


@tries(60)
@given(some_entries, some_entries, cuts(LEVELS[-1]), cuts(LEVELS[-1]))
def test_an_entry_is_found_by_its_name_alone(
    kinds: Mapping[int, int], others: Mapping[int, int], leaves: list[Leaf], more: list[Leaf]
) -> None:
    """In whatever zone and slot it lies; a name that the ledger does not have is not found."""
    entries, inner = entries_of(kinds, ZONE), entries_of(others, SUB)
    index = index_of(entries, leaves)
    add(index, inner, more, SUB)
    assert {one.name: one for one in index.entries()} == entries | inner
    for number in range(100):
        for zone, known in ((ZONE, entries), (SUB, inner)):
            name = f"n{number:03d}.{zone}"
            assert index.entry(name) == known.get(name)
            bucket = index.find(zone, name)
            assert bucket is not None
            assert index.bucket(bucket).get(name) == known.get(name)
            assert bucket in index.stored(zone)
    assert index.entry("n000.other.") is None
    assert index.find("other.", "n000.other.") is None


def test_a_name_of_a_zone_within_another_is_found_where_it_is() -> None:
    """It was entered before the inner zone was configured: the outer zone's bucket has it still."""
    name = f"n001.{SUB}"
    there = Entry(name=name, applied=APPLIED, good=APPLIED)
    index = index_of({name: there}, [(0, 2), (1, 2)])
    assert index.entry(name) == there
    add(index, entries_of({2: 0}, SUB), [(0, 1)], SUB)
    assert index.entry(name) == there


@pytest.mark.parametrize("value", UNREADABLE)
def test_a_bucket_whose_header_cannot_be_read_is_of_no_number_of_slots(value: bytes) -> None:
    """It holds nothing, and stands in nobody's way: whoever writes its slot replaces exactly what was read."""
    index = index_of({}, [])
    index.take(ledger_name(ZONE, 3), item(value, 7))
    assert index.stored(ZONE) == [BucketId(ZONE, 3, 0)]
    assert index.levels(ZONE) == {0}
    assert index.zone_totals(ZONE) == NOTHING
    for slots in (4, 16):
        assert index.revision(BucketId(ZONE, 3, slots)) == 7
        assert index.bucket(BucketId(ZONE, 3, slots)) == {}
    assert index.revision(BucketId(ZONE, 0, 1)) == 0


def test_a_bucket_of_another_format_is_never_written_over() -> None:
    """Another version's: no compare with it holds, under any number of slots, and it holds nothing that is known."""
    index = index_of({}, [])
    index.take(ledger_name(ZONE, 3), item(OTHER_VERSION + b"8\n", 7))
    assert index.stored(ZONE) == [BucketId(ZONE, 3, OTHER_FORMAT)]
    assert index.zone_totals(ZONE) == NOTHING
    for slots in (4, 16):
        assert index.revision(BucketId(ZONE, 3, slots)) == NOT_STORED_SO
        assert index.bucket(BucketId(ZONE, 3, slots)) == {}


def test_what_is_handed_out_is_the_callers_own() -> None:
    """Whoever changes a bucket on its way to the store does not change what is known of the store."""
    entries = entries_of({1: 0, 2: 3}, ZONE)
    index = index_of(entries, [(0, 1)])
    bucket = BucketId(ZONE, 0, 1)
    index.bucket(bucket).clear()
    assert index.bucket(bucket) == entries
    index.bucket(BucketId(ZONE, slot_of(f"n001.{ZONE}", 2), 2)).clear()
    assert index.bucket(bucket) == entries


def test_a_bucket_is_unread_until_its_entries_were_asked_for() -> None:
    """Or were known before it was sent; a change makes it unread again."""
    bucket = BucketId(ZONE, 0, 1)
    values = [bucket_value(entries_of({number: 0}, ZONE), 1) for number in (1, 2, 3)]
    index = LedgerIndex()
    assert index.unread(bucket) is None
    index.take(ledger_name(ZONE, 0), item(values[0], 1))
    assert index.unread(bucket) == LEDGER.body(values[0])
    index.bucket(bucket)
    assert index.unread(bucket) is None
    index.take(ledger_name(ZONE, 0), item(values[1], 2))
    assert index.unread(bucket) == LEDGER.body(values[1])
    index.keep_parsed(bucket, values[2], entries_of({3: 0}, ZONE))
    assert index.unread(bucket) == LEDGER.body(values[1])
    index.take(ledger_name(ZONE, 0), item(values[2], 3))
    assert index.unread(bucket) is None
    assert index.bucket(bucket) == entries_of({3: 0}, ZONE)


@pytest.mark.parametrize(
    "name",
    ["", "00001", "/00001", f"{ZONE}", f"{ZONE}/", f"{ZONE}/1", f"{ZONE}/000001", f"{ZONE}/0000x", f"{ZONE}/²0000"],
)
def test_a_key_that_is_none_of_ours_is_left_alone(name: str) -> None:
    """Nothing is known by it, and it stands for no zone."""
    index = index_of(entries_of({1: 0}, ZONE), [(0, 1)])
    assert parse_ledger_name(name) is None
    assert index.take(name, item(bucket_value({}, 1), 99)) is None
    assert index.zones == [ZONE]
    assert index.item(name) is None
    assert index.totals == Summary(entries=1, owned=1, live=1)


@tries(60)
@given(st.sampled_from([ZONE, SUB, "x."]), st.integers(0, 65_535))
def test_a_key_says_zone_and_slot(zone: str, slot: int) -> None:
    """And its keys are in order of slot."""
    assert parse_ledger_name(ledger_name(zone, slot)) == (zone, slot)
    assert ledger_name(zone, slot) < ledger_name(zone, slot + 1)


@tries(60)
@given(some_entries, st.randoms(use_true_random=False), st.sampled_from([(1, 2), (2, 8), (8, 2), (4, 1)]))
def test_what_a_watch_left_behind_is_not_believed(
    kinds: Mapping[int, int], rng: random.Random, levels: tuple[int, int]
) -> None:
    """Buckets that were split or joined since say nothing any more, in whatever order they came."""
    before, after = levels
    old = entries_of(kinds, ZONE)
    new = {name: one._replace(applied=NEWER, good=NEWER) for name, one in old.items()}
    changes = [
        (ledger_name(ZONE, slot), item(bucket_value(bucket, slots), revision))
        for entries, slots, revision in ((old, before, 10), (new, after, 20))
        for slot in range(slots)
        for bucket in [{name: one for name, one in entries.items() if slot_of(name, slots) == slot}]
    ]
    newest = {name: change for name, change in changes if change.mod_revision == 20}
    left = [(name, change) for name, change in changes if name not in newest or change.mod_revision == 20]
    rng.shuffle(left)
    index = LedgerIndex(newest_only=True)
    for name, change in left:
        index.take(name, change)
    assert {entry.name: entry for entry in index.entries()} == new
    for name in new:
        assert index.entry(name) == new[name]
    for slot in range(after):
        bucket = BucketId(ZONE, slot, after)
        assert index.bucket(bucket) == {n: one for n, one in new.items() if slot_of(n, after) == slot}


@pytest.mark.parametrize("newest_only", [False, True])
@pytest.mark.parametrize("value", [*UNREADABLE, OTHER_VERSION + b"4\nof another version"])
def test_a_bucket_that_cannot_be_read_holds_no_name(value: bytes, newest_only: bool) -> None:
    """Whoever goes through all that is stored passes it by; the buckets beside it say what they said."""
    kept = {name: one for name, one in entries_of(dict.fromkeys(range(40), 0), ZONE).items() if slot_of(name, 4) != 1}
    index = LedgerIndex(newest_only=newest_only)
    for slot in (0, 2, 3):
        bucket = {name: one for name, one in kept.items() if slot_of(name, 4) == slot}
        index.take(ledger_name(ZONE, slot), item(bucket_value(bucket, 4), 3))
    index.take(ledger_name(ZONE, 1), item(value, 4))
    assert {entry.name: entry for entry in index.entries()} == kept
    (unread,) = [bucket for bucket in index.stored(ZONE) if bucket.slots <= 0]
    assert index.bucket(unread) == {}
    assert not index.is_whole(unread)
    assert index.summary(unread) == NOTHING
