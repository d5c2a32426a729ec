"""An event loop that does not wait for timers: where all tasks sleep, its time jumps to the next timer.

So a test of minutes takes the time of its work, and a machine under load makes no timer late. While sockets are open,
or a thread works, the loop waits as any other does: what is outside has the real time alone.
"""

import asyncio
import selectors
import time
from collections.abc import Callable, Mapping
from typing import Any

_STEP_S = 0.05
_STUCK_S = 60.0


class _Jump(selectors.DefaultSelector):
    """Asks what is ready now; where nothing is and nothing outside can become so, time jumps."""

    loop: "VirtualLoop"

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if self.loop.looks_outside(len(self.get_map())):
            began = time.monotonic()
            ready = super().select(_STEP_S if timeout is None else min(timeout, _STEP_S))
            self.loop.now += time.monotonic() - began
            return ready
        if timeout is None:
            # A thread that nobody knows of may still call: but not for ever.
            ready = super().select(_STUCK_S)
            assert ready, "every task waits for something that cannot come"
            return ready
        self.loop.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose time goes by its timers."""

    def __init__(self) -> None:
        selector = _Jump()
        selector.loop = self
        self.now = 0.0
        self._at_work = 0
        self._own: int | None = None
        super().__init__(selector)
        self._own = len(selector.get_map())
        self._clock_resolution = 1e-6

    def time(self) -> float:
        return self.now

    def looks_outside(self, registered: int) -> bool:
        """Whether a thread works for this loop, or a socket is open besides its own."""
        return self._at_work > 0 or (self._own is not None and registered > self._own)

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """Do so, and let time go as it does outside until the end of it."""
        future = super().run_in_executor(executor, func, *args)
        self._at_work += 1
        future.add_done_callback(self._has_ended)
        return future

    def _has_ended(self, future: asyncio.Future[Any]) -> None:
        self._at_work -= 1


FACTORIES: Mapping[str, Callable[[], asyncio.AbstractEventLoop]] = {"virtual": VirtualLoop}
"""What `pytest_asyncio_loop_factories` returns for tests on virtual time."""
