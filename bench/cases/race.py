"""The outage's race, step by step, against the naive enactor and against enactord.

Two (enactord: three) enactors apply plans. One gets stuck half way through plan 4. The others
go on to plan 10. Right before they clean up, the stuck one wakes and does what it had
still to do. Then plans go on coming, and clients ask for the names all the while.
"""

import asyncio
import contextlib
import random
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

import psutil  # type: ignore[import-untyped]

from bench.candidates.enactord import Enactord
from bench.fleet import ANSWERS_MAX, Fleet
from bench.naive.dns import DnsZone
from bench.naive.enactor import NaiveEnactor, Settings
from bench.naive.memory import GivenPlans
from bench.naive.ports import Key, NaiveError, Outcome, Transaction, Zone, plan_of
from bench.runner import Bench
from bench.sites import Site, open_site
from bench.watching import Watch
from enactord.clock import SystemClock
from enactord.core.plan import read_plan
from tests.servers.proxy import Proxy, is_batch

STALE, EMPTY = "served stale", "served empty"
HEALED, PERSON = "names well at the end", "needs a person (1: yes)"
STUCK_AT, LAST = 4, 10
KEEP_PLANS = 5
_WATCHED = 20
_ZONES = ("naive.test.", "enactord.test.")
_HELD_LIMIT_S = 30.0
_CANNOT = dict.fromkeys(("naive-batched", "nsupdate", "octoDNS"), "knows no generations: whoever writes last wins")


async def run(bench: Bench) -> None:
    for server, count in bench.sizes.places:
        case = f"{count:,} endpoints, stuck in plan {STUCK_AT}, awake after plan {LAST}"
        with open_site(server, _ZONES) as site:
            await _naive(bench, site, case, Fleet(_ZONES[0], count))
            await _enactord(bench, site, case, Fleet(_ZONES[1], count))
        bench.cannot(server, case, _CANNOT)


class _Gated:
    """A naive enactor's zone, whose calls wait where a gate says so."""

    def __init__(self, zone: Zone) -> None:
        self._zone = zone
        self.writes_left: int | None = None
        self.stuck = asyncio.Event()
        self.awake = asyncio.Event()
        self.cleaning = asyncio.Event()
        self.may_clean = asyncio.Event()
        self.awake.set()
        self.may_clean.set()

    @property
    def name(self) -> str:
        return self._zone.name

    async def read(self, keys: Sequence[Key]) -> Mapping[Key, tuple[str, ...]]:
        return await self._zone.read(keys)

    async def names_below(self, name: str) -> Sequence[str]:
        self.cleaning.set()
        await self.may_clean.wait()
        return await self._zone.names_below(name)

    async def transact(self, transaction: Transaction) -> Outcome:
        if self.writes_left is not None:
            self.writes_left -= 1
            if self.writes_left < 0:
                self.stuck.set()
                await self.awake.wait()
        return await self._zone.transact(transaction)


async def _naive(bench: Bench, site: Site, case: str, fleet: Fleet) -> None:
    bench.tell(f"{site.name}: the race, naive")
    zones = [
        DnsZone(
            fleet.zone,
            host=site.server.host,
            port=site.server.port,
            key=site.foreign_key,
            transfer_key=site.key,
        )
        for _ in range(2)
    ]
    gates = [_Gated(zone) for zone in zones]
    fast, slow = (
        NaiveEnactor(
            Settings(holder=holder, keep_plans=KEEP_PLANS, lock_ttl_s=1),
            gate,
            GivenPlans(),
            clock=SystemClock(),
            rng=random.Random(holder),
        )
        for holder, gate in zip(("fast", "slow"), gates, strict=True)
    )

    async def apply(enactor: NaiveEnactor, generation: int) -> None:
        fleet.step()
        assert fleet.version(fleet.names[0]) == generation
        await enactor.apply(plan_of(read_plan(fleet.document()), generation, answers_max=ANSWERS_MAX))

    tasks: list[asyncio.Task[None]] = []
    try:
        async with _watch(site, fleet) as watch:
            for generation in range(1, STUCK_AT):
                await apply(fast, generation)
            gates[1].writes_left = len(fleet.names)  # two a name: it gets half way
            gates[1].awake.clear()
            tasks.append(asyncio.create_task(apply(slow, STUCK_AT)))
            await gates[1].stuck.wait()
            for generation in range(STUCK_AT + 1, LAST):
                await apply(fast, generation)
            gates[0].cleaning.clear()
            gates[0].may_clean.clear()
            tasks.append(asyncio.create_task(apply(fast, LAST)))
            await gates[0].cleaning.wait()
            gates[1].awake.set()
            await tasks[0]  # it finishes plan 4, over plan 10
            await watch.look()
            gates[0].may_clean.set()
            await tasks[1]  # clean-up deletes what is old, and with it what is served

            async def publish(generation: int) -> None:
                with contextlib.suppress(NaiveError):
                    await apply(fast, generation)

            last = await _go_on(bench, watch, publish)
            _write_down(bench, site, case, "naive", watch, last)
    finally:
        for task in tasks:
            task.cancel()
        for zone in zones:
            await zone.close()


async def _enactord(bench: Bench, site: Site, case: str, fleet: Fleet) -> None:
    bench.tell(f"{site.name}: the race, enactord")
    async with Proxy(site.server.host, site.server.port) as proxy:
        member = Enactord(site, fleet, enactors=3, last_through=f"{proxy.host}:{proxy.port}")
        await member.prepare()
        try:
            async with _watch(site, fleet) as watch:
                for _ in range(1, STUCK_AT):
                    fleet.step()
                    await member.apply()
                proxy.hold(is_batch)
                await _until_held(member, proxy)
                psutil.Process(member.pids[-1]).send_signal(signal.SIGSTOP)
                stuck_at = member.generation
                while member.generation < stuck_at + LAST - STUCK_AT:
                    fleet.step()
                    await member.until_applied((await member.publish())[0].generation)
                psutil.Process(member.pids[-1]).send_signal(signal.SIGCONT)
                proxy.release()
                await watch.look()

                async def publish(generation: int) -> None:
                    fleet.step()
                    await member.until_applied((await member.publish())[0].generation)

                await _go_on(bench, watch, publish)
                _write_down(bench, site, case, "enactord 3, etcd", watch, fleet.version(fleet.names[0]))
                refused = member.counts.get("write.refused_stale", 0)
                bench.record(site.name, case, "enactord 3, etcd", "late refusals it heard of", "", refused)
        finally:
            await member.close()


async def _until_held(member: Enactord, proxy: Proxy) -> None:
    """Publish until a batch of the last enactor is under way and held; the others finish the plan without it."""
    async with asyncio.timeout(_HELD_LIMIT_S):
        while not proxy.held:
            member.fleet.step()
            manifest, _, _ = await member.publish()
            await member.until_applied(manifest.generation)


def _watch(site: Site, fleet: Fleet) -> Watch:
    """Watch names from all of the order in which they are walked over."""
    step = max(1, len(fleet.names) // _WATCHED)
    names = sorted(fleet.names)[::step]
    return Watch(host=site.server.host, port=site.server.port, names=names, generation_of=Fleet.version_of)


async def _go_on(bench: Bench, watch: Watch, publish: Callable[[int], Awaitable[None]]) -> int:
    """Let plans go on coming for a while; returns the number of the last."""
    end = time.perf_counter() + bench.sizes.seconds
    generation = LAST
    while time.perf_counter() < end:
        generation += 1
        began = time.perf_counter()
        await publish(generation)
        await asyncio.sleep(max(0.0, began + 1.0 - time.perf_counter()))
    await watch.look()
    return generation


def _write_down(bench: Bench, site: Site, case: str, candidate: str, watch: Watch, last: int) -> None:
    row = (site.name, case, candidate)
    well = sum(sight.now == last for sight in watch.sights.values())
    bench.record(*row, STALE, "s", watch.stale_s)
    bench.record(*row, EMPTY, "s", watch.empty_s)
    bench.record(*row, HEALED, "%", 100 * well / len(watch.sights))
    bench.record(*row, PERSON, "", float(well < len(watch.sights)))
    if well < len(watch.sights):
        bench.remark(*row, f"still so at the end of the watch, {bench.sizes.seconds:g} s and as many plans later")
