"""What a guard is made of: its name, the keys that it reads, and its judgement."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from enactord.core.content import Content
from enactord.core.ledger import Entry
from enactord.core.settings import Key, Values

VELOCITY_WINDOW = Key(
    name="velocity_window_s",
    default=300.0,
    low=0,
    high=86_400 * 30,
    meaning="The time over which removed weight adds up.",
)
"""Read by the guards that weigh change over time."""


class Removal(NamedTuple):
    """What a plan takes away: `removed` of the `owned` names go, and `planned` names are in the plan."""

    removed: int
    owned: int
    planned: int


class Change(NamedTuple):
    """A new content of one endpoint, against what the ledger has of it.

    `approved`: an operator has given a word for the plan. `now`: seconds since the epoch.
    """

    content: Content
    entry: Entry | None
    now: float
    approved: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """A guard by its name; `keys`: all that it reads of the limits."""

    name: str
    keys: tuple[Key[Any], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanGuard(Guard):
    """Weighs a plan as a whole. `judge` returns why the plan is refused, or ""; an approved plan passes it unjudged."""

    judge: Callable[[Removal, Values], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointGuard(Guard):
    """Weighs one endpoint. `judge` returns why the endpoint is held, or "".

    `weighs_change`: it compares with what the ledger has. An approved endpoint, or one that the ledger does not own,
    passes it unjudged.
    """

    judge: Callable[[Change, Values], str]
    weighs_change: bool = field(default=False)
