"""What the naive enactor needs of the outside, and the values that pass."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

from enactord.core.content import parse_content
from enactord.core.plan import Draft
from enactord.core.records import Records
from enactord.core.render import render


class NaiveError(Exception):
    """An apply cannot go on. The enactor says so and tries again at its next look at the plans."""


class ZoneFailed(NaiveError):
    """The zone's server gave no answer, or one that says neither yes nor "not as required"."""


class TreeGone(NaiveError):
    """An alias, the live name's or the rollback alias, would have to point at a tree that is not there."""


class Key(NamedTuple):
    """One RRset's place."""

    name: str
    rtype: str
    """A, AAAA, CNAME or TXT"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rrset:
    """All records of one name and type; `values` as text, sorted, none twice."""

    key: Key
    ttl_s: int
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """One atomic update: where all requirements hold, first the deletions and then the additions; else nothing."""

    exactly: Mapping[Key, tuple[str, ...]]
    """RRsets that must have these values; none: the RRset must not be there."""
    in_use: Sequence[str] = ()
    """Names that must have some record."""
    deletes: Sequence[Key] = ()
    """RRsets to delete; one that is not there is no error."""
    adds: Sequence[Rrset] = ()


class Outcome(StrEnum):
    """What became of a transaction."""

    DONE = "done"
    CHANGED = "changed"
    """An RRset is not as `exactly` requires; nothing was done."""
    GONE = "gone"
    """A name of `in_use` has no record; nothing was done."""


class Zone(Protocol):
    """One zone, reached as a control API reaches it: reads are of what is stored, no alias is followed."""

    @property
    def name(self) -> str: ...

    async def read(self, keys: Sequence[Key]) -> Mapping[Key, tuple[str, ...]]:
        """Return the values of each RRset, () for one that is not there. Raises `ZoneFailed`."""
        ...

    async def names_below(self, name: str) -> Sequence[str]:
        """Return all names below this one that have records, sorted. Raises `ZoneFailed`."""
        ...

    async def transact(self, transaction: Transaction) -> Outcome:
        """Carry out a transaction. Raises `ZoneFailed`; it may then have been carried out."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A numbered plan: what each endpoint's name should resolve to."""

    generation: int
    endpoints: Mapping[str, Records]


class Plans(Protocol):
    """Where plans come from."""

    async def newest(self) -> Plan | None:
        """Return the plan of the highest generation, None before the first."""
        ...


def plan_of(draft: Draft, generation: int, *, answers_max: int = 16) -> Plan:
    """Return a plan document's content as a naive plan. What it withdraws is left out, and so left alone."""
    return Plan(
        generation=generation,
        endpoints={
            name: render(name, generation, parse_content(text), answers_max) for name, text in draft.endpoints.items()
        },
    )
