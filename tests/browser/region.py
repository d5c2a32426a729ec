"""A scope with names as they are in the world, and the state of it that the screenshot shows."""

import math
import random
from collections.abc import Mapping
from typing import Any

from planner_stub.names import choose_names
from tests.world import World

ZONES = ("amazonaws.com.", "api.aws.")
ENACTORS = ("enactor-a", "enactor-b", "enactor-c")
SCOPE = "us-east-1"
HELD = "dynamodb.us-east-1.amazonaws.com."


def region() -> World:
    """A scope of two zones whose enactors look after drift every so often."""
    return World(zones=ZONES, scope=SCOPE, claim_ttl_s=30, batch_names_max=50)


class Fleet:
    """What a planner of a region would publish: load balancers come and go, a few at a time."""

    def __init__(self, count: int) -> None:
        self._rng = random.Random(20)
        self._names = choose_names(count, zones=ZONES)
        self.endpoints: dict[str, Any] = {name: {"ttl_s": 5, "targets": self._targets(name)} for name in self._names}

    def _targets(self, name: str) -> list[dict[str, Any]]:
        count = 8 if name == HELD else self._rng.randrange(3, 6)
        return [{"address": self._address(), "weight": 10} for _ in range(count)]

    def _address(self) -> str:
        first, second, third = (self._rng.randrange(1, 255) for _ in range(3))
        return f"52.{first}.{second}.{third}"

    def churn(self, ratio: float) -> None:
        """Replace one load balancer of some endpoints."""
        for name in self._rng.sample(self._names, math.ceil(len(self._names) * ratio)):
            if name != HELD:
                targets = self.endpoints[name]["targets"]
                targets[self._rng.randrange(len(targets))] = {"address": self._address(), "weight": 10}

    def shrink(self, name: str, left: int) -> None:
        """Take load balancers from an endpoint until so many are left."""
        del self.endpoints[name]["targets"][left:]

    def plan(self, **changes: Any) -> Mapping[str, Any]:
        document = {"schema": "enactord.plan/v1", "scope": SCOPE, "author": "planner-1", "endpoints": self.endpoints}
        return document | changes
