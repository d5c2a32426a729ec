"""Running steps side by side, with the first failure raised bare."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

T = TypeVar("T")


async def run_all(steps: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Run all steps; return their results in order.

    When one raises, the others are cancelled and that error is raised, not a group:
    what callers match on is the kind of failure, and the first is its cause.
    """
    try:
        async with asyncio.TaskGroup() as tasks:
            started = [tasks.create_task(step) for step in steps]
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from group
    return [task.result() for task in started]
