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

from enactord.core.buckets import SLOTS_MAX, BucketId, slot_of, valid_slots
from enactord.core.content import Capacity, parse_content
from enactord.core.errors import PlanUnreadable
from enactord.core.events import StepFailed, Verified
from enactord.core.fence import Fence, FenceRecord, parse_fence, raised
from enactord.core.guards import Limits, judge_endpoint
from enactord.core.kv import Put
from enactord.core.ledger import Bucket, Entry, Hold, Peak, Version, pack_bucket, parse_bucket, references
from enactord.core.manifest import MANIFEST_TEXT_MAX, pack_manifest, unpack_manifest
from enactord.core.moment import utc
from enactord.core.names import wire_name
from enactord.core.plan import (
    CHUNK_TEXT_MAX,
    GENERATION_MAX,
    Approval,
    Manifest,
    ZonePart,
    chunk_digest,
    cut_zone,
    pack_chunk,
    plan_digest,
    unpack_chunk,
)
from enactord.core.records import NO_RECORDS
from enactord.core.render import ANSWERS_MAX_LIMIT
from enactord.store.control import MODES, UNREADABLE, Freeze, freeze_value, parse_freeze
from enactord.store.keys import applied_value, parse_applied, parse_record, record_value
from enactord.store.layout import APPLIED, FENCE, HEAD, PRUNE_EPOCH
from enactord.store.layout import FREEZE as FREEZE_KIND
from enactord.store.layout import LEDGER as LEDGER_KIND
from enactord.store.ledger_index import ledger_name, summarise
from tests.hostile.effort import damaged, tries
from tests.world import SCOPE, ZONE, Member, World, fleet, plan, tolerant

NAME = f"n.{ZONE}"
CONTENT = '[5,[["10.0.0.1",10,"lb\\u00e9"],["2001:db8::1",1]]]'
PART, TEXTS = cut_zone({f"n{number:02d}.{ZONE}": CONTENT for number in range(60)}, 4)
TEXT = max(TEXTS.values(), key=len)
ZONES = {ZONE: PART, "other.test.": ZonePart(slots=2, endpoints=1, chunks={1: "0" * 40})}
MANIFEST = Manifest(
    generation=7,
    digest=plan_digest(SCOPE, ZONES),
    scope=SCOPE,
    endpoints=61,
    author="planner",
    reason="a reason",
    created_at="2026-11-20T12:00:00Z",
    published_at=1.8e9,
    zones=ZONES,
    approval=Approval(of=6, author="operator", reason="meant"),
)
MANIFEST_TEXT = zlib.decompress(pack_manifest(MANIFEST))
VERSION = Version(generation=5, content='[5,[["10.0.0.1",10,"lb-1"],["10.0.0.2",1]]]', answers_max=1)
ENTRIES: Bucket = {
    entry.name: entry
    for entry in (
        Entry(
            name=f"a.{ZONE}", applied=VERSION, good=VERSION, peaks=(Peak(9, Capacity(11, 1)), Peak(10, Capacity(5, 1)))
        ),
        Entry(name=f"b.{ZONE}", applied=VERSION, pending=Version(generation=6, content="-", answers_max=1)),
        Entry(name=f"*.c.{ZONE}", held=Hold(generation=6, guard="velocity", detail="tab\t ü", since_s=10)),
    )
}
HEADER = b"4\n"
LEDGER = zlib.decompress(pack_bucket(ENTRIES, 4).removeprefix(HEADER))
FREEZE = freeze_value(Freeze(mode="repair-only", reason="x", author="y", since=1.5))
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
@given(damaged([MANIFEST_TEXT], tokens=b'null [] 1e999 NaN "\\ud800" {'.split()))
@example(DEEP.encode())
@example(b"[]")
@example(b"0")
def test_manifest_of_any_text(text: bytes) -> None:
    """A manifest that was written wrongly is unreadable, or of the kinds that its readers count on."""
    read_manifest(text)


@pytest.mark.parametrize("key", sorted(json.loads(MANIFEST_TEXT)))
def test_manifest_of_any_kinds(key: str) -> None:
    """No value of another kind passes, in whatever field: not even where the digest does not cover it."""
    for value in JUNK:
        read_manifest(json.dumps(json.loads(MANIFEST_TEXT) | {key: value}).encode())


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
    assert (found.generation, found.digest) == (MANIFEST.generation, plan_digest(found.scope, found.zones))
    assert found.endpoints == sum(part.endpoints for part in found.zones.values())
    for zone, part in found.zones.items():
        assert valid_slots(part.slots)
        assert all(found.part(zone).chunk(BucketId(zone, slot, part.slots)) for slot in part.chunks)
    assert all(isinstance(digest, str) for digest in found.digests())
    found.chunk_of(NAME)
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
    assert parse_bucket(pack_bucket(bucket, 4)) == bucket
    summarise(bucket)
    references(bucket.values())
    for name, entry in bucket.items():
        assert entry.name == name
        assert len(wire_name(name)) <= 255
        assert 0 <= slot_of(name, SLOTS_MAX) < SLOTS_MAX
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
@given(st.binary(max_size=200) | damaged([pack_bucket(ENTRIES, 4)]))
def test_ledger_of_damaged_bytes(packed: bytes) -> None:
    """A bucket whose bytes are damaged is unknown as a whole: half of one would be believed."""
    assert parse_bucket(packed) in ({}, ENTRIES)


def test_ledger_cut_short_anywhere() -> None:
    """Each prefix of a bucket is unknown, however many of its lines could still be read."""
    packed = pack_bucket(ENTRIES, 4)
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
    usable(parse_bucket(HEADER + zlib.compress(text)))


CELLS_TEXT = r"""
    - = x 5 5/ 5/16 5/16/ 5/16/x 5/16/- 5/16/[ 5/16/[5] 5/16/[5,[]] -1/16/[5,[]] 5/-3/[5,[]] 5/0/[5,[]]
    5/9999/[5,[]] 5/16/[99999999999,[]] 5/16/{}
    1:2:1 1:: :: a:b:1 1:2 1:2:1, -1:-1:1 1:2:1,0:9:9 [] null {} [{},[],null,1]
    5/16/[5,[["10.0.0.1",1]]] 5/16/[5,[["10.0.0.999",1]]] 5/16/[5,[["::1",9]]] 5/16/[5,[["10.0.0.1"]]]
    5/1/[5,[["::1::",9],["::",1]]] 5/16/[5,[["10.0.0.1",-1]]] 5/16/[5,[["10.0.0.1","1"]]]
    5/16/[5,[["10.0.0.1",1,"\q"]]] [5,"g","d",1e999] [5,"g","d",9] [5,5,5,5] [5,"g","\ud800",9]
"""
CELLS = [
    *CELLS_TEXT.split(),
    *("", DEEP, "5/16/" + DEEP, "1" * 30 + "/1/[5,[]]", "1:" + "9" * 400 + ":1", "9" * 400 + ":1:1", "²:3:1"),
]
NAMES = [NAME, "x", "", ".", f"A.{ZONE}", "a" * 64 + ".x."]


@tries(500)
@given(st.lists(st.sampled_from(CELLS), min_size=5, max_size=8), st.sampled_from(NAMES))
def test_ledger_of_any_cells(cells: list[str], name: str) -> None:
    """Any cell in the place of any other is read as it is meant, or its line is left out."""
    line = "\t".join([name, *cells])
    bucket = parse_bucket(HEADER + zlib.compress(f"{line}\n".encode()))
    assert bucket.keys() <= {name}
    usable(bucket)


@tries(300)
@given(damaged([FREEZE], tokens=[b"NaN", b"1e999", b"null", b"[]", DEEP.encode(), b"1" * 400]))
@example(FREEZE_KIND.value(b'{"mode":"all","reason":"","author":"","since":1' + b"0" * 400 + b"}"))
@example(FREEZE_KIND.value(b'{"mode":"repair-only","reason":"","author":"","since":NaN}'))
@example(FREEZE_KIND.value(b'{"mode":"all","reason":"","author":"","since":1e18}'))
@example(FREEZE_KIND.value(b'{"mode":"all","reason":"","author":"","since":-1e18}'))
@example(FREEZE_KIND.value(b'{"mode":["all"],"reason":{},"author":"","since":1}'))
@example(FREEZE_KIND.value(b"[]"))
def test_freeze_that_cannot_be_read_freezes_all(value: bytes) -> None:
    """A damaged switch is read carefully, and its values can be shown and stored again."""
    found = parse_freeze(value)
    assert found.mode in MODES
    assert isinstance(found.reason, str)
    assert isinstance(found.author, str)
    assert math.isfinite(found.since)
    assert utc(found.since)
    assert parse_freeze(freeze_value(found)) == found
    if found.reason == UNREADABLE:
        assert found.mode == "all"


@tries(300)
@given(st.binary(max_size=60) | damaged([applied_value(7, MANIFEST.mark)], tokens=["²".encode(), b"9" * 20, b" "]))
@example(APPLIED.value(b"9" * 20 + b" " + b"a" * 16))
@example(APPLIED.value(b"0" * 20 + b" \xff\xff"))
def test_plan_value_is_exact_or_garbage(value: bytes) -> None:
    """What passes for a head or an applied plan is the very text that we would write: it is compared byte by byte."""
    parsed = parse_applied(value)
    if isinstance(parsed, tuple):
        assert applied_value(*parsed) == value
        assert parsed[0] < GENERATION_MAX


KEPT = FenceRecord(
    generation=9, plan=MANIFEST.mark, slots=4, txt=Fence(scope=SCOPE, generation=7, plan="1" * 16, hold="a: b")
)
RECORD_TOKENS = ["²".encode(), b"9" * 20, b" ", b"0", b"v=", b"\n", b" 65536 ", b" 3 ", b" gen=10", b" held=x", b"-1"]


@tries(400)
@given(st.binary(max_size=60) | damaged([record_value(KEPT), record_value(raised(KEPT.txt, 0))], tokens=RECORD_TOKENS))
@example(FENCE.value(b"9" * 20 + b" " + b"a" * 16 + b" 4 " + KEPT.txt.text.encode()))
@example(record_value(KEPT) + b"\n")
@example(record_value(replace(KEPT, slots=3)))
@example(record_value(replace(KEPT, generation=6)))
@example(applied_value(7, MANIFEST.mark))
def test_fence_record_is_exact_or_garbage(value: bytes) -> None:
    """What passes for a zone's record is the very text that we would write, and its TXT is not ahead of its plan."""
    record = parse_record(value)
    if not isinstance(record, FenceRecord):
        assert record is None or (record.kind, record.reads) == ("fence", FENCE.format) != ("fence", record.found)
        return
    assert record_value(record) == value
    assert record.txt.generation <= record.generation < GENERATION_MAX
    assert record.slots == 0 or valid_slots(record.slots)
    assert parse_fence(record.txt.seen) == record.txt


def test_the_sample_records_are_records() -> None:
    """What the test above damages is accepted as it is: else it would test nothing."""
    assert parse_record(record_value(KEPT)) == KEPT
    assert parse_record(record_value(raised(KEPT.txt, 0))) == raised(KEPT.txt, 0)
    assert parse_record(record_value(replace(KEPT, slots=3))) is None
    assert parse_record(record_value(replace(KEPT, generation=6))) is None


# -- a whole scope, with garbage in its store

LOOK_S = 0.15

BUCKET = ledger_name(ZONE, 0)
"""The one bucket of twenty names."""
OWNED = next(iter(fleet(1)))


def line(*cells: str, slots: int = 1) -> bytes:
    return LEDGER_KIND.value(b"%d\n" % slots + zlib.compress(("\t".join(cells) + "\n").encode()))


GARBAGE = {
    "plans/junk": b"x",
    "plans/2": b"x",
    "claims/junk/x": b"x",
    "enactors/deep": DEEP.encode(),
    "enactors/list": b"[]",
    "ledger/junk": b"x",
    "ledger/0003": line(f"a.{ZONE}", "5/16/[5,[]]", "=", "-", "-", "-"),
    "ledger//00000": line(f"a.{ZONE}", "5/16/[5,[]]", "=", "-", "-", "-"),
    f"ledger/{ZONE}": line(f"a.{ZONE}", "5/16/[5,[]]", "=", "-", "-", "-"),
    f"ledger/{ZONE}/0003": line(f"a.{ZONE}", "5/16/[5,[]]", "=", "-", "-", "-"),
    f"ledger/{ZONE}/99999": line(f"a.{ZONE}", "5/16/[5,[]]", "=", "-", "-", "-"),
    f"ledger/{ZONE}/00009": line(f"a.{ZONE}", "5/16/[5,[]]", "=", "-", "-", "-", slots=8),
    f"ledger/{ZONE}/00001": line(f"a.{ZONE}", '5/16/[5,[["10.0.0.1",1]]]', "=", "-", "-", "-", slots=2),
    f"ledger/{ZONE}/00002": line(OWNED, '5/16/[5,[["10.0.0.1",1]]]', "=", "-", "-", "-", slots=4),
    f"ledger/{ZONE}/00003": b"x",
    f"ledger/{ZONE}/00004": line(
        "a.other.test.", '5/16/[5,[["10.0.0.1",1]]]', "=", '6/16/[5,[["10.0.0.2",1]]]', "-", "-", slots=8
    ),
    f"ledger/{ZONE}/00005": line("a" * 300 + f".{ZONE}", '5/16/[5,[["10.0.0.1",1]]]', "=", "-", "-", "-", slots=8),
    "ledger/other.test./00000": line(
        "a.other.test.", '5/16/[5,[["10.0.0.1",1]]]', "=", '6/16/[5,[["10.0.0.2",1]]]', "-", "-"
    ),
    "prune_epoch": PRUNE_EPOCH.value(b"junk"),
    "head": HEAD.value(b"\xff\xfe"),
    f"applied/{ZONE}": APPLIED.value(b"9" * 20 + b" " + b"a" * 16),
    f"fences/{ZONE}": FENCE.value(b"0" * 19 + b"1 \xff\xff"),
    f"fences/{ZONE} ahead of all": record_value(replace(KEPT, slots=0)),
    f"fences/{ZONE} of other slots": record_value(
        FenceRecord(generation=1, plan="0" * 16, slots=1024, txt=Fence(scope=SCOPE, generation=1, plan="0" * 16))
    ),
}
LINES = {
    "bytes": b"junk",
    "header": LEDGER_KIND.header + b"1",
    "text": LEDGER_KIND.header + b"1\njunk",
    "other slots": line(OWNED, '1/16/[5,[["10.1.0.1",10]]]', "=", "-", "-", "-", slots=2),
    "slots that are none": line(OWNED, '1/16/[5,[["10.1.0.1",10]]]', "=", "-", "-", "-", slots=3),
    "content": line(OWNED, "1/16/notjson", "=", "-", "-", "-"),
    "address": line(OWNED, '1/16/[5,[["10.0.0.999",10]]]', "=", "-", "-", "-"),
    "pending": line(OWNED, "-", "-", "1/16/notjson", "-", "-"),
    "good": line(OWNED, '1/16/[5,[["10.1.0.1",10]]]', "1/16/zz", "-", "-", "-"),
    "hold": line(OWNED, "-", "-", "-", '[{},[],null,"x"]', "-"),
    "deep": line(OWNED, "-", "-", "-", DEEP, "-"),
    "future": line(OWNED, '999999999/16/[5,[["10.1.0.1",10],["10.1.0.2",10]]]', "=", "-", "-", "-"),
    "peaks": line(OWNED, '1/16/[5,[["10.1.0.1",10]]]', "=", "-", "-", "1:" + "9" * 400 + ":1"),
}


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World(repair_interval_s=LOOK_S)
    yield world
    await world.close()


@pytest.mark.parametrize("key", [*GARBAGE, *(f"ledger/{BUCKET} {what}" for what in LINES)])
async def test_garbage_in_the_store_blocks_no_plan(world: World, key: str) -> None:
    """From any state of the store the normal path reaches the newest plan, and no loop goes round without end."""
    path, _, what = key.partition(" ")
    value = LINES[what] if what in LINES else GARBAGE[key]
    await world.publish(plan(fleet(20)))
    member = await world.add("a")
    await world.applied(1)
    put = await world.store.transact((), (Put(key=world.keys.root + path, value=value),))
    cache = member.enactor.cache
    # What an enactor no longer knows, it learns from what is served, as long as that is the plan at the fence.
    await world.until(lambda: cache.revision >= put.revision and cache.ledger.totals.owned >= 20)
    published = await world.publish(plan(fleet(20, 2)))
    await world.applied(published.generation)
    assert world.serves(fleet(20, 2))
    assert member.recorder.of(StepFailed) == []
    if path.startswith("ledger/"):
        await assert_quiet(world, member)


@pytest.mark.parametrize(("before", "after"), [(20, 100), (100, 20)], ids=["grows", "shrinks"])
@pytest.mark.parametrize("key", [key for key in GARBAGE if key.startswith(f"ledger/{ZONE}/")])
async def test_garbage_in_a_ledger_blocks_no_plan_that_cuts_it_anew(key: str, before: int, after: int) -> None:
    """However a zone's buckets are joined and split: what stands among them holds up no plan."""
    limits = tolerant(endpoints_removed_max_ratio=1)
    world = World(limits=limits, repair_interval_s=LOOK_S)
    try:
        await world.publish(plan(fleet(before)))
        member = await world.add("a")
        await world.applied(1)
        put = await world.store.transact((), (Put(key=world.keys.root + key, value=GARBAGE[key]),))
        cache = member.enactor.cache
        # A bucket that was written over is learnt anew from what is served.
        await world.until(lambda: cache.revision >= put.revision and cache.ledger.totals.owned >= before)
        await world.publish(plan(fleet(after, 2)))
        await world.applied(2)
        assert world.serves(fleet(after, 2))
        assert member.recorder.of(StepFailed) == []
        await assert_quiet(world, member)
    finally:
        await world.close()


async def test_entries_of_a_zone_that_is_gone_from_the_config_keep_nobody_busy() -> None:
    """The ledger may hold names of a zone that is no longer configured: they are left, not gone through for ever."""
    limits = tolerant(endpoints_removed_max_ratio=1)
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
