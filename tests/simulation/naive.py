"""The naive enactor in the weather that the shipped engine is put through: what of it makes the outage.

python -m tests.simulation.naive --seeds 200                    how often each variant is stale, empty, stuck
python -m tests.simulation.naive --seed 3 --variant "no lock"   one seed again, with its trace
"""

import asyncio
import contextvars
import functools
import hashlib
import itertools
import json
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import NamedTuple, TypeVar

import click
from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench.naive.enactor import NaiveEnactor, Settings
from bench.naive.layout import alias_key, parse_tree
from bench.naive.memory import GivenPlans, MemoryServer
from bench.naive.ports import Key, Outcome, Transaction, ZoneFailed, plan_of
from enactord.core.plan import read_plan
from tests.simulation.history import History
from tests.simulation.hostile import Weather
from tests.simulation.loop import owner, run, simulated
from tests.simulation.scenario import HOSTILE_S, simulate
from tests.simulation.scenario import KINDS as ALL_KINDS
from tests.world import WallClock, fleet, plan

T = TypeVar("T")
OUT = Console(highlight=False)
ZONE = "naive.test."
OUTAGE = "as the outage had it"
VARIANTS: Mapping[str, Mapping[str, bool]] = {
    OUTAGE: {},
    "no clean-up": {"clean_up": False},
    "no rollback requirement": {"rollback_required": False},
    "by value": {"alias": False},
    "check before each endpoint": {"check_each": True},
    "no lock": {"lock": False},
    "no lock, no rollback requirement": {"lock": False, "rollback_required": False},
}
"""What differs from the outage's `bench.naive.enactor.Settings`."""

CALM = "as the outage had it, nobody delayed"
ENACTORD = "enactord"

KINDS = {kind: ALL_KINDS[kind] for kind in ("publish", "pause", "crash", "cut", "slow")}
"""Of what happens to the shipped engine, what has a meaning here; as often."""

_LEFT_BEHIND_S = 100.0
"""The longest back-off, the time until a lock is lost, and some: whoever is behind can come to an end."""
_EVENT_S = 1.5
"""Something happens that often, on average; without the rest, plans come as often as with it."""
_CALM_PLANS = 4
_CALM_PLAN_S = 60.0


class Wrong(NamedTuple):
    """A name that is not served as it should be."""

    at: float
    name: str
    plan: int
    """Whose content it serves; where that is none, whose tree it refers to. 0: of no plan."""
    after: int
    """The newest plan that the name ever served."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What was seen of a seed. `trace`: what was done and served, one line each, the same at every replay."""

    seed: int
    stale: tuple[Wrong, ...]
    """Each time that a name went back to an older plan (HAZARDS.md, S1)."""
    empty: tuple[Wrong, ...]
    """Each time that a name which was served became empty."""
    stuck: tuple[Wrong, ...]
    """The names that do not serve the newest plan although all faults have long stopped and plans keep coming."""
    steps: int
    faults: dict[str, int]
    trace: tuple[str, ...]

    @property
    def digest(self) -> str:
        """The trace and the steps in one short word."""
        return hashlib.sha256("\n".join([*self.trace, str(self.steps)]).encode()).hexdigest()[:16]


class World:
    """One seed's planner, three enactors, and a zone; made within its loop. `calm`: plans, and no faults or delays."""

    def __init__(self, seed: int, settings: Mapping[str, bool], *, calm: bool) -> None:
        rng = self.rng = random.Random(f"naive {seed}")
        self.settings = settings
        self.kinds = {"publish": KINDS["publish"]} if calm else KINDS
        self.pause_s = _EVENT_S * sum(KINDS.values()) / sum(self.kinds.values())
        self.weather = Weather(
            rng=random.Random(f"weather {seed}"),
            history=History(),
            lose=rng.choice([0.0, 0.01, 0.03]),
            late=rng.choice([0.0, 0.02, 0.05]),
            calm=calm,
        )
        if calm:
            self.weather.delay_max_s = 0.0
        self.server = MemoryServer(ZONE)
        self.plans = GivenPlans()
        self.generation = 0
        self.endpoints = rng.randint(1, 6)
        self.keep_plans = rng.choice([1, 3, 5])
        self.trace: list[str] = []
        self.served: dict[str, tuple[str, ...]] = dict.fromkeys(fleet(self.endpoints, zone=ZONE), ())
        self.wanted: dict[int, dict[str, tuple[str, ...]]] = {}
        self.highest = dict.fromkeys(self.served, 0)
        self.stale: list[Wrong] = []
        self.empty: list[Wrong] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.lives: dict[str, str] = {}
        self.deliveries: set[asyncio.Task[None]] = set()
        self.started = itertools.count(1)

    async def run(self) -> tuple[Wrong, ...]:
        """Go through it all; returns what is stuck."""
        loop = simulated()
        for name in ("e1", "e2", "e3"):
            self.start(name)
        await self.do_publish("")
        while loop.time() < HOSTILE_S:
            await asyncio.sleep(self.rng.expovariate(1 / self.pause_s))
            kind = self.rng.choices(list(self.kinds), list(self.kinds.values()))[0]
            self.weather.history.fault(kind)
            await getattr(self, f"do_{kind}")(self.rng.choice(sorted(self.tasks)))
        stuck = await self.converge()
        for task in self.tasks.values():
            task.cancel()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)
        return stuck

    async def converge(self) -> tuple[Wrong, ...]:
        """Faults stop, and nobody is behind; then each of some plans has a minute to be served in full.

        Returns the names that serve none of them.
        """
        self.weather.calm = True
        self.weather.cut_off.clear()
        self.weather.slow_s.clear()
        for life in self.lives.values():
            simulated().continue_owner(life)
        self.note("faults stop")
        await asyncio.sleep(self.weather.late_max_s + _LEFT_BEHIND_S)
        for _ in range(_CALM_PLANS):
            await self.do_publish("")
            deadline = simulated().now + _CALM_PLAN_S
            while simulated().now < deadline:
                if self.served == self.wanted[self.generation]:
                    return ()
                await asyncio.sleep(1.0)
        wanted = self.wanted[self.generation]
        return tuple(self.wrong(name) for name, addresses in self.served.items() if addresses != wanted[name])

    def start(self, name: str) -> None:
        """Start an enactor; its tasks carry its name, so that it can be stopped at any await."""
        life = self.lives[name] = f"{name}/{next(self.started)}"
        enactor = NaiveEnactor(
            Settings(holder=life, keep_plans=self.keep_plans, **self.settings),
            RoughZone(self, name, life),
            self.plans,
            clock=WallClock(),
            rng=random.Random(f"{life} {self.rng.random()}"),
            say=lambda line: self.note(f"{life}: {line}"),
        )
        token = owner.set(life)
        try:
            self.tasks[name] = asyncio.get_running_loop().create_task(enactor.run())
        finally:
            owner.reset(token)

    def note(self, line: str) -> None:
        self.trace.append(f"{simulated().now:10.3f} {line}")

    # -- what happens

    async def do_publish(self, name: str) -> None:
        self.generation += 1
        content = fleet(self.endpoints, self.generation, zone=ZONE)
        self.wanted[self.generation] = {name: tuple(sorted(addresses)) for name, addresses in content.items()}
        self.note(f"plan {self.generation} is published")
        self.plans.publish(plan_of(read_plan(plan(content)), self.generation))

    async def do_pause(self, name: str) -> None:
        life = self.lives[name]
        simulated().stop_owner(life)
        simulated().call_later(self.rng.uniform(0.1, 30.0), simulated().continue_owner, life)

    async def do_crash(self, name: str) -> None:
        simulated().kill_owner(self.lives[name])
        await asyncio.sleep(self.rng.uniform(0.0, 10.0))
        self.start(name)

    async def do_cut(self, name: str) -> None:
        self.weather.cut_off.add(name)
        simulated().call_later(self.rng.uniform(1.0, 25.0), self.weather.cut_off.discard, name)

    async def do_slow(self, name: str) -> None:
        self.weather.slow_s[ZONE] = self.rng.uniform(0.1, 3.0)
        simulated().call_later(self.rng.uniform(5.0, 30.0), lambda: self.weather.slow_s.pop(ZONE, None))

    # -- the zone

    def carry_out(self, by: str, transaction: Transaction) -> Outcome:
        """Let the server carry out a transaction, and look at what is served after it."""
        outcome = self.server.apply(by, transaction)
        for name, before in self.served.items():
            addresses = self.server.resolve(name).addresses
            if addresses == before:
                continue
            self.served[name] = addresses
            seen = self.wrong(name)
            if not addresses:
                self.empty.append(seen)
                self.note(f"{name} is empty and refers to plan {seen.plan}, by {by}")
                continue
            if seen.plan < seen.after:
                self.stale.append(seen)
            self.note(f"{name} serves plan {seen.plan}{f' after {seen.after}' * (seen.plan < seen.after)}, by {by}")
            self.highest[name] = max(seen.plan, seen.after)
        return outcome

    def wrong(self, name: str) -> Wrong:
        """What a name serves now, or refers to."""
        addresses = self.served[name]
        if addresses:
            generation = next(number for number, wanted in self.wanted.items() if wanted[name] == addresses)
        else:
            tree = next(iter(self.server.values(alias_key(name))), "")
            generation = parse_tree(tree, ZONE)[0] if tree else 0
        return Wrong(at=simulated().now, name=name, plan=generation, after=self.highest[name])

    def deliver_later(self, by: str, transaction: Transaction) -> None:
        """The network carries it, and does not stop when its sender does."""

        async def deliver() -> None:
            await asyncio.sleep(self.weather.rng.uniform(0.0, self.weather.late_max_s))
            self.carry_out(f"{by}, late", transaction)

        task = asyncio.get_running_loop().create_task(deliver(), context=contextvars.Context())
        self.deliveries.add(task)
        task.add_done_callback(self.deliveries.discard)


class RoughZone:
    """One enactor's way to the zone: slow, and it loses requests and answers."""

    def __init__(self, world: World, enactor: str, life: str) -> None:
        self._world = world
        self._enactor = enactor
        self._life = life

    @property
    def name(self) -> str:
        return ZONE

    async def read(self, keys: Sequence[Key]) -> Mapping[Key, tuple[str, ...]]:
        return await self._call(lambda: {key: self._world.server.values(key) for key in keys})

    async def names_below(self, name: str) -> Sequence[str]:
        return await self._call(lambda: [known for known in self._world.server.names() if known.endswith("." + name)])

    async def transact(self, transaction: Transaction) -> Outcome:
        def arrive() -> Outcome:
            if self._world.weather.happens("update late", self._world.weather.late):
                self._world.deliver_later(self._life, transaction)
                raise ZoneFailed("no answer in time")
            return self._world.carry_out(self._life, transaction)

        return await self._call(arrive)

    async def _call(self, call: Callable[[], T]) -> T:
        await self._travel("request lost")
        result = call()
        await self._travel("answer lost")
        return result

    async def _travel(self, loss: str) -> None:
        weather = self._world.weather
        await weather.delay(ZONE)
        if self._enactor in weather.cut_off or weather.happens(loss, weather.lose):
            raise ZoneFailed(loss)


def simulate_naive(seed: int, *, calm: bool = False, **settings: bool) -> Result:
    """Run one seed; `settings` is what differs from the outage's."""

    async def main() -> Result:
        world = World(seed, settings, calm=calm)
        stuck = await world.run()
        return Result(
            seed=seed,
            stale=tuple(world.stale),
            empty=tuple(world.empty),
            stuck=stuck,
            steps=simulated().steps,
            faults=dict(sorted(world.weather.history.faults.items())),
            trace=tuple(world.trace),
        )

    return run(seed, main())


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """In how many of the seeds something was seen."""

    variant: str
    seeds: int
    stale: int
    empty: int
    stuck: int
    violations: int = 0
    """Of any invariant at all; only the shipped engine is held to that."""

    @property
    def shares(self) -> tuple[str, str, str]:
        stale, empty, stuck = (f"{count / self.seeds:.1%}" for count in (self.stale, self.empty, self.stuck))
        return stale, empty, stuck


def count_naive(variant: str, seeds: Sequence[int], pool: Executor) -> Row:
    """Run the naive enactor, in a variant or calm, through the seeds."""
    settings = {"calm": True} if variant == CALM else VARIANTS[variant]
    runs = pool.map(functools.partial(simulate_naive, **settings), seeds)
    wrong = [(bool(each.stale), bool(each.empty), bool(each.stuck)) for each in _shown(runs, variant, len(seeds))]
    return _row(variant, wrong)


def count_enactord(seeds: Sequence[int], pool: Executor) -> Row:
    """Run the shipped engine through the seeds; its world has all that happens to the naive one, and more."""
    outcomes = list(_shown(pool.map(simulate, seeds), ENACTORD, len(seeds)))
    rules = [{violation[:2] for violation in outcome.violations} for outcome in outcomes]
    wrong = [(not seen.isdisjoint({"I1", "I3", "I7"}), "I2" in seen, "I5" in seen) for seen in rules]
    return replace(_row(ENACTORD, wrong), violations=sum(len(outcome.violations) for outcome in outcomes))


def _shown(runs: Iterable[T], what: str, total: int) -> Iterable[T]:
    return track(runs, what, total, console=OUT, transient=True, disable=not OUT.is_terminal)


def _row(variant: str, wrong: Sequence[tuple[bool, bool, bool]]) -> Row:
    stale, empty, stuck = map(sum, zip(*wrong, strict=True))
    return Row(variant=variant, seeds=len(wrong), stale=stale, empty=empty, stuck=stuck)


@click.command()
@click.option("--seeds", type=click.IntRange(1), default=200, show_default=True, help="How many seeds.")
@click.option("--first", type=int, default=0, show_default=True, help="The first of them.")
@click.option("--seed", type=int, help="This one seed alone, with its trace.")
@click.option("--variant", type=click.Choice([*VARIANTS, CALM]), help="This variant alone.")
@click.option("--jobs", type=click.IntRange(1), default=2, show_default=True, help="Processes.")
@click.option("--json", "form", flag_value="json", help="One JSON document.")
@click.option("--markdown", "form", flag_value="markdown", help="A table for a document.")
def main(seeds: int, first: int, seed: int | None, variant: str | None, jobs: int, form: str | None) -> None:
    """Run the naive enactor, and what it would be without each of its parts, in hostile worlds drawn from seeds.

    Beside it the shipped engine, on the same seeds, in a world that is harsher still.
    """
    if seed is not None:
        _print_seed(seed, variant or OUTAGE)
        return
    start = time.monotonic()
    numbers = range(first, first + seeds)
    with ProcessPoolExecutor(jobs) as pool:
        rows = [count_naive(each, numbers, pool) for each in ([variant] if variant else [*VARIANTS, CALM])]
        if variant is None:
            rows.append(count_enactord(numbers, pool))
    took = f"share of {seeds} seeds, from {first} on; {time.monotonic() - start:.0f} s in {jobs} processes"
    if variant is None:
        took += f"; enactord: {rows[-1].violations} violations of any invariant"
    if form == "json":
        click.echo(json.dumps({"first": first, "seeds": seeds, "rows": [asdict(row) for row in rows]}, indent=2))
    elif form == "markdown":
        click.echo("| enactor | stale | empty | stuck at the end |\n|---|---|---|---|")
        for row in rows:
            click.echo(f"| {' | '.join((row.variant, *row.shares))} |")
        click.echo(f"\n({took})")
    else:
        table = Table("enactor", "stale", "empty", "stuck at the end", box=None)
        for row in rows:
            table.add_row(row.variant, *row.shares)
        OUT.print(table)
        OUT.print(took)


def _print_seed(seed: int, variant: str) -> None:
    seen = simulate_naive(seed, **({"calm": True} if variant == CALM else VARIANTS[variant]))
    for text in seen.trace:
        click.echo(text)
    stuck = ", ".join(f"{wrong.name} at plan {wrong.plan}" for wrong in seen.stuck) or "none"
    click.echo(f"seed {seed}: stale {len(seen.stale)} times, empty {len(seen.empty)} times, stuck: {stuck}")
    click.echo(f"trace {seen.digest}, {seen.steps} steps")


if __name__ == "__main__":
    main()
