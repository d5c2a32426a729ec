"""The floor: our encoder and our batches, with no fence, no store and no read-back (bench.naive.batched)."""

import asyncio
import time
from collections.abc import Sequence

from bench.candidates.protocol import Took
from bench.fleet import Fleet
from bench.naive.batched import BatchedZone
from bench.sites import Site
from enactord.clock import SystemClock
from enactord.core.records import Change


class Batched:
    """Writes what changed, as fast as the server takes it."""

    name = "naive-batched"

    def __init__(self, site: Site, fleet: Fleet) -> None:
        self.fleet = fleet
        self._kind = site.kind
        self._zone = BatchedZone(
            fleet.zone,
            host=site.server.host,
            port=site.server.port,
            key=site.key,
            clock=SystemClock(),
            in_flight_max=site.kind.in_flight,
        )

    async def prepare(self) -> None:
        """Connections are made with the first write."""

    async def apply(self) -> Took:
        changes = self.fleet.changes()
        size = self._kind.batch_names
        gate = asyncio.Semaphore(self._kind.in_flight)
        latencies: list[float] = []
        before_s, start = time.process_time(), time.perf_counter()

        async def send(batch: Sequence[Change]) -> None:
            async with gate:
                await self._zone.write(batch)
            latencies.extend([time.perf_counter() - start] * len(batch))

        await asyncio.gather(*(send(changes[first : first + size]) for first in range(0, len(changes), size)))
        return Took(
            took_s=time.perf_counter() - start,
            cpu_s=time.process_time() - before_s,
            endpoints=len(changes),
            latencies_s=latencies,
        )

    async def close(self) -> None:
        await self._zone.close()
