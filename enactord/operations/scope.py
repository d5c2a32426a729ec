"""A scope at hand: what every operation on it needs, and the reasoned "no" that they answer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from enactord.core.guards import Limits
from enactord.core.refusal import Denied as Denied
from enactord.ports import Clock, KeyValue
from enactord.store.audit import COMMAND_LINE
from enactord.store.cache import Cache
from enactord.store.contributions import Contributions
from enactord.store.keys import Keys
from enactord.store.plans import Plans
from enactord.store.reports import WAIT_S

if TYPE_CHECKING:
    from enactord.core.events import Event

Stage = Callable[[str], None]
"""Told the name of each stage that may take a while."""


def silent(stage: str) -> None:
    """Tell nobody."""


class Unheard:
    """An observer that hears nothing: what an operation did is what it returns."""

    def observe(self, event: "Event") -> None:
        """Take no note."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """One installation, as an operator has it at hand: its store, zones and limits."""

    store: KeyValue
    name: str
    zones: Sequence[str]
    limits: Limits
    clock: Clock
    wait_s: float = WAIT_S
    """How long a publication waits for an enactor's report of the fences, where an enactor is alive."""
    role: str = COMMAND_LINE
    """In which role it is at hand, for the audit log: that of a token, or the command line's."""
    answers: Mapping[str, int] = field(default_factory=dict)
    """The `answers_max` of each zone, 16 where it is left out."""
    keys: Keys = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "keys", Keys(self.name))

    @property
    def plans(self) -> Plans:
        return self.plans_in(self.store)

    @property
    def contributions(self) -> Contributions:
        """What guards last refused of each planner's publications."""
        return Contributions(self.store, self.keys, self.clock, zones=self.zones)

    def plans_in(self, store: KeyValue) -> Plans:
        """Return the plans of the scope in a store that stands for its own."""
        return Plans(store, self.keys, self.clock, zones=self.zones, limits=self.limits, answers=self.answers)

    async def cache(self) -> Cache:
        """Return the scope as it is now. Raises `StoreDown`."""
        cache = Cache(self.keys)
        await cache.load(self.store)
        return cache
