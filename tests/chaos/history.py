"""What was seen of a run from the outside, as facts; checkers read them and know nothing of how they came about.

All times are of one monotonic clock. What takes time carries both of its ends.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

Addresses = frozenset[str]
"""What an answer holds: address texts; none where there is no data, or no such name."""

NOTHING: Addresses = frozenset()
TYPES = ("A", "AAAA")


@dataclass(frozen=True)
class Plan:
    """A plan entered the store. `contents`: name to canonical text. `refused`: no enactor may follow it."""

    at: float
    generation: int
    mark: str
    author: str
    refused: bool
    contents: Mapping[str, str]


class Read(NamedTuple):
    """A server answered a question."""

    sent: float
    received: float
    name: str
    rtype: str
    rcode: str
    addresses: Addresses


class FenceRead(NamedTuple):
    """A server was asked for a zone's fence; `text` "": there is none."""

    sent: float
    received: float
    zone: str
    text: str


@dataclass(frozen=True)
class Edit:
    """A foreign hand put these addresses at a name, past the fence."""

    begun: float
    ended: float
    name: str
    rtype: str
    addresses: Addresses


class Known(NamedTuple):
    """By this time the store said that a name (or, for "", the whole zone) has come at least to a generation."""

    at: float
    zone: str
    name: str
    generation: int


@dataclass(frozen=True)
class Frozen:
    """The scope was frozen, when `newest` was the newest plan, until it began to be thawed."""

    begun: float
    thawing: float
    newest: int


@dataclass(frozen=True)
class Deleted:
    """A plan left the store. `needed`: who still needed it at that moment, by what the store held."""

    at: float
    generation: int
    needed: tuple[str, ...]


@dataclass(frozen=True)
class Dangling:
    """The store names a plan, as claimed or pending, that is not in it."""

    at: float
    generation: int
    by: str


@dataclass
class History:
    """All facts of one run."""

    scope: str
    zones: Mapping[str, tuple[str, ...]]
    """Zone to its names."""
    answers_max: int
    plans: dict[int, Plan] = field(default_factory=dict)
    reads: list[Read] = field(default_factory=list)
    fences: list[FenceRead] = field(default_factory=list)
    edits: list[Edit] = field(default_factory=list)
    known: list[Known] = field(default_factory=list)
    freezes: list[Frozen] = field(default_factory=list)
    deleted: list[Deleted] = field(default_factory=list)
    dangling: list[Dangling] = field(default_factory=list)

    def alike(self, zone: str, one: int, other: int) -> bool:
        """Whether two plans say the same of every name of a zone: then the fence of either may stand for both."""
        if one not in self.plans or other not in self.plans:
            return False
        first, second = self.plans[one].contents, self.plans[other].contents
        return all(first.get(name) == second.get(name) for name in self.zones[zone])
