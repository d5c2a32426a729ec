"""Buckets: each zone's names lie in slots, by a hash of the name; the number of slots grows with the zone.

A bucket is one chunk of a plan and one key of the ledger. The number of slots of a zone is
a power of two, so that doubling it splits each slot into exactly two.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple, TypeVar

T = TypeVar("T")

SLOTS_MAX = 65_536
"""Most slots of a zone: four million names at 64 names a slot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filling:
    """How many names a slot holds on average: below `low` and above `high` the number of slots is chosen anew."""

    low: int = 16
    high: int = 64
    chosen: int = 32
    """At most so many names a slot where a number is chosen."""


FILLING = Filling()


class BucketId(NamedTuple):
    """One of the `slots` slots of a zone."""

    zone: str
    slot: int
    slots: int


def slot_of(name: str, slots: int) -> int:
    """Return the slot that a normalised name hashes to. Part of the stored format: never change it."""
    return int.from_bytes(blake2b(name.encode("ascii"), digest_size=4).digest(), "big") & (slots - 1)


def bucket_of(name: str, zone: str, slots: int) -> BucketId:
    """Return the bucket of a name in its zone."""
    return BucketId(zone, slot_of(name, slots), slots)


def valid_slots(slots: int) -> bool:
    """Whether a number can be the number of slots of a zone: a power of two, at most `SLOTS_MAX`."""
    return 0 < slots <= SLOTS_MAX and slots & (slots - 1) == 0


def slots_for(names: int, before: int = 0, filling: Filling = FILLING) -> int:
    """Return the number of slots for a zone of so many names that had `before` slots (0: none yet).

    It changes only when the slots are too full or too empty, so that a zone that grows and
    shrinks a little keeps its slots.
    """
    if before and (before == 1 or names >= filling.low * before) and names <= filling.high * before:
        return before
    slots = 1
    while names > filling.chosen * slots and slots < SLOTS_MAX:
        slots *= 2
    return slots


def split_names(entries: Mapping[str, T], slots: int) -> dict[int, dict[str, T]]:
    """Return what belongs to each slot that has a name, in order of slot; names keep their order."""
    found: dict[int, dict[str, T]] = {}
    for name, entry in entries.items():
        found.setdefault(slot_of(name, slots), {})[name] = entry
    return dict(sorted(found.items()))
