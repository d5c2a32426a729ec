"""The invariants as readers of what was seen from the outside.

A name is read as a register that holds a generation and may only rise. Which generation
an answer shows is known by its content alone, and content recurs; so an answer stands for
all generations that would be served so, and the question is whether one of each answer's can
be chosen such that no answer shows an older one than an answer that ended before it was
asked for. Choosing the oldest that is possible, answer by answer, finds such a
choice where there is one.

A plan that says of a zone what the plan at its fence says leaves the fence as it is. So the
fence stands for every plan that is alike in that zone, as far as no other came between.
"""

import heapq
from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter

from enactord.core.content import parse_content, unpack_address
from enactord.core.fence import parse_fence_text
from enactord.core.names import fence_name
from enactord.core.render import render
from tests.chaos.history import NOTHING, TYPES, Addresses, Edit, FenceRead, History, Plan, Read


@dataclass(frozen=True)
class Violation:
    """An invariant that did not hold, when, and where."""

    invariant: str
    at: float
    subject: str
    text: str

    def __str__(self) -> str:
        return f"{self.invariant} at {self.at:.3f}: {self.subject}: {self.text}"


class Versions:
    """Which generations an answer may stand for."""

    def __init__(self, names: Iterable[str], answers_max: int) -> None:
        self._answers_max = answers_max
        self._of: dict[tuple[str, str, Addresses], list[int]] = defaultdict(list)
        self._drawn: dict[str, dict[str, set[tuple[str, str, Addresses]]]] = {name: {} for name in names}
        for name in self._drawn:
            for rtype in TYPES:
                self._of[name, rtype, NOTHING].append(0)

    def add(self, plan: Plan) -> None:
        """Take in a plan; generations must come in order."""
        if plan.refused:
            return  # it must not show anywhere
        for name, drawn in self._drawn.items():
            text = plan.contents.get(name)
            if text is None:
                keys = {(name, rtype, NOTHING) for rtype in TYPES}
            else:
                keys = self._draw(name, plan.generation, text, drawn)
            for key in keys:
                generations = self._of[key]
                assert not generations or generations[-1] < plan.generation, "plans must come in order"
                generations.append(plan.generation)

    def _draw(
        self, name: str, generation: int, text: str, drawn: dict[str, set[tuple[str, str, Addresses]]]
    ) -> set[tuple[str, str, Addresses]]:
        """Return how a content may be served: as drawn now, or when it was written, in an earlier plan that had it."""
        content = parse_content(text)
        keys = drawn.setdefault(text, set())
        if not content.usable:
            return keys  # an empty endpoint is never served: it is held
        if not keys or len(content.usable) > self._answers_max:
            records = render(name, generation, content, self._answers_max)
            for rtype, packed in zip(TYPES, (records.a, records.aaaa), strict=True):
                keys.add((name, rtype, frozenset(unpack_address(address) for address in packed)))
        return keys

    def of(self, name: str, rtype: str, addresses: Addresses) -> Sequence[int]:
        """The generations that would be served so, in order."""
        return self._of.get((name, rtype, addresses), ())


def versions_of(history: History) -> Versions:
    """Return what each answer of a run may stand for."""
    versions = Versions([name for some in history.zones.values() for name in some], history.answers_max)
    for generation in sorted(history.plans):
        versions.add(history.plans[generation])
    return versions


def staleness(history: History) -> list[float]:
    """Return for how long, at each answer, a newer plan had said otherwise, in seconds; sorted.

    An answer that no plan explains is left out, and so is one of a name that has nothing.
    """
    versions = versions_of(history)
    plans = [plan for _, plan in sorted(history.plans.items()) if not plan.refused]
    generations = [plan.generation for plan in plans]
    found = []
    for read in history.reads:
        possible = versions.of(read.name, read.rtype, read.addresses)
        if possible and possible[-1]:
            following = bisect_right(generations, possible[-1])
            found.append(max(0.0, read.sent - plans[following].at) if following < len(plans) else 0.0)
    return sorted(found)


def check(history: History) -> list[Violation]:
    """Return every violation, in order of time."""
    versions = versions_of(history)
    found = [*kept(history), *dangling(history)]
    reads: dict[str, list[Read]] = {name: [] for names in history.zones.values() for name in names}
    for read in history.reads:
        reads[read.name].append(read)
    for zone, some in history.zones.items():
        fence = FenceHistory(history, zone)
        found.extend(fence.violations)
        for name in some:
            found.extend(_name(history, versions, fence, zone, name, reads[name]))
    return sorted(found, key=attrgetter("at"))


class FenceHistory:
    """The fence of one zone over time: what it was, and what is wrong with that."""

    def __init__(self, history: History, zone: str) -> None:
        self._plans = {(history.scope, plan.generation, plan.mark): plan for plan in history.plans.values()}
        self._installation = ""
        self._freezes = history.freezes
        self._edits = [edit for edit in history.edits if edit.name == fence_name(zone)]
        self._seen_well = 0.0
        self.violations: list[Violation] = []
        self._sent: list[float] = []
        self._generations: list[int] = []
        self._highest = 0
        self._said: list[int] = []
        self._history = history
        self._zone = zone
        known = iter(sorted(k for k in history.known if k.zone == zone and not k.name))
        upcoming = next(known, None)
        for read in sorted(read for read in history.fences if read.zone == zone):
            while upcoming is not None and upcoming.at < read.sent:
                if upcoming.generation not in self._said:
                    insort(self._said, upcoming.generation)
                upcoming = next(known, None)
            self._take(read)

    def at_most(self, at: float) -> int | None:
        """The highest that the fence can have been at a time; None where nobody has asked since."""
        index = bisect_left(self._sent, at)
        return self._generations[index] if index < len(self._generations) else None

    def stands_for(self, ceiling: int, generation: int) -> bool:
        """Whether a fence that is no higher than the ceiling may stand for a generation."""
        return generation <= ceiling or self._history.alike(self._zone, ceiling, generation)

    def _take(self, read: FenceRead) -> None:
        fence = parse_fence_text(read.text.encode("utf-8", "replace"))
        plan = None if fence is None else self._plans.get((fence.scope, fence.generation, fence.plan))
        generation = plan.generation if plan else 0
        if plan is None and self._edited(read):
            return
        if read.text and plan is None:
            self._add("I1", read, f"the fence is that of no published plan: {read.text}")
            return
        self._seen_well = read.sent
        if fence is not None and fence.installation:
            self._installation = self._installation or fence.installation
            if fence.installation != self._installation:
                self._add("I3", read, f"the fence went from installation {self._installation} to {fence.installation}")
        if generation < self._highest:
            self._add("I1", read, f"the fence went from {self._highest} down to {generation}")
        for said in self._said[bisect_right(self._said, generation) :]:
            if generation >= self._highest and not self.stands_for(generation, said):
                self._add("I1", read, f"the fence stands at {generation}, and the store had {said} as applied")
                break
        if plan is not None and plan.refused:
            self._add("I8", read, f"the fence was opened for {generation}, which is refused")
        for freeze in self._freezes:
            if generation > freeze.newest and freeze.begun < read.received < freeze.thawing:
                self._add("I8", read, f"{generation} was opened while frozen, when {freeze.newest} was the newest")
        self._sent.append(read.sent)
        self._highest = max(generation, self._highest)
        self._generations.append(self._highest)

    def _edited(self, read: FenceRead) -> bool:
        """Whether a foreign hand took the fence away, and nobody has been seen to put it back since."""
        return any(edit.begun < read.received and self._seen_well <= edit.ended for edit in self._edits)

    def _add(self, invariant: str, read: FenceRead, text: str) -> None:
        same = [v for v in self.violations if v.invariant == invariant and v.text == text]
        if not same:
            self.violations.append(Violation(invariant, read.received, read.zone, text))


def _name(
    history: History, versions: Versions, fence: FenceHistory, zone: str, name: str, reads: Sequence[Read]
) -> Iterator[Violation]:
    """I1, I2, I3, I7, I8 of one name."""
    foreign = _Foreign([edit for edit in history.edits if edit.name == name], reads)
    known = sorted(k for k in history.known if k.name == name)
    floor, why, next_known = 0, "nothing", 0
    chosen: list[tuple[float, int]] = []
    last: dict[str, tuple[str, Addresses]] = {}
    for read in sorted(reads):
        while next_known < len(known) and known[next_known].at < read.sent:
            if known[next_known].generation > floor:
                floor, why = known[next_known].generation, "the store had it as applied"
            next_known += 1
        while chosen and chosen[0][0] < read.sent:
            _, generation = heapq.heappop(chosen)
            if generation > floor:
                floor, why = generation, "it had been served"
        if foreign.explains(read):
            last.pop(read.rtype, None)
            continue
        possible = versions.of(name, read.rtype, read.addresses)
        ceiling = fence.at_most(read.received)
        due = possible[bisect_left(possible, floor) :]
        shown = next((g for g in due if ceiling is None or fence.stands_for(ceiling, g)), None)
        if shown is not None:
            heapq.heappush(chosen, (read.received, shown))
            last.pop(read.rtype, None)
            continue
        violation = _judged(read, zone, possible, floor, why, ceiling)
        if last.get(read.rtype) != (violation.invariant, read.addresses):
            yield violation  # told once for as long as it lasts
        last[read.rtype] = (violation.invariant, read.addresses)


def _judged(read: Read, zone: str, possible: Sequence[int], floor: int, why: str, ceiling: int | None) -> Violation:
    """Say which invariant an answer broke that stands for no possible generation."""
    shown = ", ".join(sorted(read.addresses)) or f"nothing ({read.rcode})"
    due = f"at least {floor} was due ({why}), the fence stood at {'some unknown' if ceiling is None else ceiling}"
    if not read.addresses:
        invariant, what = "I2", "empty"
    elif not possible:
        invariant, what = "I8", "content of no plan that may be followed"
    elif possible[0] < floor:
        invariant, what = "I1", f"content of generation {_some(possible)}"
    else:
        invariant, what = "I3", f"content of generation {_some(possible)}"
    text = f"{read.rtype} answered {shown}: {what}; {due}"
    return Violation(invariant, read.received, f"{read.name} in {zone}", text)


def _some(generations: Sequence[int]) -> str:
    if len(generations) <= 4:
        return ", ".join(map(str, generations))
    return f"{generations[0]} … {generations[-1]}"


class _Foreign:
    """What foreign edits explain of a name: their value, from the edit until it was first seen repaired."""

    def __init__(self, edits: Sequence[Edit], reads: Iterable[Read]) -> None:
        self._edits = edits
        self._repaired = {edit: float("inf") for edit in edits}
        for read in sorted(reads, key=attrgetter("received")) if edits else ():
            for edit in edits:
                if read.rtype == edit.rtype and read.addresses != edit.addresses and read.sent > edit.ended:
                    self._repaired[edit] = min(self._repaired[edit], read.received)

    def explains(self, read: Read) -> bool:
        return any(
            edit.rtype == read.rtype
            and edit.addresses == read.addresses
            and edit.begun < read.received
            and read.sent <= self._repaired[edit]
            for edit in self._edits
        )


def kept(history: History) -> Iterator[Violation]:
    """I4: a plan that somebody needs is never deleted."""
    for fact in history.deleted:
        if fact.needed:
            yield Violation("I4", fact.at, f"plan {fact.generation}", f"deleted, needed: {', '.join(fact.needed)}")


def dangling(history: History) -> Iterator[Violation]:
    """I4: what the store has as claimed or pending is there."""
    for fact in history.dangling:
        yield Violation("I4", fact.at, f"plan {fact.generation}", f"is not in the store, and is {fact.by}")
