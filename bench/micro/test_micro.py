"""What each hot piece costs for a number of real names with 8 addresses."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from bench.fleet import ANSWERS_MAX, Fleet
from enactord.clock import SystemClock
from enactord.core.buckets import BucketId, bucket_of, slots_for
from enactord.core.content import parse_content
from enactord.core.diff import diff_bucket
from enactord.core.fence import Fence
from enactord.core.guards import Limits, judge_endpoint
from enactord.core.ledger import Bucket, Entry, Version, pack_bucket, parse_bucket
from enactord.core.plan import chunk_digest, chunk_texts, pack_chunk, parse_chunk, parse_plan, unpack_chunk
from enactord.core.records import Transaction
from enactord.ports import KeyValue
from enactord.store.cache import Cache
from enactord.store.fences import Fences
from enactord.store.keys import Keys
from enactord.store.ledger import BUCKETS_A_TRANSACTION, Ledger, Permit
from enactord.store.plans import Orders, Plans
from enactord.store.session import Session
from enactord.stores.by_url import open_store
from enactord.stores.sqlite import SqliteStore
from enactord.wire.answer import TYPE_A, TYPE_AAAA, pack_question
from enactord.wire.signed_questions import SignedQuestions
from enactord.wire.tsig import TsigKey, sign, verify
from enactord.wire.update import pack_update
from tests.servers.etcd import Etcd

ZONE = "micro.test."
COUNT = 1_000
SLOTS = slots_for(COUNT)
BATCH = 25
KEY = TsigKey(name="enactor", algorithm="hmac-sha256", secret=b"0" * 32)
FENCE = Fence(scope="bench", generation=1, plan="0" * 16)
LIMITS = Limits(allow_private=True)


class Benchmark(Protocol):
    """pytest-benchmark's fixture."""

    extra_info: dict[str, Any]

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> Any: ...


def measure(benchmark: Benchmark, piece: str, count: int, function: Callable[..., Any], *arguments: Any) -> Any:
    """Time a function, and say what it is and how many endpoints it worked on."""
    benchmark.extra_info.update(piece=piece, endpoints=count)
    return benchmark(function, *arguments)


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return Fleet(ZONE, COUNT)


@pytest.fixture(scope="module")
def document(fleet: Fleet) -> bytes:
    return json.dumps(fleet.document()).encode()


@pytest.fixture(scope="module")
def contents(document: bytes) -> dict[str, str]:
    return dict(sorted(parse_plan(document).endpoints.items()))


@pytest.fixture(scope="module")
def buckets(contents: dict[str, str]) -> dict[BucketId, Bucket]:
    """The ledger, with everything applied at generation 1."""
    found: dict[BucketId, Bucket] = {}
    for name, content in contents.items():
        version = Version(generation=1, content=content, answers_max=ANSWERS_MAX)
        found.setdefault(bucket_of(name, ZONE, SLOTS), {})[name] = Entry(name=name, applied=version, good=version)
    return found


def test_encode_and_sign(benchmark: Benchmark, fleet: Fleet) -> None:
    """A batch of updates becomes a signed message."""
    transaction = Transaction(fence_seen=FENCE.seen, changes=fleet.changes()[:BATCH])

    def encode() -> bytes:
        return sign(pack_update(ZONE, transaction, 1), KEY, now_s=1_800_000_000)[0]

    assert len(measure(benchmark, "encode and sign a batch", BATCH, encode)) > BATCH


def test_sign_questions_and_check_answers(benchmark: Benchmark, fleet: Fleet) -> None:
    """What signing adds to reading names back: two questions a name, and a check of each answer."""
    questions = [pack_question(name, rtype) for name in sorted(fleet.names) for rtype in (TYPE_A, TYPE_AAAA)]
    now_s, ids = 1_800_000_000, range(len(questions))
    answers = []
    for message, question in zip(SignedQuestions(KEY, questions).messages(ids, now_s=now_s), questions, strict=True):
        records = b"\xc0\x0c\0\1\0\1\0\0\0\x1e\0\4\xc0\0\2\1" * 8
        plain = message[:2] + b"\x84\0\0\1\0\x08\0\0\0\0" + question + records
        mac = verify(message, [KEY], now_s=now_s).mac
        answers.append(sign(plain, KEY, now_s=now_s, request_mac=mac)[0])

    def ask() -> None:
        signed = SignedQuestions(KEY, questions)
        signed.messages(ids, now_s=now_s)
        for index, answer in enumerate(answers):
            signed.check(index, answer, now_s=now_s)

    measure(benchmark, "sign questions, check answers", COUNT, ask)


def test_read_plan(benchmark: Benchmark, document: bytes) -> None:
    """A planner's document becomes a draft."""
    assert len(measure(benchmark, "read a plan document", COUNT, parse_plan, document).endpoints) == COUNT


def test_pack_chunks(benchmark: Benchmark, contents: dict[str, str]) -> None:
    """A draft becomes chunks as they are stored."""

    def pack() -> list[bytes]:
        return [pack_chunk(text) for text in chunk_texts(contents, SLOTS).values()]

    assert measure(benchmark, "pack a plan into chunks", COUNT, pack)


def test_decode_plan(benchmark: Benchmark, contents: dict[str, str]) -> None:
    """Stored chunks become contents."""
    packed = {chunk_digest(text): pack_chunk(text) for text in chunk_texts(contents, SLOTS).values()}

    def decode() -> int:
        texts = (unpack_chunk(chunk, digest) for digest, chunk in packed.items())
        return sum(len([parse_content(content) for content in parse_chunk(text).values()]) for text in texts)

    assert measure(benchmark, "decode a plan's chunks", COUNT, decode) == COUNT


@pytest.mark.parametrize(("piece", "same"), [("diff, all changed", False), ("diff, nothing changed", True)])
def test_diff(benchmark: Benchmark, buckets: dict[BucketId, Bucket], fleet: Fleet, piece: str, same: bool) -> None:
    """Plan against ledger, the guards of endpoints included."""
    changed = Fleet(ZONE, COUNT)
    if not same:
        changed.step()
    wanted: dict[BucketId, dict[str, str]] = {}
    for name, content in parse_plan(json.dumps(changed.document()).encode()).endpoints.items():
        wanted.setdefault(bucket_of(name, ZONE, SLOTS), {})[name] = content

    def diff() -> int:
        return sum(
            len(diff_bucket(wanted[n], buckets[n], generation=2, limits=LIMITS, now=1.8e9, approved=False))
            for n in wanted
        )

    assert measure(benchmark, piece, COUNT, diff) == (0 if same else COUNT)


def test_guard(benchmark: Benchmark, buckets: dict[BucketId, Bucket], contents: dict[str, str]) -> None:
    """Each endpoint is judged."""
    parsed = {name: parse_content(content) for name, content in contents.items()}
    entries = {name: entry for bucket in buckets.values() for name, entry in bucket.items()}

    def judge() -> int:
        return sum(
            judge_endpoint(content, entries[name], LIMITS, 1.8e9, approved=False) is None
            for name, content in parsed.items()
        )

    assert measure(benchmark, "guard", COUNT, judge) == COUNT


def test_pack_ledger(benchmark: Benchmark, buckets: dict[BucketId, Bucket]) -> None:
    """Ledger buckets become values of the store."""

    def pack() -> list[bytes]:
        return [pack_bucket(bucket, SLOTS) for bucket in buckets.values()]

    assert measure(benchmark, "pack the ledger", COUNT, pack)


def test_parse_ledger(benchmark: Benchmark, buckets: dict[BucketId, Bucket]) -> None:
    """Values of the store become ledger buckets."""
    packed = [pack_bucket(bucket, SLOTS) for bucket in buckets.values()]
    assert measure(benchmark, "parse the ledger", COUNT, lambda: [parse_bucket(each) for each in packed])


@pytest.fixture(params=["etcd", "SQLite"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "SQLite":
        yield f"sqlite://{tmp_path}/store.db"
        return
    with Etcd() as etcd:
        yield etcd.url


def test_ledger_transaction(
    benchmark: Benchmark, store_url: str, buckets: dict[BucketId, Bucket], document: bytes
) -> None:
    """One begin or commit: claim, fence, freeze and revisions compared, the buckets of a large slice written."""
    some = dict(list(buckets.items())[:BUCKETS_A_TRANSACTION])
    with asyncio.Runner() as runner:
        store, ledger, cache, permit = runner.run(_opened(store_url, document))

        async def begin() -> bool:
            read = {bucket_id: cache.ledger.revision(bucket_id) for bucket_id in some}
            return await ledger.begin(permit, some, read)

        where = "SQLite" if isinstance(store, SqliteStore) else "etcd"
        count = sum(len(bucket) for bucket in some.values())
        try:
            assert measure(benchmark, f"ledger transaction, {where}", count, lambda: runner.run(begin()))
        finally:
            runner.run(store.close())


async def _opened(store_url: str, document: bytes) -> tuple[KeyValue, Ledger, Cache, Permit]:
    """Return a store with a plan that is claimed and whose fence is open."""
    store = await open_store(store_url)
    keys, clock = Keys("bench"), SystemClock()
    cache = Cache(keys)
    published = await Plans(store, keys, clock, zones=[ZONE]).publish(parse_plan(document), Orders())
    session = Session(store, keys, clock, enactor="e1", ttl_s=600)
    await session.keep({})
    claim = await session.claim(1)
    assert claim is not None
    fence = Fence(scope="bench", generation=1, plan=getattr(published, "mark", ""))
    record = await Fences(store, keys).open(ZONE, fence, claim, None)
    assert record is not None
    await cache.load(store)
    return store, Ledger(store, keys, cache), cache, Permit(claim=claim, zone=ZONE, record=record)
