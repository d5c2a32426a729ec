"""What a benchmark asks of a candidate."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from bench.fleet import Fleet


class CannotDo(Exception):
    """A candidate cannot do a case; the table says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Took:
    """What it took to bring a zone to a plan.

    `took_s`: from the moment the plan was handed over until the candidate was done; `endpoints`: how
    many it wrote in that time; `latencies_s`: of each endpoint until it was known to be served,
    where the candidate knows.
    """

    took_s: float
    cpu_s: float
    endpoints: int
    peak_mb: float | None = None
    """Of its greatest process, since its start; None where it runs in the benchmark's own."""
    parse_s: float = 0.0
    """Reading the plan document, before the clock of `took_s` starts."""
    publish_s: float = 0.0
    """The part of `took_s` until the plan was in the store."""
    latencies_s: Sequence[float] = field(default=(), repr=False)


class Candidate(Protocol):
    """One way to bring a zone to a plan."""

    name: str
    fleet: Fleet

    async def prepare(self) -> None:
        """Start what it needs."""
        ...

    async def apply(self) -> Took:
        """Bring the zone to what the fleet's last step made of it. Raises `CannotDo`."""
        ...

    async def close(self) -> None:
        """End what it started."""
        ...
