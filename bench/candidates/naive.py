"""The enactor of the outage (bench.naive): one check, then endpoint by endpoint under a lock, unfenced."""

import random
import time

from bench.candidates.protocol import Took
from bench.fleet import ANSWERS_MAX, Fleet
from bench.naive.dns import DnsZone
from bench.naive.enactor import NaiveEnactor, Settings
from bench.naive.memory import GivenPlans
from bench.naive.ports import plan_of
from bench.sites import Site
from enactord.clock import SystemClock
from enactord.core.plan import read_plan


class Naive:
    """One naive enactor, in this process.

    It knows no changes: each plan is walked over whole. `endpoints_max`: walk over only so many
    of the endpoints, and scale the time up to all. That is fair, since it takes one after the other
    and each costs the same.
    """

    name = "naive"

    def __init__(self, site: Site, fleet: Fleet, *, endpoints_max: int) -> None:
        self.fleet = fleet
        self._endpoints_max = endpoints_max
        self._generation = 0
        server = site.server
        self._zone = DnsZone(
            fleet.zone, host=server.host, port=server.port, key=site.foreign_key, transfer_key=site.key
        )
        self._enactor = NaiveEnactor(
            Settings(holder="naive"), self._zone, GivenPlans(), clock=SystemClock(), rng=random.Random(1)
        )

    @property
    def note(self) -> str:
        """How a figure came about, where the time was scaled."""
        if self._endpoints_max >= len(self.fleet.names):
            return ""
        return f"scaled up from {self._endpoints_max:,} endpoints"

    async def prepare(self) -> None:
        """Nothing runs between plans."""

    async def apply(self) -> Took:
        self._generation += 1
        names = set(self.fleet.names[: self._endpoints_max])
        document = self.fleet.document()
        document["endpoints"] = {name: each for name, each in document["endpoints"].items() if name in names}
        plan = plan_of(read_plan(document), self._generation, answers_max=ANSWERS_MAX)
        before_s, start = time.process_time(), time.perf_counter()
        await self._enactor.apply(plan)
        scale = len(self.fleet.names) / len(names)
        return Took(
            took_s=(time.perf_counter() - start) * scale,
            cpu_s=(time.process_time() - before_s) * scale,
            endpoints=len(self.fleet.names),
        )

    async def close(self) -> None:
        await self._zone.close()
