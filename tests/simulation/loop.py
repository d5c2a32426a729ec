"""An event loop with virtual time and an order drawn from a seed; it can stop any owner's tasks at any await.

Deterministic: time jumps to the next timer, nothing is asked of the machine, and which of
the ready callbacks runs first is drawn from the seed. An owner is named by a context
variable, which tasks inherit from the task that makes them.
"""

import asyncio
import contextvars
import gc
import random
import selectors
from collections import deque
from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

owner: contextvars.ContextVar[str] = contextvars.ContextVar("owner", default="")
"""Whose task it is: an enactor's life, or "" for the world's own."""


class Stuck(AssertionError):
    """Nothing is ready, and nothing will ever be."""


class Order(Protocol):
    """What decides the order of ready callbacks; `random.Random` is one."""

    def shuffle(self, x: list[Any], /) -> None: ...


class _Jump(selectors.SelectSelector):
    """Waits for nothing: time jumps to the next timer instead."""

    loop: "SimulationLoop"

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise Stuck("every task waits for something that cannot come")
        self.loop.now += max(0.0, timeout)
        return []


class _Task(asyncio.Task[Any]):
    """A task that sets keep in the order of making: by default they go by its address, which no seed decides."""

    def __init__(self, coro: Coroutine[Any, Any, Any], *, loop: "SimulationLoop", **options: Any) -> None:
        self._number = loop.number()
        super().__init__(coro, loop=loop, **options)

    def __hash__(self) -> int:
        return self._number


class _Future(asyncio.Future[Any]):
    """The same for futures."""

    def __init__(self, *, loop: "SimulationLoop") -> None:
        self._number = loop.number()
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self._number


class SimulationLoop(asyncio.SelectorEventLoop):
    """The same order gives the same run, byte for byte."""

    def __init__(self, order: Order) -> None:
        selector = _Jump()
        selector.loop = self
        self.now = 0.0
        self.steps = 0
        self._order = order
        self._stopped: dict[str, deque[Any]] = {}
        self._dead: dict[str, deque[Any]] = {}
        super().__init__(selector)
        self._clock_resolution = 1e-6
        self._numbers = 0
        self.set_task_factory(lambda loop, coro, **options: _Task(coro, loop=self, **options))

    def number(self) -> int:
        """Return the next number of a task or future."""
        self._numbers += 1
        return self._numbers

    def create_future(self) -> _Future:
        return _Future(loop=self)

    def time(self) -> float:
        return self.now

    def stop_owner(self, name: str) -> None:
        """Run nothing of an owner from now on, as SIGSTOP would; its timers fire when it goes on."""
        self._stopped.setdefault(name, deque())

    def continue_owner(self, name: str) -> None:
        """Let a stopped owner go on where it was."""
        self._ready.extend(self._stopped.pop(name, ()))  # type: ignore[attr-defined]

    def kill_owner(self, name: str) -> None:
        """Never run anything of an owner again, not even its clean-up, as SIGKILL would."""
        self._dead[name] = self._stopped.pop(name, deque())

    def bury(self) -> None:
        """Give the stopped and the killed their end, when the run is over: their tasks can then be cancelled."""
        for handles in (*self._stopped.values(), *self._dead.values()):
            self._ready.extend(handles)  # type: ignore[attr-defined]
        self._stopped.clear()
        self._dead.clear()

    def _run_once(self) -> None:
        ready: deque[Any] = self._ready  # type: ignore[attr-defined]
        runnable = []
        for handle in ready:
            name = handle._context.get(owner, "")
            if name in self._dead:
                self._dead[name].append(handle)
            elif name in self._stopped:
                self._stopped[name].append(handle)
            else:
                runnable.append(handle)
        self._order.shuffle(runnable)
        ready.clear()
        ready.extend(runnable)
        self.steps += len(runnable)
        super()._run_once()  # type: ignore[misc]


def simulated() -> SimulationLoop:
    """Return the running loop, which must be a simulation."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SimulationLoop), loop
    return loop


def run(order: int | Order, main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end on a loop of its own; an order that is a number is a seed.

    Without garbage collection, whose moment no seed decides: it would end abandoned generators in tasks of theirs.
    """
    enabled = gc.isenabled()
    if enabled:
        gc.collect()
        gc.disable()
    loop = SimulationLoop(random.Random(order) if isinstance(order, int) else order)
    asyncio.set_event_loop(loop)
    try:
        try:
            return loop.run_until_complete(main)
        finally:
            loop.bury()
            left = sorted(asyncio.all_tasks(loop), key=hash)
            for task in left:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        asyncio.set_event_loop(None)
        loop.close()
        if enabled:
            gc.enable()
