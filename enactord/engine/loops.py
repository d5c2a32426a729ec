"""The one place that catches everything: a loop that fails is logged and started again."""

import asyncio
import random
import traceback
from collections.abc import Awaitable, Callable

from enactord.core.events import StepFailed
from enactord.engine.pace import Backoff
from enactord.ports import Observer

_FIRST_S = 0.2
_CAP_S = 10.0


async def supervised(name: str, step: Callable[[], Awaitable[None]], observer: Observer, rng: random.Random) -> None:
    """Run a loop for ever. An error that no rule foresees must not end the daemon: the fence keeps it safe."""
    backoff = Backoff(rng, first_s=_FIRST_S, cap_s=_CAP_S)
    while True:
        try:
            await step()
        except Exception as error:
            observer.observe(
                StepFailed(step=name, detail=repr(error), traceback="".join(traceback.format_exception(error)))
            )
        await asyncio.sleep(backoff.next_s())
