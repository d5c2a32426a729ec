"""Three enactors, of which one runs a hundredth of the time, against three healthy ones."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack

import psutil  # type: ignore[import-untyped]

from bench.candidates.enactord import Enactord
from bench.candidates.protocol import Candidate, Took
from bench.cases.apply import case_name
from bench.fleet import Fleet
from bench.runner import Bench
from bench.sites import Site, open_site

HEALTHY, SLOW, ALONE = "3 healthy", "3, one of them 100 times slower", "1 alone"
_ZONES = ("healthy.test.", "slow.test.", "alone.test.")
_CANNOT = dict.fromkeys(("naive-batched", "nsupdate", "octoDNS"), "one at a time: two would overwrite each other")
_RUNS_S = 0.002
_FACTOR = 100


class _Named:
    """A candidate under another name."""

    def __init__(self, name: str, inner: Enactord) -> None:
        self.name = name
        self.inner = inner
        self.fleet = inner.fleet
        self.slowed: Sequence[int] = ()

    async def prepare(self) -> None:
        await self.inner.prepare()

    async def apply(self) -> Took:
        async with slowed(self.slowed):
            return await self.inner.apply()

    async def close(self) -> None:
        await self.inner.close()


async def run(bench: Bench) -> None:
    for server, count in bench.sizes.places:
        with open_site(server, _ZONES) as site:
            await _compare(bench, site, count)


async def _compare(bench: Bench, site: Site, count: int) -> None:
    case = case_name(count, 1.0)
    members = [
        _Named(HEALTHY, Enactord(site, Fleet(_ZONES[0], count), enactors=3)),
        _Named(SLOW, Enactord(site, Fleet(_ZONES[1], count), enactors=3)),
        _Named(ALONE, Enactord(site, Fleet(_ZONES[2], count))),
    ]

    def record(candidate: Candidate, took: Took) -> None:
        bench.record(site.name, case, candidate.name, "time", "s", took.took_s)

    bench.cannot(site.name, case, _CANNOT)
    async with AsyncExitStack() as stack:
        for member in members:
            bench.tell(f"{site.name}, {case}: filling {member.name}")
            await member.prepare()
            stack.push_async_callback(member.close)
            await member.apply()
        members[1].slowed = members[1].inner.pids[-1:]
        await bench.interleave(site, case, members, record=record)


@contextlib.asynccontextmanager
async def slowed(pids: Sequence[int]) -> AsyncIterator[None]:
    """Let processes run only a hundredth of the time while the context lasts: stopped, and let go for a moment."""
    task = asyncio.create_task(_pulse([psutil.Process(pid) for pid in pids]))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        for pid in pids:
            psutil.Process(pid).resume()


async def _pulse(processes: Sequence[psutil.Process]) -> None:
    while processes:
        for process in processes:
            process.suspend()
        await asyncio.sleep(_RUNS_S * (_FACTOR - 1))
        for process in processes:
            process.resume()
        await asyncio.sleep(_RUNS_S)
