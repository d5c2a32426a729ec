"""Backup and restore on a world in memory: what comes back, what is refused, what a broken-off restore leaves."""

import gzip
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from enactord.core.errors import ArchiveUnreadable, StoreDown
from enactord.core.events import InstallationRefused
from enactord.core.fence import Fence, FenceRecord, raised
from enactord.core.guards import Limits
from enactord.core.kv import Delete, Put
from enactord.engine.settings import ZonePorts
from enactord.operations.archive import Restored, Source, _height, backup, check, copy_source, restore, restore_from
from enactord.operations.scope import Denied, Scope
from enactord.store.control import Freeze, freeze, parse_freeze
from enactord.store.keys import parse_record, record_value
from enactord.store.layout import APPLIED, AUDIT, FENCE, HEAD, LEDGER, PLAN
from enactord.stores.memory import MemoryStore
from tests.world import SCOPE, ZONE, Breaking, World, fleet, plan, tolerant


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.close()


def scope_of(world: World, store: Any = None) -> Scope:
    return Scope(store=store or world.store, name=SCOPE, zones=[ZONE], limits=Limits(), clock=world.clock)


def zones(world: World) -> dict[str, ZonePorts]:
    return dict(next(iter(world.members.values())).enactor.ports.zones)


async def contents(world: World) -> dict[str, bytes]:
    """Everything in the store that is bound to no lease; but for the audit log, where a restore enters itself."""
    page = await world.store.range("/", "0")
    log = world.keys.key(AUDIT)
    return {item.key: item.value for item in page.items if not item.lease and not item.key.startswith(log)}


async def applied(world: World, *generations: int) -> None:
    for generation in generations:
        await world.publish(plan(fleet(20, generation)))
        await world.applied(generation)


async def test_a_lost_store_comes_back_and_the_next_plan_goes_above_every_fence(world: World, tmp_path: Path) -> None:
    """Taken at 3, lost at 6: nothing served changes by the restore; plan 7 is the next, and is applied."""
    await world.add("a")
    await applied(world, 1, 2, 3)
    path = tmp_path / "backup"
    saved = await backup(scope_of(world), path)
    assert (saved.scope, saved.plans, saved.bytes) == (SCOPE, 3, path.stat().st_size)
    assert path.stat().st_mode & 0o777 == 0o600
    before = await contents(world)
    await applied(world, 4, 5, 6)
    ports = zones(world)
    copy = await world.stop("a")

    world.store = MemoryStore()
    world.plans = type(world.plans)(world.store, world.keys, world.clock, zones=[ZONE])
    done = await restore(scope_of(world), path, ports, author="alice")
    assert isinstance(done, Restored)
    assert (done.newest, done.written, done.removed) == (3, saved.keys, 0)
    assert (done.fences, done.ahead) == ({ZONE: 6}, (ZONE,))
    fence = world.keys.fence(ZONE)
    assert {k: v for k, v in (await contents(world)).items() if k != fence} == {
        k: v for k, v in before.items() if k != fence
    }
    member = await world.add("a", copy)
    await world.until(lambda: member.enactor.cache.loaded)
    assert world.serves(fleet(20, 6))
    manifest = await world.publish(plan(fleet(20, 7)))
    assert manifest.generation == 7
    await world.applied(7)
    assert world.serves(fleet(20, 7))


async def test_a_store_that_holds_the_scope_is_replaced_only_when_told_to(world: World, tmp_path: Path) -> None:
    """What came after the backup goes, but the fence stays where it is; a freeze stays, too."""
    await world.add("a")
    await applied(world, 1, 2)
    await backup(scope_of(world), tmp_path / "backup")
    await applied(world, 3)
    ports = zones(world)
    await freeze(world.store, world.keys, Freeze(mode="repair-only", reason="r", author="bob", since=1.0))
    denied = await restore(scope_of(world), tmp_path / "backup", ports, author="alice")
    assert isinstance(denied, Denied)
    assert denied.refusals[0].guard == "not_empty"
    done = await restore(scope_of(world), tmp_path / "backup", ports, author="alice", replace=True)
    assert isinstance(done, Restored)
    view = await world.view()
    assert view.generations == [1, 2]
    assert done.fences == {ZONE: 3}
    assert done.frozen == "bob: r"
    assert view.freeze is not None
    assert view.freeze.author == "bob"


@pytest.mark.parametrize(("before", "after"), [(20, 100), (100, 20)])
async def test_a_ledger_that_comes_back_may_be_cut_otherwise_than_the_fence_says(
    world: World, tmp_path: Path, before: int, after: int
) -> None:
    """The fence that stays is of a zone that had grown, or shrunk, since the backup: the next plan is applied.

    What the ledger that came back does not know is not its own.
    """
    limits = tolerant(endpoints_removed_max_ratio=1.0)
    member = await world.add("a")
    member.enactor.retune(replace(member.enactor.settings, limits=limits))
    for generation, count in ((1, before), (2, after)):
        await world.publish(plan(fleet(count, generation)))
        await world.applied(generation)
        if generation == 1:
            await backup(scope_of(world), tmp_path / "backup")
    levels = (await world.view()).ledger.levels(ZONE)
    done = await restore(scope_of(world), tmp_path / "backup", zones(world), author="alice", replace=True)
    assert isinstance(done, Restored)
    assert (await world.view()).ledger.levels(ZONE) != levels
    await world.publish(plan(fleet(after, 3)))
    await world.applied(3)
    known = min(before, after)
    assert world.serves(fleet(known, 3))
    view = await world.view()
    assert view.ledger.levels(ZONE) == levels
    totals = view.ledger.totals
    assert (totals.owned, totals.held, totals.pending) == (known, after - known, 0)


@pytest.mark.parametrize("left", [1, 3, 6])
async def test_a_restore_that_breaks_off_leaves_a_freeze_and_is_begun_again(
    world: World, tmp_path: Path, left: int
) -> None:
    """Half of a store is worked on by nobody; the same command ends it."""
    await world.add("a")
    await applied(world, 1, 2)
    await backup(scope_of(world), tmp_path / "backup")
    before = await contents(world)
    ports = zones(world)
    await world.stop("a")
    world.store = MemoryStore()
    with pytest.raises(StoreDown):
        await restore(scope_of(world, Breaking(world.store, left)), tmp_path / "backup", ports, author="alice")
    frozen = (await contents(world))[world.keys.freeze]
    assert parse_freeze(frozen).mode == "all"
    done = await restore(scope_of(world), tmp_path / "backup", ports, author="alice")
    assert isinstance(done, Restored)
    fence = world.keys.fence(ZONE)
    after = await contents(world)
    assert {k: v for k, v in after.items() if k != fence} == {k: v for k, v in before.items() if k != fence}
    known, found = parse_record(before[fence]), parse_record(after[fence])
    assert isinstance(known, FenceRecord)
    assert known.slots == 1
    assert found == replace(known, slots=0), "how the ledger is cut is for the next pass to find out"
    assert done.frozen == ""


async def test_a_thaw_in_between_stops_a_restore(world: World, tmp_path: Path) -> None:
    """Nothing more is written once enactors may be at work."""
    await world.add("a")
    await applied(world, 1)
    await backup(scope_of(world), tmp_path / "backup")
    ports = zones(world)
    await world.stop("a")
    world.store = MemoryStore()

    class Thawed(Breaking):
        async def transact(self, compares: Sequence[Any], operations: Sequence[Any]) -> Any:
            done = await self._store.transact(compares, operations)
            if any(isinstance(o, Put) and "/plans/" in o.key for o in operations):
                await self._store.transact((), (Delete(key=world.keys.freeze),))
            return done

    with pytest.raises(ArchiveUnreadable, match="thawed"):
        await restore(scope_of(world, Thawed(world.store, 0)), tmp_path / "backup", ports, author="alice")


async def test_what_is_no_whole_backup_is_refused_before_anything_is_written(world: World, tmp_path: Path) -> None:
    """Cut short anywhere, a byte changed anywhere, another file, another scope."""
    await world.add("a")
    await applied(world, 1)
    path = tmp_path / "backup"
    await backup(scope_of(world), path)
    whole = path.read_bytes()
    plain = gzip.decompress(whole)
    lines = plain.splitlines(keepends=True)
    bad = [
        b"",
        b"junk",
        whole[:-1],
        whole[: len(whole) // 2],
        gzip.compress(b"".join(lines[:-1])),
        gzip.compress(b"".join([*lines[:3], *lines[4:]])),
        gzip.compress(plain.replace(b'"value":"', b'"value":"A', 1)),
        gzip.compress(plain[:-2]),
        gzip.compress(b"[1]\n" * 3),
        gzip.compress(b'{"schema":"other/v1"}\n' * 2),
    ]
    world.store = MemoryStore()
    for content in bad:
        path.write_bytes(content)
        with pytest.raises(ArchiveUnreadable):
            await restore(scope_of(world), path, {}, author="alice")
    path.write_bytes(whole)
    assert check(path)["scope"] == SCOPE
    other = Scope(store=world.store, name="other", zones=[ZONE], limits=Limits(), clock=world.clock)
    denied = await restore(other, path, {}, author="alice")
    assert isinstance(denied, Denied)
    assert denied.refusals[0].guard == "scope"
    assert not await contents(world)


async def test_a_backup_that_fails_leaves_the_last_one(world: World, tmp_path: Path) -> None:
    """The file is replaced only by a whole one."""
    await world.add("a")
    await applied(world, 1)
    path = tmp_path / "backup"
    await backup(scope_of(world), path)
    whole = path.read_bytes()

    class Away(Breaking):
        async def range(self, start: str, end: str = "", **options: Any) -> Any:
            if options.get("limit"):
                raise StoreDown("gone")
            return await self._store.range(start, end, **options)

    with pytest.raises(StoreDown):
        await backup(scope_of(world, Away(world.store, 0)), path)
    assert path.read_bytes() == whole
    assert [each.name for each in tmp_path.iterdir()] == ["backup"]


async def test_keys_of_an_unknown_kind_are_backed_up_and_never_dropped(world: World, tmp_path: Path) -> None:
    """A newer version has one more kind: only that version restores the file, and this one deletes no such key."""
    await world.publish(plan(fleet(5, 1)))
    before = tmp_path / "before"
    await backup(scope_of(world), before)
    policy, presence = world.keys.root + "policies/alice", world.keys.root + "guests/a"
    lease = await world.store.grant(60)
    await world.store.transact((), (Put(key=policy, value=b"x"), Put(key=presence, value=b"x", lease=lease)))
    saved = await backup(scope_of(world), tmp_path / "backup")
    assert saved.document()["unknown"] == ["policies/"]
    found = await contents(world)
    done = await restore(scope_of(world), tmp_path / "backup", {}, author="alice", replace=True)
    assert isinstance(done, Denied)
    assert "policies/" in str(done.refusals[0])
    assert await contents(world) == found
    done = await restore(scope_of(world), before, {}, author="alice", replace=True)
    assert isinstance(done, Restored)
    assert await contents(world) == found


async def test_a_restore_that_replaces_is_the_way_back_from_a_newer_version(world: World, tmp_path: Path) -> None:
    """It is an operator's order: the older version then goes on with what it can read."""
    await world.add("a")
    await applied(world, 1)
    await backup(scope_of(world), tmp_path / "backup")
    ports = zones(world)
    await world.stop("a")
    for kind in (PLAN, HEAD, LEDGER, FENCE, APPLIED):
        for item in (await world.store.range(*world.keys.bounds(kind))).items:
            newer = b"%s %d\n" % (kind.name.encode(), kind.format + 1) + item.value.removeprefix(kind.header)
            await world.store.transact((), (Put(key=item.key, value=newer),))
    assert len((await world.view()).other_formats) == 5
    done = await restore(scope_of(world), tmp_path / "backup", ports, author="alice", replace=True)
    assert isinstance(done, Restored)
    assert (done.other_formats, done.fences) == ((), {ZONE: 1})
    await world.add("b")
    await applied(world, 2)


def test_fences_are_ordered_by_what_can_be_known_of_them() -> None:
    """A fence that can be read is above one of another version, and that above garbage: none is lowered."""
    readable = record_value(raised(Fence(scope=SCOPE, generation=1, plan="0" * 16), 0))
    assert _height(readable) > _height(b"fence 2\nwhatever") > _height(b"junk")


# -- from an enactor's local copy


async def test_a_store_is_seeded_from_a_local_copy(world: World) -> None:
    """Plans at the fences with their chunks, ledger, fences and id come back; plans without content are left out."""
    member = await world.add("a")
    await applied(world, 1, 2)
    await world.publish(plan(fleet(20, 3)))
    await world.applied(3)
    own = member.enactor.cache.installation
    await world.until(lambda: world.keys.plan(3) in member.copy.items and not member.enactor.cache.dirty)
    ports = zones(world)
    copy = await world.stop("a")
    world.store = MemoryStore()
    world.plans = type(world.plans)(world.store, world.keys, world.clock, zones=[ZONE])
    scope = scope_of(world)
    source = copy_source(scope, "copy", list(copy.items.values()), copy.chunks, 5.0)
    assert isinstance(source, Source)
    done = await restore_from(scope, source, ports, author="alice")
    assert isinstance(done, Restored)
    assert (done.newest, done.plans, done.left_out, done.fences) == (3, 1, (1, 2), {ZONE: 3})
    assert (done.installation, done.taken_at) == (own, 5.0)
    again = await restore_from(scope, source, ports, author="alice")
    assert isinstance(again, Denied)
    assert again.refusals[0].guard == "not_empty"
    await world.add("a", copy)
    await world.publish(plan(fleet(20, 4)))
    await world.applied(4)
    assert world.serves(fleet(20, 4))


async def test_a_copy_of_another_scope_seeds_nothing(world: World) -> None:
    """Its keys are below another root; and a copy that has nothing but an id is none."""
    member = await world.add("a")
    await world.until(lambda: world.keys.installation in member.copy.items)
    refused = copy_source(scope_of(world), "copy", list(member.copy.items.values()), {}, 0.0)
    assert isinstance(refused, Denied)
    assert refused.refusals[0].guard == "scope"


async def test_a_backup_without_an_id_leaves_the_store_s(world: World, tmp_path: Path) -> None:
    """A backup from before there were ids must not make the store nobody's."""
    member = await world.add("a")
    await applied(world, 1)
    own = member.enactor.cache.installation
    await world.store.transact((), (Delete(key=world.keys.installation),))
    path = tmp_path / "backup"
    await backup(scope_of(world), path)
    await world.until(lambda: member.recorder.of(InstallationRefused))
    await world.until(lambda: not member.enactor.reasons() and member.enactor.cache.stored_installation is not None)
    done = await restore(scope_of(world), path, zones(world), author="alice", replace=True)
    assert isinstance(done, Restored)
    assert done.installation == own
