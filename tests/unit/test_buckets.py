"""Buckets: the number of slots follows the number of names, slowly, and a name's slot never changes otherwise."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enactord.core.buckets import (
    SLOTS_MAX,
    BucketId,
    bucket_of,
    slot_of,
    slots_for,
    split_names,
    valid_slots,
)

POWERS = [2**exponent for exponent in range(SLOTS_MAX.bit_length())]
powers = st.sampled_from(POWERS)
counts = st.integers(0, 64 * SLOTS_MAX) | st.integers(0, 5000)
names = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_*.", min_size=1, max_size=60)


@pytest.mark.parametrize(
    ("name", "slots", "slot"),
    [
        ("dynamodb.us-east-1.amazonaws.com.", 1, 0),
        ("dynamodb.us-east-1.amazonaws.com.", 16, 1),
        ("dynamodb.us-east-1.amazonaws.com.", SLOTS_MAX, 5409),
        ("a.test.", 16, 3),
        ("a.test.", 1024, 915),
        ("a.test.", SLOTS_MAX, 20371),
        ("*.a.test.", SLOTS_MAX, 30883),
    ],
)
def test_slots_are_fixed_for_ever(name: str, slots: int, slot: int) -> None:
    """The slot of a name is part of the stored format: these values must never change."""
    assert slot_of(name, slots) == slot


@given(names, powers)
def test_a_name_lies_in_one_of_the_slots(name: str, slots: int) -> None:
    """And its bucket says of which zone, and of how many."""
    slot = slot_of(name, slots)
    assert 0 <= slot < slots
    assert bucket_of(name, "test.", slots) == BucketId("test.", slot, slots)


@given(names, st.sampled_from(POWERS[:-1]))
def test_doubling_splits_a_slot_into_exactly_two(name: str, slots: int) -> None:
    """What lies in a slot lies, in twice as many, in the slot of that number or in the one as far on as there were."""
    assert slot_of(name, 2 * slots) in (slot_of(name, slots), slot_of(name, slots) + slots)
    assert slot_of(name, 2 * slots) % slots == slot_of(name, slots)


def test_both_halves_of_a_slot_are_used() -> None:
    """A name goes either way, so that a split halves a slot that is too full."""
    for slots in (1, 8, 1024):
        halves = [slot_of(f"n{number}.test.", 2 * slots) >= slots for number in range(2000)]
        assert 900 < sum(halves) < 1100


@given(st.integers(-2 * SLOTS_MAX, 2 * SLOTS_MAX) | powers)
def test_a_number_of_slots_is_a_power_of_two(slots: int) -> None:
    """From one to the limit; no other number is."""
    assert valid_slots(slots) == (slots in POWERS)


@given(counts)
def test_a_new_zone_has_few_names_a_slot(count: int) -> None:
    """At most 32, and more than 16 where there is more than one slot: room to grow and to shrink before a change."""
    slots = slots_for(count)
    assert valid_slots(slots)
    assert count <= 32 * slots or slots == SLOTS_MAX
    assert slots == 1 or count > 16 * slots


@given(counts, powers)
def test_the_number_of_slots_stays_while_each_holds_16_to_64_names(count: int, before: int) -> None:
    """On average; one slot may hold fewer. Beyond that it is chosen as for a new zone."""
    stays = count <= 64 * before and (count >= 16 * before or before == 1)
    assert slots_for(count, before) == (before if stays else slots_for(count))


@given(counts, powers)
def test_a_number_of_slots_that_was_chosen_is_kept(count: int, before: int) -> None:
    """Asked again with the same names, the answer is the same: nothing is cut anew without a change."""
    slots = slots_for(count, before)
    assert slots_for(count, slots) == slots


@given(st.integers(33, 32 * SLOTS_MAX))
def test_a_little_to_and_fro_changes_nothing(count: int) -> None:
    """A tenth of the names may come and go, as often as they like, without the zone being cut anew."""
    slots = slots_for(count)
    assert slots_for(count + count // 10, slots) == slots
    fewer = count - count // 10
    if fewer >= 16 * slots:
        assert slots_for(fewer, slots) == slots
    shrunk = slots_for(fewer, slots)
    assert slots_for(count, shrunk) == shrunk


@pytest.mark.parametrize(
    ("count", "before", "slots"),
    [
        (0, 0, 1),
        (32, 0, 1),
        (33, 0, 2),
        (64, 1, 1),
        (65, 1, 4),
        (0, 1, 1),
        (256, 4, 4),
        (257, 4, 16),
        (64, 4, 4),
        (63, 4, 2),
        (0, SLOTS_MAX, 1),
        (32 * SLOTS_MAX + 1, 0, SLOTS_MAX),
        (1_000 * SLOTS_MAX, SLOTS_MAX, SLOTS_MAX),
    ],
)
def test_the_edges_of_the_range(count: int, before: int, slots: int) -> None:
    """One name more or fewer is what changes the number."""
    assert slots_for(count, before) == slots


@given(st.lists(names, unique=True, max_size=40), powers)
def test_splitting_loses_and_moves_nothing(some: list[str], slots: int) -> None:
    """Every entry is in the part of its slot, in the order in which it came; parts are in order and never empty."""
    entries = {name: number for number, name in enumerate(some)}
    parts = split_names(entries, slots)
    assert list(parts) == sorted(parts)
    assert all(parts.values())
    for slot, part in parts.items():
        assert list(part.items()) == [pair for pair in entries.items() if slot_of(pair[0], slots) == slot]
    assert sum(map(len, parts.values())) == len(entries)
