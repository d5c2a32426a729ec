"""Whatever stands in the plan store, reading it ends well, and the normal path reaches the newest plan."""

import json
import math
import zlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from enactord.core.content import parse_content
from enactord.core.errors import PlanUnreadable
from enactord.core.events import StepFailed, Verified
from enactord.core.guard import Limits, judge_endpoint
from enactord.core.kv import Put
from enactord.core.ledger import Bucket, Entry, Hold, Peak, Version, pack_bucket, parse_bucket, references
from enactord.core.names import bucket_of, wire_name
from enactord.core.plan import (
    CHUNK_TEXT_MAX,
    GENERATION_MAX,
    MANIFEST_TEXT_MAX,
    Approval,
    Manifest,
    chunk_digest,
    chunk_texts,
    pack_chunk,
    pack_manifest,
    plan_digest,
    unpack_chunk,
    unpack_manifest,
)
from enactord.core.records import NO_RECORDS
from enactord.core.render import ANSWERS_MAX_LIMIT
from enactord.registry.control import MODES, Freeze, pack_freeze, parse_freeze
from enactord.registry.keys import fence_value, parse_fence_value, store_fence
from enactord.registry.mirror import summarise
from tests.hostile.effort import damaged, tries
from tests.world import SCOPE, ZONE, Member, World, fleet, plan

NAME = f"n.{ZONE}"
CONTENT = '[5,[["10.0.0.1",10,"lb\\u00e9"],["2001:db8::1",1]]]'
TEXTS = chunk_texts({f"n{number}.{ZONE}": CONTENT for number in range(60)})
TEXT = max(TEXTS.values(), key=len)
CHUNKS = {bucket: chunk_digest(text) for bucket, text in TEXTS.items()}
MANIFEST = Manifest(
    generation=7,
    digest=plan_digest(SCOPE, CHUNKS),
    scope=SCOPE,
    endpoints=60,
    author="planner",
    reason="a reason",
    created_at="2026-11-20T12:00:00Z",
    published_at=1.8e9,
    chunks=CHUNKS,
    approval=Approval(of=6, author="operator", reason="meant"),
)
VERSION = Version(generation=5, content='[5,[["10.0.0.1",10,"lb-1"],["10.0.0.2",1]]]', answers_max=1)
ENTRIES: Bucket = {
    entry.name: entry
    for entry in (
        Entry(name=f"a.{ZONE}", applied=VERSION, good=VERSION, peaks=(Peak(9, 11), Peak(10, 5))),
        Entry(name=f"b.{ZONE}", applied=VERSION, pending=Version(generation=6, content="-", answers_max=1)),
        Entry(name=f"*.c.{ZONE}", held=Hold(generation=6, guard="velocity", detail="tab\t ü", since_s=10)),
    )
}
LEDGER = zlib.decompress(pack_bucket(ENTRIES))
FREEZE = pack_freeze(Freeze(mode="repair-only", reason="x", author="y", since=1.5))
WANTED = parse_content('[5,[["198.51.100.1",1]]]')
DEEP = "[" * 100_000
JUNK: list[Any] = [None, True, -1, 0.5, 10**18, 10**400, math.nan, math.inf, "", "\ud800", "x", [], {}, [1], {"a": 1}]


def inflated_bomb(size: int) -> bytes:
    """A small value that is large when it is decompressed."""
    compressor = zlib.compressobj(9)
    return b"".join(compressor.compress(b" " * 1_000_000) for _ in range(size // 1_000_000)) + compressor.flush()


@tries(300)
@given(st.binary(max_size=200) | damaged([pack_chunk(TEXT)]))
def test_chunk_is_whole_or_unreadable(packed: bytes) -> None:
    """A chunk is exactly the text of its digest, or `PlanUnreadable`."""
    try:
        assert unpack_chunk(packed, chunk_digest(TEXT)) == TEXT
    except PlanUnreadable:
        assert packed != pack_chunk(TEXT)


@tries(300)
@given(st.binary(max_size=200) | damaged([pack_manifest(MANIFEST)]))
def test_manifest_is_whole_or_unreadable(packed: bytes) -> None:
    """Damage to a manifest's bytes is noticed: compressed values carry a checksum."""
    try:
        assert unpack_manifest(packed, MANIFEST.generation) == MANIFEST
    except PlanUnreadable:
        assert packed != pack_manifest(MANIFEST)


@tries(400)
@given(damaged([zlib.decompress(pack_manifest(MANIFEST))], tokens=b'null [] 1e999 NaN "\\ud800" {'.split()))
@example(DEEP.encode())
@example(b"[]")
@example(b"0")
def test_manifest_of_any_text(text: bytes) -> None:
    """A manifest that was written wrongly is unreadable, or of the kinds that its readers count on."""
    read_manifest(text)


@pytest.mark.parametrize("key", sorted(json.loads(zlib.decompress(pack_manifest(MANIFEST)))))
def test_manifest_of_any_kinds(key: str) -> None:
    """No value of another kind passes, in whatever field: not even where the digest does not cover it."""
    for value in JUNK:
        read_manifest(json.dumps(json.loads(zlib.decompress(pack_manifest(MANIFEST))) | {key: value}).encode())


def read_manifest(text: bytes) -> None:
    found: Manifest | None = None
    problem = ""
    try:
        found = unpack_manifest(zlib.compress(text), MANIFEST.generation)
    except PlanUnreadable as error:
        problem = str(error)
    if found is None:
        assert 0 < len(problem) < 400
        return
    assert (found.generation, found.digest) == (MANIFEST.generation, plan_digest(found.scope, found.chunks))
    again = unpack_manifest(pack_manifest(found), found.generation)
    assert again == found
    assert 0 <= found.published_at < GENERATION_MAX


@pytest.mark.parametrize(
    "read",
    [
        pytest.param(lambda packed: unpack_chunk(packed, ""), id="chunk"),
        pytest.param(lambda packed: unpack_manifest(packed, 1), id="manifest"),
    ],
)
def test_what_inflates_is_bounded(read: Callable[[bytes], object]) -> None:
    """A kilobyte that would become gigabytes is unreadable, not read."""
    packed = inflated_bomb(max(CHUNK_TEXT_MAX, MANIFEST_TEXT_MAX) + 8_000_000)
    assert len(packed) < 100_000
    with pytest.raises(PlanUnreadable, match="longer than"):
        read(packed)


def usable(bucket: Bucket) -> None:
    """All that the engine does with entries works on these."""
    assert parse_bucket(pack_bucket(bucket)) == bucket
    summarise(bucket)
    references(bucket.values())
    for name, entry in bucket.items():
        assert entry.name == name
        assert len(wire_name(name)) <= 255
        bucket_of(name)
        for version in (entry.applied, entry.good, entry.pending, *entry.earlier):
            if version is not None:
                records = version.records(name)
                assert records == NO_RECORDS or records.ttl_s <= 2**32 - 1
                assert len(records.a) <= (version.answers_max or ANSWERS_MAX_LIMIT)
                assert len(records.weights) in (0, len(records.a) + len(records.aaaa))
                assert {len(address) for address in records.a} <= {4}
                assert {len(address) for address in records.aaaa} <= {16}
        judge_endpoint(WANTED, entry, Limits(), 1.8e9, approved=False)


@tries(300)
@given(st.binary(max_size=200) | damaged([pack_bucket(ENTRIES)]))
def test_ledger_of_damaged_bytes(packed: bytes) -> None:
    """A bucket whose bytes are damaged is unknown as a whole: half of one would be believed."""
    assert parse_bucket(packed) in ({}, ENTRIES)


def test_ledger_cut_short_anywhere() -> None:
    """Each prefix of a bucket is unknown, however many of its lines could still be read."""
    packed = pack_bucket(ENTRIES)
    assert all(parse_bucket(packed[:length]) == {} for length in range(len(packed)))


LEDGER_TOKENS = [
    *(b"\t", b"\n", b"\x0c", b"\x1e", b"9" * 400, b"a" * 64 + b".", b"1:2,3:" + b"9" * 300, DEEP.encode()),
    *b"- = / 1/1/- 0/0/[5,[]] 5/1/[5,[]] 5/9/[99999999999,[]] .. *.*. [1,2,3,4] \\q".split(),
    *b'1/1/[5,[["1.1.1.1",1]]] 1/1/[5,[["999.1.1.1",1]]] 1/1/[5,[["::g",1]]] 1/1/[5,[["1:2",0,"\\q"]]]'.split(),
]


@tries(500)
@given(damaged([LEDGER], tokens=LEDGER_TOKENS))
def test_ledger_of_any_text(text: bytes) -> None:
    """Lines that were written wrongly are left out; what is kept can be used."""
    usable(parse_bucket(zlib.compress(text)))


CELLS_TEXT = r"""
    - = x 5 5/ 5/16 5/16/ 5/16/x 5/16/- 5/16/[ 5/16/[5] 5/16/[5,[]] -1/16/[5,[]] 5/-3/[5,[]] 5/0/[5,[]]
    5/9999/[5,[]] 5/16/[99999999999,[]] 5/16/{} 1:2 1: : a:b 1:2, -1:-1 1:2,0:9 [] null {} [{},[],null,1]
    5/16/[5,[["10.0.0.1",1]]] 5/16/[5,[["10.0.0.999",1]]] 5/16/[5,[["::1",9]]] 5/16/[5,[["10.0.0.1"]]]
    5/1/[5,[["::1::",9],["::",1]]] 5/16/[5,[["10.0.0.1",-1]]] 5/16/[5,[["10.0.0.1","1"]]]
    5/16/[5,[["10.0.0.1",1,"\q"]]] [5,"g","d",1e999] [5,"g","d",9] [5,5,5,5] [5,"g","\ud800",9]
"""
CELLS = [
    *CELLS_TEXT.split(),
    *("", DEEP, "5/16/" + DEEP, "1" * 30 + "/1/[5,[]]", "1:" + "9" * 400, "9" * 400 + ":1", "²:3"),
]
NAMES = [NAME, "x", "", ".", f"A.{ZONE}", "a" * 64 + ".x."]


@tries(500)
@given(st.lists(st.sampled_from(CELLS), min_size=5, max_size=8), st.sampled_from(NAMES))
def test_ledger_of_any_cells(cells: list[str], name: str) -> None:
    """Any cell in the place of any other is read as it is meant, or its line is left out."""
    line = "\t".join([name, *cells])
    bucket = parse_bucket(zlib.compress(f"{line}\n".encode()))
    assert bucket.keys() <= {name}
    usable(bucket)


@tries(300)
@given(damaged([FREEZE], tokens=[b"NaN", b"1e999", b"null", b"[]", DEEP.encode(), b"1" * 400]))
@example(b'{"mode":"all","reason":"","author":"","since":1' + b"0" * 400 + b"}")
@example(b'{"mode":"repair-only","reason":"","author":"","since":NaN}')
@example(b'{"mode":["all"],"reason":{},"author":"","since":1}')
@example(b"[]")
def test_freeze_that_cannot_be_read_freezes_all(value: bytes) -> None:
    """A damaged switch is read carefully, and its values can be shown and stored again."""
    found = parse_freeze(value)
    assert found.mode in MODES
    assert isinstance(found.reason, str)
    assert isinstance(found.author, str)
    assert math.isfinite(found.since)
    assert parse_freeze(pack_freeze(found)) == found
    if found.reason == "the stored freeze cannot be read":
        assert found.mode == "all"


@tries(300)
@given(st.binary(max_size=60) | damaged([fence_value(7, MANIFEST.mark)], tokens=["²".encode(), b"9" * 20, b" "]))
@example(b"9" * 20 + b" " + b"a" * 16)
@example(b"0" * 20 + b" \xff\xff")
def test_fence_value_is_exact_or_garbage(value: bytes) -> None:
    """What passes for a fence or a head is the very text that we would write: others compare it byte by byte."""
    parsed = parse_fence_value(value)
    fence = store_fence(SCOPE, value)
    if parsed is None:
        assert fence is None
        return
    assert fence_value(*parsed) == value
    assert fence is not None
    assert fence.seen


# -- a whole scope, with garbage in its store

LOOK_S = 0.15

BUCKET = bucket_of(next(iter(fleet(1))))
OWNED = next(iter(fleet(1)))


def line(*cells: str) -> bytes:
    return zlib.compress(("\t".join(cells) + "\n").encode())


def manifest_json(**changes: Any) -> bytes:
    document = json.loads(zlib.decompress(pack_manifest(replace(MANIFEST, generation=1))))
    return zlib.compress(json.dumps(document | changes).encode())


GARBAGE = {
    "plans/junk": b"x",
    "plans/2": b"x",
    "claims/junk/x": b"x",
    "enactors/deep": DEEP.encode(),
    "enactors/list": b"[]",
    "ledger/junk": b"x",
    "ledger/9999": line(f"a.{ZONE}", "5/16/[5,[]]", "=", "-", "-", "-"),
    "ledger/0003": line("a.other.test.", '5/16/[5,[["10.0.0.1",1]]]', "=", '6/16/[5,[["10.0.0.2",1]]]', "-", "-"),
    "ledger/0004": line("a" * 300 + f".{ZONE}", '5/16/[5,[["10.0.0.1",1]]]', "=", "-", "-", "-"),
    "prune_epoch": b"junk",
    "head": b"\xff\xfe",
    f"applied/{ZONE}": b"9" * 20 + b" " + b"a" * 16,
    f"fences/{ZONE}": b"0" * 19 + b"1 \xff\xff",
}
LINES = {
    "bytes": b"junk",
    "content": line(OWNED, "1/16/notjson", "=", "-", "-", "-"),
    "address": line(OWNED, '1/16/[5,[["10.0.0.999",10]]]', "=", "-", "-", "-"),
    "pending": line(OWNED, "-", "-", "1/16/notjson", "-", "-"),
    "good": line(OWNED, '1/16/[5,[["10.1.0.1",10]]]', "1/16/zz", "-", "-", "-"),
    "hold": line(OWNED, "-", "-", "-", '[{},[],null,"x"]', "-"),
    "deep": line(OWNED, "-", "-", "-", DEEP, "-"),
    "future": line(OWNED, '999999999/16/[5,[["10.1.0.1",10],["10.1.0.2",10]]]', "=", "-", "-", "-"),
    "peaks": line(OWNED, '1/16/[5,[["10.1.0.1",10]]]', "=", "-", "-", "1:" + "9" * 400),
}


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World(repair_interval_s=LOOK_S)
    yield world
    await world.close()


@pytest.mark.parametrize("key", [*GARBAGE, *(f"ledger/{BUCKET:04d} {what}" for what in LINES)])
async def test_garbage_in_the_store_blocks_no_plan(world: World, key: str) -> None:
    """From any state of the store the normal path reaches the newest plan, and no loop goes round without end."""
    path, _, what = key.partition(" ")
    value = LINES[what] if what else GARBAGE[path]
    await world.publish(plan(fleet(20)))
    member = await world.add("a")
    await world.applied(1)
    put = await world.store.transact((), (Put(key=world.keys.root + path, value=value),))
    mirror = member.enactor.mirror
    # What an enactor no longer knows, it learns from what is served, as long as that is the plan at the fence.
    await world.until(lambda: mirror.revision >= put.revision and mirror.totals.owned >= 20)
    published = await world.publish(plan(fleet(20, 2)))
    await world.applied(published.generation)
    assert world.serves(fleet(20, 2))
    assert member.recorder.of(StepFailed) == []
    if path.startswith("ledger/"):
        await assert_quiet(world, member)


async def test_entries_of_a_zone_that_is_gone_from_the_config_keep_nobody_busy() -> None:
    """The ledger may hold names of a zone that is no longer configured: they are left, not gone through for ever."""
    limits = Limits(allow_private=True, endpoints_removed_max_ratio=1)
    world = World(zones=(ZONE, "gone.test."), limits=limits, repair_interval_s=LOOK_S)
    try:
        await world.publish(plan(fleet(20) | fleet(5, zone="gone.test.")))
        await world.add("a")
        await world.applied(1)
        await world.stop("a")
        del world.servers["gone.test."]
        await world.publish(plan(fleet(20, 2)))
        member = await world.add("b")
        await world.applied(2)
        await assert_quiet(world, member)
    finally:
        await world.close()


async def assert_quiet(world: World, member: Member) -> None:
    """Nothing goes round without end: in the time of a few looks that would be some hundred writes to the store."""
    looks = len(member.recorder.of(Verified)) + 4
    before = await revision(world)
    await world.until(lambda: len(member.recorder.of(Verified)) >= looks)
    assert await revision(world) - before < 40


async def revision(world: World) -> int:
    return (await world.store.range(world.keys.head)).revision
