"""Memory and CPU of one enactor with its default settings: at rest, and while it applies a plan of all endpoints."""

import asyncio

from bench.candidates.enactord import Enactord
from bench.fleet import Fleet
from bench.runner import Bench
from bench.sites import Site, open_site
from bench.usage import cpu_s, peak_mb, resident_mb

_ZONE = "cost.test."
_PLANS = 3


async def run(bench: Bench) -> None:
    for server, count in bench.sizes.places:
        with open_site(server, [_ZONE]) as site:
            await _weigh(bench, site, count)


async def _weigh(bench: Bench, site: Site, count: int) -> None:
    member = Enactord(site, Fleet(_ZONE, count), repair={})
    row = (site.name, f"{count:,} endpoints × 8", "enactord")
    bench.tell(f"{site.name}, {count:,} endpoints")
    await member.prepare()
    try:
        (pid,) = member.pids
        bench.record(*row, "memory, empty", "MB", resident_mb(pid))
        for _ in range(_PLANS):
            took = await member.apply()
            bench.record(*row, "CPU per 1,000, applying", "s", took.cpu_s / count * 1000)
            member.fleet.step()
        bench.record(*row, "peak memory", "MB", peak_mb(pid))
        before_s = cpu_s([pid])
        for second in range(round(bench.sizes.seconds)):
            bench.tell(f"{site.name}, {count:,} endpoints: at rest, {second} of {bench.sizes.seconds:g} s")
            await asyncio.sleep(1)
        used_s = cpu_s([pid]) - before_s
        bench.record(*row, "CPU at rest", "% of a core", used_s / bench.sizes.seconds * 100)
        bench.record(*row, "CPU per 1,000, at rest", "ms/s", used_s / bench.sizes.seconds / count * 1e6)
        bench.record(*row, "memory at rest", "MB", resident_mb(pid))
        bench.record(*row, "memory per 1,000", "MB", resident_mb(pid) / count * 1000)
    finally:
        await member.close()
