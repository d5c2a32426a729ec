"""A zone's ledger comes from any numbers of slots to the one that is wanted, and says the same at every step."""

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enactord.core.buckets import BucketId, slot_of, split_names
from enactord.core.kv import MAX_OPERATIONS, Item
from enactord.core.ledger import Bucket, Entry, Version
from enactord.store.ledger_index import LedgerIndex, bucket_value, ledger_name
from enactord.store.reshaping import Move, plan_moves
from tests.hostile.effort import tries
from tests.ledger_cuts import cuts

ZONE, OTHER = "example.test.", "other.test."
LEVELS = (1, 2, 4, 8, 16, 32)
STEPS_MAX = 2 * len(LEVELS) + 2
"""Down to the wanted number and up to it, and once for what overlaps and what cannot be read."""

Stored = dict[str, bytes]
"""Values by what follows the ledger's prefix in their keys."""


def entry(name: str, generation: int = 1) -> Entry:
    version = Version(generation=generation, content='[5,[["10.0.0.1",1]]]', answers_max=8)
    return Entry(name=name, applied=version, good=version)


def entries_of(numbers: Sequence[int], generation: int = 1) -> Bucket:
    return {name: entry(name, generation) for number in numbers for name in [f"n{number:03d}.{ZONE}"]}


def index_of(stored: Mapping[str, bytes]) -> LedgerIndex:
    index = LedgerIndex()
    index.replace(
        {key: Item(key=key, value=value, create_revision=1, mod_revision=1, version=1) for key, value in stored.items()}
    )
    return index


def entries_in(stored: Mapping[str, bytes]) -> Bucket:
    """All entries, each of which must be there once."""
    every = [one for one in index_of(stored).entries() if one.name.endswith(ZONE)]
    found = {one.name: one for one in every}
    assert len(found) == len(every)
    return found


def keys_of(move: Move) -> set[str]:
    return {ledger_name(bucket.zone, bucket.slot) for bucket in (*move.read, *move.written)}


def carry_out(stored: Stored, move: Move) -> None:
    """Do what the registry does in one transaction."""
    for bucket in move.read:
        del stored[ledger_name(bucket.zone, bucket.slot)]
    for bucket, entries in move.written.items():
        stored[ledger_name(bucket.zone, bucket.slot)] = bucket_value(entries, bucket.slots)


def reshaped(stored: Stored, slots: int, *, sound: bool = True) -> int:
    """Carry out step after step; returns how many it took. `sound`: each name is there once, from the start on."""
    before = entries_in(stored) if sound else {}
    for step in range(STEPS_MAX):
        moves = plan_moves(index_of(stored), ZONE, slots)
        if not moves:
            return step
        touched = [key for move in moves for key in keys_of(move)]
        assert len(touched) == len(set(touched)), "moves of one step go into the same transactions"
        for move in moves:
            assert len(keys_of(move)) <= MAX_OPERATIONS - 3, "a move is one transaction"
            for bucket, entries in move.written.items():
                assert all(slot_of(name, bucket.slots) == bucket.slot for name in entries)
            carry_out(stored, move)
            if sound:
                assert entries_in(stored) == before
    raise AssertionError(f"no end after {STEPS_MAX} steps")


def all_at(stored: Mapping[str, bytes], slots: int) -> bool:
    return index_of(stored).levels(ZONE) <= {slots}


numbers = st.lists(st.integers(0, 399), unique=True, max_size=60)
levels = st.sampled_from(LEVELS)


@tries(60)
@given(numbers, cuts(LEVELS[-1]), levels, st.booleans())
def test_any_mixture_of_slots_comes_to_the_wanted_number(
    some: list[int], leaves: list[tuple[int, int]], slots: int, keep_empty: bool
) -> None:
    """The same entries at every moment, each once; in a bounded number of steps; and another zone is let be."""
    entries = entries_of(some)
    stored: Stored = {}
    for slot, of in leaves:
        bucket = {name: one for name, one in entries.items() if slot_of(name, of) == slot}
        if bucket or keep_empty:
            stored[ledger_name(ZONE, slot)] = bucket_value(bucket, of)
    beside = {ledger_name(OTHER, 1): bucket_value({}, 2), ledger_name(OTHER, 2): b"junk"}
    stored |= beside
    reshaped(stored, slots)
    assert all_at(stored, slots)
    assert entries_in(stored) == entries
    assert {key: stored[key] for key in beside} == beside
    assert plan_moves(index_of(stored), ZONE, slots) == []


@tries(60)
@given(numbers, levels, levels)
def test_a_step_for_each_doubling(some: list[int], before: int, after: int) -> None:
    """From one number to another there are as many steps as there are powers of two between them."""
    parts = split_names(entries_of(some), before)
    stored = {ledger_name(ZONE, slot): bucket_value(bucket, before) for slot, bucket in parts.items()}
    steps = reshaped(stored, after)
    assert steps == (abs(after.bit_length() - before.bit_length()) if some else 0)


@tries(60)
@given(st.dictionaries(st.tuples(st.integers(0, 31), levels), numbers, max_size=12), levels)
def test_of_what_overlaps_the_finer_is_believed(chosen: dict[tuple[int, int], list[int]], slots: int) -> None:
    """A store that was put together by hand: a name is taken from the bucket of most slots that has it."""
    stored: Stored = {}
    believed: dict[str, tuple[int, Entry]] = {}
    buckets: dict[int, tuple[int, Bucket]] = {}
    for (slot, of), some in chosen.items():
        inside = entries_of(some, of)
        buckets[slot % of] = of, {name: one for name, one in inside.items() if slot_of(name, of) == slot % of}
    for slot, (of, bucket) in buckets.items():
        stored[ledger_name(ZONE, slot)] = bucket_value(bucket, of)
        for name, one in bucket.items():
            believed[name] = max(believed.get(name, (0, one)), (of, one), key=lambda pair: pair[0])
    reshaped(stored, slots, sound=False)
    assert all_at(stored, slots)
    assert entries_in(stored) == {name: one for name, (_, one) in believed.items()}


def test_a_stray_bucket_of_few_slots_is_taken_in_by_steps_that_fit() -> None:
    """It overlaps with hundreds of others, which are more than one transaction can change."""
    entries = entries_of(range(400))
    stored = {ledger_name(ZONE, s): bucket_value(b, 256) for s, b in split_names(entries, 256).items()}
    stray = entries_of(range(400, 403))
    lost = {name for name in entries if slot_of(name, 256) == 0}
    stored[ledger_name(ZONE, 0)] = bucket_value(stray, 1)
    reshaped(stored, 256, sound=False)
    assert all_at(stored, 256)
    assert entries_in(stored) == {name: one for name, one in entries.items() if name not in lost} | stray


@tries(60)
@given(st.sets(st.integers(0, 40), max_size=8), numbers, levels, levels)
def test_what_cannot_be_read_goes_where_nobody_would_write_it_anew(
    junk: set[int], some: list[int], before: int, after: int
) -> None:
    """Beyond the number of slots it is removed, whatever is moved there in between; no name is lost by it."""
    stored: Stored = {}
    entries: Bucket = {}
    for slot, bucket in split_names(entries_of(some), before).items():
        if slot not in junk:
            entries |= bucket
            stored[ledger_name(ZONE, slot)] = bucket_value(bucket, before)
    stored |= {ledger_name(ZONE, slot): b"junk" for slot in junk}
    reshaped(stored, after)
    assert index_of(stored).levels(ZONE) <= {after, 0}
    assert all(bucket.slot < after for bucket in index_of(stored).stored(ZONE))
    assert entries_in(stored) == entries


@pytest.mark.parametrize(("slot", "of"), [(1, 1), (3, 2), (9, 8), (40, 8), (99_999, 1)])
@pytest.mark.parametrize("slots", [1, 2, 8, 32])
def test_a_bucket_in_a_slot_that_is_none_of_its_number_does_no_harm(slot: int, of: int, slots: int) -> None:
    """It cannot be one that was written: whatever becomes of it, the others are moved, and keep what they say."""
    entries = entries_of(range(40))
    stored = {ledger_name(ZONE, s): bucket_value(b, of) for s, b in split_names(entries, of).items()}
    stored[ledger_name(ZONE, slot)] = bucket_value({}, of)
    reshaped(stored, slots, sound=False)
    assert {name: one for name, one in entries_in(stored).items() if name in entries} == entries
    assert all(b.slots in (slots, 0) and b.slot < slots for b in index_of(stored).stored(ZONE))


def test_a_ledger_that_is_cut_as_wanted_is_left_alone() -> None:
    """Nothing to do is nothing done; nor is there for a zone without a ledger."""
    stored = {ledger_name(ZONE, s): bucket_value(b, 8) for s, b in split_names(entries_of(range(40)), 8).items()}
    assert plan_moves(index_of(stored), ZONE, 8) == []
    assert plan_moves(index_of(stored), OTHER, 8) == []
    assert BucketId(ZONE, 0, 8) in index_of(stored).stored(ZONE)
