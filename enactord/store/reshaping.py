"""How a zone's ledger comes from one number of slots to another, step by step.

A step doubles the buckets of the smallest number of slots, or halves those of the largest.
Where two stored buckets hold the same slot (a store that was damaged or put together by
hand), the one of more slots is believed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from enactord.core.buckets import BucketId, split_names
from enactord.core.ledger import GARBAGE, Bucket
from enactord.store.ledger_index import LedgerIndex


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """Buckets that are read, and what is written in their place, in one transaction."""

    read: tuple[BucketId, ...]
    written: Mapping[BucketId, Bucket]


def plan_moves(index: LedgerIndex, zone: str, slots: int) -> list[Move]:
    """Return the moves of the next step; nothing when every bucket is stored under `slots`.

    A bucket that cannot be read is removed: what it said is lost already, and it would keep
    plans from being pruned. One of another version's format is left alone.
    """
    stored = index.stored(zone)
    garbage = [Move(read=(bucket,), written={}) for bucket in stored if bucket.slots == GARBAGE]
    if garbage:
        return garbage
    readable = [bucket for bucket in stored if bucket.slots > 0]
    overlapping = _part(index, readable)
    if overlapping:
        return overlapping
    levels = {bucket.slots for bucket in readable}
    if levels <= {slots}:
        return []
    largest, smallest = max(levels), min(levels)
    if largest > slots:
        return _halve(index, zone, [bucket for bucket in readable if bucket.slots == largest])
    return _double(index, zone, [bucket for bucket in readable if bucket.slots == smallest])


def _double(index: LedgerIndex, zone: str, buckets: Sequence[BucketId]) -> list[Move]:
    moves = []
    for bucket in buckets:
        target = bucket.slots * 2
        by_slot = split_names(index.bucket(bucket), target)
        halves = (BucketId(zone, bucket.slot, target), BucketId(zone, bucket.slot + bucket.slots, target))
        moves.append(Move(read=(bucket,), written={half: by_slot.get(half.slot, {}) for half in halves}))
    return moves


def _halve(index: LedgerIndex, zone: str, buckets: Sequence[BucketId]) -> list[Move]:
    by_slot: dict[int, list[BucketId]] = {}
    for bucket in buckets:
        by_slot.setdefault(bucket.slot % (bucket.slots // 2), []).append(bucket)
    return [_join(index, BucketId(zone, slot, pair[0].slots // 2), pair) for slot, pair in sorted(by_slot.items())]


def _join(index: LedgerIndex, into: BucketId, buckets: Sequence[BucketId]) -> Move:
    """Return the move of buckets into one; of a name that several hold, the last of them is believed."""
    joined: Bucket = {}
    for bucket in buckets:
        joined.update(index.bucket(bucket))
    return Move(read=tuple(buckets), written={into: joined})


def _part(index: LedgerIndex, readable: Sequence[BucketId]) -> list[Move]:
    """Return how the widest buckets within which others lie are split, each half with the other that has its key.

    Each step makes them narrower, until no two hold the same slot.
    """
    by_key = {bucket.slot: bucket for bucket in readable}
    levels = sorted({bucket.slots for bucket in readable})
    for slots in levels:
        wide = {
            bucket.slot % slots
            for bucket in readable
            if bucket.slots > slots and by_key.get(bucket.slot % slots, bucket).slots == slots
        }
        if wide:
            return [_split(index, by_key[slot], by_key.get(slot + slots)) for slot in sorted(wide)]
    return []


def _split(index: LedgerIndex, wide: BucketId, other: BucketId | None) -> Move:
    """Return the move of a bucket into its halves; `other` has the key of the upper one, and is believed."""
    zone, slot, slots = wide
    by_slot = split_names(index.bucket(wide), slots * 2)
    upper = by_slot.get(slot + slots, {}) | (index.bucket(other) if other else {})
    written = {BucketId(zone, slot, slots * 2): by_slot.get(slot, {})}
    if upper or other:
        written[BucketId(zone, slot + slots, slots * 2)] = upper
    return Move(read=(wide, other) if other else (wide,), written=written)
