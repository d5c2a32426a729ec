"""The price of the fence: the same batches with its prerequisite and without it, on the same server."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from bench.fleet import Fleet
from bench.naive.batched import BatchedZone
from bench.runner import Bench
from bench.sites import Kind, Site, open_site
from enactord.backends.rfc2136.zone import Rfc2136Zone
from enactord.clock import SystemClock
from enactord.core.fence import Fence
from enactord.core.records import Change, Committed, Transaction

WITH, WITHOUT = "with the fence", "without the fence"
RATE = "names a second"
_ZONES = {WITH: "with.test.", WITHOUT: "without.test."}
_FENCE = Fence(scope="bench", generation=1, plan="0" * 16)

_Send = Callable[[Sequence[Change]], Awaitable[None]]


async def run(bench: Bench) -> None:
    for server, count in bench.sizes.places:
        with open_site(server, list(_ZONES.values())) as site:
            await _compare(bench, site, count)


async def _compare(bench: Bench, site: Site, count: int) -> None:
    case = f"{count:,} endpoints × 8"
    fleets = {name: Fleet(zone, count) for name, zone in _ZONES.items()}
    host, port, in_flight = site.server.host, site.server.port, site.kind.in_flight
    fenced = Rfc2136Zone(_ZONES[WITH], host=host, port=port, key=site.key, clock=SystemClock(), timeout_s=30)
    bare = BatchedZone(
        _ZONES[WITHOUT], host=host, port=port, key=site.key, clock=SystemClock(), in_flight_max=in_flight
    )

    async def send_fenced(batch: Sequence[Change]) -> None:
        outcome = await fenced.write(Transaction(fence_seen=_FENCE.seen, changes=batch))
        assert isinstance(outcome, Committed), outcome

    quiet = {name: site.quiet() for name in _ZONES}
    sends: dict[str, _Send] = {WITH: send_fenced, WITHOUT: bare.write}
    try:
        opened = await fenced.write(Transaction(fence_seen=await fenced.read_fence(), fence_after=_FENCE))
        assert isinstance(opened, Committed), opened
        for number in range(bench.sizes.rounds + 1):
            for name in (WITH, WITHOUT) if number % 2 else (WITHOUT, WITH):
                bench.tell(f"{site.name}, {case}: round {number} of {bench.sizes.rounds}, {name}")
                fleets[name].step()
                async with quiet[name]:
                    took_s = await _send_all(fleets[name].changes(), site.kind, sends[name])
                if number:  # the first fills an empty zone
                    bench.record(site.name, case, name, RATE, "names/s", count / took_s)
    finally:
        await fenced.close()
        await bare.close()


async def _send_all(changes: Sequence[Change], kind: Kind, send: _Send) -> float:
    gate = asyncio.Semaphore(kind.in_flight)

    async def one(batch: Sequence[Change]) -> None:
        async with gate:
            await send(batch)

    size = kind.batch_names
    start = time.perf_counter()
    await asyncio.gather(*(one(changes[first : first + size]) for first in range(0, len(changes), size)))
    return time.perf_counter() - start
