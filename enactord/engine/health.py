"""What is not well, in one place: each state is told once when it begins, and once when it ends."""

import asyncio
import traceback
from collections.abc import Collection, Mapping
from enum import StrEnum

from enactord.core.errors import EnactordError, StoreFull, ZoneDown, ZoneOdd, ZoneUnproved
from enactord.core.events import (
    EnactorOwnId,
    EnactorSameId,
    FormatKnown,
    FormatUnknown,
    InstallationAccepted,
    InstallationRefused,
    ServerNotWell,
    ServerWell,
    StepFailed,
    StoreCameUp,
    StoreWentDown,
    ZoneCameUp,
    ZoneWentDown,
)
from enactord.engine.evidence import Evidence, Looked
from enactord.engine.kept_ttls import KeptTtls
from enactord.ports import Observer
from enactord.store.layout import OtherFormat

NOT_CONNECTED = "not connected yet"
HELD_S = 15.0
"""How long a state that may pass by itself holds before it is told, and is gone before it is told no more."""


class Aspect(StrEnum):
    """What of a zone is not well; the first is what people are told first."""

    SERVER = "server"
    """The server does not answer questions."""
    ANSWERS = "answers"
    """It answers, and not as it must: key or clock are refused, or what stands there is in the way."""
    IDENTITY = "identity"
    """The fence of another installation, scope or version stands there."""
    HELD = "held"
    """An operator holds its fence."""
    FENCE = "fence"
    """Another fence than ours stands there, or one that is ahead."""
    WRITING = "writing"
    """The server does not take our updates."""
    PASS = "pass"
    """A pass ended by an error that no rule foresees."""


FENCE_ASPECTS = (Aspect.IDENTITY, Aspect.HELD, Aspect.FENCE)
"""What a fence may be that is not ours to write under; one of them holds at a time."""

ASKED_ASPECTS = (Aspect.SERVER, Aspect.ANSWERS)
"""What a question may come to in place of an answer; one of them holds at a time."""


class Settled:
    """States that are told once they have held, so that what comes and goes is not told at each turn."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}
        """When each state began (or, while it is told, when it was last seen), in loop time."""
        self._told: dict[str, str] = {}

    def of(self, found: Mapping[str, str], now: float) -> list[str]:
        """Take in what is found now, by key; return the texts of what is told."""
        for key, text in found.items():
            began = self._since.setdefault(key, now)
            if key in self._told or now - began >= HELD_S:
                self._told[key], self._since[key] = text, now
        for key in [key for key in self._since if key not in found]:
            if key not in self._told or now - self._since[key] >= HELD_S:
                del self._since[key]
                self._told.pop(key, None)
        return [self._told[key] for key in sorted(self._told)]


class Health:
    """The state of the store and of each zone, as one enactor sees it."""

    def __init__(self, observer: Observer, evidence: Evidence) -> None:
        self._observer = observer
        self.evidence = evidence
        """What was seen of what is served."""
        self.kept_ttls = KeptTtls(observer)
        """The TTLs that servers keep whatever is asked for."""
        self.store_up = False
        self.store_problem = NOT_CONNECTED
        self.store_full = False
        """Whether the store answers and has no room for more."""
        self._settled = Settled()
        self._store_told_down = False
        self._store_refused = False
        self.installation_problem = ""
        """Why this enactor's installation is not known, or has no id; "": it has."""
        self.id_problem = ""
        """Which other process has this enactor's id; "": none."""
        self._zones: dict[str, dict[Aspect, str]] = {}
        self._loops: dict[str, str] = {}
        self._formats: dict[OtherFormat, str] = {}

    def store_is_up(self, revision: int) -> None:
        """The store answered, and the cache shows it."""
        if self.store_up:
            return
        if self._store_told_down or not self._store_refused:
            self._observer.observe(StoreCameUp(revision=revision))
        if self._store_refused:
            self._observer.observe(InstallationAccepted())
        self.store_up, self.store_full, self.store_problem = True, False, ""
        self._store_told_down = self._store_refused = False

    def store_is_down(self, error: EnactordError) -> None:
        """The store did not answer, or would not."""
        problem = str(error)
        if not self._store_told_down:
            self._observer.observe(StoreWentDown(detail=problem))
        self._store_told_down = True
        self.store_up = False
        self.store_problem = problem
        self.store_full = isinstance(error, StoreFull)

    def store_is_refused(self, problem: str) -> None:
        """The store answered, and is not this installation's: it counts as away until it is."""
        if not self._store_refused:
            self._observer.observe(InstallationRefused(detail=problem))
        self._store_refused = True
        self.store_up = False
        self.store_problem = problem

    def note_installation(self, problem: str) -> None:
        """Enter why the installation has no id; "": it has."""
        if problem and not self.installation_problem:
            self._observer.observe(InstallationRefused(detail=problem))
        elif self.installation_problem and not problem:
            self._observer.observe(InstallationAccepted())
        self.installation_problem = problem

    def note_id(self, problem: str) -> None:
        """Enter which other process has this enactor's id; "": none."""
        if problem and not self.id_problem:
            self._observer.observe(EnactorSameId(detail=problem))
        elif self.id_problem and not problem:
            self._observer.observe(EnactorOwnId())
        self.id_problem = problem

    @property
    def store_refused(self) -> bool:
        """Whether the store answers and is not this installation's."""
        return self._store_refused

    @property
    def identity_problems(self) -> list[str]:
        """What is said of the installation's id, and of this enactor's, in order."""
        return [problem for problem in (self.installation_problem, self.id_problem) if problem]

    @property
    def identities(self) -> dict[str, bool]:
        """Whether store, zones and id are each this enactor's own, as far as is known."""
        foreign = any(Aspect.IDENTITY in known for known in self._zones.values())
        return {
            "store": not (self._store_refused or self.installation_problem),
            "zone": not foreign,
            "id": not self.id_problem,
        }

    @property
    def identity_up(self) -> bool:
        """Whether all of them are."""
        return all(self.identities.values())

    def note_formats(self, found: Mapping[str, OtherFormat]) -> None:
        """Enter what another version has written, by key: told when a format of a kind appears, and when it is gone."""
        if not found and not self._formats:
            return
        keys: dict[OtherFormat, list[str]] = {}
        for key, other in found.items():
            keys.setdefault(other, []).append(key)
        for other in [other for other in self._formats if other not in keys]:
            self._observer.observe(FormatKnown(kind=other.kind, found=other.found))
        told = {other: _told(other, keys[other]) for other in sorted(keys, key=str)}
        for other in [other for other in told if other not in self._formats]:
            self._observer.observe(
                FormatUnknown(kind=other.kind, found=other.found, reads=other.reads, detail=told[other])
            )
        self._formats = told

    @property
    def format_problems(self) -> list[str]:
        """What is said of values that another version has written, in order."""
        return list(self._formats.values())

    def loop_failed(self, name: str, error: Exception) -> None:
        """One of the enactor's loops ("step" or "step zone") ended by an error that no rule foresees."""
        self._loops[name] = f"{name}: failed and is started again: {error!r:.200}"
        step, _, zone = name.partition(" ")
        self._tell(step, zone, error)

    def loop_is_sound(self, name: str) -> None:
        """A loop has gone on for a while."""
        self._loops.pop(name, None)

    @property
    def loop_problems(self) -> dict[str, str]:
        """What is said of loops that failed lately, in order of their names."""
        return {f"loop {name}": self._loops[name] for name in sorted(self._loops)}

    def settled(self, passing: Mapping[str, str]) -> list[str]:
        """Return what is told of states that may pass by themselves, of what is not well now (`passing`, by key).

        A state is told once it has held for `HELD_S`, and until it has been gone for as long.
        """
        return self._settled.of(passing, asyncio.get_running_loop().time())

    def pass_failed(self, zone: str, error: Exception) -> None:
        """A pass over a plan in a zone ended by an error that no rule foresees; it is tried again."""
        self.zone_is_down(zone, Aspect.PASS, f"{zone}: a pass failed and is tried again: {error!r:.200}")
        self._tell("apply", zone, error)

    def _tell(self, step: str, zone: str, error: Exception) -> None:
        lines = "".join(traceback.format_exception(error))
        self._observer.observe(StepFailed(step=step, zone=zone, detail=repr(error), traceback=lines))

    def server_answers(self, zone: str, server: str) -> None:
        """One of the servers that are asked after each write has answered."""
        if self.evidence.answered(zone, server):
            self._observer.observe(ServerWell(zone=zone, server=server, state="away"))

    def server_is_silent(self, zone: str, server: str, problem: str) -> None:
        """One of them has not."""
        if self.evidence.silent(zone, server, problem):
            self._observer.observe(ServerNotWell(zone=zone, server=server, state="away", detail=problem))

    def zone_was_looked_at(self, zone: str, found: Looked) -> None:
        """A whole look at a zone has ended."""
        for view, behind in self.evidence.looked(zone, found):
            if behind:
                told = ServerNotWell(zone=zone, server=view.server, state="behind", detail=view.text)
                self._observer.observe(told)
            else:
                self._observer.observe(ServerWell(zone=zone, server=view.server, state="behind"))

    def server_problems(self, zone: str, *, but: Collection[str] = ()) -> list[str]:
        """What is wrong with the servers of a zone, in order of the config; those that are told already left out."""
        return [f"{zone}: {view.text}" for view in self.evidence.servers(zone) if view.text and view.server not in but]

    def zone_is_down(self, zone: str, aspect: Aspect, problem: str) -> None:
        """Enter what is wrong with a zone; it is told where nothing was wrong before."""
        known = self._zones.setdefault(zone, {})
        if not known:
            self._observer.observe(ZoneWentDown(zone=zone, detail=problem))
        known[aspect] = problem

    def zone_cannot_be_asked(self, zone: str, error: ZoneDown) -> None:
        """Enter that a question about a zone came to nothing, in place of what the last one came to."""
        aspect = Aspect.ANSWERS if isinstance(error, ZoneUnproved | ZoneOdd) else Aspect.SERVER
        self.zone_is_down(zone, aspect, str(error))
        self.zone_is_up(zone, *(other for other in ASKED_ASPECTS if other is not aspect))

    def fence_is_not_ours(self, zone: str, aspect: Aspect, problem: str) -> None:
        """Enter what the fence of a zone is, in place of what it was."""
        assert aspect in FENCE_ASPECTS, aspect
        self.zone_is_down(zone, aspect, problem)
        self.zone_is_up(zone, *(other for other in FENCE_ASPECTS if other is not aspect))

    def fence_problem(self, zone: str) -> bool:
        """Whether the fence of a zone is not ours to write under."""
        return any(self.has(zone, aspect) for aspect in FENCE_ASPECTS)

    def cannot_be_asked(self, zone: str) -> bool:
        """Whether a question about a zone last came to nothing."""
        return any(self.has(zone, aspect) for aspect in ASKED_ASPECTS)

    def zone_is_up(self, zone: str, *aspects: Aspect) -> None:
        """Enter that these aspects of a zone are well (none named: all); it is told when nothing is wrong any more."""
        known = self._zones.get(zone)
        if not known:
            return
        for aspect in aspects or tuple(Aspect):
            known.pop(aspect, None)
        if not known:
            del self._zones[zone]
            self._observer.observe(ZoneCameUp(zone=zone))

    def zone_problem(self, zone: str) -> str:
        """What is wrong with a zone; nothing while all is well."""
        known = self._zones.get(zone)
        return next((known[aspect] for aspect in Aspect if aspect in known), "") if known else ""

    def zone_aspect(self, zone: str) -> str:
        """What of a zone is told first of what is wrong with it; "": nothing is."""
        known = self._zones.get(zone, {})
        return next((aspect.value for aspect in Aspect if aspect in known), "")

    def has(self, zone: str, aspect: Aspect) -> bool:
        """Whether this aspect of a zone is not well."""
        return aspect in self._zones.get(zone, {})

    @property
    def zone_problems(self) -> dict[str, str]:
        """What is wrong, by zone, in order; those of which all is well left out."""
        return {zone: self.zone_problem(zone) for zone in sorted(self._zones)}


def _told(other: OtherFormat, keys: list[str]) -> str:
    more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
    return f"the store holds a {other} ({min(keys)}{more})"
