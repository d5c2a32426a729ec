"""The result of one check as a value: what was looked at, how it is, what was seen, and what to do."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """How the subject of a check is."""

    OK = "ok"
    WARNING = "warning"
    """It works, and should be mended."""
    FAULT = "fault"
    """The enactor cannot do its work so."""
    UNKNOWN = "unknown"
    """It could not be looked at."""


class Group(StrEnum):
    """The parts of the report, in its order."""

    CONFIG = "config"
    STORE = "store"
    ENACTORS = "enactors"
    CLOCK = "clock"
    ZONES = "zones"
    VERIFY = "verify servers"
    CONNECTIONS = "connections"
    CERTIFICATES = "certificates"
    DISK = "disk"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check. `seen` has the numbers; `fix` is what to type or to change, "" where nothing is to be done."""

    group: Group
    subject: str
    state: State
    seen: str
    fix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All checks, in the order of the groups."""

    checks: Sequence[Check]

    def count(self, state: State) -> int:
        """Return how many subjects are so."""
        return sum(check.state is state for check in self.checks)

    @property
    def well(self) -> bool:
        """Whether all was looked at, and no fault was found."""
        return not self.count(State.FAULT) and not self.count(State.UNKNOWN)

    def document(self) -> dict[str, Any]:
        """Return the report for programs."""
        counts = {state.value: self.count(state) for state in State}
        return {"well": self.well, "counts": counts, "checks": [asdict(check) for check in self.checks]}
