"""Pacing: how much at once, how often again. Bounds on load, so that no recovery feeds on itself."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType

_DECREASE = 0.5
_SLOW_DECREASE = 0.8
_DEPOSIT = 0.1
_BUDGET_MAX = 50.0


class Limiter:
    """A concurrency limit that adapts: additive increase, multiplicative decrease.

    Source: Chiu and Jain, "Analysis of the Increase and Decrease Algorithms", 1989.
    """

    def __init__(self, *, limit_max: int, slow_s: float) -> None:
        assert limit_max >= 1
        self.limit_max = limit_max
        self.limit = float(limit_max)
        self.in_flight = 0
        self._slow_s = slow_s
        self._waiting: list[asyncio.Future[None]] = []

    async def __aenter__(self) -> None:
        while self.in_flight >= max(1, int(self.limit)):
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn in self._waiting:
                    self._waiting.remove(turn)
                else:
                    self._wake()
                raise
        self.in_flight += 1

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.in_flight -= 1
        self._wake()

    def succeeded(self, duration_s: float) -> None:
        """An answer came; a slow one is a sign of a queue at the server."""
        if duration_s > self._slow_s:
            self.limit = max(1.0, self.limit * _SLOW_DECREASE)
        else:
            self.limit = min(float(self.limit_max), self.limit + 1.0 / self.limit)

    def failed(self) -> None:
        """No answer, or "come later"."""
        self.limit = max(1.0, self.limit * _DECREASE)

    def _wake(self) -> None:
        while self._waiting:
            turn = self._waiting.pop(0)
            if not turn.done():
                turn.set_result(None)
                return


class RetryBudget:
    """Retries spend from what successes deposit, so that they cannot keep an overload alive.

    Source: Brooker, "Fixing retries with token buckets and circuit breakers", 2022.
    """

    def __init__(self) -> None:
        self.tokens = _BUDGET_MAX

    @property
    def ratio(self) -> float:
        return self.tokens / _BUDGET_MAX

    def deposit(self) -> None:
        self.tokens = min(_BUDGET_MAX, self.tokens + _DEPOSIT)

    def spend(self) -> bool:
        """Take one retry; False when there is none left and the work must wait for its next turn."""
        if self.tokens < 1.0:
            return False
        self.tokens -= 1.0
        return True

    def trickle(self) -> None:
        """Called once a pass: without it, a budget emptied by a long fault would never be refilled."""
        self.tokens = min(_BUDGET_MAX, self.tokens + 1.0)


class Backoff:
    """Delays that grow to a cap, with full jitter.

    Source: Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """

    def __init__(self, rng: random.Random, *, first_s: float, cap_s: float) -> None:
        self._rng = rng
        self._first_s = first_s
        self._cap_s = cap_s
        self._failures = 0

    def reset(self) -> None:
        self._failures = 0

    def next_s(self) -> float:
        """Return how long to wait now, in seconds."""
        ceiling = min(self._cap_s, self._first_s * 2.0 ** min(self._failures, 30))
        self._failures += 1
        return self._rng.uniform(0.0, ceiling)


class Pacer:
    """Spreads units of work over time, whoever asks: names that are looked at, over all zones."""

    def __init__(self) -> None:
        self._free_at = 0.0

    async def take(self, units: int, units_per_s: float) -> None:
        """Wait until so many units more keep within the rate."""
        now = asyncio.get_running_loop().time()
        self._free_at = max(now, self._free_at) + units / units_per_s
        await asyncio.sleep(self._free_at - now)


class Gate:
    """Bounds how many steps are under way at once, over all zones.

    A step that takes longer than its patience gives its place to another and goes on without:
    a server that does not answer costs the others a moment, not its own time limit.
    """

    def __init__(self, places: int, *, patience_s: float) -> None:
        self._places = asyncio.Semaphore(places)
        self._patience_s = patience_s

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        await self._places.acquire()
        left = False

        def leave() -> None:
            nonlocal left
            if not left:
                left = True
                self._places.release()

        patience = asyncio.get_running_loop().call_later(self._patience_s, leave)
        try:
            yield
        finally:
            patience.cancel()
            leave()


class Patience:
    """How long a plan may be worked on before a newer one takes its place, in seconds: none, at first.

    Each plan that is given up doubles it, each that is applied halves it. Without it, where a
    plan comes every second and a pass takes two, no plan would ever be applied, and each
    write would be refused by the fence of the next.
    """

    def __init__(self, *, first_s: float, cap_s: float) -> None:
        self._first_s = first_s
        self._cap_s = cap_s
        self.now_s = 0.0

    def given_up(self) -> None:
        self.now_s = min(self._cap_s, max(self._first_s, self.now_s * 2))

    def applied(self) -> None:
        self.now_s = self.now_s / 2 if self.now_s > self._first_s else 0.0


class Stride:
    """Whether work goes on as regularly as it did, by the times between its marks, in seconds."""

    _LEAST_S, _MOST_S = 1.0, 3.0
    _TIMES = 4.0

    def __init__(self) -> None:
        self._mark: object = None
        self._at = 0.0
        self._first = True
        self._gap_s = 0.0

    def begin(self, now: float) -> None:
        """Count from here: what was before was no work."""
        self._at, self._first = now, True

    def note(self, mark: object, now: float) -> None:
        """Take in how far the work is."""
        if mark != self._mark:
            if not self._first:
                self._gap_s += (now - self._at - self._gap_s) / 4
            self._mark, self._at, self._first = mark, now, False

    def stands(self, now: float) -> bool:
        """Whether nothing has gone on for several times as long as usual: for one second at least, three at most."""
        return now - self._at > min(self._MOST_S, max(self._LEAST_S, self._TIMES * self._gap_s))
