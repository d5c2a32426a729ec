"""The shortest way of naive enactors into the outage: all orders of their calls, by the machinery of small worlds.

A planner, two enactors, one endpoint. What each was told is part of a state, so a state
can be reached in one number of steps only; an order is given up as soon as it has as
many steps as the shortest way found by then. What is left in the end is the shortest of all.

Time stands still while any call waits: an enactor that backs off goes on when nobody
else can. That only leaves orders out that have more calls, those of its next try.

python -m tests.simulation.naive_shortest                        the way, call by call
python -m tests.simulation.naive_shortest --variant "by value"   that there is none without trees
"""

import asyncio
import gc
import heapq
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import click
from rich.console import Console
from rich.table import Table

from bench.naive.enactor import NaiveEnactor, Settings
from bench.naive.layout import alias_key, applied_key, lock_key, parse_tree, rollback_key, trees_of
from bench.naive.memory import GivenPlans, MemoryServer
from bench.naive.ports import Key, NaiveError, Outcome, Transaction, plan_of
from enactord.core.plan import read_plan
from tests.simulation.loop import run
from tests.simulation.naive import OUTAGE, VARIANTS
from tests.simulation.small import Director, InOrder, Seen, SmallWorld
from tests.world import WallClock, plan

ZONE = "small.test."
NAME = f"www.{ZONE}"
_LATER_PLANS = 2
_LATER_PLAN_S = 120.0
"""Longer than any back-off, and than a lock is held."""
_STEPS_MAX = 1000


class Act(NamedTuple):
    """One call, and what a client is served after it."""

    who: str
    what: str
    served: str


@dataclass(kw_only=True)
class Shortest:
    """What a search came to; no acts: in no order does the name end empty and stuck."""

    states: int = 0
    runs: int = 0
    steps: int = _STEPS_MAX
    """So many were chosen; the last of them emptied the name. All acts after it go by themselves."""
    acts: list[Act] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        if not self.acts:
            return "in no order is the name empty, and no later plan can be applied"
        return f"empty after {self.steps} steps, and no later plan can be applied; no order leads there in fewer"


class Stage:
    """One order of the calls: who did what, and what was served after it."""

    def __init__(self, director: Director, plans: int, keep_plans: int, settings: Mapping[str, bool]) -> None:
        self.director = director
        self.plans = GivenPlans()
        self.plans_first = plans
        self.server = MemoryServer(ZONE)
        self.acts: list[Act] = []
        self.emptied_after = 0
        self._served = ""
        self.enactors = {
            who: NaiveEnactor(
                Settings(holder=who, keep_plans=keep_plans, **settings),
                StageZone(self, who),
                self.plans,
                clock=WallClock(),
                rng=random.Random(who),
            )
            for who in ("e1", "e2")
        }

    @property
    def served(self) -> str:
        addresses = self.server.resolve(NAME).addresses
        return f"plan {addresses[0].split('.')[1]}" if addresses else "nothing"

    def note(self, who: str, what: str) -> None:
        """An act is over. The act that makes the name empty is the last that is chosen: all goes by itself then."""
        self.acts.append(Act(who, what, self.served))
        if self.served == "nothing" and self._served.startswith("plan") and not self.emptied_after:
            self.emptied_after = len(self.director.taken)
            self.director.let_go()
        self._served = self.served

    async def publish(self, generation: int) -> None:
        what = f"publishes plan {generation}"
        await self.director.step("planner", what)
        self.plans.publish(plan_of(read_plan(plan({NAME: [f"10.{generation}.0.1"]})), generation))
        self.director.tell("planner", what)
        self.note("planner", what)

    async def apply_once(self, who: str) -> None:
        """Take the newest plan, whenever that is chosen, and apply it; with no plan yet there is nothing to do."""
        await self.director.step(who, "takes the newest plan")
        newest = await self.plans.newest()
        self.director.tell(who, newest and newest.generation)
        if newest is not None:
            self.note(who, f"takes plan {newest.generation}")
            try:
                await self.enactors[who].apply(newest)
            except NaiveError as error:
                self.note(who, f"fails: {' '.join(map(_short, str(error).split()))}")

    async def planner(self) -> None:
        for generation in range(1, self.plans_first + 1):
            await self.publish(generation)


class StageZone:
    """One enactor's way to the zone; each call waits until it is chosen."""

    def __init__(self, stage: Stage, who: str) -> None:
        self._stage = stage
        self._who = who

    @property
    def name(self) -> str:
        return ZONE

    async def read(self, keys: Sequence[Key]) -> Mapping[Key, tuple[str, ...]]:
        what = "reads " + " and ".join(_NAMES.get(key, key.name) for key in keys)
        await self._stage.director.step(self._who, what)
        found = {key: self._stage.server.values(key) for key in keys}
        texts = ", ".join(" ".join(_short(value) for value in values) or "none" for values in found.values())
        self._told(f"{what}: {texts}", found)
        return found

    async def names_below(self, name: str) -> Sequence[str]:
        await self._stage.director.step(self._who, "lists the trees")
        found = [known for known in self._stage.server.names() if known.endswith("." + name)]
        self._told(f"lists the trees: {' '.join(map(_short, found)) or 'none'}", found)
        return found

    async def transact(self, transaction: Transaction) -> Outcome:
        what = describe(transaction)
        await self._stage.director.step(self._who, what)
        outcome = self._stage.server.apply(self._who, transaction)
        self._told(what if outcome is Outcome.DONE else f"{what}: refused, {outcome}", outcome)
        return outcome

    def _told(self, what: str, answer: object) -> None:
        self._stage.director.tell(self._who, (what, answer))
        self._stage.note(self._who, what)


_LOCK, _LIVE, _ROLLBACK, _APPLIED = lock_key(NAME, ZONE), alias_key(NAME), rollback_key(NAME, ZONE), applied_key(ZONE)
_NAMES = {_LOCK: "lock", _LIVE: "alias", _ROLLBACK: "rollback alias", _APPLIED: "last applied"}


def _short(value: str) -> str:
    """A tree by its plan's number, a lock by its holder."""
    tree = value.removesuffix(":")
    if tree.endswith("." + trees_of(ZONE)):
        return f"tree {parse_tree(tree, ZONE)[0]}{value[len(tree) :]}"
    return value.partition(" ")[0]


def describe(transaction: Transaction) -> str:
    """What a transaction is for, in words."""
    adds = {rrset.key: _short(rrset.values[0]) for rrset in transaction.adds}
    trees = list(dict.fromkeys(_short(key.name) for key in [*transaction.deletes, *adds] if key.rtype == "A"))
    trees = [tree for tree in trees if tree.startswith("tree")]
    parts = ["takes the lock"] if _LOCK in adds else []
    if _LIVE in adds:
        parts.append(f"flips the alias to {adds[_LIVE]}")
        parts += [f"the rollback alias to {adds[_ROLLBACK]}"] if _ROLLBACK in adds else []
    elif trees:
        parts.append(f"{'builds' if any(key.rtype == 'A' for key in adds) else 'deletes'} {', '.join(trees)}")
    elif Key(NAME, "A") in adds:
        parts.append(f"writes {adds[Key(NAME, 'A')]}")
    if _APPLIED in adds:
        parts.append(f"notes plan {adds[_APPLIED]} as applied")
    if _LOCK in transaction.deletes and _LOCK not in adds and any(transaction.exactly.values()):
        parts.append("gives the lock back")
    return ", ".join(parts)


def find_shortest(*, plans: int = 2, keep_plans: int = 0, **settings: bool) -> Shortest:
    """Try all orders of a planner that publishes so many plans and two enactors that each apply the newest once."""
    world = SmallWorld(name="naive", plans=())
    visited: set[bytes] = set()
    found = Shortest()
    queue: list[tuple[int, list[int]]] = [(0, [])]
    gc.disable()  # once for all runs, with a collection now and then
    while queue and queue[0][0] < found.steps:
        if found.runs % 200 == 0:
            gc.collect()
        director = Director(world, heapq.heappop(queue)[1], visited)
        found.runs += 1
        stage = run(InOrder(), _play(Stage(director, plans, keep_plans, settings), found.steps))
        for branch in director.branches:
            heapq.heappush(queue, (len(branch), branch))
        if stage is not None:
            found.steps, found.acts = stage.emptied_after, stage.acts
    gc.enable()
    found.states = len(visited)
    return found


async def _play(stage: Stage, steps_max: int) -> Stage | None:
    """One order, as far as it has fewer steps than the shortest so far; returns it if it ends empty and stuck."""
    director = stage.director
    tasks = [asyncio.ensure_future(act) for act in (stage.planner(), stage.apply_once("e1"), stage.apply_once("e2"))]

    def state() -> object:
        if len(director.taken) >= steps_max - 1:
            raise Seen
        names = stage.server.names()
        return [(key, stage.server.values(key)) for name in names for key in _keys(name)]

    director.free = False
    try:
        await director.direct(state, end=lambda: all(task.done() for task in tasks))
    except Seen:
        pass
    director.let_go()
    stuck = bool(stage.emptied_after) and await _is_stuck(stage, tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return stage if stuck else None


def _keys(name: str) -> list[Key]:
    return [Key(name, rtype) for rtype in ("A", "CNAME", "TXT")]


async def _is_stuck(stage: Stage, tasks: list[asyncio.Task[None]]) -> bool:
    """Whether later plans, which both enactors try by themselves and without faults, leave the name empty."""
    await asyncio.gather(*tasks)
    for generation in range(stage.plans_first + 1, stage.plans_first + 1 + _LATER_PLANS):
        await stage.publish(generation)
        for who in stage.enactors:
            async with asyncio.timeout(_LATER_PLAN_S):
                await stage.apply_once(who)
    return stage.served == "nothing"


@click.command()
@click.option("--variant", type=click.Choice(list(VARIANTS)), default=OUTAGE, show_default=True)
@click.option("--plans", type=click.IntRange(2), default=2, show_default=True, help="So many are published.")
@click.option("--keep-plans", type=click.IntRange(0), default=0, show_default=True, help="Trees that clean-up leaves.")
def main(variant: str, plans: int, keep_plans: int) -> None:
    """Print the fewest calls that lead from nothing into the outage; exit with 1 if no order of them does."""
    out = Console(highlight=False)
    found = find_shortest(plans=plans, keep_plans=keep_plans, **VARIANTS[variant])
    if found.acts:
        table = Table("", "who", "what", "served after it", box=None)
        for number, act in enumerate(found.acts, start=1):
            table.add_row(str(number), *act)
            if number == found.steps:
                table.add_row("", "", "[bold]nobody is delayed from here on[/bold]")
        out.print(table)
    out.print(f"{variant}: {found.verdict} ({found.states:,} states in {found.runs:,} runs)", soft_wrap=True)
    sys.exit(0 if found.acts else 1)


if __name__ == "__main__":
    main()
