"""How late the event loop is: what blocks it delays answers, leases and probes alike."""

import asyncio
from collections.abc import Callable

from enactord.telemetry.failures import Failures

_INTERVAL_S = 0.25


async def watch_lag(observe: Callable[[float], None], failures: Failures | None = None) -> None:
    """Set a timer again and again, and pass on by how many seconds it came late; never ends by itself."""
    loop = asyncio.get_running_loop()
    failures = failures or Failures()
    while True:
        due = loop.time() + _INTERVAL_S
        await asyncio.sleep(_INTERVAL_S)
        with failures.caught("lag"):
            observe(max(0.0, loop.time() - due))
