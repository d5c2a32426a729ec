"""1 % of the endpoints changes each second, for a while: latency of each endpoint."""

import asyncio
from contextlib import AsyncExitStack
from itertools import chain

from bench.candidates.batched import Batched
from bench.candidates.enactord import Enactord
from bench.candidates.protocol import Candidate
from bench.cases.apply import CHURN, case_name
from bench.figures import quantile
from bench.fleet import Fleet
from bench.results import Series
from bench.runner import Bench
from bench.sites import Site, open_site

_CANNOT = {
    "nsupdate": "a run a plan, and nobody to start it (see share)",
    "octoDNS": "one run takes longer than the second between plans (see share)",
    "naive": "walks over all endpoints, which takes longer than the second between plans (see share)",
}
QUANTILES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
_ZONES = ("bare.test.", "one.test.", "three.test.")
_BLOCKS = 5
"""Parts of a run, whose quantiles tell how steady it was."""


async def run(bench: Bench) -> None:
    for server, count in bench.sizes.places:
        with open_site(server, _ZONES) as site:
            await _churn(bench, site, count)


async def _churn(bench: Bench, site: Site, count: int) -> None:
    """Give each candidate a part of every second; what one leaves behind late disturbs the next, as it would."""
    case = case_name(count, CHURN)
    fleets = [Fleet(zone, count) for zone in _ZONES]
    candidates: list[Candidate] = [
        Batched(site, fleets[0]),
        Enactord(site, fleets[1]),
        Enactord(site, fleets[2], enactors=3),
    ]
    latencies: dict[str, list[list[float]]] = {candidate.name: [] for candidate in candidates}
    late: dict[str, int] = {candidate.name: 0 for candidate in candidates}
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        for candidate in candidates:
            bench.tell(f"{site.name}, {case}: filling {candidate.name}")
            await candidate.prepare()
            stack.push_async_callback(candidate.close)
            await candidate.apply()
            candidate.fleet.step(CHURN)
            await candidate.apply()
        slot_s = 1.0 / len(candidates)
        start = loop.time()
        for second in range(round(bench.sizes.seconds)):
            bench.tell(f"{site.name}, {case}: second {second + 1} of {bench.sizes.seconds:g}")
            for number, candidate in enumerate(candidates):
                due = start + second + number * slot_s
                late[candidate.name] += loop.time() > due + slot_s
                await asyncio.sleep(max(0.0, due - loop.time()))
                candidate.fleet.step(CHURN)
                latencies[candidate.name].append(list((await candidate.apply()).latencies_s))
    bench.cannot(site.name, case, _CANNOT)
    for name, generations in latencies.items():
        size = max(1, -(-len(generations) // _BLOCKS))
        blocks = [list(chain(*generations[first : first + size])) for first in range(0, len(generations), size)]
        whole = list(chain(*generations))
        for measure, share in QUANTILES.items():
            bench.record(site.name, case, name, measure, "ms", quantile(whole, share) * 1000)
        bench.record(site.name, case, name, "p99 by part", "ms", *(quantile(part, 0.99) * 1000 for part in blocks))
        bench.remark(
            site.name, case, name, f"{len(generations)} generations, {late[name]} begun late" if late[name] else ""
        )
        ordered = sorted(whole)
        marks = [*range(100), *(99 + part / 10 for part in range(1, 11))]
        points = tuple((ordered[min(len(ordered) - 1, int(len(ordered) * m / 100))] * 1000, m) for m in marks)
        bench.draw(
            Series(
                server=site.name,
                case=case,
                candidate=name,
                x_label="publish to seen served (ms)",
                y_label="share of endpoints (%)",
                points=points,
            )
        )
