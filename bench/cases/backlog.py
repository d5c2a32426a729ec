"""Whole plans are published one after the other without a pause: how old is what is served?"""

import asyncio
import contextlib
import time
from contextlib import AsyncExitStack

from bench.candidates.enactord import Enactord
from bench.fleet import Fleet
from bench.results import Series
from bench.runner import Bench
from bench.sites import Site, open_site

ONE, GREATEST, FIRST_HALF, SECOND_HALF = "one plan alone", "age, greatest", "in the first half", "in the second half"
_ZONES = ("one.test.", "three.test.")
_PAUSE_S = 0.2
_CANNOT = {
    "nsupdate": "does not know a newer plan from an older one",
    "octoDNS": "does not know a newer plan from an older one",
    "naive": "finishes each plan, and starts on the next when it is done: its age is that of one walk (see apply)",
}


async def run(bench: Bench) -> None:
    for server, count in bench.sizes.places:
        with open_site(server, _ZONES) as site:
            for zone, enactors in zip(_ZONES, (1, 3), strict=True):
                await _press(bench, site, Enactord(site, Fleet(zone, count), enactors=enactors))


async def _press(bench: Bench, site: Site, member: Enactord) -> None:
    """Publish without waiting for anything; afterwards, the age of what was served at each moment."""
    count = len(member.fleet.names)
    case = f"{count:,} endpoints × 8, all changed, a plan each {_PAUSE_S:g} s or as fast as the planner can"
    row = (site.name, case, member.name)
    published: dict[int, float] = {}
    async with AsyncExitStack() as stack:
        await member.prepare()
        stack.push_async_callback(member.close)
        for _ in range(3):
            member.fleet.step()
            alone = await member.apply()
        bench.record(*row, ONE, "s", alone.took_s)
        first = member.generation
        start = time.perf_counter()
        while time.perf_counter() < start + bench.sizes.seconds:
            bench.tell(f"{site.name}, {member.name}: {time.perf_counter() - start:.0f} of {bench.sizes.seconds:g} s")
            began = time.perf_counter()
            member.fleet.step()
            manifest, _, _ = await member.publish()
            published[manifest.generation] = began
            await asyncio.sleep(max(0.0, began + _PAUSE_S - time.perf_counter()))
        end = time.perf_counter()
        await member.until_applied(member.generation)
        settled_s = member.applied[member.generation] - end
    bench.cannot(site.name, case, _CANNOT)
    # A plan's age counts from the moment when its successor was published: until then it is the newest.
    ages = _ages(published, {g: at for g, at in member.applied.items() if g >= first}, start, end)
    halves = [[age for at, age in ages if (at > (start + end) / 2) == late] for late in (False, True)]
    bench.record(*row, GREATEST, "s", max(age for _, age in ages))
    bench.record(*row, FIRST_HALF, "s", max(halves[0], default=0.0))
    bench.record(*row, SECOND_HALF, "s", max(halves[1], default=0.0))
    bench.record(*row, "plans published", "", len(published))
    bench.record(*row, "plans applied", "", sum(generation in published for generation in member.applied))
    bench.record(*row, "after the last plan", "s", settled_s)
    with contextlib.suppress(ValueError):
        bench.draw(
            Series(
                server=site.name,
                case=case,
                candidate=member.name,
                x_label="time (s)",
                y_label="age of what is served (s)",
                points=tuple((at - start, age) for at, age in ages),
            )
        )


def _ages(
    published: dict[int, float], applied: dict[int, float], start: float, end: float, step_s: float = 0.05
) -> list[tuple[float, float]]:
    """Return (time, age) at each moment: how long the plan served has no longer been the newest."""
    found = []
    at = start
    while at <= end:
        served = max((generation for generation, when in applied.items() if when <= at), default=0)
        newer = [when for generation, when in published.items() if generation > served and when <= at]
        found.append((at, at - min(newer) if newer else 0.0))
        at += step_s
    return found
