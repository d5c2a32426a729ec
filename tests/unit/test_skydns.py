"""Records as CoreDNS's keys: their form, what CoreDNS makes of others', and what moves between reading and writing."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence

import pytest

from enactord.backends.skydns.zone import SkydnsZone
from enactord.core.errors import StoreDown, StoreRefused, StoreUnknown
from enactord.core.fence import Fence
from enactord.core.kv import Compare, Delete, Operation, Put, Result
from enactord.core.records import (
    NO_RECORDS,
    Change,
    Committed,
    Expect,
    Outcome,
    Reason,
    Records,
    Refused,
    Served,
    Transaction,
    Unknown,
)
from enactord.stores.memory import MemoryStore

ZONE = "example.test."
WWW = f"www.{ZONE}"
PATH = "/skydns/test/example/www"
FENCE_KEY = f"/enactord/@fences/skydns/{ZONE}"
FENCE = Fence(scope="us-east-1", generation=7, plan="0123456789abcdef")
ONE = Records(ttl_s=30, a=(bytes((192, 0, 2, 1)),), aaaa=())
TWO = Records(ttl_s=30, a=(bytes((192, 0, 2, 2)),), aaaa=(bytes.fromhex("20010db8" + "0" * 23 + "1"),))


class Meddled(MemoryStore):
    """A store in which something happens just before each of the next transactions, or instead of it."""

    def __init__(self) -> None:
        super().__init__()
        self.before: list[Callable[[], Awaitable[object]]] = []

    async def transact(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> Result:
        if self.before:
            await self.before.pop(0)()
        return await super().transact(compares, operations)

    async def put(self, key: str, **fields: object) -> None:
        await super().transact([], [Put(key=key, value=json.dumps(fields).encode())])

    async def remove(self, key: str) -> None:
        await super().transact([], [Delete(key=key)])

    async def tree(self) -> dict[str, bytes]:
        return {item.key: item.value for item in (await self.range("/skydns/", "/skydns0")).items}


@pytest.fixture
async def store() -> Meddled:
    store = Meddled()
    await store.transact([], [Put(key=FENCE_KEY, value=FENCE.text.encode())])
    return store


async def write(store: Meddled, *changes: Change) -> Outcome:
    return await SkydnsZone(ZONE, store).write(Transaction(fence_seen=FENCE.seen, changes=changes))


async def read(store: Meddled, name: str = WWW) -> Served:
    return (await SkydnsZone(ZONE, store).read([name]))[name]


async def test_a_name_is_keys_that_coredns_reads(store: Meddled) -> None:
    """An address a key, below the reversed name; the name is its group."""
    assert await write(store, Change(name=WWW, after=TWO)) == Committed()
    tree = {key: json.loads(value) for key, value in (await store.tree()).items()}
    assert tree == {
        f"{PATH}/_ec0000202": {"host": "192.0.2.2", "ttl": 30, "group": WWW},
        f"{PATH}/_e20010db8000000000000000000000001": {"host": "2001:db8::1", "ttl": 30, "group": WWW},
    }


async def test_the_zone_name_stands_where_coredns_looks_for_it(store: Meddled) -> None:
    """Below apex.dns, as the path of the zone itself holds all of the zone."""
    assert await write(store, Change(name=ZONE, after=ONE)) == Committed()
    assert list(await store.tree()) == ["/skydns/test/example/dns/apex/_ec0000201"]


async def test_the_fence_stands_outside_the_tree(store: Meddled) -> None:
    """CoreDNS never sees it, and it is text that people can read."""
    zone = SkydnsZone(ZONE, store)
    newer = Fence(scope="us-east-1", generation=8, plan="0123456789abcdef")
    assert await zone.write(Transaction(fence_seen=FENCE.seen, fence_after=newer)) == Committed()
    assert (await store.get([FENCE_KEY]))[FENCE_KEY].value == newer.text.encode()
    assert await store.tree() == {}


@pytest.mark.parametrize(
    ("name", "ttl_s", "said"),
    [
        (f"*.{ZONE}", 30, "wildcard"),
        (f"a.any.{ZONE}", 30, "wildcard"),
        (f"apex.dns.{ZONE}", 30, "itself"),
        (WWW, 0, "TTL"),
    ],
)
async def test_what_coredns_cannot_serve_is_refused(store: Meddled, name: str, ttl_s: int, said: str) -> None:
    """It is the server that would answer wrongly; the endpoint is held, the rest goes on."""
    outcome = await write(store, Change(name=name, after=Records(ttl_s=ttl_s, a=ONE.a, aaaa=())))
    assert isinstance(outcome, Refused)
    assert outcome.reason is Reason.CONTENT
    assert said in outcome.detail
    assert await write(store, Change(name=name, after=NO_RECORDS)) == Committed(), "removing it is always possible"


async def test_read_follows_coredns(store: Meddled) -> None:
    """Defaults, groups, and keys below the name, as CoreDNS has them."""
    await store.put(PATH, host="192.0.2.1")
    assert await read(store) == Served(records=Records(ttl_s=300, a=ONE.a, aaaa=()))
    await store.put(f"{PATH}/x", host="192.0.2.2", ttl=20)
    assert (await read(store)).records == Records(ttl_s=20, a=TWO.a, aaaa=()), "a key below hides the name's own"
    await store.put(f"{PATH}/deep/x", host="192.0.2.1", ttl=10)
    assert (await read(store)).records == Records(ttl_s=10, a=ONE.a + TWO.a, aaaa=()), "what is below is served, too"
    await store.put(f"{PATH}/deep/x", host="192.0.2.1", ttl=10, group="h")
    assert (await read(store)).records == Records(ttl_s=10, a=ONE.a + TWO.a, aaaa=()), "no group at the top: all of it"
    await store.put(f"{PATH}/a", host="192.0.2.2", ttl=20)
    assert (await read(store)).records == Records(ttl_s=10, a=ONE.a + TWO.a, aaaa=()), "wherever it comes first"
    await store.remove(f"{PATH}/a")
    await store.put(f"{PATH}/x", host="192.0.2.2", ttl=20, group="g")
    await store.put(f"{PATH}/deep/x", host="192.0.2.1", ttl=10, group="h")
    assert (await read(store)).records == Records(ttl_s=20, a=TWO.a, aaaa=()), "unless it is of another group"
    await store.put(f"{PATH}/y", host="192.0.2.1", ttl=10, group="h")
    assert (await read(store)).records == Records(ttl_s=10, a=ONE.a + TWO.a, aaaa=()), "groups that disagree are none"
    await store.put(f"{PATH}/y", text="no host")
    assert (await read(store)).records == Records(ttl_s=20, a=TWO.a, aaaa=())
    await store.put(f"{PATH}/y", host="Elsewhere.test")
    assert (await read(store)).alias == "elsewhere.test."


@pytest.mark.parametrize(
    "garbage",
    [b"", b"{", b"[]", b'{"host": 1}', b'{"host": "192.0.2.9", "port": "x"}', b'{"ttl": -1}', b"\xff", b"[" * 99_999],
)
async def test_garbage_is_no_answer_and_is_written_over(store: Meddled, garbage: bytes) -> None:
    """CoreDNS fails at the whole name; an owned one is put right all the same."""
    await store.transact([], [Put(key=f"{PATH}/x", value=garbage)])
    assert await SkydnsZone(ZONE, store).read([WWW]) == {}
    for expect in (Expect.NEW, Expect.EXACT):
        outcome = await write(store, Change(name=WWW, after=ONE, expect=expect))
        assert isinstance(outcome, Refused)
        assert outcome.reason is Reason.CONDITION
    assert await write(store, Change(name=WWW, after=ONE)) == Committed()
    assert (await read(store)).records == ONE


@pytest.mark.parametrize("names", [256, 257, 300])
async def test_reading_the_whole_zone_shows_what_reading_each_name_does(store: Meddled, names: int) -> None:
    """From some number of names on, the zone is read in one go."""
    wanted = {
        f"n{k:03}.{ZONE}": Records(ttl_s=k + 1, a=(bytes((10, 0, k // 256, k % 256)),), aaaa=()) for k in range(200)
    }
    wanted |= {f"x.n{k:03}.{ZONE}": Records(ttl_s=9, a=(bytes((10, 1, 0, k)),), aaaa=()) for k in range(0, 200, 2)}
    changes = [Change(name=name, after=after) for name, after in wanted.items()]
    for start in range(0, len(changes), 50):
        assert await write(store, *changes[start : start + 50]) == Committed()
    asked = [*wanted, *(f"missing{k}.{ZONE}" for k in range(300))][:names]
    served = await SkydnsZone(ZONE, store).read([*asked, "www.elsewhere.test."])
    assert served == {name: Served(records=wanted.get(name, NO_RECORDS)) for name in asked}


@pytest.mark.parametrize("key", [PATH, f"{PATH}/x"], ids=["at the name", "below it"])
@pytest.mark.parametrize("expect", list(Expect))
async def test_a_key_put_between_reading_and_writing_counts(store: Meddled, expect: Expect, key: str) -> None:
    """Nothing is decided by what was read unless it still holds when it is written."""
    store.before = [lambda: store.put(key, host="192.0.2.9", ttl=5)]
    outcome = await write(store, Change(name=WWW, after=ONE, expect=expect))
    if expect is Expect.OWNED:
        assert outcome == Committed()
        assert (await read(store)).records == ONE, "an owned name holds what the plan says and nothing else"
    else:
        assert isinstance(outcome, Refused)
        assert outcome.reason is Reason.CONDITION
        assert list(await store.tree()) == [key]


async def test_a_key_removed_between_reading_and_writing_counts(store: Meddled) -> None:
    """A late repair does not bring back a name that was withdrawn meanwhile."""
    assert await write(store, Change(name=WWW, after=TWO)) == Committed()
    store.before = [lambda: write(store, Change(name=WWW, after=NO_RECORDS))]
    outcome = await write(store, Change(name=WWW, after=ONE, expect=Expect.EXACT, before=TWO))
    assert isinstance(outcome, Refused)
    assert outcome.reason is Reason.CONDITION
    assert await store.tree() == {}


async def test_a_fence_that_moves_between_reading_and_writing_refuses(store: Meddled) -> None:
    """The compare that counts is the transaction's own."""
    newer = Fence(scope="us-east-1", generation=8, plan="0123456789abcdef")
    store.before = [lambda: MemoryStore.transact(store, [], [Put(key=FENCE_KEY, value=newer.text.encode())])]
    outcome = await write(store, Change(name=WWW, after=ONE))
    assert isinstance(outcome, Refused)
    assert outcome.reason is Reason.CONDITION
    assert await store.tree() == {}


async def test_names_below_that_change_meanwhile_refuse_nothing(store: Meddled) -> None:
    """Another's write below a name is no conflict: it is read again and written."""
    below = [Change(name=f"n{k}.{WWW}", after=ONE) for k in range(8)]
    outcomes = await asyncio.gather(*(write(store, change) for change in (*below, Change(name=WWW, after=TWO))))
    assert outcomes == [Committed()] * 9
    assert (await read(store)).records == TWO
    assert (await read(store, f"n7.{WWW}")).records == ONE


async def test_names_that_never_stand_still_are_given_up(store: Meddled) -> None:
    """It ends: the caller is told to come later, and nothing was written."""
    store.before = [lambda: store.put(f"{PATH}/x", host="192.0.2.9")] * 100
    outcome = await write(store, Change(name=WWW, after=ONE))
    assert isinstance(outcome, Refused)
    assert outcome.reason is Reason.BUSY
    assert list(await store.tree()) == [f"{PATH}/x"]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (StoreUnknown("lost"), Unknown(detail="lost")),
        (StoreDown("down"), Refused(reason=Reason.BUSY, detail="down")),
        (StoreRefused("no"), Refused(reason=Reason.DENIED, detail="no")),
    ],
)
async def test_what_the_store_says_is_one_of_three(store: Meddled, error: Exception, expected: Outcome) -> None:
    """An answer that was lost is unknown, never a refusal."""

    async def fail() -> None:
        raise error

    store.before = [fail]
    assert await write(store, Change(name=WWW, after=ONE)) == expected
