"""What only etcd has: sign-in, TLS, a server that stops answering, answers past a limit."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, aclosing
from pathlib import Path

import grpc
import pytest

from enactord.core.errors import StoreDown, StoreRefused, StoreUnknown
from enactord.core.kv import Changes, Put
from enactord.ports import KeyValue
from enactord.stores.by_url import open_store
from enactord.stores.etcd import EtcdStore
from enactord.stores.etcd_api import Service, message
from enactord.wire.tls import Tls
from tests.servers.certificates import Authority
from tests.servers.dns_server import free_port
from tests.servers.etcd import Etcd


def protect(server: Etcd) -> None:
    """Give `teller` the keys under /ours/, and let nobody in without a password."""
    with grpc.insecure_channel(server.endpoint) as channel:
        auth = Service("Auth", channel)
        for user, password in (("root", "over"), ("teller", "secret")):
            auth.UserAdd(message("AuthUserAddRequest")(name=user, password=password))
            auth.RoleAdd(message("AuthRoleAddRequest")(name=user))
            auth.UserGrantRole(message("AuthUserGrantRoleRequest")(user=user, role=user))
        ours = {"permType": 2, "key": b"/ours/", "range_end": b"/ours0"}
        auth.RoleGrantPermission(message("AuthRoleGrantPermissionRequest")(name="teller", perm=ours))
        auth.AuthEnable(message("AuthEnableRequest")())


@pytest.fixture(scope="module")
def protected() -> Iterator[Etcd]:
    with Etcd() as server:
        protect(server)
        yield server


@pytest.fixture
async def teller(protected: Etcd) -> AsyncIterator[EtcdStore]:
    store = EtcdStore.connect([protected.endpoint], username="teller", password="secret")
    yield store
    await store.close()


async def first(store: KeyValue, prefix: str, start_revision: int) -> Changes:
    async with asyncio.timeout(30), aclosing(store.watch(prefix, start_revision=start_revision)) as changes:  # type: ignore[type-var]
        return await anext(changes)


async def test_a_user_reaches_what_its_role_allows_and_no_more(teller: EtcdStore) -> None:
    """Reads, writes, watches and leases; what is denied is refused, not taken for an outage."""
    revision = (await teller.transact((), (Put(key="/ours/k", value=b"v"),))).revision
    assert (await first(teller, "/ours/", revision)).events[0].key == "/ours/k"
    await teller.keep_alive(await teller.grant(60))
    with pytest.raises(StoreRefused, match="permission"):
        await teller.transact((), (Put(key="/theirs/k", value=b"v"),))
    with pytest.raises(StoreRefused, match="permission"):
        await teller.range("/theirs/k")
    with pytest.raises(StoreRefused, match="permission"):
        await first(teller, "/theirs/", revision)


@pytest.mark.parametrize(("username", "password", "names"), [("teller", "wrong", "password"), ("", "", "username")])
async def test_who_cannot_sign_in_is_told_what_to_set(
    protected: Etcd, username: str, password: str, names: str
) -> None:
    """By calls and by watches alike."""
    store = EtcdStore.connect([protected.endpoint], username=username, password=password)
    with pytest.raises(StoreRefused, match=names):
        await store.range("/ours/k")
    with pytest.raises(StoreRefused, match=names):
        await first(store, "/ours/", 1)
    await store.close()


@pytest.mark.parametrize("by", ["transaction", "watch"])
async def test_a_token_that_ran_out_is_renewed_unseen(teller: EtcdStore, by: str) -> None:
    """etcd forgets tokens after five minutes; nobody above notices."""
    revision = (await teller.transact((), (Put(key="/ours/k", value=b"v"),))).revision
    teller._token = "forgotten.1"
    if by == "transaction":
        assert (await teller.transact((), (Put(key="/ours/k", value=b"w"),))).succeeded
    else:
        assert await first(teller, "/ours/", revision)


async def test_calls_that_start_together_sign_in_once(protected: Etcd) -> None:
    """A password costs etcd 50 ms of processor: a hundred at once would pass the time limit."""
    store = EtcdStore.connect([protected.endpoint], username="teller", password="secret", timeout_s=1)
    pages = await asyncio.gather(*(store.range("/ours/k") for _ in range(100)))
    assert len({page.revision for page in pages}) == 1
    await store.close()


async def test_a_dead_server_is_down_for_who_has_to_sign_in_first() -> None:
    """Nothing was sent but the password: even a transaction is down, not unknown."""
    store = EtcdStore.connect([f"127.0.0.1:{free_port()}"], username="teller", password="secret", timeout_s=3)
    with pytest.raises(StoreDown):
        await first(store, "/ours/", 1)
    with pytest.raises(StoreDown) as caught:
        await store.transact((), (Put(key="/ours/k", value=b"v"),))
    assert not isinstance(caught.value, StoreUnknown)
    await store.close()


async def test_a_name_that_does_not_resolve_is_down() -> None:
    """A transaction that had nowhere to go was not carried out."""
    store = EtcdStore.connect(["etcd.invalid:2379"], timeout_s=5)
    with pytest.raises(StoreDown) as caught:
        await store.transact((), (Put(key="/k", value=b"v"),))
    assert not isinstance(caught.value, StoreUnknown)
    await store.close()


async def test_a_server_that_stops_answering_is_found_out() -> None:
    """Connections stay open and nothing says a word: the watch ends, a transaction is unknown; all heals."""
    with Etcd() as server:
        store = EtcdStore.connect([server.endpoint], timeout_s=1)
        revision = (await store.transact((), (Put(key="/k", value=b"1"),))).revision
        watch = store.watch("/", start_revision=revision)
        await anext(watch)
        server.pause()
        with pytest.raises(StoreUnknown):
            await store.transact((), (Put(key="/k", value=b"2"),))
        with pytest.raises(StoreDown):
            await store.range("/k")
        with pytest.raises(StoreDown):
            async with asyncio.timeout(30):
                await anext(watch)
        with pytest.raises(StoreDown):
            await first(store, "/", revision)
        server.resume()
        async with asyncio.timeout(30):
            while True:
                try:
                    await store.transact((), (Put(key="/k", value=b"3"),))
                    break
                except StoreDown:
                    await asyncio.sleep(0.1)
        assert (await first(store, "/", revision + 1)).events[0].key == "/k"
        await store.close()


async def test_a_member_without_its_leader_is_down() -> None:
    """A watch there would hear nothing for ever; calls fail at once, not at their time limit."""
    with ExitStack() as cleanup:
        members = [Etcd(name=name) for name in ("one", "two")]
        for member in members:
            cleanup.callback(member.remove)
            member.cluster = ",".join(each.member for each in members)
            member.launch()
        for member in members:
            member.wait_ready()
        store = EtcdStore.connect([members[0].endpoint], timeout_s=20)
        revision = (await store.transact((), (Put(key="/k", value=b"1"),))).revision
        watch = store.watch("/", start_revision=revision)
        await anext(watch)
        members[1].kill()
        async with asyncio.timeout(30):
            with pytest.raises(StoreDown, match="leader"):
                await anext(watch)
        with pytest.raises(StoreDown, match="leader"):
            await store.range("/k")
        with pytest.raises(StoreUnknown):
            await store.transact((), (Put(key="/k", value=b"2"),))
        members[1].start()
        async with asyncio.timeout(30):
            while True:
                try:
                    await store.transact((), (Put(key="/k", value=b"3"),))
                    break
                except StoreDown:
                    await asyncio.sleep(0.1)
        assert (await first(store, "/", revision + 1)).events[0].key == "/k"
        await store.close()


async def test_values_past_the_limit_of_an_answer_are_asked_for_in_parts() -> None:
    """130 chunks of 512 KiB are more than one message may hold."""
    with Etcd() as server:
        store = EtcdStore.connect([server.endpoint], timeout_s=20)
        keys = [f"/chunks/{number:03d}" for number in range(130)]
        for start in range(0, len(keys), 2):
            await store.transact((), [Put(key=key, value=os.urandom(512 * 1024)) for key in keys[start : start + 2]])
        assert sorted(await store.get(keys)) == keys
        assert [item.key for item in (await store.range("/chunks/", "/chunks0")).items] == keys
        await store.close()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """One that has issued a certificate to the server."""
    made = Authority(tmp_path_factory.mktemp("certificates"))
    made.issue("server")
    return made


async def test_tls_with_certificates_of_both_sides(authority: Authority) -> None:
    """Works with ours; is down, not open, without them."""
    with Etcd(authority.at) as server:
        store = await open_store(server.url, tls=authority.tls("client"))
        revision = (await store.transact((), (Put(key="/k", value=b"v"),))).revision
        assert (await first(store, "/", revision)).events[0].key == "/k"
        await store.close()
        for store in (
            await open_store(server.url, tls=Tls(ca=authority.ca.read_bytes()), timeout_s=3),
            await open_store(server.url, timeout_s=3),
        ):
            with pytest.raises(StoreDown):
                await store.range("/k")
            await store.close()


async def test_certificates_are_renewed_without_a_break(authority: Authority) -> None:
    """A lease, and a watch that is open, go on over connections with the newer certificate."""
    with Etcd(authority.at) as server:
        store = EtcdStore.connect([server.endpoint], tls=authority.tls("client"), timeout_s=1)
        lease = await store.grant(60)
        seen: list[str] = []

        async def follow() -> None:
            async with aclosing(store.watch("/", start_revision=1)) as changes:  # type: ignore[type-var]
                async for change in changes:
                    seen.extend(event.key for event in change.events)

        following = asyncio.create_task(follow())
        await store.transact((), (Put(key="/before", value=b"", lease=lease),))
        for turn in range(3):
            store.renew(authority.tls(f"client-{turn}"), "")
        async with asyncio.timeout(30):
            while store.renewing:  # until those before are closed, and so what stood on them ended
                await asyncio.sleep(0.01)
        await store.transact((), (Put(key="/after", value=b"", lease=lease),))
        await store.keep_alive(lease)
        async with asyncio.timeout(30):
            while seen != ["/before", "/after"]:
                assert not following.done(), following.exception()
                await asyncio.sleep(0.01)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await store.close()


async def test_a_store_whose_authority_was_exchanged_comes_back_with_the_new_one(tmp_path: Path) -> None:
    """While the certificates are the old ones it is down; with the new ones it answers, without being opened anew."""
    old = Authority(tmp_path / "old")
    old.issue("server")
    new = Authority(tmp_path / "new")
    new.issue("server")
    with Etcd(old.at) as server:
        store = EtcdStore.connect([server.endpoint], tls=old.tls("client"), timeout_s=2)
        await store.transact((), (Put(key="/k", value=b"v"),))
        server.stop()
        server.certificates = new.at
        server.start()
        with pytest.raises(StoreDown):
            await store.range("/k")
        store.renew(new.tls("client"), "")
        assert (await store.range("/k")).items[0].value == b"v"
        await store.close()


async def test_certificates_that_the_store_does_not_take_yet_end_nothing(tmp_path: Path) -> None:
    """What is connected stays so; once the store takes the newer ones, they are used."""
    old, new = Authority(tmp_path / "old"), Authority(tmp_path / "new")
    old.issue("server")
    new.issue("server")
    with Etcd(old.at) as server:
        store = EtcdStore.connect([server.endpoint], tls=old.tls("client"), timeout_s=2)
        await store.transact((), (Put(key="/k", value=b"1"),))
        store.renew(new.tls("client"), "")
        for _ in range(20):
            assert (await store.get(["/k"]))["/k"].value == b"1"
            await asyncio.sleep(0.02)
        server.stop()
        server.certificates = new.at
        server.start()
        async with asyncio.timeout(30):
            while True:
                try:
                    assert (await store.get(["/k"]))["/k"].value == b"1"
                    break
                except StoreDown:
                    await asyncio.sleep(0.05)
        await store.close()
