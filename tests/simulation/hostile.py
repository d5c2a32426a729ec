"""Stores and zones that fail, and lie, as networks and servers have; a seed decides when. All on the memory doubles.

The lies of the store are those of HAZARDS: a stale answer to a "linearizable" read, a
watch that loses events, a keep-alive that succeeds after the lease is gone, a revision
that goes back.
"""

import asyncio
import contextvars
import copy
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from enactord.backends.memory import MemoryServer
from enactord.core.errors import Compacted, LeaseLost, PlanUnreadable, StoreDown, StoreUnknown, ZoneDown
from enactord.core.fence import FenceSeen, parse_fence
from enactord.core.kv import Changes, Compare, Delete, Item, Operation, Page, Put, Result
from enactord.core.ledger import Bucket
from enactord.core.plan import merge
from enactord.core.records import Committed, Outcome, Reason, Refused, Served, Transaction, Unknown
from enactord.store.cache import Cache
from enactord.store.keys import Keys, parse_applied, parse_head, read_chunk, read_manifest
from enactord.store.layout import CHUNK
from enactord.store.ledger_index import read_bucket
from enactord.stores.memory import MemoryStore
from tests.simulation.history import (
    Applied,
    Asked,
    Deleted,
    Dropped,
    History,
    Marked,
    Published,
    Recorded,
    Restored,
    Settled,
    Spoilt,
    Torn,
)
from tests.simulation.loop import owner

T = TypeVar("T")


@dataclass
class Weather:
    """How hostile the world is; nothing happens once it is calm."""

    rng: random.Random
    history: History
    calm: bool = False
    lose: float = 0.0
    drop: float = 0.0
    """How often an update to a zone is lost, besides."""
    late: float = 0.0
    twice: float = 0.0
    lie: float = 0.0
    lag: float = 0.0
    """How often a watch is late, by up to `lag_max_s`."""
    lag_max_s: float = 3.0
    delay_max_s: float = 0.05
    late_max_s: float = 40.0
    cut_off: set[str] = field(default_factory=set)
    """Enactors that cannot reach the store."""
    mute: set[str] = field(default_factory=set)
    """Names that no update reaches a server with: it is lost, and its neighbours with it, calm or not."""
    slow_s: dict[str, float] = field(default_factory=dict)
    """How much longer a zone's server takes."""
    hung: set[str] = field(default_factory=set)
    """Zones whose server answers nothing now: each call waits for its time limit."""
    timeout_s: float = 5.0
    """How long an enactor waits for one answer of a DNS server."""
    denied: set[str] = field(default_factory=set)
    """Zones whose server refuses every update of ours."""

    def happens(self, kind: str, chance: float) -> bool:
        if self.calm or not chance or self.rng.random() >= chance:
            return False
        self.history.fault(kind)
        return True

    async def delay(self, zone: str = "") -> None:
        await asyncio.sleep(self.rng.uniform(0.0, self.delay_max_s + self.slow_s.get(zone, 0.0)))


class WatchedStore(MemoryStore):
    """The store of a world: notes what the ledger says and which plans go, and can be set back to a backup."""

    def __init__(self, history: History, keys: Keys, zones: Sequence[str], *, honest: bool = True) -> None:
        """`honest`: no read is stale. Else a publication may count on a chunk that is gone: its plan is unreadable."""
        super().__init__()
        self._honest = honest
        self._history = history
        self._keys = keys
        self._zones = zones
        self._ledger: dict[str, Bucket] = {}
        self.published = 0
        self._texts: dict[str, str] = {}
        """Every chunk that was ever stored, by digest."""
        self._fences: dict[str, int] = {}
        self._spoilt: set[str] = set()
        """Keys whose values were damaged."""
        self.restarted = asyncio.Event()

    async def transact(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> Result:
        plans = [o.key for o in operations if isinstance(o, Delete) and o.key.startswith(self._keys.root + "plans/")]
        needed = {key: await self.needed(int(key.rpartition("/")[2])) for key in plans if self._now(key)}
        result = await super().transact(compares, operations)
        if result.succeeded and any(isinstance(o, Delete) and "/chunks/" in o.key for o in operations):
            await self._look_for_torn()
        if result.succeeded:
            now = asyncio.get_running_loop().time()
            for key, who in needed.items():
                self._history.add(Deleted(at=now, generation=int(key.rpartition("/")[2]), needed=who))
            self._note(
                {
                    operation.key: read_bucket(operation.value) if isinstance(operation, Put) else {}
                    for operation in operations
                    if operation.key.startswith(self._keys.all_ledger)
                }
            )
            for operation in operations:
                if isinstance(operation, Put) and operation.key.startswith(self._keys.root + "applied/"):
                    self._settle(operation.key.rpartition("/")[2], operation.value)
                self._spoilt.discard(operation.key)
                kind, name = self._keys.split(operation.key)
                if isinstance(operation, Put) and kind is CHUNK:
                    self._texts[name] = read_chunk(operation.value, name)
                if isinstance(operation, Put) and operation.key.startswith(self._keys.root + "plans/"):
                    self._publish(int(operation.key.rpartition("/")[2]), operation.value)
        return result

    def _publish(self, generation: int, value: bytes) -> None:
        """A plan entered the store, whatever its publisher is told of it: what it holds stands in its chunks."""
        manifest = read_manifest(value, generation)
        lost = {digest for digest in manifest.digests() if self._lost(digest)}
        if lost and self._honest:
            self._history.add(Torn(at=asyncio.get_running_loop().time(), generation=generation))
        self._spoilt |= {self._keys.chunk(digest) for digest in lost}
        self.published += 1
        self._history.add(
            Published(
                at=asyncio.get_running_loop().time(),
                generation=generation,
                mark=manifest.mark,
                contents=merge(self._texts[digest] for digest in manifest.digests()),
                approved=manifest.ordered,
            )
        )

    async def spoil(self, key: str, value: bytes | None) -> tuple[str, ...]:
        """Change a value past all who watch over the store here; None: delete it. Returns the names that it held."""
        cache = Cache(self._keys)
        await cache.load(self)
        for zone in self._zones:
            self._opened(cache, zone)
        self._spoilt.add(key)
        lease = item.lease if (item := self._now(key)) else 0
        operation: Operation = Delete(key=key) if value is None else Put(key=key, value=value, lease=lease)
        await super().transact((), (operation,))
        names = tuple(sorted(self._ledger.get(key, ())))
        self._history.add(Spoilt(at=asyncio.get_running_loop().time(), key=key, names=names))
        if key.startswith(self._keys.all_ledger):
            self._note({key: read_bucket(value or b"")})
        return names

    async def _look_for_torn(self) -> None:
        cache = Cache(self._keys)
        await cache.load(self)
        for generation in cache.generations:
            try:
                manifest = cache.manifest(generation)
            except PlanUnreadable:
                continue
            assert manifest is not None
            if any(self._lost(digest) for digest in manifest.digests()):
                self._history.add(Torn(at=asyncio.get_running_loop().time(), generation=generation))

    def _lost(self, digest: str) -> bool:
        """Whether a chunk is gone, and not by a foreign hand."""
        key = self._keys.chunk(digest)
        return self._now(key) is None and key not in self._spoilt

    def _settle(self, zone: str, value: bytes) -> None:
        found = parse_applied(value)
        generation, mark = found if isinstance(found, tuple) else (0, "")
        held = frozenset(n for bucket in self._ledger.values() for n, entry in bucket.items() if entry.held is not None)
        now = asyncio.get_running_loop().time()
        self._history.add(Settled(at=now, zone=zone, generation=generation, mark=mark, held=held))

    def _note(self, buckets: Mapping[str, Bucket]) -> None:
        """Tell the history what buckets, by key, say now that they did not say before.

        All that one transaction writes is looked at together: a name may go from one bucket to another.
        """
        now = asyncio.get_running_loop().time()
        before = {name: entry for key in buckets for name, entry in self._ledger.get(key, {}).items()}
        after = {name: entry for bucket in buckets.values() for name, entry in bucket.items()}
        for name in sorted(before.keys() | after.keys()):
            old, new = before.get(name), after.get(name)
            if (old and old.applied) != (new and new.applied):
                records = new.applied.records(name) if new and new.applied else None
                self._history.add(Recorded(at=now, name=name, records=records))
            by = owner.get()
            if by and new and new.pending and new.pending != (old and old.pending):
                claim = self._keys.claim(new.pending.generation, by.partition("/")[0])
                self._history.add(
                    Marked(
                        at=now,
                        by=by,
                        name=name,
                        generation=new.pending.generation,
                        frozen=self._now(self._keys.freeze) is not None,
                        claimed=self._now(claim) is not None,
                    )
                )
        self._ledger.update(buckets)

    async def needed(self, generation: int) -> tuple[str, ...]:
        """Who needs a plan, by what the store holds at this moment: worked out here, not by the engine's rules."""
        cache = Cache(self._keys)
        await cache.load(self)
        found = [f"claim of {name}" for claimed, name in cache.all_claims if claimed == generation]
        found += [f"still to come in {zone}" for zone in self._zones if self._opened(cache, zone) <= generation]
        found += [f"applied in {zone}" for zone in self._zones if cache.applied(zone) == generation]
        for entry in cache.ledger.entries():
            if entry.pending is not None and entry.pending.generation == generation:
                found.append(f"pending at {entry.name}")
            if entry.held is not None and entry.applied is not None and entry.applied.generation == generation:
                found.append(f"held at {entry.name}")
            good = entry.good
            if good is not None and good != entry.applied and good.generation == generation:
                found.append(f"last known good of {entry.name}")
        return tuple(found)

    def _opened(self, cache: Cache, zone: str) -> int:
        """The generation opened in a zone; while its record is damaged, the last one: who judges may have read that."""
        if self._keys.fence(zone) not in self._spoilt:
            self._fences[zone] = cache.fences.get(zone, 0)
        return self._fences.get(zone, 0)

    def backup(self) -> tuple[int, dict[str, Item]]:
        """All keys without a lease, and the revision."""
        items = {key: item for key in sorted(self._versions) if (item := self._now(key)) and not item.lease}
        return self._revision, copy.copy(items)

    def restore(self, saved: tuple[int, dict[str, Item]]) -> None:
        """Become what was saved, revision and all; every lease is gone, every watch breaks."""
        self._revision, items = saved
        self._compacted = self._revision
        self._versions = {key: [(item.mod_revision, item)] for key, item in items.items()}
        self._log.clear()
        self._leases.clear()
        head = items.get(self._keys.head)
        now = asyncio.get_running_loop().time()
        newest = parse_head(head.value) if head else None
        self._history.add(Restored(at=now, head=newest[0] if isinstance(newest, tuple) else 0))
        known = sorted(self._ledger.keys() | {key for key in items if key.startswith(self._keys.all_ledger)})
        self._note({key: read_bucket(items[key].value) if key in items else {} for key in known})
        self.restart()

    def restart(self) -> None:
        """Break every watch."""
        self.restarted.set()
        self.restarted = asyncio.Event()


class HostileStore:
    """One enactor's way to the store."""

    def __init__(self, store: WatchedStore, weather: Weather, name: str) -> None:
        self._store = store
        self._weather = weather
        self._name = name

    async def _call(self, call: Callable[[], Awaitable[T]], *, unknown: bool = False) -> T:
        weather = self._weather
        await weather.delay()
        if self._name in weather.cut_off or weather.happens("store request lost", weather.lose):
            raise StoreDown("the request was lost")
        result = await call()
        await weather.delay()
        if self._name in weather.cut_off or weather.happens("store answer lost", weather.lose):
            raise (StoreUnknown if unknown else StoreDown)("the answer was lost")
        return result

    async def range(self, start: str, end: str = "", *, revision: int = 0, limit: int = 0) -> Page:
        weather = self._weather
        if not revision and weather.happens("lie: stale read", weather.lie):
            revision = weather.rng.randint(max(1, self._store._compacted), self._store._revision)
        page = await self._call(lambda: self._store.range(start, end, revision=revision, limit=limit))
        if weather.happens("lie: revision goes back", weather.lie):
            return replace(page, revision=max(1, page.revision - weather.rng.randint(1, 20)))
        return page

    async def get(self, keys: Sequence[str]) -> dict[str, Item]:
        weather = self._weather
        if weather.happens("lie: stale read", weather.lie):
            revision = weather.rng.randint(max(1, self._store._compacted), self._store._revision)
            return await self._call(lambda: self._old(keys, revision))
        return await self._call(lambda: self._store.get(keys))

    async def _old(self, keys: Sequence[str], revision: int) -> dict[str, Item]:
        try:
            pages = [await self._store.range(key, revision=revision) for key in keys]
        except Compacted:
            return await self._store.get(keys)
        return {item.key: item for page in pages for item in page.items}

    async def transact(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> Result:
        return await self._call(lambda: self._store.transact(compares, operations), unknown=True)

    async def grant(self, ttl_s: int) -> int:
        return await self._call(lambda: self._store.grant(ttl_s))

    async def keep_alive(self, lease: int) -> None:
        try:
            await self._call(lambda: self._store.keep_alive(lease))
        except LeaseLost:
            if not self._weather.happens("lie: keep-alive", min(1.0, self._weather.lie * 10)):
                raise

    async def revoke(self, lease: int) -> None:
        await self._call(lambda: self._store.revoke(lease))

    async def watch(self, prefix: str, *, start_revision: int) -> AsyncIterator[Changes]:
        weather, restarted = self._weather, self._store.restarted
        changes = self._store.watch(prefix, start_revision=start_revision)
        while True:
            step = asyncio.ensure_future(anext(changes))
            end = asyncio.ensure_future(restarted.wait())
            try:
                while not step.done() and not end.done() and self._name not in weather.cut_off:
                    await asyncio.wait({step, end}, timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
            finally:
                broke = end.done() or self._name in weather.cut_off
                for task in (step, end):
                    task.cancel()
                await asyncio.gather(step, end, return_exceptions=True)
            if broke:
                raise StoreDown("the watch broke")
            found = step.result()
            await weather.delay()
            if weather.happens("watch lags", weather.lag):
                await asyncio.sleep(weather.rng.uniform(0.0, weather.lag_max_s))
            if weather.happens("watch broken", weather.lose / 4):
                raise StoreDown("the watch broke")
            if not weather.happens("lie: watch loses an event", weather.lie / 2):
                yield found

    async def close(self) -> None:
        pass


class HostileZone:
    """One enactor's way to a zone's server, which tells the history what it carried out."""

    def __init__(self, server: MemoryServer, weather: Weather, name: str, tasks: set[asyncio.Task[None]]) -> None:
        self._server = server
        self._weather = weather
        self._name = name
        self._tasks = tasks

    async def negative_ttl_s(self) -> int | None:
        return self._server.negative_ttl_s

    async def write(self, transaction: Transaction) -> Outcome:
        names = tuple(change.name for change in transaction.changes)
        self._ask("write", names)
        try:
            outcome = await self._send(transaction)
            await self._weather.delay(self._server.zone)
        except asyncio.CancelledError:
            self._ask("unknown", names)
            raise
        if isinstance(outcome, Unknown):
            self._ask("unknown", names)
        return outcome

    async def _send(self, transaction: Transaction) -> Outcome:
        weather = self._weather
        await weather.delay(self._server.zone)
        if self._server.zone in weather.hung:
            await asyncio.sleep(self._weather.timeout_s)
            if weather.rng.random() < 0.5:  # it stands in the server's queue, which is gone through later
                self._deliver_later(transaction)
            return Unknown(detail="no answer")
        if not self._server.up:
            return Refused(reason=Reason.BUSY, detail="down")
        if self._server.zone in weather.denied:
            return Refused(reason=Reason.DENIED, detail="REFUSED", answer="REFUSED")
        if any(change.name in weather.mute for change in transaction.changes):
            return Unknown(detail="lost")
        if weather.happens("update lost", weather.lose + weather.drop):
            return Unknown(detail="lost")
        if weather.happens("update late", weather.late):
            self._deliver_later(transaction)
            return Unknown(detail="late")
        outcome = self._carry_out(transaction)
        if weather.happens("update twice", weather.twice):
            self._deliver_later(transaction)
        if weather.happens("answer lost", weather.lose):
            return Unknown(detail="answer lost")
        return outcome

    def _deliver_later(self, transaction: Transaction) -> None:
        async def deliver() -> None:
            await asyncio.sleep(self._weather.rng.uniform(0.0, self._weather.late_max_s))
            while self._server.zone in self._weather.hung:
                await asyncio.sleep(1.0)
            if self._server.up:
                self._carry_out(transaction)

        # In a context of its own: the network does not stop when its sender does.
        task = asyncio.get_running_loop().create_task(deliver(), context=contextvars.Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _carry_out(self, transaction: Transaction) -> Outcome:
        before = parse_fence(self._server.fence)
        outcome = self._server.apply(transaction)
        if isinstance(outcome, Committed):
            for change in transaction.changes:
                if self._server.drops(change.name):
                    self._weather.history.add(Dropped(at=asyncio.get_running_loop().time(), name=change.name))
            self._weather.history.add(
                Applied(
                    at=asyncio.get_running_loop().time(),
                    by=self._name,
                    zone=self._server.zone,
                    carried=parse_fence(transaction.fence_seen),
                    before=before,
                    after=parse_fence(self._server.fence),
                    changes=tuple(c for c in transaction.changes if not self._server.drops(c.name)),
                )
            )
        return outcome

    async def read(self, names: Sequence[str]) -> Mapping[str, Served]:
        await self._reach()
        answer = {name: self._server.serve(name) for name in names}
        await self._weather.delay(self._server.zone)
        self._ask("read", tuple(names))
        return answer

    async def read_fence(self) -> FenceSeen:
        await self._reach()
        fence = self._server.fence
        await self._weather.delay(self._server.zone)
        return fence

    async def _reach(self) -> None:
        """A question gets to the server, or has no answer."""
        await self._weather.delay(self._server.zone)
        if self._server.zone in self._weather.hung:
            await asyncio.sleep(self._weather.timeout_s)
            raise ZoneDown("no answer")
        if not self._server.up or self._weather.happens("question lost", self._weather.lose):
            raise ZoneDown("no answer")

    async def close(self) -> None:
        pass

    def _ask(self, what: str, names: tuple[str, ...]) -> None:
        if names:
            now = asyncio.get_running_loop().time()
            self._weather.history.add(Asked(at=now, by=self._name, zone=self._server.zone, what=what, names=names))
