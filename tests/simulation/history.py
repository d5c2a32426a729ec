"""What happened, as a list of facts; checkers read it and know nothing of how it came about.

The same facts are noted by the simulation, which sees every transaction, and by the tests
on real servers, which see plans, answers and fences from outside.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from enactord.core.fence import Fence
from enactord.core.records import Change, Records


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A plan entered the store. `contents`: name to canonical text."""

    at: float
    generation: int
    mark: str
    contents: Mapping[str, str]
    approved: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """A zone carried out a transaction, at the moment it did. `carried` is the fence that it required."""

    at: float
    by: str
    zone: str
    carried: Fence | None
    before: Fence | None
    after: Fence | None
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """A server acknowledged a change of a name, and left it out in silence."""

    at: float
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Edited:
    """A foreign hand changed a name past the fence; the fence itself where `name` is "".

    `set_back`: it now is an older one.
    """

    at: float
    zone: str
    name: str
    records: Records
    set_back: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """The ledger now says that these records are applied at the name; None: it does not own the name."""

    at: float
    name: str
    records: Records | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Marked:
    """The ledger now says that a write of this generation begins at the name.

    `frozen`: the scope was, then. `claimed`: a claim of who began it lived, then.
    """

    at: float
    by: str
    name: str
    generation: int
    frozen: bool
    claimed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """The store now says that every endpoint of the zone conforms to the generation, but those that are held."""

    at: float
    zone: str
    generation: int
    mark: str
    held: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """The store was set back to an old backup."""

    at: float
    head: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleted:
    """A plan left the store. `needed`: who still needed it at that moment, by the store's own state."""

    at: float
    generation: int
    needed: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Torn:
    """A chunk went from the store that a plan there names."""

    at: float
    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoilt:
    """A value of the store was damaged. `names`: whose entries it held, where it was of the ledger."""

    at: float
    key: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """An enactor read names, was about to write them, or a write of its had an unknown end."""

    at: float
    by: str
    zone: str
    what: str
    """read, write or unknown"""
    names: tuple[str, ...]


Fact = Published | Applied | Dropped | Edited | Recorded | Marked | Settled | Restored | Deleted | Torn | Spoilt | Asked


@dataclass
class History:
    """All facts of one run, in order, and the counts of faults by kind."""

    facts: list[Fact] = field(default_factory=list)
    faults: dict[str, int] = field(default_factory=dict)

    def add(self, fact: Fact) -> None:
        self.facts.append(fact)

    def fault(self, kind: str) -> None:
        self.faults[kind] = self.faults.get(kind, 0) + 1


def line(fact: Fact) -> str:
    """One line for people: when, what, who, where."""
    match fact:
        case Published():
            contents = " ".join(f"{name}={text}" for name, text in sorted(fact.contents.items()))
            what = f"published {fact.generation} {fact.mark}{' approved' if fact.approved else ''} {contents}"
        case Applied():
            carried, after = (f"{f.generation} {f.plan[:4]}" if f else "no fence" for f in (fact.carried, fact.after))
            what = f"applied {fact.zone} by {fact.by} under {carried}"
            if fact.before != fact.after:
                what += f", opens {after}"
            what += "".join(f" {c.name}={_texts(c.after)} ({c.expect})" for c in fact.changes)
        case Dropped():
            what = f"dropped {fact.name} in silence"
        case Edited():
            what = f"edited {fact.zone} {fact.name or 'the fence'}={_texts(fact.records)}"
        case Recorded():
            what = f"recorded {fact.name}={_texts(fact.records) if fact.records else 'not owned'}"
        case Marked():
            what = f"marked {fact.name} pending at {fact.generation} by {fact.by}"
            what += f"{', frozen' if fact.frozen else ''}{'' if fact.claimed else ', unclaimed'}"
        case Settled():
            what = f"settled {fact.zone} at {fact.generation}, held: {' '.join(sorted(fact.held)) or 'none'}"
        case Restored():
            what = f"store restored to head {fact.head}"
        case Deleted():
            what = f"deleted plan {fact.generation}{' needed: ' + ', '.join(fact.needed) if fact.needed else ''}"
        case Torn():
            what = f"plan {fact.generation} lost a chunk"
        case Spoilt():
            what = f"spoilt {fact.key}: {' '.join(fact.names)}"
        case Asked():
            what = f"{fact.what} {fact.zone} by {fact.by}: {' '.join(fact.names)}"
    return f"{fact.at:10.3f} {what}"


def _texts(records: Records) -> str:
    return ",".join(records.texts()) or "nothing"
