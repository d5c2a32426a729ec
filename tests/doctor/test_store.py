"""What the doctor says of the plan store, of ids and of limits."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import pytest
from aiohttp import web

from enactord.clock import SystemClock
from enactord.core.errors import IdTaken, StoreRefused
from enactord.core.guards import Limits
from enactord.core.kv import Put
from enactord.doctor import State
from enactord.ports import KeyValue
from enactord.store.control import Freeze, freeze
from enactord.store.keys import Keys, installation_value
from enactord.store.limits import seed
from enactord.store.session import Session
from enactord.stores.by_url import open_store
from enactord.stores.etcd_api import Service, message
from enactord.stores.local_copy import COPY_NAME
from tests.contract.test_etcd_store import protect
from tests.doctor.desk import ZONE, Desk, bad, fault, warning
from tests.servers.bind import Bind
from tests.servers.dns_server import free_port
from tests.servers.etcd import Etcd


@pytest.fixture(scope="module")
def bind() -> Iterator[Bind]:
    with Bind([ZONE]) as server:
        yield server


@pytest.fixture
def desk(tmp_path: Path, bind: Bind) -> Desk:
    return Desk(tmp_path, servers=[bind.port])


async def test_a_store_that_is_well_is_left_as_it_was(desk: Desk) -> None:
    """A transaction is carried out, and no key is left."""
    with Etcd() as etcd:
        desk.store = etcd.url
        assert bad(await desk.examine()) == []
        store = await open_store(etcd.url)
        assert (await store.range("/", "0")).items == ()
        await store.close()


async def test_a_store_that_the_local_copy_does_not_know_is_told(desk: Desk) -> None:
    """It is empty, or another installation's; the one that the copy knows is well."""
    await desk.copied("a" * 16)
    store = await open_store(f"sqlite://{desk.folder}/store.db")
    await store.transact((), [Put(key="/other/key", value=b"")])
    found = fault(await desk.examine(), "store")
    assert "the store is empty" in found.seen
    assert found.fix.startswith("enactorctl restore --from-copy")
    for installation, well in (("f" * 16, False), ("a" * 16, True)):
        await store.transact((), [Put(key=Keys("test").installation, value=installation_value(installation))])
        checks = [check for check in (await desk.examine()).checks if check.subject == "installation"]
        assert [check.state is State.OK for check in checks] == [well]
        assert "a" * 16 in checks[0].seen
    await store.close()


async def test_a_store_without_an_id_promises_none(desk: Desk) -> None:
    """Whether an enactor makes one depends on the fences, which the zones tell."""
    (found,) = [check for check in (await desk.examine()).checks if check.subject == "installation"]
    assert found.state is State.OK
    assert found.seen == "the store has no id; there is no local copy to compare it with"


async def test_a_local_copy_that_cannot_be_read_is_told(desk: Desk) -> None:
    """It is not "no copy": the file is named, with why."""
    await desk.copied("a" * 16)
    (desk.folder / "state" / COPY_NAME).write_bytes(b"no database at all" * 100)
    found = warning(await desk.examine(), "store")
    assert found.subject == "installation"
    assert COPY_NAME in found.seen
    assert "not a database" in found.seen


async def test_a_store_that_is_away_stops_no_other_check(desk: Desk) -> None:
    """The store is a fault; what stands in it is not known; the zones are looked at."""
    port = free_port()
    desk.store = f"etcd://127.0.0.1:{port}"
    report = await desk.examine()
    found = fault(report, "store")
    assert "cannot be reached" in found.seen
    assert found.fix.endswith(f"etcdctl --endpoints=127.0.0.1:{port} endpoint health")
    assert {check.group.value for check in report.checks if check.state is State.UNKNOWN} == {
        "config",
        "store",
        "enactors",
    }
    assert all(check.state is State.OK for check in report.checks if check.group == "zones")


async def test_a_member_that_is_away_is_a_warning(desk: Desk) -> None:
    """The others do its work; it is named with the command that shows it."""
    with Etcd() as etcd:
        gone = f"127.0.0.1:{free_port()}"
        desk.store = f"{etcd.url},{gone}"
        report = await desk.examine()
        assert warning(report, "store").subject == f"member {gone}"
        assert report.count(State.FAULT) == 0


async def fill(store: KeyValue) -> None:
    """Put keys until the store takes no more. Raises `StoreRefused`."""
    for number in range(1000):
        await store.transact((), [Put(key=f"/filled/{number}", value=b"x" * 50_000)])


async def test_a_store_without_space_is_told(desk: Desk) -> None:
    """etcd answers reads, and refuses each write (NOSPACE) until the alarm is disarmed."""
    with Etcd(options=["--quota-backend-bytes=200000"]) as etcd:
        store = await open_store(etcd.url)
        with pytest.raises(StoreRefused):
            await fill(store)
        await store.close()
        desk.store = etcd.url
        found = fault(await desk.examine(), "store")
        assert "space exceeded" in found.seen
        assert "alarm list" in found.fix


async def test_a_wrong_password_is_told(desk: Desk) -> None:
    """etcd answers, and lets nobody in."""
    with Etcd() as etcd:
        protect(etcd)
        (desk.folder / "password").write_text("guessed")
        (desk.folder / "password").chmod(0o600)
        desk.store = etcd.url
        desk.more["store"] = 'username = "teller"\npassword_file = "password"'
        found = fault(await desk.examine(), "store")
        assert "authentication failed" in found.seen
        assert "store.password_file" in found.fix


async def test_a_store_that_may_only_be_read_is_told(desk: Desk) -> None:
    """A role with the right to read reaches everything but a write."""
    with Etcd() as etcd:
        with grpc.insecure_channel(etcd.endpoint) as channel:
            auth = Service("Auth", channel)
            for user in ("root", "reader"):
                auth.UserAdd(message("AuthUserAddRequest")(name=user, password="secret"))
                auth.RoleAdd(message("AuthRoleAddRequest")(name=user))
                auth.UserGrantRole(message("AuthUserGrantRoleRequest")(user=user, role=user))
            reads = {"permType": 0, "key": b"/", "range_end": b"0"}
            auth.RoleGrantPermission(message("AuthRoleGrantPermissionRequest")(name="reader", perm=reads))
            auth.AuthEnable(message("AuthEnableRequest")())
        (desk.folder / "password").write_text("secret")
        (desk.folder / "password").chmod(0o600)
        desk.store = etcd.url
        desk.more["store"] = 'username = "reader"\npassword_file = "password"'
        report = await desk.examine()
        assert "permission denied" in fault(report, "store").seen
        assert [check.group.value for check in bad(report)] == ["store"]


async def test_a_store_that_hangs_is_told_within_its_time(desk: Desk) -> None:
    """An etcd that takes connections and says nothing."""
    with Etcd() as etcd:
        desk.store = etcd.url
        etcd.pause()
        try:
            report = await desk.examine()
            (found,) = [check for check in report.checks if check.group == "store" and check.subject == etcd.url]
            assert found.state in (State.FAULT, State.UNKNOWN), report  # it hangs, or no end came within its time
            assert found.fix
        finally:
            etcd.resume()


async def test_limits_that_differ_are_told(desk: Desk) -> None:
    """With both values, and the line or the command that makes them equal."""
    desk.more["guard"] = "targets_min = 2"
    store = await open_store(f"sqlite://{desk.folder}/store.db")
    await seed(store, Keys("test"), Limits(), "e1", 1.0)
    await store.close()
    found = warning(await desk.examine(), "config")
    assert found.subject == "guard.targets_min"
    assert found.seen == "in force is 1, and this config says 2"
    assert "enactorctl limits set targets_min 2 --reason" in found.fix


async def test_two_enactors_with_one_id_are_told(desk: Desk) -> None:
    """The store knows the first; the one on this machine is kept out, and has neither lease nor report."""
    store = await open_store(f"sqlite://{desk.folder}/store.db")
    keys, clock = Keys("test"), SystemClock()
    own, other = (Session(store, keys, clock, enactor="e1", ttl_s=60, mark=mark) for mark in ("own", "other"))
    async with answering({"status": "ready", "process": "own"}) as port:
        desk.more["http"] = f'listen = "127.0.0.1:{port}"'
        await own.keep({"head": 0})
        assert bad(await desk.examine()) == []
        await own.close()
        await other.keep({"head": 0})
        with pytest.raises(IdTaken):
            await own.keep({"head": 0})
        async with asyncio.TaskGroup() as group:
            living = group.create_task(lives(other))
            found = fault(await desk.examine(), "enactors")
            living.cancel()
    assert "another process with this id is alive" in found.seen
    assert "enactor.id" in found.fix
    await store.close()


async def lives(session: Session) -> None:
    for head in itertools.count(1):
        await session.keep({"head": head})
        await asyncio.sleep(0.3)


async def test_an_enactor_that_was_started_anew_is_no_fault(desk: Desk) -> None:
    """After a crash the store knows the process of before, until its lease ends."""
    store = await open_store(f"sqlite://{desk.folder}/store.db")
    before, after = (Session(store, Keys("test"), SystemClock(), enactor="e1", ttl_s=60, mark=mark) for mark in "ab")
    await before.keep({"head": 1})
    async with answering({"status": "degraded", "process": "b"}) as port:
        desk.more["http"] = f'listen = "127.0.0.1:{port}"'
        found = warning(await desk.examine(), "enactors")
        assert "still has its lease" in found.seen
        async with asyncio.TaskGroup() as group:
            examined = group.create_task(desk.examine())
            await asyncio.sleep(0.5)
            await before.close()
            await after.keep({"head": 1})
        assert bad(examined.result()) == []
    await store.close()


async def test_an_enactor_that_is_not_here_is_a_warning(desk: Desk) -> None:
    """Nothing listens where this config serves HTTP, or something that does not tell what it is."""
    store = await open_store(f"sqlite://{desk.folder}/store.db")
    await Session(store, Keys("test"), SystemClock(), enactor="e1", ttl_s=60, mark="own").keep({"head": 1})
    desk.more["http"] = f'listen = "127.0.0.1:{free_port()}"'
    assert "none listens at" in warning(await desk.examine(), "enactors").seen
    async with answering(["of another program"]) as port:
        desk.more["http"] = f'listen = "127.0.0.1:{port}"'
        assert "does not tell" in warning(await desk.examine(), "enactors").seen
    await store.close()


@contextlib.asynccontextmanager
async def answering(document: object) -> AsyncIterator[int]:
    """Answer `/readyz` so, on a port."""

    async def ready(_: web.Request) -> web.Response:
        return web.json_response(document)

    app = web.Application()
    app.add_routes([web.get("/readyz", ready)])
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield port
    finally:
        await runner.cleanup()


async def test_a_store_that_is_not_made_yet_is_not_made_by_the_doctor(desk: Desk) -> None:
    """Its file would belong to whoever runs the doctor."""
    report = await desk.examine()
    assert bad(report) == []
    (found,) = [check for check in report.checks if check.subject.startswith("sqlite://")]
    assert "does not exist yet" in found.seen
    assert not (desk.folder / "store.db").exists()


async def test_a_freeze_is_told(desk: Desk) -> None:
    """Who ordered it and why, and what ends it."""
    store = await open_store(f"sqlite://{desk.folder}/store.db")
    keys = Keys("test")
    await freeze(store, keys, Freeze(mode="all", reason="INC-4711", author="Ann", since=1e9))
    await store.close()
    found = warning(await desk.examine(), "enactors")
    assert found.seen == "it is frozen (all) since 2001-09-09T01:46:40Z by Ann: INC-4711"
    assert found.fix == "enactorctl thaw"


async def test_a_config_that_differs_from_the_others_is_told(desk: Desk) -> None:
    """An enactor alive that names another server for a zone, or has another zone."""
    store = await open_store(f"sqlite://{desk.folder}/store.db")
    at = f"127.0.0.1:{desk.servers[0]}"
    for enactor, zones in {"e2": {ZONE: [at]}, "e3": {ZONE: ["10.0.0.9:53"]}, "e4": {ZONE: [at], "x.": []}}.items():
        await Session(store, Keys("test"), SystemClock(), enactor=enactor, ttl_s=60, zones=zones).keep({"head": 1})
    await store.close()
    found = {check.subject: check.seen for check in bad(await desk.examine())}
    assert found == {
        "zones of e3": f"{ZONE}: it has server 10.0.0.9:53, and this config has server {at}",
        "zones of e4": "x.: it has the zone, and this config has no such zone",
    }
