"""Failures of what only tells: each is counted, the first of its kind is told, and none goes further."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

PARTS = ("feed", "lag", "log", "metrics", "notify", "scrape")
"""Who may fail: the status feed, the watch over the loop, the log, metrics, systemd's socket, a scrape."""

Told = Callable[[str, Exception], None]
"""Called with the part and its error."""


class Failures:
    """Counts by part. A kind of error is told once a part, so that a part that fails always says so once."""

    def __init__(self, tell: Told = lambda part, error: None) -> None:
        self.totals = dict.fromkeys(PARTS, 0)
        self._tell = tell
        self._known: set[tuple[str, type[Exception]]] = set()

    def note(self, part: str, error: Exception) -> None:
        """Count a failure, and tell it if it is new."""
        self.totals[part] += 1
        kind = (part, type(error))
        if kind in self._known:
            return
        self._known.add(kind)
        try:
            self._tell(part, error)
        except Exception:
            self.totals["log"] += 1

    @contextmanager
    def caught(self, part: str) -> Iterator[None]:
        """Keep a part's failure from whoever called it."""
        try:
            yield
        except Exception as error:
            self.note(part, error)
