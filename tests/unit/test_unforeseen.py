"""An exception that no rule foresees, wherever it is raised, costs a moment and never the plan."""

import asyncio
import inspect
from collections.abc import Coroutine, Generator
from typing import Any

import pytest

from enactord.core.events import StepFailed
from tests.daily import daily
from tests.simulation.loop import SimulationLoop, owner, run, simulated
from tests.world import ZONE, Member, World, fleet, plan

_ENACTOR = "the enactor"
_BOUND_S = 60.0
OTHER = "other.test."
ENDPOINTS = fleet(3, 2) | fleet(3, 2, zone=OTHER)


class Unforeseen(Exception):
    """Nothing in the product knows this."""


class Counter:
    """Raises at one of many occasions, which it counts while it is armed."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.count = 0
        self.armed = False

    def due(self) -> bool:
        """Whether this occasion is the one."""
        if not self.armed:
            return False
        self.count += 1
        return self.count == self.at


class Failing(Coroutine[Any, Any, Any]):
    """A coroutine into which an exception is thrown at one of its awaits."""

    def __init__(self, coro: Coroutine[Any, Any, Any], counter: Counter) -> None:
        self._coro = coro
        self._counter = counter
        self._begun = False

    def send(self, value: Any) -> Any:
        begun, self._begun = self._begun, True
        if begun and self._counter.due():
            return self._coro.throw(Unforeseen("at an await"))
        return self._coro.send(value)

    def throw(self, *error: Any) -> Any:
        return self._coro.throw(*error)

    def close(self) -> None:
        self._coro.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        raise AssertionError("only a task runs it")


class Calls:
    """A port whose calls are counted, and of which one fails; every call suspends."""

    def __init__(self, port: Any, counter: Counter) -> None:
        self._port = port
        self._counter = counter

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        if name == "watch" or not callable(found):
            return found

        async def called(*args: Any, **kwargs: Any) -> Any:
            await asyncio.sleep(0.001)
            if self._counter.due():
                raise Unforeseen(f"in {name}")
            return await found(*args, **kwargs)

        return called


def fail_awaits(counter: Counter) -> None:
    """Let an await of the enactor's tasks fail; its outermost frame, which only holds the others, is left out."""
    loop = simulated()
    make = loop.get_task_factory()
    assert make is not None

    def wrapped(made_by: SimulationLoop, coro: Coroutine[Any, Any, Any], **options: Any) -> Any:
        chosen = owner.get() == _ENACTOR and inspect.iscoroutine(coro) and coro.__qualname__ != "Enactor.run"
        return make(made_by, Failing(coro, counter) if chosen else coro, **options)

    loop.set_task_factory(wrapped)  # type: ignore[arg-type]


def fail_calls(member: Member, counter: Counter) -> None:
    """Let a call of the enactor's ports fail; every call suspends."""
    enactor = member.enactor
    for zone in member.zones.values():
        zone.zone = Calls(zone.zone, counter)  # type: ignore[assignment]
    member.store._store = Calls(member.store._store, counter)  # type: ignore[assignment]
    assert enactor.ports.store is member.store


async def world_with(counter: Counter, what: str) -> tuple[int, list[StepFailed]]:
    """Apply a second plan with one failure on its way; returns how many occasions there were, and what was told."""
    world = World((ZONE, OTHER), repair_interval_s=5.0, claim_ttl_s=3)
    if what == "await":
        fail_awaits(counter)
    token = owner.set(_ENACTOR)
    member = await world.add("a")
    owner.reset(token)
    fail_calls(member, counter if what == "call" else Counter(0))
    await world.publish(plan(fleet(3, 1) | fleet(3, 1, zone=OTHER)))
    await world.applied(1, _BOUND_S)
    counter.armed = True
    await world.publish(plan(ENDPOINTS))
    await world.applied(2, _BOUND_S)
    counter.armed = False
    assert world.serves(ENDPOINTS)
    assert not member.task.done()
    await asyncio.sleep(2 * _BOUND_S)
    assert member.enactor.reasons() == [], (counter.at, member.enactor.reasons())
    await world.close()
    return counter.count, member.recorder.of(StepFailed)


def occasions(what: str) -> int:
    """How many occasions to fail there are on the way of a plan."""
    count, told = run(1, world_with(Counter(0), what))
    assert told == []
    return count


@pytest.mark.parametrize(
    ("what", "least", "step"),
    daily([("await", 50, 9), ("call", 16, 4), ("await", 50, 1), ("call", 16, 1)], 2),
)
def test_a_plan_is_applied_whatever_fails_on_its_way(what: str, least: int, step: int) -> None:
    """At each await, and in each call of a port, in turn: the plan is served and applied, and all is well again.

    Every day at a few of them.
    """
    total = occasions(what)
    assert total >= least, total
    told = 0
    tried = range(1, total + 1, step)
    for at in tried:
        _, failures = run(1, world_with(Counter(at), what))
        told += bool(failures)
    assert told > len(tried) // 4, (told, total)
