"""A fleet of load balancers with health, capacity and churn, the same for the same seed.

Each endpoint stands before load balancers of its own. They fail, drain, recover and are
replaced, but never so many at a time that an endpoint's weight falls by more than
`LOSS_MAX_RATIO`: a planner in good health stays within the guards.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from zlib import crc32

from enactord.core.content import Content, Target, content_text

LOSS_MAX_RATIO = 0.4
"""Below the guards' default of 0.5 (`capacity_removed_max_ratio`), whatever the window."""

_TTL_S = 5
_BALANCERS_MIN = 3
_BALANCERS_SPREAD = 3
_BALANCERS_LARGE = 12
_LARGE = frozenset({"dynamodb.us-east-1.amazonaws.com."})
_CAPACITIES = (10, 12, 14)
_V4_FIRST = 10 << 24
_V4_SIZE = 1 << 24
_V6_PREFIX = "fd00:ddb:"
"""Private addresses (RFC 1918, RFC 4193): a zone that serves them needs `allow_private`."""


class Health(StrEnum):
    """How a load balancer is. A draining one gets half its weight, a failed one none."""

    HEALTHY = "healthy"
    DRAINING = "draining"
    FAILED = "failed"


@dataclass(slots=True)
class Balancer:
    """One load balancer; `serial` is never used again, and gives its addresses."""

    serial: int
    capacity: int
    health: Health = Health.HEALTHY

    @property
    def weight(self) -> int:
        if self.health is Health.FAILED:
            return 0
        return self.capacity // 2 if self.health is Health.DRAINING else self.capacity

    def targets(self) -> tuple[Target, Target]:
        """Its IPv4 and its IPv6 address, with the same weight."""
        number = 1 + self.serial % (_V4_SIZE - 2)
        packed = _V4_FIRST + number
        v4 = ".".join(str(packed >> shift & 0xFF) for shift in (24, 16, 8, 0))
        high, low = divmod(number, 1 << 16)
        v6 = f"{_V6_PREFIX}{high:x}::{low:x}" if low else f"{_V6_PREFIX}{high:x}::"
        ident = f"lb-{self.serial}"
        return Target(address=v4, weight=self.weight, id=ident), Target(address=v6, weight=self.weight, id=ident)


class Fleet:
    """The load balancers of some endpoints. `step` lets time go by."""

    def __init__(self, names: Sequence[str], seed: int) -> None:
        self._rng = random.Random(seed)
        self._names = list(names)
        self._serial = 0
        self._endpoints = {name: self._found(name) for name in self._names}

    @property
    def names(self) -> list[str]:
        return list(self._names)

    def _found(self, name: str) -> list[Balancer]:
        # Drawn from the name alone: with another seed an endpoint has the same capacity, so that
        # a planner that is started anew does not look like one that lost half its fleet.
        draw = crc32(name.encode("ascii"))
        count = _BALANCERS_LARGE if name in _LARGE else _BALANCERS_MIN + draw % _BALANCERS_SPREAD
        return [self._new(_CAPACITIES[(draw >> 8) % len(_CAPACITIES)]) for _ in range(count)]

    def _new(self, capacity: int) -> Balancer:
        self._serial += 1
        return Balancer(serial=self._serial, capacity=capacity)

    def content(self, name: str) -> Content:
        """Return what a plan says of an endpoint now, in the plan's own order of targets."""
        targets = [target for balancer in self._endpoints[name] for target in balancer.targets()]
        targets.sort(key=lambda target: (len(target.packed), target.packed))
        return Content(ttl_s=_TTL_S, targets=tuple(targets))

    def contents(self, names: Iterable[str] | None = None) -> dict[str, str]:
        """Return name to canonical content text, of some or of all endpoints."""
        return {name: content_text(self.content(name)) for name in (self._names if names is None else names)}

    def step(self, churn: float) -> list[str]:
        """Let something happen to a share of the endpoints (at least one); returns their names, sorted."""
        assert 0.0 <= churn <= 1.0, churn
        count = min(len(self._names), max(1, round(churn * len(self._names))))
        chosen = sorted(self._rng.sample(self._names, count))
        for name in chosen:
            self._happen(self._endpoints[name])
        return chosen

    def _happen(self, balancers: list[Balancer]) -> None:
        """Let one thing happen to an endpoint: something heals or is replaced, or something goes wrong."""
        unwell = [balancer for balancer in balancers if balancer.health is not Health.HEALTHY]
        nominal = sum(balancer.capacity for balancer in balancers)
        victim = self._rng.choice(balancers)
        worse = Health.FAILED if self._rng.random() < 0.5 else Health.DRAINING
        left = sum(balancer.weight for balancer in balancers if balancer is not victim)
        if worse is Health.DRAINING:
            left += victim.capacity // 2
        may_worsen = victim.health is Health.HEALTHY and left >= nominal * (1 - LOSS_MAX_RATIO)
        if unwell and (not may_worsen or self._rng.random() < 0.5):
            self._mend(balancers, self._rng.choice(unwell))
        elif may_worsen:
            victim.health = worse
        else:
            self._replace(balancers, victim)

    def _mend(self, balancers: list[Balancer], balancer: Balancer) -> None:
        if balancer.health is Health.DRAINING and self._rng.random() < 0.5:
            balancer.health = Health.HEALTHY
        else:
            self._replace(balancers, balancer)

    def _replace(self, balancers: list[Balancer], balancer: Balancer) -> None:
        balancers[balancers.index(balancer)] = self._new(balancer.capacity)


def plan_document(
    scope: str, endpoints: dict[str, Any], *, author: str, created_at: str = "", base: int | None = None
) -> dict[str, Any]:
    """Return a plan document of these endpoints, each as the document has it."""
    document: dict[str, Any] = {"schema": "enactord.plan/v1", "scope": scope, "author": author}
    if created_at:
        document["created_at"] = created_at
    if base is not None:
        document["base"] = base
    return document | {"endpoints": endpoints}
