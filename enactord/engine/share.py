"""Sharing the work among enactors: who comes first where. A hint: whoever it leaves out finds its share done."""

from collections.abc import Sequence
from hashlib import blake2b

from enactord.core.buckets import BucketId
from enactord.store.cache import Cache

_PEERS_MAX = 16


class Sharing:
    """The place of one enactor among those that are alive."""

    def __init__(self, enactor: str, cache: Cache) -> None:
        self._enactor = enactor
        self._cache = cache

    def order(self, generation: int, buckets: Sequence[BucketId]) -> list[BucketId]:
        """Return buckets in this enactor's order: first those that are its own among the enactors alive.

        Rendezvous hashing ranks the enactors for each bucket; an enactor takes those where it
        comes first, then those where it comes second, and so on. Who is alive is a hint:
        whoever it leaves out finds its share done, and whoever is gone has its share taken over.
        Source: Thaler and Ravishankar, "Using name-based mappings to increase hit rates", 1998.
        """
        others = self._others()
        return sorted(buckets, key=lambda bucket: _place(self._enactor, others, f"{generation} {bucket.slot}"))

    def turn(self, generation: int, zone: str) -> int:
        """Return how many others come before this enactor at a small plan of a zone ("": all that changes nothing)."""
        before, _ = _place(self._enactor, self._others(), f"{generation} {zone}")
        return before

    def _others(self) -> list[str]:
        """Return the other enactors that are alive, as far as is known."""
        return sorted({presence.id for presence in self._cache.enactors} - {self._enactor})[:_PEERS_MAX]


def _place(enactor: str, others: Sequence[str], what: str) -> tuple[int, bytes]:
    """Return how many others come before an enactor at something, and its own weight there."""
    mine = _weight(enactor, what)
    return sum(_weight(other, what) < mine for other in others), mine


def _weight(enactor: str, what: str) -> bytes:
    return blake2b(f"{enactor} {what}".encode(), digest_size=8).digest()
