"""The safety invariants, each a reader of a history that gathers what violates it; none knows the engine.

I5, the liveness companion, is asked of the world itself once faults have stopped.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from enactord.core.content import parse_content
from enactord.core.fence import Fence
from enactord.core.names import zone_of
from enactord.core.records import NO_RECORDS, Change, Expect, Records
from enactord.core.render import render
from tests.simulation.history import (
    Applied,
    Asked,
    Deleted,
    Dropped,
    Edited,
    Fact,
    Marked,
    Published,
    Recorded,
    Restored,
    Settled,
    Spoilt,
    Torn,
)

ANSWERS_MAX = 16
Addresses = tuple[tuple[bytes, ...], tuple[bytes, ...]]


class Checker(Protocol):
    """Reads facts in order; says what is wrong."""

    violations: list[str]

    def see(self, fact: Fact) -> None: ...


def check(facts: Iterable[Fact], *, zones: Sequence[str], removed_max_ratio: float, honest: bool) -> list[str]:
    """Return every violation of a safety invariant. `honest`: the store has told no lies."""
    checkers: list[Checker] = [
        Fenced(),
        Monotone(),
        Content(),
        Kept(),
        ReadAfterUnknown(),
        Frozen(),
        Shrunk(removed_max_ratio),
        *([Truthful(zones)] if honest else []),
    ]
    for fact in facts:
        for checker in checkers:
            checker.see(fact)
    return [violation for checker in checkers for violation in checker.violations]


class Fenced:
    """I3: no write lands in a zone that stands at another fence than the write carries."""

    def __init__(self) -> None:
        self.violations: list[str] = []

    def see(self, fact: Fact) -> None:
        if isinstance(fact, Applied) and fact.changes and fact.carried != fact.before:
            self.violations.append(f"I3 at {fact.at:.3f}: {fact.by} wrote with {fact.carried} under {fact.before}")


class Monotone:
    """I3: the fence of a zone never goes down, but by a foreign hand; where it is lost, no older one takes its place.

    Who has the store knows what was opened, unless the store was set back. Who has not plants none.
    """

    def __init__(self) -> None:
        self.violations: list[str] = []
        self._highest: dict[str, int] = {}
        self._opened: dict[str, int] = {}
        self._restored = False

    def see(self, fact: Fact) -> None:
        match fact:
            case Restored():
                self._restored = True
            case Edited(name=""):
                self._highest[fact.zone] = 0
                if fact.set_back:
                    self._opened[fact.zone] = 0
            case Applied():
                after = fact.after.generation if fact.after else 0
                if fact.after is not None:
                    if fact.before is None and after < self._opened.get(fact.zone, 0) and not self._restored:
                        self.violations.append(f"I3 at {fact.at:.3f}: {fact.by} planted {after} in {fact.zone}")
                    self._opened[fact.zone] = max(self._opened.get(fact.zone, 0), after)
                if after < self._highest.get(fact.zone, 0):
                    self.violations.append(f"I3 at {fact.at:.3f}: {fact.by} lowered {fact.zone} to {after}")
                self._highest[fact.zone] = max(self._highest.get(fact.zone, 0), after)
            case _:
                pass


class Content:
    """I1, I2, I7, I8: what lands under a fence is that plan's, or puts back what a foreign hand changed.

    Within one generation a name has one content: the plan's. Anything else that lands must
    be what stood there before a foreign hand came: the newest content that the ledger has,
    or one written after it whose end nobody could record. There are three ways back: after
    a store was set back, what its ledger has is older, and what a held name falls back to;
    where a zone was set back to an older fence, an enactor that is cut off opens it at the one
    it last saw, and puts back what that plan left served, until somebody who knows better opens above;
    and what an enactor that is cut off puts back by the plan at the fence, no ledger knows:
    should a later plan hold the name, it falls back to the last known good of the ledger.
    A name that plans had removed, and that comes back with less than half, gets what it had last.
    Under a fence that is no plan's, an enactor that is cut off may fill what is empty, with
    something that was served there before or that a plan has there, and write nothing else.
    After a store was set back, two plans may have one generation: under the fence of the first, an
    enactor that is cut off may fill what is empty with what the second has there.
    """

    def __init__(self) -> None:
        self.violations: list[str] = []
        self._plans: dict[tuple[int, str], dict[str, str]] = {}
        self._landed: dict[str, list[Addresses]] = defaultdict(list)
        self._edited: dict[str, Records] = {}
        self._recorded: dict[str, Addresses] = {}
        self._restored = False
        self._ever: dict[str, set[Addresses]] = defaultdict(set)
        self._opened: dict[str, int] = {}
        self._lost: dict[str, int] = {}
        self._dropped: set[str] = set()
        """Names of which the last change was left out in silence: the ledger may be newer than what is served."""

    def see(self, fact: Fact) -> None:
        match fact:
            case Published():
                self._plans[fact.generation, fact.mark] = dict(fact.contents)
            case Dropped():
                self._dropped.add(fact.name)
            case Edited() if fact.name:
                self._edited[fact.name] = fact.records
            case Edited() if fact.set_back:
                self._lost[fact.zone] = max(self._lost.get(fact.zone, 0), self._opened.get(fact.zone, 0))
            case Recorded():
                self._record(fact)
            case Restored():
                self._restored = True
            case Applied():
                for change in fact.changes:
                    self._judge(fact, change)
                if fact.after is not None:
                    self._opened[fact.zone] = fact.after.generation
            case _:
                pass

    def _promised(self, name: str) -> set[Addresses]:
        """What any plan has at a name."""
        return {
            render(name, generation, parse_content(contents[name]), ANSWERS_MAX).addresses
            for (generation, _), contents in self._plans.items()
            if name in contents
        }

    def _twins(self, name: str, by: Fence) -> set[Addresses]:
        """What other plans of a fence's generation have at a name."""
        return {
            render(name, generation, parse_content(contents[name]), ANSWERS_MAX).addresses
            for (generation, mark), contents in self._plans.items()
            if generation == by.generation and mark != by.plan and name in contents
        }

    def _came_back(self, name: str, by: Fence, plan: Mapping[str, str], after: Records) -> bool:
        """Whether a name that plans had removed comes back with much less, and is given what it had last instead."""
        if name not in plan or self._recorded.get(name, after.addresses) != after.addresses:
            return False
        left = parse_content(plan[name]).weight
        earlier = [contents[name] for (g, _), contents in self._plans.items() if g < by.generation and name in contents]
        return any(
            render(name, by.generation, content, ANSWERS_MAX).addresses == after.addresses and left < content.weight / 2
            for content in map(parse_content, earlier)
        )

    def _record(self, fact: Recorded) -> None:
        """The ledger has caught up: of what landed before, nothing may come back."""
        if fact.records is None:
            self._recorded.pop(fact.name, None)
            return
        self._recorded[fact.name] = fact.records.addresses
        landed = self._landed[fact.name]
        if fact.records.addresses in landed:
            last = len(landed) - 1 - landed[::-1].index(fact.records.addresses)
            del landed[:last]

    def _judge(self, fact: Applied, change: Change) -> None:
        name, after = change.name, change.after
        by = fact.carried
        plan = self._plans.get((by.generation, by.plan)) if by else None
        where = f"at {fact.at:.3f}: {fact.by} wrote {', '.join(after.texts()) or 'nothing'} at {name}"
        emptied = change.expect is Expect.EXACT and change.before.empty
        twin = by is not None and self._restored and emptied and after.addresses in self._twins(name, by)
        if by is None or plan is None or twin:
            if not emptied or after.addresses not in self._ever[name] | self._promised(name):
                self.violations.append(f"I3 {where} under {by}, which is no published plan")
            self._landed[name].append(after.addresses)
            self._edited[name] = after  # whoever knows better may put it right
            return
        where += f" under {by.generation}"
        # A server that took a write of ours and dropped it in silence has said that the name is ours.
        ours = self._landed[name] or name in self._dropped
        if name in self._edited and not self._edited[name].empty and not ours:
            self.violations.append(f"I8 {where}, where a foreign record stands that nobody adopted")
        planned = render(name, by.generation, parse_content(plan[name]), ANSWERS_MAX) if name in plan else NO_RECORDS
        edited = self._edited.pop(name, None)
        if name in plan and after.empty:
            self.violations.append(f"I2 {where}, whose plan has the name")
        elif after.addresses != planned.addresses and not self._came_back(name, by, plan, after):
            known = set(self._landed[name])
            dropped = name in self._dropped
            if (self._restored or dropped) and name in self._recorded:
                known.add(self._recorded[name])
            if by.generation < self._lost.get(fact.zone, 0):
                known |= self._ever[name]
            set_back = self._restored and change.expect is Expect.EXACT and after.addresses == self._recorded.get(name)
            if name not in plan and not after.empty and self._landed[name][-1:] == [NO_RECORDS.addresses]:
                self.violations.append(f"I7 {where}, whose plan withdrew it")
            elif (edited is None and not set_back and not dropped) or after.addresses not in known:
                self.violations.append(f"I1 {where}, neither its plan's nor what stood there")
        self._landed[name].append(after.addresses)
        self._dropped.discard(name)
        # Put back by an enactor that was cut off, and so not recorded: who knows better may put it right.
        beyond = change.expect is Expect.EXACT and after.addresses != self._recorded.get(name)
        if beyond or by.generation < self._lost.get(fact.zone, 0):
            self._edited[name] = after
        self._ever[name].add(after.addresses)


class Truthful:
    """I5's other half: what the store says is applied is served, but for names that are held or edited since.

    Asked where the store has not lied: what a cache was not told, it cannot take into account.
    """

    def __init__(self, zones: Sequence[str]) -> None:
        self.violations: list[str] = []
        self._zones = zones
        self._plans: dict[tuple[int, str], dict[str, str]] = {}
        self._landed: dict[str, Addresses] = {}
        self._unsure: set[str] = set()
        self._recorded: dict[str, Addresses] = {}
        self._restored = False
        self._opened: dict[str, int] = {}
        self._lost: dict[str, int] = {}

    def see(self, fact: Fact) -> None:
        match fact:
            case Published():
                self._plans[fact.generation, fact.mark] = dict(fact.contents)
            case Edited() | Dropped() if fact.name:  # dropped, and perhaps the server could not be asked: unseen
                self._unsure.add(fact.name)
            case Spoilt():  # what the ledger said of them is gone, perhaps in the moment of settling
                self._unsure.update(fact.names)
            case Edited() if fact.set_back:
                self._lost[fact.zone] = max(self._lost.get(fact.zone, 0), self._opened.get(fact.zone, 0))
            case Restored():
                self._restored = True
            case Applied():
                if fact.after is not None:
                    self._opened[fact.zone] = fact.after.generation
                carried = 0 if fact.carried is None else fact.carried.generation
                below = not carried or carried < self._lost.get(fact.zone, 0)
                for change in fact.changes:
                    self._landed[change.name] = change.after.addresses
                    # What was put back by one who was cut off, in a zone that lost its fence, is like an edit. So is
                    # what one who is cut off puts back of the plan at the fence: the ledger does not know of it.
                    known = self._recorded.get(change.name, NO_RECORDS.addresses)
                    unsaid = change.expect is Expect.EXACT and change.after.addresses != known
                    (self._unsure.add if below or unsaid else self._unsure.discard)(change.name)
            case Recorded():
                self._recorded[fact.name] = (fact.records or NO_RECORDS).addresses
            case Settled() if not self._restored:
                self._compare(fact, self._plans[fact.generation, fact.mark])
            case _:
                pass

    def _compare(self, fact: Settled, plan: dict[str, str]) -> None:
        for name in sorted((plan.keys() | self._landed.keys()) - fact.held - self._unsure):
            if zone_of(name, self._zones) != fact.zone:
                continue
            records = NO_RECORDS
            if name in plan:
                records = render(name, fact.generation, parse_content(plan[name]), ANSWERS_MAX)
            if self._landed.get(name, NO_RECORDS.addresses) != records.addresses:
                self.violations.append(
                    f"I5 at {fact.at:.3f}: {fact.zone} is said to have {fact.generation} applied, {name} has not"
                )


class Shrunk:
    """I8: a plan that drops too many names changes nothing, unless somebody approved it.

    Judged with a margin of a quarter, since what the ledger owned at that moment is not seen from here.
    """

    def __init__(self, removed_max_ratio: float) -> None:
        self.violations: list[str] = []
        self._ratio = min(1.0, removed_max_ratio + 0.25)
        self._plans: dict[tuple[int, str], Published] = {}
        self._served: set[str] = set()
        self._restored = False
        self._highest: dict[str, int] = defaultdict(int)

    def see(self, fact: Fact) -> None:
        match fact:
            case Published():
                self._plans[fact.generation, fact.mark] = fact
            case Restored():
                self._restored = True  # what its ledger owns is not what is served: nothing can be judged from here
            case Applied():
                by = fact.carried
                plan = self._plans.get((by.generation, by.plan)) if by else None
                # A fence that was lost, raised again by one who was cut off, opens nothing anew.
                if fact.after is not None and fact.after.generation > self._highest[fact.zone]:
                    self._highest[fact.zone] = fact.after.generation
                    self._judge(fact, self._plans.get((fact.after.generation, fact.after.plan)))
                for change in fact.changes if plan else ():
                    (self._served.discard if change.after.empty else self._served.add)(change.name)
            case _:
                pass

    def _judge(self, fact: Applied, plan: Published | None) -> None:
        if plan is None or plan.approved or self._restored or len(self._served) < 4:
            return
        removed = len(self._served - plan.contents.keys())
        if removed > self._ratio * len(self._served):
            self.violations.append(
                f"I8 at {fact.at:.3f}: {fact.by} opened {plan.generation}, which drops {removed} of {len(self._served)}"
            )


class Frozen:
    """I8: while an operator has frozen the scope, no write of a plan begins."""

    def __init__(self) -> None:
        self.violations: list[str] = []

    def see(self, fact: Fact) -> None:
        if isinstance(fact, Marked) and fact.frozen:
            self.violations.append(f"I8 at {fact.at:.3f}: {fact.name} marked at {fact.generation}, although frozen")


class Kept:
    """I4: a plan that somebody needs is never deleted, nor any part of it; and who works on one claims it."""

    def __init__(self) -> None:
        self.violations: list[str] = []

    def see(self, fact: Fact) -> None:
        match fact:
            case Deleted() if fact.needed:
                needed = ", ".join(fact.needed)
                self.violations.append(f"I4 at {fact.at:.3f}: plan {fact.generation} deleted, needed: {needed}")
            case Torn():
                self.violations.append(f"I4 at {fact.at:.3f}: plan {fact.generation} lost a chunk")
            case Marked() if not fact.claimed:
                self.violations.append(f"I4 at {fact.at:.3f}: {fact.by} began {fact.generation} without a claim")
            case _:
                pass


class ReadAfterUnknown:
    """I6: after an unknown answer an enactor writes nothing of those names before it has read them."""

    def __init__(self) -> None:
        self.violations: list[str] = []
        self._doubtful: dict[tuple[str, str], set[str]] = defaultdict(set)

    def see(self, fact: Fact) -> None:
        if not isinstance(fact, Asked):
            return
        names = self._doubtful[fact.by, fact.zone]
        match fact.what:
            case "unknown":
                names.update(fact.names)
            case "read":
                names.difference_update(fact.names)
            case "write" if found := sorted(names.intersection(fact.names)):
                self.violations.append(
                    f"I6 at {fact.at:.3f}: {fact.by} wrote {found[0]} with an unknown write behind it"
                )
            case _:
                pass
