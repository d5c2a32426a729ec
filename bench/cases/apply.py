"""A plan in which everything, or 1 %, changed, applied by each candidate in turn."""

from collections.abc import Sequence
from contextlib import AsyncExitStack

from bench.candidates.batched import Batched
from bench.candidates.enactord import Enactord
from bench.candidates.naive import Naive
from bench.candidates.nsupdate import Nsupdate
from bench.candidates.octodns import Octodns
from bench.candidates.protocol import Candidate, Took
from bench.fleet import Fleet
from bench.runner import Bench
from bench.sites import Site, open_site

TIME, CPU, SERVERS_CPU, PEAK, PUBLISH, PARSE = "time", "CPU", "CPU of servers", "peak memory", "publish", "parse"
WITH_PARSING = "time, parsing included"
CHURN = 0.01
_ZONES = [f"c{number}.test." for number in range(8)]


async def run(bench: Bench) -> None:
    """Every endpoint changes."""
    await _run(bench, 1.0)


async def run_share(bench: Bench) -> None:
    """One of a hundred changes."""
    await _run(bench, CHURN)


def case_name(count: int, share: float) -> str:
    """Return how tables call a case."""
    return f"{count:,} endpoints × 8, {'all' if share == 1.0 else f'{share:.0%}'} changed"


def candidates(site: Site, count: int, naive_endpoints: int) -> Sequence[Candidate]:
    """Return all candidates, each with a zone of its own and the same names in it."""
    fleets = iter([Fleet(zone, count) for zone in _ZONES])
    return [
        Batched(site, next(fleets)),
        Enactord(site, next(fleets)),
        Enactord(site, next(fleets), enactors=3),
        Enactord(site, next(fleets), store="sqlite"),
        Enactord(site, next(fleets), store="sqlite", enactors=3),
        Nsupdate(site, next(fleets)),
        Octodns(site, next(fleets)),
        Naive(site, next(fleets), endpoints_max=naive_endpoints),
    ]


async def _run(bench: Bench, share: float) -> None:
    for server, count in bench.sizes.places:
        with open_site(server, _ZONES) as site:
            await _compare(bench, site, count, share)


async def _compare(bench: Bench, site: Site, count: int, share: float) -> None:
    case = case_name(count, share)
    chosen = candidates(site, count, min(count, bench.sizes.naive_endpoints))
    async with AsyncExitStack() as stack:
        for candidate in chosen:
            bench.tell(f"{site.name}, {case}: preparing {candidate.name}")
            await candidate.prepare()
            stack.push_async_callback(candidate.close)
            if isinstance(candidate, Nsupdate | Octodns):
                await fill(site, candidate.fleet)
            else:
                await candidate.apply()
            if isinstance(candidate, Naive) and candidate.note:
                bench.remark(site.name, case, candidate.name, candidate.note)
        servers_cpu_s = site.cpu_s()

        def record(candidate: Candidate, took: Took) -> None:
            nonlocal servers_cpu_s
            before_s, servers_cpu_s = servers_cpu_s, site.cpu_s()
            row = (site.name, case, candidate.name)
            bench.record(*row, TIME, "s", took.took_s)
            bench.record(*row, CPU, "s", took.cpu_s)
            if not isinstance(candidate, Naive):  # its work is not the whole plan
                bench.record(*row, SERVERS_CPU, "s", servers_cpu_s - before_s)
            if took.peak_mb is not None:
                bench.record(*row, PEAK, "MB", took.peak_mb)
            if isinstance(candidate, Enactord):
                bench.record(*row, PUBLISH, "s", took.publish_s)
                bench.record(*row, PARSE, "s", took.parse_s)
                bench.record(*row, WITH_PARSING, "s", took.took_s + took.parse_s)

        await bench.interleave(site, case, chosen, record=record, share=share)


async def fill(site: Site, fleet: Fleet) -> None:
    """Write the whole fleet as it is, in the fastest way."""
    fleet.change(fleet.names)
    batched = Batched(site, fleet)
    try:
        await batched.apply()
    finally:
        await batched.close()
