"""The one place that catches everything: a loop that fails is told of and started again, a step is told of."""

import asyncio
import random
from collections.abc import Awaitable, Callable

from enactord.engine.health import Health
from enactord.engine.pace import Backoff

_FIRST_S = 0.2
_CAP_S = 10.0
_SOUND_S = 15.0
"""A loop that has run for so long since it failed counts as sound again."""


async def supervised(name: str, step: Callable[[], Awaitable[None]], health: Health, rng: random.Random) -> None:
    """Run a loop for ever. An error that no rule foresees must not end the daemon: the fence keeps it safe."""
    loop = asyncio.get_running_loop()
    backoff = Backoff(rng, first_s=_FIRST_S, cap_s=_CAP_S)

    def sound() -> None:
        backoff.reset()
        health.loop_is_sound(name)

    pause_s = 0.0
    while True:
        timer = loop.call_later(_SOUND_S + pause_s, sound)
        try:
            await asyncio.sleep(pause_s)
            await step()
        except Exception as error:
            health.loop_failed(name, error)
        finally:
            timer.cancel()
        pause_s = backoff.next_s()


async def apart(name: str, step: Callable[[], Awaitable[None]], health: Health) -> None:
    """Do one step beside others: what no rule foresees is told, and ends this one alone."""
    try:
        await step()
        health.loop_is_sound(name)
    except Exception as error:
        health.loop_failed(name, error)
