"""One step of the walk: one value of the store is spoilt while two enactors keep a zone, and what becomes of it.

Names that are served stay, all along. A name that is emptied is refilled. The next whole plan is
served without a person. Where another version has written the value, it stays byte for byte,
`/readyz` names the version to start, and once that has come all goes on.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from enactord.core.contribution import Contribution
from enactord.core.events import FormatKnown, FormatUnknown, StepFailed
from enactord.core.guards import Limits
from enactord.core.kv import Delete, Operation, Put
from enactord.core.overrides import Override
from enactord.core.plan import Manifest, read_plan
from enactord.core.refusal import Refusal
from enactord.core.retention import Keep
from enactord.engine.prune import Pruner
from enactord.operations.archive import Restored, backup, restore
from enactord.operations.scope import Scope
from enactord.store.control import Freeze, freeze_value
from enactord.store.keys import contribution_value, json_value, pad
from enactord.store.layout import (
    APPLIED,
    ASIDE,
    AUDIT,
    CHUNK,
    CLAIM,
    CONFIGURED,
    CONTRIBUTION,
    ENACTOR,
    FENCE,
    FREEZE,
    HEAD,
    INSTALLATION,
    KINDS,
    LEDGER,
    LIMITS,
    LOWERED,
    LOWERING,
    OVERRIDE,
    PAUSED,
    PLAN,
    PROBE,
    PRUNE_EPOCH,
    REFUSED,
    REPORT,
    RETIRED,
    TAKEN,
    Kind,
)
from enactord.store.ledger_index import ledger_name
from enactord.store.overrides import override_value
from enactord.store.planners import Pause, pause_value
from enactord.store.plans import Orders
from enactord.store.reports import Report, pack_report
from enactord.stores.memory import MemoryStore
from tests.world import SCOPE, ZONE, Member, World, fleet, plan

WAYS = ("deleted", "emptied", "garbled", "newer")
NAMES = 150
VICTIM = next(iter(fleet(1)))
GONE = "gone.test."
ORDERS = {FREEZE: "enactorctl thaw", LOWERING: "enactorctl fence lower"}
"""What stops work by an operator's order, and what ends that."""
QUIET_S = 1.0
CALLS_A_SECOND_MAX = 60
"""Calls of both enactors to the store, about: the loops that rest look a few times a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What became of one value: a line of the table."""

    kind: str
    way: str
    emptied: str
    published: str
    told: str

    def cells(self) -> tuple[str, ...]:
        return (self.kind, self.way, self.emptied, self.published, self.told)


HEADINGS = ("kind", "way", "a name that is emptied", "the next whole plan", "/readyz")


def table(rows: Sequence[Row]) -> str:
    """Return rows as text, in columns."""
    lines = [HEADINGS, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def steps() -> Iterator[tuple[Kind, str]]:
    """Yield every kind of the table with every way."""
    for kind in KINDS:
        for way in WAYS:
            yield kind, way


async def step(kind: Kind, way: str, folder: Path) -> Row:
    """Spoil one value of a kind, check what must hold, and tell what became of it."""
    world = World(repair_interval_s=0.2)
    try:
        members = [await world.add("a"), await world.add("b")]
        await world.publish(plan(fleet(NAMES, 1)))
        await world.applied(1)
        await world.publish(plan(fleet(NAMES, 2)))
        await world.applied(2)
        await world.until(lambda: all(member.enactor.cache.rules for member in members))
        await world.until(lambda: not any(member.enactor.reasons() for member in members))
        return await _Step(world, members, kind, way, folder).run()
    except AssertionError as error:
        raise AssertionError(f"{kind.name} {way}: {error}") from error
    finally:
        await world.close()


def _refused() -> Contribution:
    """Return a refused publication, of nothing."""
    return Contribution(
        planner="default",
        digest="ab" * 32,
        whole=True,
        author="x",
        created_at="",
        newest=2,
        first_at=1.0,
        last_at=1.0,
        times=1,
        names=0,
        refusals=(Refusal(guard="g", detail="d"),),
        zones={},
    )


def _override(now: float) -> Override:
    """Return an override that changes nothing: of an address that no plan has."""
    kind, until = "drain", now + 3600
    return Override(
        id="0a1b2c", name=VICTIM, kind=kind, address="192.0.2.250", author="x", reason="r", at=now, until=until
    )


class _Step:
    def __init__(self, world: World, members: Sequence[Member], kind: Kind, way: str, folder: Path) -> None:
        self._world = world
        self._members = members
        self._kind = kind
        self._way = way
        self._folder = folder

    async def run(self) -> Row:
        world, kind = self._world, self._kind
        key = world.keys.key(kind, await self._name())
        sound = await self._value(key)
        spoilt = {
            "deleted": None,
            "emptied": b"",
            "garbled": kind.value(b"\x1bgarbage{"),
            "newer": b"%s %d\n" % (kind.name.encode(), kind.format + 1) + sound.removeprefix(kind.header),
        }[self._way]
        with self._others_served():
            await self._put(key, spoilt)
            await asyncio.sleep(0.3)
            order = ORDERS.get(kind, "") if spoilt is not None else ""
            if order:
                # What stops all work is taken for the strictest where nobody can read it: only a person knows better.
                emptied = f"waits for: {order}"
                await world.until(lambda: all(any(order in said for said in self._reasons(m)) for m in self._members))
            else:
                world.servers[ZONE].put_foreign(VICTIM)
                await world.until(lambda: world.serves({VICTIM: fleet(1, 2)[VICTIM]}), 5.0)
                emptied = "refilled"
            await self._is_quiet()
            told = next(iter(self._reasons(self._members[0])), "-")
            if spoilt is not None and self._way == "newer":
                published = await self._newer(key, sound, spoilt)
            else:
                if order:
                    await self._put(key, None)
                if kind is LIMITS and spoilt is not None:  # until then the strictest are in force
                    await self._put(key, sound)
                if kind in (FENCE, APPLIED, LEDGER):
                    await world.until(lambda: kind.body(self._shown(key)) is not None, 5.0)
                    told = "-"
                await self._serves_next(3)
                mended = order or (kind is LIMITS and spoilt is not None)
                published = "served by all" if not mended else "served by all, after that"
            await self._is_quiet()
        assert not [member.recorder.of(StepFailed) for member in self._members if member.recorder.of(StepFailed)]
        return Row(kind=kind.name, way=self._way, emptied=emptied, published=published, told=told)

    # -- another version's value

    async def _newer(self, key: str, sound: bytes, spoilt: bytes) -> str:
        """Check that the value stays and is told, by enactors at work and by one that starts; then read it again."""
        world, kind = self._world, self._kind
        words = (
            f"kind {kind.name} in format {kind.format + 1}, and this version reads format {kind.format}: start enactord"
        )
        late = await world.add("c")
        await world.until(lambda: late.enactor.store_up)
        at_work = [*self._members, *([late] if kind.cached else [])]
        # What no cache holds is told by those who saw it change, and by whoever needs it.
        await world.until(lambda: all(any(words in reason for reason in self._reasons(m)) for m in at_work))
        await world.until(lambda: all(len(m.recorder.of(FormatUnknown)) == 1 for m in at_work))
        published = await world.plans.publish(read_plan(plan(fleet(NAMES, 3))), Orders())
        await asyncio.sleep(0.5)
        await self._is_quiet()
        pruner = Pruner(
            world.store, SCOPE, zones=[ZONE], keep=Keep(plans=0), clock=world.clock, observer=self._members[0].recorder
        )
        if kind.cached:
            assert not [verdict for verdict in await pruner.prune() if verdict.refusal is None]
        assert await self._value(key) == spoilt, "nothing of it is lost"
        if not kind.leased:
            await self._survives_a_restore(key, spoilt)
        if isinstance(published, Manifest):
            served = world.serves(fleet(NAMES, 3))
            assert served or kind in (FENCE, APPLIED, LEDGER, LIMITS, INSTALLATION, *ORDERS), kind.name
            said = "served by all" if served else "stored; the zone waits for that version"
            assert kind not in (HEAD, OVERRIDE, PLAN, PRUNE_EPOCH), kind.name
        else:
            assert published.guard == "format", published
            said = "refused: format"
        await self._put(key, sound)  # as the version that reads it would leave it
        if kind in ORDERS:
            await self._put(key, None)
        await self._serves_next(4)
        assert all(len(m.recorder.of(FormatKnown)) == 1 for m in at_work)
        return said

    async def _survives_a_restore(self, key: str, spoilt: bytes) -> None:
        """The value is in a backup as it is, and comes back as it is."""
        world = self._world
        path = self._folder / f"{self._kind.name}-{self._way}"
        await backup(self._scope(world.store), path)
        empty = MemoryStore()
        done = await restore(self._scope(empty), path, {}, author="test")
        assert isinstance(done, Restored), done
        assert (await empty.get([key]))[key].value == spoilt

    def _scope(self, store: MemoryStore) -> Scope:
        return Scope(store=store, name=SCOPE, zones=[ZONE], limits=Limits(), clock=self._world.clock)

    # -- hands and eyes

    async def _name(self) -> str:
        """Return what the value to spoil is called below its kind; make one where there is none."""
        world = self._world
        if self._kind is CHUNK:
            manifest = await world.plans.manifest(2)
            assert manifest is not None
            digest = manifest.chunk_of(VICTIM)
            assert digest is not None
            return digest
        bucket = self._members[0].enactor.cache.ledger.find(ZONE, VICTIM)
        assert bucket is not None
        of = "z" if self._way == "newer" else "a"  # an enactor of another version stands beside these
        found = {
            PLAN: pad(2),
            HEAD: "",
            LEDGER: ledger_name(bucket.zone, bucket.slot),
            FREEZE: "",
            LIMITS: "",
            PAUSED: "other",
            REFUSED: pad(1),
            RETIRED: GONE,
            LOWERING: ZONE,
            LOWERED: ZONE,
            TAKEN: ZONE,
            ASIDE: pad(9),
            AUDIT: f"orders/{pad(9)}-0",
            PRUNE_EPOCH: "",
            FENCE: ZONE,
            APPLIED: ZONE,
            CLAIM: f"{pad(2)}/x",
            ENACTOR: of,
            REPORT: of,
            CONFIGURED: of,
            CONTRIBUTION: "default",
            OVERRIDE: "0a1b2c",
            INSTALLATION: "",
            PROBE: "0123456789abcdef",
        }[self._kind]
        made = {
            FREEZE: freeze_value(Freeze(mode="repair-only", reason="r", author="x", since=1.0)),
            CONTRIBUTION: contribution_value(_refused()),
            OVERRIDE: override_value(_override(world.clock.now())),
            PAUSED: pause_value(Pause(reason="r", author="x", at=1.0)),
            REFUSED: json_value(REFUSED, {"guard": "g", "detail": "d", "enactor": "x", "at": 1.0}),
            RETIRED: json_value(RETIRED, {"reason": "r", "author": "x", "at": 1.0, "generation": 1}),
            LOWERING: json_value(LOWERING, {"fence": "v=enactord1 scope=test gen=3 plan=" + "0" * 16}),
            LOWERED: json_value(LOWERED, {}),
            TAKEN: json_value(TAKEN, {}),
            ASIDE: ASIDE.value(b"whatever"),
            AUDIT: json_value(AUDIT, {}),
            PRUNE_EPOCH: PRUNE_EPOCH.value(b"7"),
            CLAIM: CLAIM.value(b"x"),
            PROBE: PROBE.value(b"0123456789abcdef"),
            REPORT: pack_report(Report(at=world.clock.now(), fence=2, zones=1, unknown=0)),
        }
        if of == "z":
            made |= {ENACTOR: json_value(ENACTOR, {}), CONFIGURED: json_value(CONFIGURED, {})}
        if self._kind in made:
            await self._put(world.keys.key(self._kind, found), made[self._kind])
        return found

    async def _value(self, key: str) -> bytes:
        return (await self._world.store.get([key]))[key].value

    def _shown(self, key: str) -> bytes:
        """Return what an enactor is shown of a key."""
        item = self._members[0].enactor.cache.items.get(key)
        return item.value if item else b""

    async def _put(self, key: str, value: bytes | None) -> None:
        put: Operation = Delete(key=key) if value is None else Put(key=key, value=value)
        await self._world.store.transact((), (put,))

    def _reasons(self, member: Member) -> list[str]:
        return member.enactor.reasons()

    async def _serves_next(self, generation: int) -> None:
        """A whole plan is published, served by all, and nobody has anything to say."""
        world = self._world
        published = await world.plans.publish(read_plan(plan(fleet(NAMES, generation))), Orders())
        assert isinstance(published, Manifest), published
        await world.until(lambda: world.serves(fleet(NAMES, generation)), 5.0)
        await world.applied(published.generation, 5.0)
        await world.until(lambda: not any(self._reasons(member) for member in world.members.values()), 5.0)

    async def _is_quiet(self) -> None:
        """Nothing is tried again and again: the enactors call the store now and then."""
        before = sum(member.store.calls for member in self._world.members.values())
        await asyncio.sleep(QUIET_S)
        calls = sum(member.store.calls for member in self._world.members.values()) - before
        assert calls < CALLS_A_SECOND_MAX * QUIET_S, calls

    @contextmanager
    def _others_served(self) -> Iterator[None]:
        """All along, every name but the one that is emptied serves what some plan of this walk says."""
        world = self._world
        desired = {
            name: [set(fleet(NAMES, generation)[name]) for generation in (2, 3, 4)]
            for name in fleet(NAMES)
            if name != VICTIM
        }

        async def watch() -> None:
            while True:
                for name, versions in desired.items():
                    served = set(world.servers[ZONE].serve(name).records.texts())
                    assert served in versions, (name, served)
                await asyncio.sleep(0.01)

        watching = asyncio.ensure_future(watch())
        try:
            yield
            if watching.done():
                watching.result()
        finally:
            watching.cancel()
