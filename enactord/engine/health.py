"""What is not well, in one place: each state is told once when it begins, and once when it ends."""

import traceback
from collections.abc import Mapping
from enum import StrEnum

from enactord.core.events import (
    EnactorOwnId,
    EnactorSameId,
    FormatKnown,
    FormatUnknown,
    InstallationAccepted,
    InstallationRefused,
    StepFailed,
    StoreCameUp,
    StoreWentDown,
    ZoneCameUp,
    ZoneWentDown,
)
from enactord.ports import Observer
from enactord.store.layout import OtherFormat

NOT_CONNECTED = "not connected yet"


class Aspect(StrEnum):
    """What of a zone is not well; the first is what people are told first."""

    SERVER = "server"
    """The server does not answer questions."""
    IDENTITY = "identity"
    """The fence of another installation, scope or version stands there."""
    FENCE = "fence"
    """Another fence than ours stands there: held, or ahead."""
    WRITING = "writing"
    """The server does not take our updates."""
    PASS = "pass"
    """A pass ended by an error that no rule foresees."""


class Health:
    """The state of the store and of each zone, as one enactor sees it."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self.store_up = False
        self.store_problem = NOT_CONNECTED
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
        """The store answered, and the mirror shows it."""
        if self.store_up:
            return
        if self._store_told_down or not self._store_refused:
            self._observer.observe(StoreCameUp(revision=revision))
        if self._store_refused:
            self._observer.observe(InstallationAccepted())
        self.store_up, self.store_problem = True, ""
        self._store_told_down = self._store_refused = False

    def store_is_down(self, problem: str) -> None:
        """The store did not answer, or would not."""
        if not self._store_told_down:
            self._observer.observe(StoreWentDown(detail=problem))
        self._store_told_down = True
        self.store_up = False
        self.store_problem = problem

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
    def identity_problems(self) -> list[str]:
        """What is said of the installation's id, and of this enactor's, in order."""
        return [problem for problem in (self.installation_problem, self.id_problem) if problem]

    @property
    def identity_up(self) -> bool:
        """Whether store, zones and id are this enactor's own, as far as is known."""
        foreign = any(Aspect.IDENTITY in known for known in self._zones.values())
        return not (self._store_refused or self.installation_problem or self.id_problem or foreign)

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
    def loop_problems(self) -> list[str]:
        """What is said of loops that failed lately, in order of their names."""
        return [self._loops[name] for name in sorted(self._loops)]

    def pass_failed(self, zone: str, error: Exception) -> None:
        """A pass over a plan in a zone ended by an error that no rule foresees; it is tried again."""
        self.zone_is_down(zone, Aspect.PASS, f"{zone}: a pass failed and is tried again: {error!r:.200}")
        self._tell("apply", zone, error)

    def _tell(self, step: str, zone: str, error: Exception) -> None:
        lines = "".join(traceback.format_exception(error))
        self._observer.observe(StepFailed(step=step, zone=zone, detail=repr(error), traceback=lines))

    def zone_is_down(self, zone: str, aspect: Aspect, problem: str) -> None:
        """Enter what is wrong with a zone; it is told where nothing was wrong before."""
        known = self._zones.setdefault(zone, {})
        if not known:
            self._observer.observe(ZoneWentDown(zone=zone, detail=problem))
        known[aspect] = problem

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
