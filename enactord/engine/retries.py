"""When a name that its zone refused is tried again: later each time, or at once when there is a reason.

Remembered in memory, a bound of names: whoever does not remember tries once, and then waits.
"""

import random
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from enactord.core.records import Expect

_TIMES_CAP = 8.0
"""Longest wait between two attempts, in intervals."""
_NAMES_MAX = 50_000


@dataclass(slots=True)
class _Tried:
    content: str
    expect: Expect
    failures: int
    next_at: float


class Retries:
    """Names that a zone refused, with the content that it refused and when to try again.

    `interval_s` is the first wait, at most; each failure doubles it, to `_TIMES_CAP` intervals, with jitter.
    """

    def __init__(self, rng: random.Random, now: Callable[[], float], *, interval_s: float) -> None:
        self.interval_s = interval_s
        self.freed: set[str] = set()
        """Zones in which what stood in some name's way has been seen to be gone since their last pass."""
        self._rng = rng
        self._now = now
        self._tried: OrderedDict[str, _Tried] = OrderedDict()

    def refused(self, name: str, content: str, expect: Expect = Expect.OWNED) -> None:
        """The zone has refused this content at the name, which was required to be so."""
        known = self._tried.pop(name, None)
        again = known is not None and (known.content, known.expect) == (content, expect)
        failures = known.failures + 1 if known is not None and again else 1
        wait_s = self.interval_s * min(_TIMES_CAP, 2.0 ** (failures - 1)) * self._rng.uniform(0.5, 1.0)
        self._tried[name] = _Tried(content=content, expect=expect, failures=failures, next_at=self._now() + wait_s)
        if len(self._tried) > _NAMES_MAX:
            self._tried.popitem(last=False)

    def done(self, name: str) -> None:
        """The zone has taken the name, or nobody wants it any more."""
        self._tried.pop(name, None)

    def due(self, name: str, content: str, expect: Expect = Expect.OWNED) -> bool:
        """Whether this content is to be tried at the name now.

        Another than the one refused always is; so is the same one at a name that has been adopted since.
        """
        known = self._tried.get(name)
        other = known is None or (known.content, known.expect) != (content, expect)
        return known is None or other or self._now() >= known.next_at

    def known(self, name: str, content: str) -> bool:
        """Whether the zone has refused this content at the name, as far as is remembered."""
        known = self._tried.get(name)
        return known is not None and known.content == content

    def free(self, name: str, zone: str) -> None:
        """What stood in the name's way is gone: try it in a pass at once."""
        self._tried.pop(name, None)
        self.freed.add(zone)
