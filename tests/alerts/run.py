"""One fault on a scope of its own: what people were told, in order. Several beside each other, in processes."""

import asyncio
import os
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.queues import Queue

from tests.alerts.faster import FACTOR
from tests.alerts.faults import TRIALS
from tests.alerts.scope import ENACTORS, Told, scope
from tests.servers.secondaries import MovableBind

NOTHING = ""
"""The fault that is none: a scope at work, in which nobody must be told anything."""
LONGEST_S = 4200 / FACTOR
"""The longest `for` is an hour."""
AFTERWARDS_S = 1200 / FACTOR
"""How long is listened after what was told first."""
_POLL_S = 0.1
_WORKERS_FROM = 4


@dataclass(frozen=True, kw_only=True)
class Heard:
    """What people were told of a fault, in order. Times are seconds of the faster clock since the fault was made."""

    fault: str
    told: tuple[Told, ...]
    said: str = ""
    """What an enactor said of itself at the end (`/readyz`)."""

    @property
    def alerts(self) -> tuple[str, ...]:
        """The alerts by name: people get one message of each."""
        return tuple(dict.fromkeys(told.name for told in self.told))

    @property
    def names_the_cause(self) -> bool:
        """Whether what was told first names the cause."""
        return bool(self.told) and TRIALS[self.fault].named_by(self.told[0])

    def without(self, alerts: Collection[str]) -> "Heard":
        """Return the same, but for some alerts."""
        return replace(self, told=tuple(told for told in self.told if told.name not in alerts))


async def hear(fault: str, *, afterwards_s: float = AFTERWARDS_S, longest_s: float = LONGEST_S) -> Heard:
    """Make a fault on a new scope; listen until something is told, or for the longest time, and for a while more."""
    loop = asyncio.get_running_loop()
    async with scope(TRIALS[fault].primary if fault else MovableBind) as running:
        inbox = running.inbox
        inbox.told.clear()  # what was told while servers started, on a busy machine, is not of the fault
        if fault:
            await TRIALS[fault].begin(running)
        began = loop.time()
        while loop.time() - began < longest_s and not inbox.told:
            await asyncio.sleep(_POLL_S)
        await asyncio.sleep(afterwards_s)
        running.check()
        told = tuple(replace(each, at=max(0.0, (each.at - began) * FACTOR)) for each in inbox.told)
        return Heard(fault=fault, told=told, said=await running.ready(ENACTORS[0]) or "")


def _worker(numbers: "Queue[int]") -> None:
    """Give a process ports of its own, as a worker of the tests has."""
    os.environ["PYTEST_XDIST_WORKER"] = f"gw{_WORKERS_FROM + numbers.get()}"


def _heard(fault: str, afterwards_s: float, longest_s: float) -> Heard:
    return asyncio.run(hear(fault, afterwards_s=afterwards_s, longest_s=longest_s))


def hear_all(
    faults: Sequence[str], *, at_once: int, afterwards_s: float = AFTERWARDS_S, longest_s: float = LONGEST_S
) -> Iterator[Heard]:
    """Make each of the faults, so many at once; yields what was heard as it comes.

    Raises `ExceptionGroup` at the end, where a scope or a fault could not be made.
    """
    context = get_context("spawn")
    numbers: Queue[int] = context.Queue()
    for number in range(at_once):
        numbers.put(number)
    with ProcessPoolExecutor(at_once, mp_context=context, initializer=_worker, initargs=(numbers,)) as pool:
        started = [pool.submit(_heard, fault, afterwards_s, longest_s) for fault in faults]
        failed: list[Exception] = []
        for done in as_completed(started):
            error = done.exception()
            if error is None:
                yield done.result()
            elif isinstance(error, Exception):
                failed.append(error)
    if failed:
        raise ExceptionGroup("some could not be made", failed)
