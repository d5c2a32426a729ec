"""The plans that every candidate is given: real names, and addresses that tell their version.

All endpoints have the same number of addresses and weights, so that no guard holds one. A
candidate's zone holds the real names below an apex of its own, so that all can live on one server.
"""

import random
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from enactord.core.content import parse_content
from enactord.core.plan import read_plan
from enactord.core.records import Change, Expect
from enactord.core.render import render
from planner_stub.fleet import plan_document
from planner_stub.names import botocore_names, choose_names

SCOPE = "bench"
TTL_S = 5
ADDRESSES = 8
ANSWERS_MAX = 16


@lru_cache(maxsize=8)
def real_names(count: int) -> tuple[str, ...]:
    """Return so many names: botocore's endpoints in an order drawn once, then account endpoints."""
    known = list(botocore_names())
    random.Random(1).shuffle(known)
    return tuple(choose_names(count, source=known))


class Fleet:
    """The endpoints of one zone; `versions` counts how often each has changed."""

    def __init__(self, zone: str, count: int, *, addresses: int = ADDRESSES, seed: int = 1) -> None:
        self.zone = zone
        self.names = [name + zone for name in real_names(count)]
        self.changed: Sequence[str] = self.names
        self._addresses = addresses
        self._index = {name: index for index, name in enumerate(self.names)}
        self._versions = dict.fromkeys(self.names, 0)
        self._rng = random.Random(seed)

    def step(self, share: float = 1.0) -> Sequence[str]:
        """Change the addresses of a share of the endpoints (at least one); returns their names, sorted."""
        count = max(1, round(share * len(self.names)))
        return self.change(self.names if count >= len(self.names) else self._rng.sample(self.names, count))

    def change(self, names: Iterable[str]) -> Sequence[str]:
        """Change the addresses of these endpoints."""
        self.changed = sorted(names)
        for name in self.changed:
            self._versions[name] += 1
        return self.changed

    def addresses(self, name: str) -> list[str]:
        """Return an endpoint's addresses, sorted as numbers; no version of it shares one with the next 63."""
        index, version = self._index[name], self._versions[name]
        first = 1 + self._addresses * (index // 256 % (254 // self._addresses))
        return [f"10.{version % 64}.{index % 256}.{first + number}" for number in range(self._addresses)]

    def version(self, name: str) -> int:
        """Return how often an endpoint has changed."""
        return self._versions[name]

    @staticmethod
    def version_of(addresses: frozenset[str]) -> int:
        """Return which version (below 64) serves these addresses."""
        (version,) = {int(address.split(".")[1]) for address in addresses}
        return version

    @property
    def whole(self) -> bool:
        """Whether the last step changed every endpoint."""
        return len(self.changed) == len(self.names)

    def document(self, *, scope: str = SCOPE, base: int | None = None) -> dict[str, Any]:
        """Return a plan of all endpoints, or with `base` of those that the last step changed."""
        endpoints: dict[str, Any] = {
            name: {"ttl_s": TTL_S, "targets": [{"address": text, "weight": 10} for text in self.addresses(name)]}
            for name in (self.names if base is None else self.changed)
        }
        return plan_document(scope, endpoints, author="bench", base=base)

    def changes(self, expect: Expect = Expect.OWNED) -> list[Change]:
        """Return what the last step changed, as our encoder takes it."""
        contents = read_plan(self.document(base=1)).endpoints
        return [
            Change(name=name, after=render(name, 1, parse_content(text), ANSWERS_MAX), expect=expect)
            for name, text in sorted(contents.items())
        ]
