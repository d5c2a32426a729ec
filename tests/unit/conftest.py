"""Unit tests run on virtual time: see `tests.virtual`. Those with the marker `real_time` do not."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from tests.virtual import FACTORIES


def pytest_asyncio_loop_factories(config: Any, item: Any) -> Mapping[str, Callable[[], Any]]:
    """Run every test here on a loop that does not wait for timers, but for those whose peers are outside."""
    return {"real": asyncio.new_event_loop} if item.get_closest_marker("real_time") else FACTORIES
