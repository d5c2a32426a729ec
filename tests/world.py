"""A whole scope in memory: store, zones and enactors, with hands to disturb them."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from enactord.backends.memory import MemoryServer, MemoryZone
from enactord.core.errors import StoreDown, StoreFull, ZoneDown
from enactord.core.events import Event, StepFailed
from enactord.core.fence import FenceSeen
from enactord.core.guards import Limits
from enactord.core.kv import Item, Operation, Put
from enactord.core.ledger import Hold
from enactord.core.plan import Manifest, read_plan
from enactord.core.records import NO_RECORDS, Outcome, Served, Transaction
from enactord.core.refusal import Refusal
from enactord.core.retention import Keep
from enactord.engine.enactor import Enactor
from enactord.engine.settings import Ports, Settings, ZonePorts, ZoneSettings
from enactord.ports import Verifier
from enactord.store.cache import Cache
from enactord.store.keys import Keys
from enactord.store.plans import Orders, Plans
from enactord.stores.memory import MemoryStore

SCOPE = "test"
ZONE = "example.test."


def plan(endpoints: Mapping[str, Sequence[str]], **changes: Any) -> dict[str, Any]:
    """A plan document; endpoints are name to addresses, each of weight 10."""
    return {
        "schema": "enactord.plan/v1",
        "scope": SCOPE,
        "author": "test",
        "endpoints": {
            name: {"ttl_s": 5, "targets": [{"address": a, "weight": 10} for a in addresses]}
            for name, addresses in endpoints.items()
        },
    } | changes


def fleet(count: int, generation: int = 1, *, addresses: int = 2, zone: str = ZONE) -> dict[str, list[str]]:
    """Endpoints whose addresses tell the generation: 10.<generation>.<n>.<i>."""
    return {
        f"n{number:05d}.{zone}": [
            f"10.{generation % 256}.{number % 256}.{1 + i + 8 * (number // 256 % 16)}" for i in range(addresses)
        ]
        for number in range(count)
    }


class WallClock:
    """The loop's own time as the time of day, so that a virtual loop has virtual days."""

    def now(self) -> float:
        return 1_800_000_000.0 + asyncio.get_running_loop().time()


class TickingClock(WallClock):
    """A clock that never says the same time twice, as the time of day does not."""

    _last = 0.0

    def now(self) -> float:
        self._last = max(super().now(), self._last + 1e-5)
        return self._last


class JumpingClock(WallClock):
    """An enactor's own clock, which somebody may set."""

    offset_s = 0.0

    def now(self) -> float:
        return super().now() + self.offset_s


@dataclass
class Recorder:
    """An observer that keeps everything, and tells it on to those who listen."""

    events: list[Event] = field(default_factory=list)
    listeners: list[Callable[[Event], None]] = field(default_factory=list)

    def observe(self, event: Event) -> None:
        self.events.append(event)
        for tell in self.listeners:
            tell(event)

    def of(self, *kinds: type[Event]) -> list[Any]:
        return [h for h in self.events if isinstance(h, kinds)]


@dataclass
class DictCopy:
    """A local copy in memory; survives the enactor that wrote it."""

    items: dict[str, Item] = field(default_factory=dict)
    chunks: dict[str, bytes] = field(default_factory=dict)

    async def load(self) -> tuple[list[Item], dict[str, bytes]]:
        return list(self.items.values()), dict(self.chunks)

    async def save(self, items: Any, chunks: Any, keep_chunks: Any) -> None:
        for key, item in items.items():
            if item is None:
                self.items.pop(key, None)
            else:
                self.items[key] = item
        self.chunks.update(chunks)
        if keep_chunks is not None:
            self.chunks = {d: p for d, p in self.chunks.items() if d in keep_chunks}


class Secondary:
    """A secondary that is verified: it shows what it last took from the primary.

    `follows` cleared: it takes nothing more. `away`: it does not answer. `deaf_to`: names that it gives no answer for.
    """

    def __init__(self, primary: MemoryServer) -> None:
        self._primary = primary
        self._taken: dict[str, Served] = {}
        self.follows = True
        self.away = False
        self.deaf_to: set[str] = set()

    async def read(self, names: Sequence[str]) -> Mapping[str, Served]:
        if self.away:
            raise ZoneDown("no answer")
        if self.follows:
            self._taken.update((name, self._primary.serve(name)) for name in names)
        nothing = Served(records=NO_RECORDS)
        return {name: self._taken.get(name, nothing) for name in names if name not in self.deaf_to}


class Gated:
    """A zone whose writes of endpoints can be held on their way and let go later, as a TCP proxy would.

    `answers` cleared: its server is stopped with its sockets open, and answers nothing.
    """

    def __init__(self, zone: MemoryZone) -> None:
        self.zone = zone
        self.open = asyncio.Event()
        self.open.set()
        self.answers = asyncio.Event()
        self.answers.set()
        self.held = 0

    async def write(self, transaction: Transaction) -> Outcome:
        await self.answers.wait()
        if transaction.changes and not self.open.is_set():
            self.held += 1
            await self.open.wait()
        return await self.zone.write(transaction)

    async def read(self, names: Sequence[str]) -> Mapping[str, Served]:
        await self.answers.wait()
        return await self.zone.read(names)

    async def read_fence(self) -> FenceSeen:
        await self.answers.wait()
        return await self.zone.read_fence()

    async def negative_ttl_s(self) -> int | None:
        await self.answers.wait()
        return await self.zone.negative_ttl_s()

    async def close(self) -> None:
        await self.zone.close()


class Breaking:
    """A store that goes away after so many transactions."""

    def __init__(self, store: MemoryStore, left: int, error: type[StoreDown] = StoreDown) -> None:
        self._store = store
        self._left = left
        self._error = error

    async def transact(self, compares: Sequence[Any], operations: Sequence[Any]) -> Any:
        self._left -= 1
        if self._left < 0:
            raise self._error("away by the test")
        return await self._store.transact(compares, operations)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def _check_declared(operations: Sequence[Operation]) -> None:
    """Whatever an enactor writes is of a kind of the table, and begins as that says."""
    for operation in operations:
        if isinstance(operation, Put):
            kind, _ = Keys(operation.key.split("/")[2]).split(operation.key)
            assert kind is not None, f"{operation.key} is of no kind of store/layout.py"
            assert operation.value.startswith(kind.header), f"the value of {operation.key} does not say its format"


class Cuttable:
    """A store that can be cut off from one enactor."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.up = True
        self.calls = 0
        self._cut = asyncio.Event()

    full = False
    """It answers questions, and takes nothing more."""

    def cut(self) -> None:
        self.up = False
        self._cut.set()

    def mend(self) -> None:
        self.up = True
        self._cut = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)

        async def guarded(*args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            if name == "transact":
                _check_declared(args[1])
            if not self.up:
                raise StoreDown("cut off by the test")
            if self.full and name == "transact" and any(isinstance(one, Put) for one in args[1]):
                raise StoreFull("filled by the test")
            return await method(*args, **kwargs)

        return guarded

    async def watch(self, prefix: str, *, start_revision: int) -> Any:
        if not self.up:
            raise StoreDown("cut off by the test")
        cut = self._cut
        changes = self._store.watch(prefix, start_revision=start_revision).__aiter__()
        while True:
            step = asyncio.ensure_future(changes.__anext__())
            stop = asyncio.ensure_future(cut.wait())
            try:
                done, _ = await asyncio.wait({step, stop}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                stop.cancel()
                if not step.done():
                    step.cancel()
            if step not in done:
                raise StoreDown("cut off by the test")
            yield step.result()


@dataclass
class Member:
    """One enactor with its hands."""

    enactor: Enactor
    recorder: Recorder
    zones: dict[str, Gated]
    store: Cuttable
    copy: DictCopy
    task: asyncio.Task[None]


def tolerant(**given: Any) -> Limits:
    """Return limits that let a plan move all names to other addresses: what tests do that are not about guards."""
    return Limits(allow_private=True, endpoints_replaced_max_ratio=1.0, scope_capacity_removed_max_ratio=1.0).replaced(
        **given
    )


def draw_marks(seed: str) -> Callable[[], str]:
    """Return what draws the marks of one process, the same ones in every run."""
    rng = random.Random(f"marks of {seed}")
    return lambda: f"{rng.getrandbits(64):016x}"


class World:
    """A scope. Leave it by `close`."""

    def __init__(
        self, zones: Sequence[str] = (ZONE,), *, scope: str = SCOPE, batch_names_max: int = 50, **settings: Any
    ) -> None:
        self.scope = scope
        self.zone_settings = {zone: ZoneSettings(name=zone, batch_names_max=batch_names_max) for zone in zones}
        self.store = MemoryStore()
        self.servers = {zone: MemoryServer(zone) for zone in zones}
        self.secondaries: dict[str, Secondary] = {}
        self.clock: WallClock = TickingClock()
        self.keys = Keys(scope)
        self.plans = Plans(self.store, self.keys, self.clock, zones=zones)
        self.settings = {
            "limits": tolerant(),
            "repair_interval_s": 0.3,
            "repair_names_per_s": 1e6,
            "prune_interval_s": 3600.0,
            "keep": Keep(plans=3),
            "claim_ttl_s": 3,
            "verify_timeout_s": 1.0,
            "head_start_s": 0.0,
            "first_answers_s": 0.2,
        } | settings
        self.members: dict[str, Member] = {}
        self._lives = itertools.count()

    async def add(self, name: str, copy: DictCopy | None = None, *, store_up: bool = True) -> Member:
        store = Cuttable(self.store)
        if not store_up:
            store.cut()
        zones = {zone: self.gate(MemoryZone(server)) for zone, server in self.servers.items()}
        recorder = Recorder()
        copy = copy or DictCopy()
        ports = Ports(
            store=store,
            zones={zone: self.ports(zone, gated) for zone, gated in zones.items()},
            clock=self.clock,
            observer=recorder,
            copy=copy,
            draw_mark=draw_marks(f"{name} {next(self._lives)}"),
        )
        settings = Settings(
            id=name,
            scope=self.scope,
            zones=list(self.zone_settings.values()),
            **self.settings,  # type: ignore[arg-type]
        )
        enactor = Enactor(settings, ports, random.Random(name))
        task = asyncio.create_task(enactor.run())
        member = Member(enactor=enactor, recorder=recorder, zones=zones, store=store, copy=copy, task=task)
        self.members[name] = member
        return member

    def ports(self, zone: str, gated: Gated) -> ZonePorts:
        """The outside of one zone, for one enactor."""
        verifier = Verifier(server="memory", bulk=gated, sample=gated)
        return ZonePorts(settings=self.zone_settings[zone], zone=gated, verifiers=[verifier])

    def with_secondary(self, zone: str, ports: ZonePorts, *, own: bool = True) -> ZonePorts:
        """The same with a secondary that is verified, too, or (`own` False) alone."""
        secondary = self.secondaries.setdefault(zone, Secondary(self.servers[zone]))
        other = Verifier(server="secondary", bulk=secondary, sample=secondary)
        return replace(ports, verifiers=[*(ports.verifiers if own else ()), other])

    def gate(self, zone: MemoryZone) -> Gated:
        """The way of one enactor to a zone."""
        return Gated(zone)

    async def publish(self, document: Mapping[str, Any], **orders: Any) -> Manifest:
        published = await self.plans.publish(read_plan(document), Orders(**orders))
        assert isinstance(published, Manifest), published
        return published

    async def refused(self, document: Mapping[str, Any]) -> Refusal:
        published = await self.plans.publish(read_plan(document), Orders())
        assert isinstance(published, Refusal), published
        return published

    def serves(self, endpoints: Mapping[str, Sequence[str]]) -> bool:
        """Whether every endpoint is served exactly so, in any zone."""
        for name, addresses in endpoints.items():
            server = next(s for zone, s in self.servers.items() if name.endswith(zone))
            if set(server.serve(name).records.texts()) != set(addresses):
                return False
        return True

    async def view(self) -> Cache:
        cache = Cache(self.keys)
        await cache.load(self.store)
        return cache

    async def held(self, name: str, timeout_s: float = 10.0) -> Hold:
        """Wait until an endpoint is held, and return why."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        while True:
            index = (await self.view()).ledger
            entry = next((entry for entry in index.entries() if entry.name == name), None)
            if entry is not None and entry.held is not None:
                return entry.held
            assert asyncio.get_running_loop().time() < deadline, f"{name} was not held in {timeout_s} s: {entry}"
            await asyncio.sleep(0.01)

    async def until(self, condition: Callable[[], Any], timeout_s: float = 10.0) -> None:
        """Wait for a condition; a test that waits in vain shows what the enactors said."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        while not condition():
            if asyncio.get_running_loop().time() > deadline:
                said = {n: m.recorder.events[-8:] for n, m in self.members.items()}
                raise AssertionError(f"waited {timeout_s} s in vain; last events: {said}")
            await asyncio.sleep(0.01)

    async def applied(self, generation: int, timeout_s: float = 10.0) -> None:
        """Wait until the store shows the generation applied in every zone."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        while True:
            cache = await self.view()
            if all(cache.applied(zone) == generation for zone in self.servers):
                return
            if asyncio.get_running_loop().time() > deadline:
                reasons = {n: (m.enactor.reasons(), m.recorder.events[-6:]) for n, m in self.members.items()}
                raise AssertionError(f"generation {generation} was not applied in {timeout_s} s: {reasons}")
            await asyncio.sleep(0.01)

    async def stop(self, name: str) -> DictCopy:
        """End an enactor cleanly; returns its local copy."""
        member = self.members.pop(name)
        member.task.cancel()
        await asyncio.gather(member.task, return_exceptions=True)
        return member.copy

    async def kill(self, name: str) -> DictCopy:
        """End an enactor as a crash does: its lease goes on until it runs out."""
        self.members[name].enactor.session.lease = 0
        return await self.stop(name)

    async def close(self) -> None:
        for name in list(self.members):
            await self.stop(name)


@asynccontextmanager
async def unfailing(world: World) -> AsyncIterator[World]:
    """A world that is left at the end, and in which no step of an enactor may have failed."""
    yield world
    failures = [failed for member in world.members.values() for failed in member.recorder.of(StepFailed)]
    await world.close()
    assert not failures, failures
