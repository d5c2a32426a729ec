"""Small worlds, exhaustively: every order in which the calls of two enactors can reach the store and the zone.

An enactor meets the world only through its ports, and is deterministic in what they
answer. So it is enough to choose, again and again, which of the calls under way is
carried out next (and, within a budget, how it fails), until nothing is left to happen.
The search replays a prefix of choices and goes on from there; it does not go on from a
state that it has seen: store, zone, clock, and what each enactor has asked and been told.
"""

import asyncio
import gc
import hashlib
import random
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.table import Table

from enactord.backends.memory import MemoryServer
from enactord.core.errors import EnactordError, StoreDown
from enactord.core.fence import FenceSeen, parse_fence
from enactord.core.kv import Changes, Compare, Item, Operation, Page, Put, Result
from enactord.core.plan import Manifest, read_plan
from enactord.core.records import NO_RECORDS, Committed, Outcome, Records, Served, Transaction, Unknown
from enactord.core.refusal import Refusal
from enactord.core.retention import Keep
from enactord.engine.apply import apply
from enactord.engine.enactor import Enactor
from enactord.engine.passes import Interrupted
from enactord.engine.settings import Ports, Settings, ZonePorts, ZoneSettings
from enactord.ports import Verifier
from enactord.store.keys import Keys, installation_value
from enactord.store.plans import Orders, Plans
from enactord.stores.memory import MemoryStore
from tests.simulation.checkers import check
from tests.simulation.history import Applied, Asked, Edited, History, Published, line
from tests.simulation.hostile import WatchedStore
from tests.simulation.loop import owner, run, simulated
from tests.world import SCOPE, DictCopy, JumpingClock, Recorder, WallClock, draw_marks, plan, tolerant

T = TypeVar("T")
HEAR = "hear of the store"
ZONE = "small.test."
KEYS = Keys(SCOPE)
_IDLE_ROUNDS = 12
"""So many timers without any call: nothing more will happen."""


class Seen(Exception):
    """This state was reached before, by another order."""


class InOrder:
    """Ready callbacks run in the order in which they became so: the choices are made elsewhere."""

    def shuffle(self, x: list[Any], /) -> None:
        pass


@dataclass
class Step:
    """A call under way: who makes it, what it is, and in which ways it may end."""

    who: str
    what: str
    ways: tuple[str, ...]
    go: asyncio.Future[str]


class Director:
    """Holds every call until it is chosen, and remembers what everybody was told."""

    def __init__(self, world: "SmallWorld", choices: Sequence[int], visited: set[bytes]) -> None:
        self._at_once = world.at_once
        self._failures = world.failures
        self._choices = deque(choices)
        self._visited = visited
        self.faults = world.faults
        self.free = True
        self.pending: list[Step] = []
        self.told: dict[str, Any] = {}
        self.taken: list[int] = []
        self.branches: list[list[int]] = []
        self.steps: list[str] = []

    async def step(self, who: str, what: str, *failures: str) -> str:
        """Wait until this call is chosen; returns the way in which it is to end, "" for well."""
        if self.free:
            return ""
        ways = ("", *(way for way in failures if way in self._failures)) if self.faults else ("",)
        chosen = Step(who, what, ways, simulated().create_future())
        self.pending.append(chosen)
        try:
            return await chosen.go
        finally:
            if chosen in self.pending:
                self.pending.remove(chosen)  # cancelled

    async def hear(self, who: str) -> None:
        """Wait until the listener may hear of the store."""
        if not self._at_once:
            await self.step(who, HEAR)

    def tell(self, who: str, what: object) -> None:
        """An answer goes into what its asker knows."""
        known = self.told.setdefault(who, hashlib.blake2b(digest_size=16))
        known.update(repr(what).encode())

    def let_go(self) -> None:
        """From now on every call goes at once, and well; what waits goes too."""
        self.free = True
        for step in self.pending:
            if not step.go.done():
                step.go.set_result("")

    async def direct(self, state: Callable[[], object], *, end: Callable[[], bool]) -> None:
        """Choose until nothing is left to happen. Raises `Seen` where another order has been before."""
        loop = simulated()
        self.free = False
        idle = 0
        while not end():
            await _settle(loop)
            if not self.pending:
                idle += 1
                if idle > _IDLE_ROUNDS or not loop._scheduled:  # type: ignore[attr-defined]
                    return
                await asyncio.sleep(max(0.0, loop._scheduled[0].when() - loop.time()) + 1e-9)  # type: ignore[attr-defined]
                continue
            idle = 0
            busy = {step.who for step in self.pending if step.what != HEAR}
            steps = [step for step in self.pending if step.what != HEAR or step.who not in busy]
            options = [(step, way) for step in sorted(steps, key=lambda s: (s.who, s.what)) for way in step.ways]
            if self._choices:
                choice = self._choices.popleft()
            else:
                told = [(who, digest.hexdigest()) for who, digest in sorted(self.told.items())]
                waiting = [(step.who, step.what) for step, _ in options]
                mark = repr((told, waiting, self.faults, round(loop.now, 6), state())).encode()
                digest = hashlib.blake2b(mark, digest_size=16).digest()
                if digest in self._visited:
                    raise Seen
                self._visited.add(digest)
                self.branches.extend([*self.taken, other] for other in range(1, len(options)))
                choice = 0
            step, way = options[choice]
            self.taken.append(choice)
            self.steps.append(f"{step.who}: {step.what}{' -> ' + way if way else ''}")
            self.faults -= bool(way)
            self.pending.remove(step)
            step.go.set_result(way)


async def _settle(loop: Any) -> None:
    """Let everything run that can run by itself."""
    await asyncio.sleep(0)
    while loop._ready:
        await asyncio.sleep(0)


class SmallStore:
    """One enactor's way to the store."""

    def __init__(self, store: MemoryStore, director: Director, who: str) -> None:
        self._store = store
        self._director = director
        self._who = who

    async def _call(self, what: str, call: Callable[[], Awaitable[T]]) -> T:
        if await self._director.step(self._who, what, "request lost"):
            self._director.tell(self._who, (what, "lost"))
            raise StoreDown("lost")
        result = await call()
        self._director.tell(self._who, (what, result))
        return result

    async def range(self, start: str, end: str = "", *, revision: int = 0, limit: int = 0) -> Page:
        return await self._call(f"range {start}", lambda: self._store.range(start, end, revision=revision, limit=limit))

    async def get(self, keys: Sequence[str]) -> dict[str, Item]:
        return await self._call(f"get {' '.join(keys)}", lambda: self._store.get(keys))

    async def transact(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> Result:
        what = "transact " + " ".join(type(o).__name__ + " " + o.key.removeprefix(KEYS.root) for o in operations)
        return await self._call(what, lambda: self._store.transact(compares, operations))

    async def watch(self, prefix: str, *, start_revision: int) -> AsyncIterator[Changes]:
        """Whoever listens hears, whenever that is chosen, all that has happened by then."""
        following = start_revision
        while True:
            while self._store._revision < following:
                await self._store._changed.wait()
            await self._director.hear(self._who)
            news = [changes for changes in self._store._log if changes.revision >= following]
            following = self._store._revision + 1
            self._director.tell(self._who, following)
            for changes in news:
                yield changes

    async def grant(self, ttl_s: int) -> int:
        return await self._store.grant(10**6)

    async def keep_alive(self, lease: int) -> None:
        await self._store.keep_alive(lease)

    async def revoke(self, lease: int) -> None:
        await self._store.revoke(lease)

    async def close(self) -> None:
        pass


class SmallZone:
    """One enactor's way to the zone. A write may be lost, lose its answer, or arrive at any later time."""

    def __init__(self, server: MemoryServer, director: Director, who: str, history: History) -> None:
        self._server = server
        self._director = director
        self._who = who
        self._history = history

    async def negative_ttl_s(self) -> int | None:
        return self._server.negative_ttl_s

    async def write(self, transaction: Transaction) -> Outcome:
        names = tuple(change.name for change in transaction.changes)
        what = f"write {' '.join(names)} under {_name(transaction.fence_seen)}"
        if transaction.fence_after is not None:
            what = f"open {transaction.fence_after.generation} in the zone"
        self._ask("write", names)
        way = await self._director.step(self._who, what, "request lost", "answer lost", "late")
        outcome: Outcome = Unknown(detail=way)
        if way == "late":
            asyncio.get_running_loop().create_task(self._arrive(transaction, what))
        elif way != "request lost":
            done = self._carry_out(transaction)
            outcome = outcome if way else done
        if way:
            self._ask("unknown", names)
        self._director.tell(self._who, (what, outcome))
        return outcome

    async def _arrive(self, transaction: Transaction, what: str) -> None:
        await self._director.step(f"the network, for {self._who}", what)
        self._carry_out(transaction)

    def _carry_out(self, transaction: Transaction) -> Outcome:
        before = parse_fence(self._server.fence)
        outcome = self._server.apply(transaction)
        if isinstance(outcome, Committed):
            self._history.add(
                Applied(
                    at=simulated().now,
                    by=self._who,
                    zone=ZONE,
                    carried=parse_fence(transaction.fence_seen),
                    before=before,
                    after=parse_fence(self._server.fence),
                    changes=tuple(transaction.changes),
                )
            )
        return outcome

    async def read(self, names: Sequence[str]) -> Mapping[str, Served]:
        await self._director.step(self._who, f"read {' '.join(names)}")
        answer = {name: self._server.serve(name) for name in names}
        self._ask("read", tuple(names))
        self._director.tell(self._who, answer)
        return answer

    async def read_fence(self) -> FenceSeen:
        await self._director.step(self._who, "read the fence")
        self._director.tell(self._who, self._server.fence)
        return self._server.fence

    async def close(self) -> None:
        pass

    def _ask(self, what: str, names: tuple[str, ...]) -> None:
        if names:
            self._history.add(Asked(at=simulated().now, by=self._who, zone=ZONE, what=what, names=names))


def _name(seen: FenceSeen) -> str:
    fence = parse_fence(seen)
    return str(fence.generation) if fence else "no fence"


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallWorld:
    """Plans, as lists of addresses by name, and what two enactors do at the same time."""

    name: str
    plans: tuple[Mapping[str, Sequence[str]], ...]
    first: str = "apply 1"
    second: str = "apply 2"
    """What each does, once: apply a plan, look (and repair), or prune (keeping nothing)."""
    applied: int = 0
    """Up to which plan all is applied before, by the first."""
    later: bool = False
    """Whether the second's clock is an hour ahead, so that guards which look back let more pass."""
    at_once: bool = False
    """Whether watches tell at once, or as late as can be: when their listener waits for nothing else."""
    faults: int = 0
    """How many calls may fail."""
    failures: tuple[str, ...] = ("request lost", "answer lost", "late")
    edit: bool = False
    """Whether a foreign hand empties the first name at some moment."""


@dataclass(kw_only=True)
class Explored:
    """What a search came to."""

    world: SmallWorld
    states: int = 0
    runs: int = 0
    complete: bool = True
    violations: list[str] = field(default_factory=list)
    trace: list[str] = field(default_factory=list)
    """Of the first violation: what happened, step by step."""


def explore(world: SmallWorld, *, states_max: int = 10**9) -> Explored:
    """Try every order, breadth first, so that the first violation found is the shortest."""
    visited: set[bytes] = set()
    found = Explored(world=world)
    queue: deque[list[int]] = deque([[]])
    gc.disable()  # once for all runs, with a collection now and then
    while queue:
        if len(visited) >= states_max:
            found.complete = False
            break
        if found.runs % 200 == 0:
            gc.collect()
        director = Director(world, queue.popleft(), visited)
        found.runs += 1
        violations, trace = run(InOrder(), _play(world, director))
        queue.extend(director.branches)
        if violations:
            found.violations, found.trace = violations, trace
            break
    gc.enable()
    found.states = len(visited)
    return found


async def _play(world: SmallWorld, director: Director) -> tuple[list[str], list[str]]:
    """One order: the chosen prefix, then the first of each choice; returns what was violated, and the steps.

    Before and after, all goes by itself: plans are published, caches loaded; and in the end
    both enactors are let run as they do, and must bring the newest plan about.
    """
    history = History()
    store = WatchedStore(history, KEYS, [ZONE])
    server = MemoryServer(ZONE)
    enactors = {who: _enactor(who, store, server, director, history) for who in ("e1", "e2")}
    tasks: list[asyncio.Task[Any]] = []

    def start(who: str, call: Awaitable[None]) -> asyncio.Task[Any]:
        token = owner.set(who)
        task = asyncio.ensure_future(call)
        owner.reset(token)
        tasks.append(task)
        return task

    await store.transact((), (Put(key=KEYS.installation, value=installation_value(draw_marks("the world")())),))
    for enactor in enactors.values():
        await enactor.session.keep({})
        await enactor.cache.load(enactor.ports.store)
        enactor.health.store_is_up(enactor.cache.revision)
        start(enactor.settings.id, enactor._follower.follow())
    for number, content in enumerate(world.plans, start=1):
        await _publish(store, history, content)
        if number <= world.applied:
            await _until(lambda n=number: all(e.cache.head == n for e in enactors.values()))  # type: ignore[misc]
            await _do(enactors["e1"], f"apply {number}")
    await _until(lambda: all(e.cache.revision == store._revision for e in enactors.values()))
    acts = {"e1": _do(enactors["e1"], world.first), "e2": _do(enactors["e2"], world.second)}
    if world.edit:
        acts["a foreign hand"] = _after(director, "a foreign hand", "empty", lambda: _empty(server, history))
    if world.later:
        clock = enactors["e2"].ports.clock
        assert isinstance(clock, JumpingClock)
        clock.offset_s = 3600.0
    director.free = False
    doing = [start(who, act) for who, act in acts.items()]

    def state() -> object:
        items = [(key, item) for key in sorted(store._versions) if (item := store._now(key)) is not None]
        return items, server.fence, [(name, server.serve(name)) for name in server.names()]

    violations: list[str] = []
    try:
        await director.direct(state, end=lambda: all(task.done() for task in doing))
        director.let_go()
        for enactor in enactors.values():
            start(enactor.settings.id, enactor._apply_loop())
            start(enactor.settings.id, enactor._looks.run(ZONE))
        await asyncio.sleep(90.0)
        violations = _unlike(world, server)
    except Seen:
        pass
    violations = check(history.facts, zones=[ZONE], removed_max_ratio=1.0, honest=True) + violations
    director.let_go()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    facts = [line(fact) for fact in history.facts if not isinstance(fact, Asked)]
    return violations, [*director.steps, "", *facts] if violations else []


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


async def _publish(store: MemoryStore, history: History, content: Mapping[str, Sequence[str]]) -> None:
    draft = read_plan(plan(content))
    published = await Plans(store, KEYS, WallClock(), zones=[ZONE]).publish(draft, Orders())
    assert isinstance(published, Manifest)
    contents = dict(draft.endpoints)
    history.add(Published(at=simulated().now, generation=published.generation, mark=published.mark, contents=contents))


async def _do(enactor: Enactor, act: str) -> None:
    """One act of an enactor, once; what interrupts it ends it."""
    verb, _, number = act.partition(" ")
    try:
        if verb == "apply":
            manifest = enactor.cache.manifest(int(number))
            assert manifest is not None
            chosen = await enactor._choosing._judge(manifest)
            assert not isinstance(chosen, Refusal)
            await apply(*chosen, ZONE, enactor._deps, again=True)
        elif verb == "look":
            await enactor.repairer.look(ZONE, paced=False)
        else:
            assert act == "prune", act
            await enactor._pruner.prune()
    except (EnactordError, Interrupted):
        pass


async def _after(director: Director, who: str, what: str, call: Callable[[], Awaitable[None]]) -> None:
    await director.step(who, what)
    await call()


async def _empty(server: MemoryServer, history: History) -> None:
    name = min(server.names(), default="")
    if name:
        server.put_foreign(name)
        history.add(Edited(at=simulated().now, zone=ZONE, name=name, records=NO_RECORDS))


def _enactor(who: str, store: MemoryStore, server: MemoryServer, director: Director, history: History) -> Enactor:
    settings = ZoneSettings(name=ZONE, batch_names_max=1, in_flight_max=2)
    zone = SmallZone(server, director, who, history)
    ports = Ports(
        store=SmallStore(store, director, who),
        zones={
            ZONE: ZonePorts(settings=settings, zone=zone, verifiers=[Verifier(server="memory", bulk=zone, sample=zone)])
        },
        clock=JumpingClock(),
        observer=Recorder(),
        copy=DictCopy(),
        draw_mark=draw_marks(who),
    )
    chosen = Settings(
        id=who,
        scope=SCOPE,
        zones=[settings],
        limits=tolerant(),
        keep=Keep(plans=0),
        verify_timeout_s=0.01,
        head_start_s=0.0,
    )
    return Enactor(chosen, ports, random.Random(who))


def _unlike(world: SmallWorld, server: MemoryServer) -> list[str]:
    """What is not as the last plan says, when nothing is left to happen."""
    wanted = {name: set(addresses) for name, addresses in world.plans[-1].items()}
    served: dict[str, set[str]] = {name: set(_records(server, name).texts()) for name in server.names()}
    return [] if served == wanted else [f"I5: at the end {served} is served, not {wanted}"]


def _records(server: MemoryServer, name: str) -> Records:
    return server.serve(name).records


ONE = f"a.{ZONE}"
TWO = f"b.{ZONE}"
OLD, NEW = {ONE: ["10.0.0.1"]}, {ONE: ["10.0.0.2"]}
WORLDS: tuple[SmallWorld, ...] = (
    SmallWorld(name="an old plan and a new one, one endpoint", plans=(OLD, NEW)),
    SmallWorld(
        name="an old plan and a new one, two endpoints",
        plans=({ONE: ["10.0.0.1"], TWO: ["10.0.1.1"]}, {ONE: ["10.0.0.2"], TWO: ["10.0.1.2"]}),
    ),
    SmallWorld(
        name="a plan, and one that flips back", plans=(OLD, NEW, OLD), first="apply 2", second="apply 3", applied=1
    ),
    SmallWorld(name="both apply the same plan", plans=(OLD, NEW), first="apply 2", applied=1),
    SmallWorld(name="an old plan and a new one, a call fails", plans=(OLD, NEW), faults=1),
    SmallWorld(name="repair beside a new plan, a foreign hand", plans=(OLD, NEW), first="look", applied=1, edit=True),
    SmallWorld(
        name="repair of a held name beside its release",
        plans=tuple({ONE: [f"10.0.{count}.{number}" for number in range(count)]} for count in (4, 2, 1)),
        first="look",
        second="apply 3",
        applied=3,
        later=True,
        faults=1,
        failures=("late",),
        edit=True,
    ),
    SmallWorld(name="prune beside a new plan", plans=(OLD, NEW), first="prune", applied=1),
    SmallWorld(name="prune beside an old plan", plans=(OLD, NEW), first="apply 1", second="prune"),
)


@click.command()
@click.option("--world", "wanted", default="", help="This one alone: a part of its name.")
@click.option("--states", type=click.IntRange(1), default=10**9, help="Stop after so many.")
def main(wanted: str, states: int) -> None:
    """Go through the small worlds in every order, and print how many states each has."""
    out = Console(highlight=False)
    table = Table("world", "states", "runs", "complete", "violations", "seconds", box=None)
    wrong = 0
    for world in WORLDS:
        if wanted in world.name:
            start = time.monotonic()
            found = explore(world, states_max=states)
            wrong += len(found.violations)
            took = f"{time.monotonic() - start:.0f}"
            complete = "yes" if found.complete else "no"
            table.add_row(
                world.name, f"{found.states:,}", f"{found.runs:,}", complete, str(len(found.violations)), took
            )
            for text in (*found.violations, *found.trace):
                out.print(text, soft_wrap=True)
    out.print(table)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
