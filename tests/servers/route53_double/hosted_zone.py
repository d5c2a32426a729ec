"""A hosted zone's record sets, and what a batch of changes requires of them.

Source: Route 53 API Reference, ChangeResourceRecordSets: a batch is carried out whole or not at all; a DELETE
names all values of a set as they are; a CREATE needs that the set is not there. The texts of
refusals are Route 53's own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

ELEMENTS_MAX = 1000
CHARACTERS_MAX = 32_000
WEIGHTED_MAX = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordSet:
    """One set; `routing` holds what else it is chosen by, `alias` its target, each as it was given."""

    name: str
    type: str
    identifier: str = ""
    weight: int | None = None
    ttl_s: int | None = None
    values: tuple[str, ...] = ()
    alias: str = ""
    routing: tuple[tuple[str, str], ...] = ()

    @property
    def key(self) -> tuple[str, str, str]:
        return (self.name, self.type, self.identifier)

    @property
    def text(self) -> str:
        identifier = f", set identifier='{self.identifier}'" if self.identifier else ""
        return f"[name='{self.name}', type='{self.type}'{identifier}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    action: str
    record_set: RecordSet


class HostedZone:
    """The record sets of a zone, by name, type and identifier."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sets: dict[tuple[str, str, str], RecordSet] = {}

    def listed(self) -> list[RecordSet]:
        """All sets in the order that they are listed in: by name, the last label first, then by type."""
        return sorted(self.sets.values(), key=lambda one: (_order(one.name), one.type, one.identifier))

    def apply(self, changes: Sequence[Change]) -> list[str]:
        """Carry out a batch; returns what is wrong with it, and then nothing was carried out."""
        problems = _limits(changes)
        after = dict(self.sets)
        for change in changes:
            one = change.record_set
            if one.name != self.name and not one.name.endswith("." + self.name):
                problems.append(f"RRSet with DNS name {one.name} is not permitted in zone {self.name}")
                continue
            problem = _step(after, change)
            if problem:
                problems.append(problem)
        if not problems:
            problems = _standing(after, {change.record_set.name for change in changes}, self.name)
        if not problems:
            self.sets = after
        return problems


def _step(sets: dict[tuple[str, str, str], RecordSet], change: Change) -> str:
    """Carry out one change upon what those before it left; returns what is wrong with it."""
    one = change.record_set
    there = sets.get(one.key)
    match change.action:
        case "DELETE" if there is None:
            return f"Tried to delete resource record set {one.text} but it was not found"
        case "DELETE" if _values(there) != _values(one):
            no_match = "but the values provided do not match the current values"
            return f"Tried to delete resource record set {one.text} {no_match}"
        case "DELETE":
            del sets[one.key]
        case "CREATE" if there is not None:
            return f"Tried to create resource record set {one.text} but it already exists"
        case "CREATE" | "UPSERT":
            sets[one.key] = one
        case _:
            return f"{change.action} is no action"
    return ""


def _values(one: RecordSet | None) -> object:
    assert one is not None
    return (one.weight, one.ttl_s, sorted(one.values), one.alias, one.routing)


def _limits(changes: Sequence[Change]) -> list[str]:
    """What a batch may hold; an UPSERT counts twice."""
    counted = [
        value
        for change in changes
        for value in (change.record_set.values or ("",)) * (2 if change.action == "UPSERT" else 1)
    ]
    problems = []
    if len(counted) > ELEMENTS_MAX:
        problems.append(f"Number of records limit of {ELEMENTS_MAX} exceeded.")
    if sum(map(len, counted)) > CHARACTERS_MAX:
        problems.append(f"Number of characters limit of {CHARACTERS_MAX} exceeded.")
    return problems


def _standing(sets: Mapping[tuple[str, str, str], RecordSet], names: set[str], zone: str) -> list[str]:
    """What cannot stand beside what, at the names that a batch has changed."""
    problems = []
    at: dict[str, list[RecordSet]] = {}
    for one in sets.values():
        if one.name in names:
            at.setdefault(one.name, []).append(one)
    for name, there in sorted(at.items()):
        types = sorted({one.type for one in there})
        if "CNAME" in types and len(types) > 1:
            other = next(rtype for rtype in types if rtype != "CNAME")
            problems.append(
                f"RRSet of type {other} with DNS name {name} is not permitted because a conflicting RRSet of type"
                f" CNAME with the same DNS name already exists in zone {zone}"
            )
        for rtype in types:
            same = [one for one in there if one.type == rtype]
            problems += _beside(name, rtype, same)
    return problems


def _beside(name: str, rtype: str, same: Sequence[RecordSet]) -> list[str]:
    last = same[-1]
    what = f"RRSet with DNS name {name}, type {rtype}, SetIdentifier {last.identifier} cannot be created as"
    weighted = [one for one in same if one.weight is not None]
    if len(same) > 1 and any(not one.identifier for one in same):
        why = "cannot be created as other RRSets exist with the same name and type."
        return [f"RRSet with DNS name {name}, type {rtype} {why}"]
    if weighted and len(weighted) < len(same):
        return [f"{what} a non-weighted set exists with the same name and type."]
    if len({one.ttl_s for one in weighted}) > 1:
        return [f"{what} weighted sets must contain the same TTL."]
    if len(weighted) > WEIGHTED_MAX:
        return [f"{what} there are {WEIGHTED_MAX} weighted sets already"]
    if any(not 0 <= (one.weight or 0) <= 255 for one in weighted):
        return [f"{what} its weight is not 0 to 255"]
    return []


def _order(name: str) -> str:
    return ".".join(reversed(name[:-1].split("."))) + "."
