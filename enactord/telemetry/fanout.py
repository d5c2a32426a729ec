"""Several observers as one."""

from collections.abc import Sequence

from enactord.core.events import Happening
from enactord.ports import Observer


class Fanout:
    """Passes each event to every observer, in order."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = observers

    def observe(self, happening: Happening) -> None:
        for observer in self._observers:
            observer.observe(happening)
