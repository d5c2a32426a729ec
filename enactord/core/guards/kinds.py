"""What a guard is made of: its name, the keys that it reads, and its judgement."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from enactord.core.content import Content
from enactord.core.ledger import Entry
from enactord.core.measures import Loss, Size
from enactord.core.settings import Key, Values

VELOCITY_WINDOW = Key(
    name="velocity_window_s",
    default=300.0,
    low=0,
    high=21_600,
    high_is_strict=True,
    meaning="The time over which what is taken away adds up, for all guards that weigh change.",
)
"""Read by the guards that weigh change over time."""


class Weighing(NamedTuple):
    """A plan, or its part of a zone, against a baseline: how much that was, and what the plan takes away from it.

    `zone`: the zone; "": the scope as a whole. `since`: the baseline's generation; 0: what the ledger has as applied.
    `planned`: how many endpoints the plan has.
    """

    zone: str
    since: int
    before: Size
    loss: Loss
    planned: int


class Seen(NamedTuple):
    """What a guard saw in a weighing: `gone` of the `total`, where `allowed` may go at most.

    `unit`: what is counted, and `gone_by`: how it goes, as in "3 of 10 endpoints would be removed". `key`: the key that
    allows so much. `note`: said in place of all that.
    """

    gone: int
    total: int
    allowed: int
    unit: str
    gone_by: str
    key: Key[Any]
    note: str = ""

    @property
    def refused(self) -> bool:
        return self.gone > self.allowed

    @property
    def closeness(self) -> tuple[bool, float]:
        """How close it comes to a refusal, or how far beyond it goes: greater is closer."""
        return self.refused, self.gone / self.allowed if self.allowed else float(self.gone)

    def document(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "unit": self.unit,
            "gone": self.gone,
            "total": self.total,
            "allowed": self.allowed,
            "key": self.key.name,
        }


class Change(NamedTuple):
    """A new content of one endpoint, against what the ledger has of it.

    `approved`: an operator has given a word for the plan. `now`: seconds since the epoch. `answers_max`: of its zone.
    """

    content: Content
    entry: Entry | None
    now: float
    approved: bool
    answers_max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """A guard by its name; `keys`: all that it reads of the limits."""

    name: str
    keys: tuple[Key[Any], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanGuard(Guard):
    """Weighs a plan as a whole, and each of its zones, against each baseline.

    `look` returns what it saw, each thing once; one that is `refused` refuses the plan, unless an operator ordered it.
    """

    look: Callable[[Weighing, Values], Sequence[Seen]]


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointGuard(Guard):
    """Weighs one endpoint. `judge` returns why the endpoint is held, or "".

    `weighs_change`: it compares with what the ledger has. An approved endpoint, or one that the ledger does not own,
    passes it unjudged. `look` returns what it saw in numbers, of a guard that counts.
    """

    judge: Callable[[Change, Values], str]
    look: Callable[[Change, Values], Sequence[Seen]] | None = None
    weighs_change: bool = field(default=False)
