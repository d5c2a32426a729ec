"""One suite over every plan store: memory, SQLite, and a real etcd."""

import asyncio
import resource
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from enactord.core.errors import Compacted, ConfigError, LeaseLost, StoreDown, StoreRefused, StoreUnknown
from enactord.core.kv import (
    MAX_OPERATIONS,
    MAX_REQUEST_BYTES,
    Changes,
    Compare,
    Delete,
    Operator,
    Put,
    absent,
    none_under,
    present,
    unmodified,
    valued,
)
from enactord.ports import KeyValue
from enactord.stores.by_url import open_store
from enactord.stores.etcd import EtcdStore
from enactord.stores.memory import MemoryStore
from enactord.stores.sqlite import SqliteStore
from tests.servers.dns_server import free_port
from tests.servers.etcd import Etcd


@dataclass
class Site:
    """A store with a prefix of its own for each test, and the means to compact it."""

    store: KeyValue
    prefix: str
    compact: Callable[[int], Awaitable[None]]
    others: list[KeyValue] = field(default_factory=list)

    def key(self, name: str) -> str:
        return self.prefix + name

    async def put(self, name: str, value: bytes = b"v", lease: int = 0) -> int:
        result = await self.store.transact((), (Put(key=self.key(name), value=value, lease=lease),))
        return result.revision

    async def value(self, name: str) -> bytes | None:
        item = (await self.store.get([self.key(name)])).get(self.key(name))
        return None if item is None else item.value

    async def check(self, *compares: Compare) -> bool:
        return (await self.store.transact(compares, ())).succeeded


@pytest.fixture(scope="session")
def etcd() -> Iterator[Etcd]:
    with Etcd() as server:
        yield server


_serial = iter(range(10**6))


@pytest.fixture(params=["memory", "sqlite", "etcd"])
async def site(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Site]:
    prefix = f"/t{next(_serial):06d}/"
    if request.param == "memory":
        memory = MemoryStore()

        async def forget(revision: int) -> None:
            memory.compact(revision)

        yield Site(memory, prefix, forget)
    elif request.param == "sqlite":
        sqlite = SqliteStore(tmp_path / "store.sqlite")
        yield Site(sqlite, prefix, sqlite.compact)
        await sqlite.close()
    else:
        server: Etcd = request.getfixturevalue("etcd")
        store = EtcdStore.connect([server.endpoint], timeout_s=10)
        yield Site(store, prefix, store.compact)
        await store.close()


async def gather(changes: AsyncIterator[Changes], events: int) -> list[Changes]:
    """Read a watch until it has shown so many events."""
    found: list[Changes] = []
    async with asyncio.timeout(20):
        async for change in changes:
            found.append(change)
            if sum(len(c.events) for c in found) >= events:
                return found
    raise AssertionError("the watch ended")


@pytest.mark.parametrize(
    ("operator", "operand", "expected"),
    [
        ("=", b"5", True),
        ("=", b"6", False),
        ("!=", b"6", True),
        ("<", b"6", True),
        ("<", b"5", False),
        (">", b"4", True),
    ],
)
async def test_values_compare_byte_by_byte(site: Site, operator: Operator, operand: bytes, expected: bool) -> None:
    """Every operator, on the value."""
    await site.put("k", b"5")
    assert await site.check(valued(site.key("k"), operand, operator)) is expected


async def test_unpadded_numbers_do_not_compare_as_numbers(site: Site) -> None:
    """Bytes, not numbers: which is why generations are padded."""
    await site.put("k", b"9")
    assert await site.check(valued(site.key("k"), b"10", ">"))


@pytest.mark.parametrize("operator", ["=", "!=", "<", ">"])
async def test_a_value_compare_on_a_missing_key_is_false(site: Site, operator: Operator) -> None:
    """Whatever the operator: a first write needs a branch of its own."""
    assert not await site.check(valued(site.key("missing"), b"", operator))
    assert not await site.check(valued(site.key("missing"), b"zzz", operator))


async def test_revisions_and_versions_compare(site: Site) -> None:
    """mod, create and version of a present and of a missing key."""
    created = await site.put("k")
    modified = await site.put("k", b"2")
    key = site.key("k")
    assert await site.check(unmodified(key, modified), present(key))
    assert not await site.check(unmodified(key, created))
    assert await site.check(Compare(key=key, field="create", operator="=", operand=created))
    assert await site.check(Compare(key=key, field="version", operator="=", operand=2))
    assert await site.check(absent(site.key("missing")), unmodified(site.key("missing"), 0))
    assert not await site.check(present(site.key("missing")))


async def test_a_prefix_compare_holds_for_every_key_or_for_none(site: Site) -> None:
    """A range compare fails by one key that does not fit, and holds where there is no key at all."""
    first = await site.put("a/1")
    assert await site.check(none_under(site.key("b/")))
    assert not await site.check(none_under(site.key("a/")))
    below = Compare(key=site.key("a/"), field="mod", operator="<", operand=first + 1, prefix=True)
    assert await site.check(below)
    await site.put("a/2")
    assert not await site.check(below)


async def test_a_failed_compare_changes_nothing(site: Site) -> None:
    """All operations, or none."""
    await site.put("k", b"1")
    result = await site.store.transact(
        (valued(site.key("k"), b"2"),), (Put(key=site.key("k"), value=b"3"), Put(key=site.key("n"), value=b"3"))
    )
    assert not result.succeeded
    assert await site.value("k") == b"1"
    assert await site.value("n") is None


async def test_puts_and_deletes_of_one_transaction_share_a_revision(site: Site) -> None:
    """What is changed together has one mod revision."""
    await site.put("gone")
    result = await site.store.transact(
        (),
        (
            Put(key=site.key("a"), value=b"\x00\xff"),
            Put(key=site.key("b"), value=b""),
            Delete(key=site.key("gone")),
            Delete(key=site.key("never")),
        ),
    )
    found = await site.store.get([site.key(n) for n in ("a", "b", "gone")])
    assert {item.mod_revision for item in found.values()} == {result.revision}
    assert [item.value for item in found.values()] == [b"\x00\xff", b""]
    assert all(item.version == 1 and item.create_revision == result.revision for item in found.values())


async def test_a_prefix_is_deleted_whole(site: Site) -> None:
    """And nothing beside it."""
    for name in ("d/1", "d/2", "da", "e"):
        await site.put(name)
    await site.store.transact((), (Delete(key=site.key("d/"), prefix=True),))
    page = await site.store.range(site.prefix, site.prefix[:-1] + "0")
    assert [item.key for item in page.items] == [site.key("da"), site.key("e")]


async def test_a_key_made_anew_has_a_new_create_revision(site: Site) -> None:
    """So a claim compared by create revision is not confused with its successor."""
    first = await site.put("k")
    await site.store.transact((), (Delete(key=site.key("k")),))
    second = await site.put("k")
    item = (await site.store.get([site.key("k")]))[site.key("k")]
    assert item.create_revision == second > first
    assert item.version == 1


async def test_a_range_reads_the_past(site: Site) -> None:
    """At a revision, the range is as it was then."""
    await site.put("a", b"1")
    then = await site.put("b", b"1")
    await site.put("a", b"2")
    await site.store.transact((), (Delete(key=site.key("b")),))
    page = await site.store.range(site.prefix, site.prefix[:-1] + "0", revision=then)
    assert [(item.key, item.value) for item in page.items] == [(site.key("a"), b"1"), (site.key("b"), b"1")]


async def test_the_page_of_a_past_revision_names_that_revision(site: Site) -> None:
    """And not the newest, of which it says nothing."""
    then = await site.put("a", b"1")
    await site.put("a", b"2")
    page = await site.store.range(site.key("a"), revision=then)
    assert (page.revision, page.items[0].value) == (then, b"1")


async def test_a_page_is_as_of_its_revision_while_others_write(site: Site) -> None:
    """Who watches from the revision after it has missed nothing, however many answers the page took."""
    keys = [site.key(f"{number:04d}") for number in range(300)]
    for start in range(0, len(keys), 100):
        await site.store.transact((), [Put(key=key, value=b"") for key in keys[start : start + 100]])
    reading = True

    async def write() -> None:
        while reading:
            await site.put("0000")
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(write())
        for _ in range(5):
            page = await site.store.range(site.prefix, site.prefix[:-1] + "0")
            again = await site.store.range(keys[0], revision=page.revision)
            assert (len(page.items), page.items[0]) == (len(keys), again.items[0])
        reading = False


async def test_a_limit_cuts_and_says_so(site: Site) -> None:
    """`more` tells that the answer is short."""
    for number in range(5):
        await site.put(f"k{number}")
    page = await site.store.range(site.prefix, site.prefix[:-1] + "0", limit=2)
    assert len(page.items) == 2
    assert page.more
    page = await site.store.range(site.prefix, site.prefix[:-1] + "0", limit=5)
    assert not page.more


async def test_large_ranges_and_many_keys_come_whole(site: Site) -> None:
    """More keys than one answer or one transaction holds."""
    keys = [site.key(f"{number:04d}") for number in range(700)]
    for start in range(0, len(keys), 100):
        await site.store.transact((), [Put(key=key, value=key.encode() * 20) for key in keys[start : start + 100]])
    page = await site.store.range(site.prefix, site.prefix[:-1] + "0")
    assert [item.key for item in page.items] == keys
    found = await site.store.get([*keys, site.key("missing")])
    assert sorted(found) == keys


async def test_limits_are_checked_before_anything_is_sent(site: Site) -> None:
    """Too many operations, a key twice, an overlap with a deleted prefix: programmer errors."""
    puts = [Put(key=site.key(str(n)), value=b"") for n in range(MAX_OPERATIONS + 1)]
    with pytest.raises(ValueError, match="128"):
        await site.store.transact((), puts)
    assert (await site.store.transact((), puts[:-1])).succeeded
    with pytest.raises(ValueError, match="twice"):
        await site.store.transact((), (puts[0], puts[0]))
    with pytest.raises(ValueError, match="prefix"):
        await site.store.transact((), (puts[0], Delete(key=site.prefix, prefix=True)))
    large = b"x" * (MAX_REQUEST_BYTES // 2)
    with pytest.raises(ValueError, match="bytes"):
        await site.store.transact((), (Put(key=site.key("a"), value=large), Put(key=site.key("b"), value=large)))
    with pytest.raises(ValueError, match="bytes"):
        await site.store.transact((valued(site.key("a"), large),), (Put(key=site.key("b"), value=large),))


async def test_counters_by_compare_and_set_lose_nothing(site: Site) -> None:
    """Eight at once, twenty each: 160."""
    await site.put("n", b"0")

    async def count() -> None:
        for _ in range(20):
            while True:
                item = (await site.store.get([site.key("n")]))[site.key("n")]
                put = Put(key=site.key("n"), value=str(int(item.value) + 1).encode())
                if (await site.store.transact((unmodified(item.key, item.mod_revision),), (put,))).succeeded:
                    break

    await asyncio.gather(*(count() for _ in range(8)))
    assert await site.value("n") == b"160"


async def test_a_watch_resumes_and_shows_each_revision_whole(site: Site) -> None:
    """From a past revision on, in order, deletes included, nothing of other prefixes."""
    start = await site.put("a", b"1")
    await site.store.transact((), (Put(key="/elsewhere" + site.prefix, value=b""),))
    last = await site.store.transact((), (Put(key=site.key("a"), value=b"2"), Put(key=site.key("b"), value=b"2")))
    await site.store.transact((), (Delete(key=site.key("a")),))
    async with aclosing(site.store.watch(site.prefix, start_revision=start)) as changes:  # type: ignore[type-var]
        found = await gather(changes, 4)
    by_revision = {c.revision: [(e.key, e.item and e.item.value) for e in c.events] for c in found}
    assert by_revision[start] == [(site.key("a"), b"1")]
    assert sorted(by_revision[last.revision]) == [(site.key("a"), b"2"), (site.key("b"), b"2")]
    assert by_revision[max(by_revision)] == [(site.key("a"), None)]


async def test_a_watch_shows_what_happens_while_it_waits(site: Site) -> None:
    """News come without asking, to every watch."""
    start = await site.put("a")

    async def one() -> list[Changes]:
        async with aclosing(site.store.watch(site.prefix, start_revision=start + 1)) as changes:  # type: ignore[type-var]
            return await gather(changes, 2)

    watches = [asyncio.create_task(one()) for _ in range(2)]
    await asyncio.sleep(0.05)
    await site.put("b")
    await site.put("c")
    for found in await asyncio.gather(*watches):
        assert [event.key for c in found for event in c.events] == [site.key("b"), site.key("c")]


async def test_a_revision_of_very_many_events_comes_whole(site: Site) -> None:
    """A deleted prefix is one revision, which no limit of a read may cut or hold up."""
    for start in range(0, 700, 100):
        await site.store.transact(
            (), [Put(key=site.key(f"{number:04d}"), value=b"") for number in range(start, start + 100)]
        )
    gone = await site.store.transact((), (Delete(key=site.prefix, prefix=True),))
    await site.put("after")
    async with aclosing(site.store.watch(site.prefix, start_revision=gone.revision)) as changes:  # type: ignore[type-var]
        found = await gather(changes, 701)
    assert [len(change.events) for change in found] == [700, 1]


async def test_what_is_compacted_is_said_to_be(site: Site) -> None:
    """A watch or a read of the lost past is told so, and the present is still there."""
    start = await site.put("a", b"1")
    await site.put("a", b"2")
    last = await site.put("a", b"3")
    await site.compact(last)
    with pytest.raises(Compacted):
        async with aclosing(site.store.watch(site.prefix, start_revision=start)) as changes:  # type: ignore[type-var]
            await gather(changes, 1)
    with pytest.raises(Compacted):
        await site.store.range(site.key("a"), revision=start)
    assert await site.value("a") == b"3"
    await site.put("a", b"4")
    async with aclosing(site.store.watch(site.prefix, start_revision=last + 1)) as changes:  # type: ignore[type-var]
        assert (await gather(changes, 1))[0].events[0].key == site.key("a")


async def test_keys_of_a_lease_go_with_it(site: Site) -> None:
    """Revoked: at once, and a watch shows it."""
    lease = await site.store.grant(60)
    start = await site.put("leased", lease=lease)
    await site.put("stays")
    await site.store.revoke(lease)
    assert await site.value("leased") is None
    assert await site.value("stays") == b"v"
    async with aclosing(site.store.watch(site.key("leased"), start_revision=start)) as changes:  # type: ignore[type-var]
        found = await gather(changes, 2)
    assert found[-1].events[-1].item is None
    await site.store.revoke(lease)
    with pytest.raises(LeaseLost):
        await site.store.keep_alive(lease)
    with pytest.raises(LeaseLost):
        await site.put("more", lease=lease)


async def test_a_lease_lives_as_long_as_it_is_kept_alive(site: Site) -> None:
    """Kept, it outlives its time; then it runs out by itself."""
    lease = await site.store.grant(2)
    await site.put("leased", lease=lease)
    for _ in range(6):
        await asyncio.sleep(0.5)
        await site.store.keep_alive(lease)
    assert await site.value("leased") == b"v"
    async with asyncio.timeout(20):
        while await site.value("leased") is not None:
            await asyncio.sleep(0.1)


async def test_a_watch_shows_that_a_lease_ran_out(site: Site) -> None:
    """Nobody revokes it: the keys go, and who waits for it hears so."""
    lease = await site.store.grant(2)
    start = await site.put("leased", lease=lease)
    async with aclosing(site.store.watch(site.prefix, start_revision=start)) as changes:  # type: ignore[type-var]
        found = await gather(changes, 2)
    assert [event.item is None for change in found for event in change.events] == [False, True]
    with pytest.raises(LeaseLost):
        await site.store.keep_alive(lease)


async def test_a_put_without_the_lease_frees_the_key_from_it(site: Site) -> None:
    """The lease of the last put counts."""
    lease = await site.store.grant(60)
    await site.put("k", lease=lease)
    await site.put("k", b"2")
    await site.store.revoke(lease)
    assert await site.value("k") == b"2"


# -- what only some of them have


async def test_processes_on_one_file_see_each_other(tmp_path: Path) -> None:
    """Two SQLite stores on one file: changes, watches and leases are shared."""
    one = SqliteStore(tmp_path / "s.sqlite")
    two = SqliteStore(tmp_path / "s.sqlite")

    async def watch() -> list[Changes]:
        async with aclosing(two.watch("/", start_revision=2)) as changes:  # type: ignore[type-var]
            return await gather(changes, 1)

    watching = asyncio.create_task(watch())
    lease = await one.grant(60)
    await one.transact((), (Put(key="/k", value=b"v", lease=lease),))
    assert (await watching)[0].events[0].key == "/k"
    await two.revoke(lease)
    assert not await one.get(["/k"])
    await one.close()
    await two.close()


def take_away(path: Path) -> None:
    path.parent.rename(path.parent.with_name("away"))


def bring_back(path: Path) -> None:
    path.parent.with_name("away").rename(path.parent)


def damage(path: Path) -> None:
    for suffix in ("-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    path.rename(path.with_name("sound"))
    path.write_bytes(b"no database" * 1000)


def put_sound_file_back(path: Path) -> None:
    path.with_name("sound").rename(path)


def put_folder_there(path: Path) -> None:
    damage(path)
    path.unlink()
    path.mkdir()


def remove_folder(path: Path) -> None:
    path.rmdir()
    put_sound_file_back(path)


def set_format(path: Path, number: int) -> None:
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version = {number}")
    db.close()


@pytest.mark.parametrize(
    ("spoil", "undo", "error", "fix"),
    [
        pytest.param(take_away, bring_back, StoreDown, "directory .*/mnt is not there; mount it", id="directory away"),
        pytest.param(damage, put_sound_file_back, StoreRefused, "left as it is: .*enactorctl restore", id="damaged"),
        pytest.param(
            put_folder_there,
            remove_folder,
            StoreRefused,
            "let the user .* read and write|is a directory; name a file",
            id="permission",
        ),
        pytest.param(
            lambda path: set_format(path, 2),
            lambda path: set_format(path, 1),
            StoreRefused,
            "format 2, this version reads format 1: start enactord of a version that writes format 2",
            id="newer format",
        ),
    ],
)
async def test_a_file_that_is_away_is_told_with_its_fix_and_comes_back(
    tmp_path: Path, spoil: Callable[[Path], None], undo: Callable[[Path], None], error: type[Exception], fix: str
) -> None:
    """A store is made whatever stands there; each call says what to do, and changes nothing of it."""
    path = tmp_path / "mnt" / "s.sqlite"
    path.parent.mkdir()
    first = SqliteStore(path)
    await first.transact((), (Put(key="/k", value=b"v"),))
    await first.close()
    spoil(path)
    store = SqliteStore(path)
    before = path.read_bytes() if path.is_file() else b""
    for _ in range(2):
        with pytest.raises(error, match=fix):
            await store.get(["/k"])
    assert not before or path.read_bytes() == before
    undo(path)
    assert (await store.get(["/k"]))["/k"].value == b"v"
    await store.close()


async def test_a_file_that_is_locked_is_told_with_its_fix_and_comes_back(tmp_path: Path) -> None:
    """The message says how to find who keeps it."""
    path = tmp_path / "s.sqlite"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    store = SqliteStore(path, timeout_s=0.1)
    with pytest.raises(StoreDown, match=r"locked: .*fuser -v"):
        await store.get(["/k"])
    other.close()
    assert await store.get(["/k"]) == {}
    await store.close()


async def test_a_full_disk_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    """The message says what to do; reads go on, and so do writes when there is room."""
    path = tmp_path / "s.sqlite"
    store = SqliteStore(path)
    await store._run(lambda db: db.execute("PRAGMA max_page_count = 40").fetchall())

    async def fill() -> None:
        for number in range(100):
            counted = Put(key="/n", value=str(number).encode())
            await store.transact((), (counted, Put(key=f"/{number}", value=bytes(4000))))

    with pytest.raises(StoreRefused, match="make room"):
        await fill()
    number = int((await store.get(["/n"]))["/n"].value)
    assert f"/{number}" in await store.get([f"/{number}"])
    assert f"/{number + 1}" not in await store.get([f"/{number + 1}"])
    assert (await store.transact((), (Put(key="/n", value=bytes(9000)),))).succeeded
    await store.close()


async def test_a_commit_that_the_disk_fails_is_unknown(tmp_path: Path) -> None:
    """What is in the log may count after a crash: the caller must read before it writes again."""
    store = SqliteStore(tmp_path / "s.sqlite")

    async def fill() -> None:
        for _ in range(200):
            await store.transact((), (Put(key="/k", value=bytes(4000)),))

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        with pytest.raises(StoreUnknown):
            await fill()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (await store.transact((present("/k"),), (Put(key="/k", value=b"v"),))).succeeded
    await store.close()


async def test_many_open_a_new_file_at_once(tmp_path: Path) -> None:
    """Enactors that are started together share one new file; none finds it locked."""
    stores = [SqliteStore(tmp_path / "s.sqlite") for _ in range(8)]
    await asyncio.gather(*(s.transact((), (Put(key=f"/{n}", value=b""),)) for n, s in enumerate(stores)))
    assert len((await stores[0].range("/", "0")).items) == 8
    await asyncio.gather(*(store.close() for store in stores))


@pytest.mark.parametrize("site", ["sqlite", "etcd"], indirect=True)
async def test_a_closed_store_is_down(site: Site) -> None:
    """Watches end by an error of ours, not as if their task were cancelled; closing twice is no error."""
    start = await site.put("a")
    watch = site.store.watch(site.prefix, start_revision=start)
    await anext(watch)
    waiting = asyncio.create_task(gather(watch, 1))
    await asyncio.sleep(0)
    await site.store.close()
    async with asyncio.timeout(10):
        with pytest.raises(StoreDown):
            await waiting
    await site.store.close()
    with pytest.raises(StoreDown):
        await site.put("a")
    with pytest.raises(StoreDown):
        await site.store.range(site.key("a"))


async def test_a_killed_etcd_is_down_and_a_restarted_one_has_lost_nothing() -> None:
    """Down within the time limit; back, the watch goes on from where it was."""
    with Etcd() as server:
        store = await open_store(server.url, timeout_s=2)
        revision = (await store.transact((), (Put(key="/k", value=b"1"),))).revision
        watch = store.watch("/", start_revision=revision)
        assert (await anext(watch)).events[0].key == "/k"
        server.kill()
        with pytest.raises(StoreDown):
            async with asyncio.timeout(15):
                await anext(watch)
        with pytest.raises(StoreDown):
            await store.range("/k")
        with pytest.raises(StoreDown):
            await store.transact((), (Put(key="/k", value=b"2"),))
        server.start()
        async with asyncio.timeout(20):
            while True:
                try:
                    await store.transact((), (Put(key="/k", value=b"3"),))
                    break
                except StoreDown:
                    await asyncio.sleep(0.1)
        resumed = store.watch("/", start_revision=revision + 1)
        async with asyncio.timeout(10):
            values = [(await anext(resumed)).events[0].item]
        assert values[0] is not None
        assert values[0].value in (b"2", b"3")
        await resumed.aclose()  # type: ignore[attr-defined]
        await store.close()


async def test_the_first_endpoint_may_be_dead(etcd: Etcd) -> None:
    """Several endpoints: one that does not answer costs a moment, not the call."""
    store = EtcdStore.connect([f"127.0.0.1:{free_port()}", etcd.endpoint], timeout_s=3)
    await store.transact((), (Put(key="/failover", value=b"v"),))
    assert "/failover" in await store.get(["/failover"])
    await store.close()


@pytest.mark.parametrize("url", ["", "redis://x", "sqlite://relative", "etcd://"])
async def test_a_url_of_another_form_names_the_forms(url: str) -> None:
    """The error says what can be written instead."""
    with pytest.raises(ConfigError, match="etcd://"):
        await open_store(url)
