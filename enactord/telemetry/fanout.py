"""Several observers as one, each apart from the others and from whom they observe."""

from collections.abc import Mapping

from enactord.core.events import Event
from enactord.ports import Observer
from enactord.telemetry.failures import Failures


class Fanout:
    """Passes each event to every observer, in order. One that fails is counted; nobody else learns of it."""

    def __init__(self, observers: Mapping[str, Observer], failures: Failures) -> None:
        self._observers = observers
        self._failures = failures

    def observe(self, event: Event) -> None:
        for part, observer in self._observers.items():
            with self._failures.caught(part):
                observer.observe(event)
