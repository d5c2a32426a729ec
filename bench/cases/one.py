"""One endpoint changes, among few and among many: time, and the CPU of planner and enactor.

Beside it a bare update of one name in zones of the same sizes: what the server itself takes longer
in the larger one is not enactord's.
"""

import time
from contextlib import AsyncExitStack

from bench.candidates.batched import Batched
from bench.candidates.enactord import Enactord
from bench.fleet import Fleet
from bench.runner import Bench
from bench.sites import Site, open_site
from bench.usage import cpu_s, peak_mb, resident_mb

FEW, MANY = "few", "many"
BARE_FEW, BARE_MANY = "bare update, few", "bare update, many"
CASE = "one endpoint changed"
TIME, PLANNER, ENACTOR, PEAK, REST = "time", "CPU of planner", "CPU of enactor", "peak memory", "memory after"
_ZONES = {FEW: "few.test.", MANY: "many.test.", BARE_FEW: "bare-few.test.", BARE_MANY: "bare-many.test."}
_A_TIME = 5
"""Plans of which the CPU is measured together: the kernel counts in hundredths of a second."""


async def run(bench: Bench) -> None:
    for server, counts in bench.sizes.endpoints.items():
        with open_site(server, list(_ZONES.values())) as site:
            await _compare(bench, site, min(counts), max(counts))


async def _compare(bench: Bench, site: Site, few: int, many: int) -> None:
    members = {
        FEW: Enactord(site, Fleet(_ZONES[FEW], few)),
        MANY: Enactord(site, Fleet(_ZONES[MANY], many)),
    }
    bare = {
        BARE_FEW: Batched(site, Fleet(_ZONES[BARE_FEW], few)),
        BARE_MANY: Batched(site, Fleet(_ZONES[BARE_MANY], many)),
    }
    async with AsyncExitStack() as stack:
        for floor in bare.values():
            stack.push_async_callback(floor.close)
            floor.fleet.change(floor.fleet.names)
            await floor.apply()
        for which, member in members.items():
            bench.remark(site.name, CASE, which, f"among {len(member.fleet.names):,} × 8")
            bench.tell(f"{site.name}: applying {len(member.fleet.names):,} endpoints")
            await member.prepare()
            stack.push_async_callback(member.close)
            filled = await member.apply()
            bench.record(site.name, "first plan", which, "time", "s", filled.took_s)
            bench.record(site.name, "first plan", which, "CPU of enactor", "s", filled.cpu_s)
            bench.record(site.name, "first plan", which, PEAK, "MB", peak_mb(member.pids[0]))
        for number in range(bench.sizes.rounds + 1):
            for which, member in members.items():
                bench.tell(f"{site.name}, {which}: round {number} of {bench.sizes.rounds}")
                await _round(bench, site, which, member, keep=number > 0)
            for which, floor in bare.items():
                await _bare_round(bench, site, which, floor, keep=number > 0)
        for which, member in members.items():
            bench.record(site.name, CASE, which, PEAK, "MB", peak_mb(member.pids[0]))
            bench.record(site.name, CASE, which, REST, "MB", resident_mb(member.pids[0]))


def _change_one(fleet: Fleet, number: int) -> None:
    fleet.change([fleet.names[(7919 * number) % len(fleet.names)]])


async def _round(bench: Bench, site: Site, which: str, member: Enactord, *, keep: bool) -> None:
    times: list[float] = []
    planner_s = 0.0
    before_s = cpu_s(member.pids)
    for number in range(_A_TIME):
        _change_one(member.fleet, number)
        start, planner_start_s = time.perf_counter(), time.process_time()
        manifest, _, _ = await member.publish()
        planner_s += time.process_time() - planner_start_s
        times.append(await member.until_applied(manifest.generation) - start)
    if keep:
        row = (site.name, CASE, which)
        bench.record(*row, TIME, "ms", *(each * 1000 for each in times))
        bench.record(*row, PLANNER, "ms", planner_s / _A_TIME * 1000)
        bench.record(*row, ENACTOR, "ms", (cpu_s(member.pids) - before_s) / _A_TIME * 1000)


async def _bare_round(bench: Bench, site: Site, which: str, floor: Batched, *, keep: bool) -> None:
    for number in range(_A_TIME):
        _change_one(floor.fleet, number)
        took = await floor.apply()
        if keep:
            bench.record(site.name, CASE, which, TIME, "ms", took.took_s * 1000)
