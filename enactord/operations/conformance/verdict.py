"""The verdicts: what was tried, how it ended, what was seen, and what that means for the fence."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from enactord.operations.conformance.bench import Bench


class Verdict(StrEnum):
    """The end of one trial."""

    PASS = "pass"
    FAIL = "fail"
    UNKNOWN = "unknown"
    """It could not be tried, or its end was not seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """The end of one trial; `evidence` has the numbers and the server's own words."""

    verdict: Verdict
    evidence: str


def passed(evidence: str) -> Tried:
    return Tried(verdict=Verdict.PASS, evidence=evidence)


def failed(evidence: str) -> Tried:
    return Tried(verdict=Verdict.FAIL, evidence=evidence)


def unknown(evidence: str) -> Tried:
    return Tried(verdict=Verdict.UNKNOWN, evidence=evidence)


@dataclass(frozen=True, slots=True, kw_only=True)
class Property:
    """One property of a server.

    `needed`: a server that lacks it does not qualify. `meaning`: what a lack of it does. `rests_on`: properties without
    which the trial shows nothing. `labels`: the first labels of all names that the trial writes.
    """

    name: str
    title: str
    needed: bool
    meaning: str
    labels: Sequence[str]
    attempt: Callable[["Bench"], Awaitable[Tried]]
    rests_on: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A property with its verdict. `meaning` is empty where it passed."""

    name: str
    title: str
    needed: bool
    verdict: Verdict
    evidence: str
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Conformance:
    """All results of one server.

    `version`: by its own word, "" where it does not tell. `left`: what was not cleaned up, and what to do.
    """

    server: str
    zone: str
    version: str
    results: Sequence[Result]
    left: str = ""

    @property
    def lacking(self) -> Sequence[Result]:
        """The needed properties that did not pass."""
        return [result for result in self.results if result.needed and result.verdict is not Verdict.PASS]

    @property
    def qualifies(self) -> bool:
        """Whether every needed property was tried, and passed."""
        return not self.lacking

    def document(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            "server": self.server,
            "zone": self.zone,
            "version": self.version,
            "qualifies": self.qualifies,
            "left": self.left,
            "results": [asdict(result) for result in self.results],
        }
