"""The ledger's values survive their stored form, and damage is contained."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enactord.core.buckets import SLOTS_MAX
from enactord.core.content import Capacity
from enactord.core.ledger import (
    GARBAGE,
    Entry,
    Hold,
    Peak,
    Version,
    is_whole,
    pack_bucket,
    packed_slots,
    parse_bucket,
    references,
    says_exactly,
    with_answer,
    with_applied,
    with_pending,
)
from enactord.core.records import NO_RECORDS, Records, Served

APPLIED = Version(generation=5, content='[5,[["10.0.0.1",1]]]', answers_max=8)
GOOD = Version(generation=4, content='[5,[["10.0.0.2",1]]]', answers_max=8)
BETWEEN = Version(generation=6, content='[5,[["10.0.0.3",1]]]', answers_max=8)
REMOVED = Version(generation=7, content="-", answers_max=8)
LATE = Version(generation=8, content='[5,[["10.0.0.4",1]]]', answers_max=8)
ENTRIES = [
    Entry(name="a.test.", applied=APPLIED, good=APPLIED, peaks=(Peak(start_s=1, capacity=Capacity(2, 1)),)),
    Entry(name="b.test.", applied=APPLIED, good=GOOD, pending=Version(generation=6, content="-", answers_max=8)),
    Entry(name="c.test.", held=Hold(generation=6, guard="foreign", detail="tab\t, line\n, ü", since_s=9)),
    Entry(name="d.test.", applied=APPLIED, held=Hold(generation=6, guard="velocity", detail="x", since_s=9)),
    Entry(name="e.test.", applied=APPLIED, good=APPLIED, pending=LATE, earlier=(BETWEEN, REMOVED)),
]
BUCKET = {entry.name: entry for entry in ENTRIES}


def test_a_bucket_survives_its_store() -> None:
    """What is packed is what is parsed, whatever a guard's detail holds."""
    assert parse_bucket(pack_bucket(BUCKET, 4)) == BUCKET


def text_of(packed: bytes) -> str:
    """The lines of a stored bucket."""
    header, _, compressed = packed.partition(b"\n")
    assert header == b"4"
    return zlib.decompress(compressed).decode()


def stored(text: str) -> bytes:
    """A bucket that holds these lines, whatever they say."""
    return b"4\n" + zlib.compress(text.encode())


def test_what_cannot_be_read_is_left_out() -> None:
    """A damaged ledger is only unknown: it never stops the way to the newest plan."""
    assert parse_bucket(b"junk") == {}
    text = text_of(pack_bucket(BUCKET, 4)).splitlines(keepends=True)
    damaged = stored("".join([text[0], "b.test.\tjunk\n", *text[2:]]))
    assert sorted(parse_bucket(damaged)) == ["a.test.", "c.test.", "d.test.", "e.test."]


@pytest.mark.parametrize("slots", [1, 2, 1024, SLOTS_MAX])
def test_a_bucket_says_of_how_many_slots_it_is_without_being_read(slots: int) -> None:
    """The header stands in clear before the text, and nothing of the text changes what it says."""
    assert packed_slots(pack_bucket(BUCKET, slots)) == slots
    assert packed_slots(pack_bucket({}, slots)) == slots
    assert packed_slots(b"%d\njunk" % slots) == slots
    assert parse_bucket(pack_bucket(BUCKET, slots)) == BUCKET


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"\n",
        b" \n",
        b"0\n",
        b"3\n",
        b"-4\n",
        b"131072\n",
        b"99999999999999999999\n",
        b"4 \n",
        b" 4\n",
        b"4\r\n",
        b"\xb2\n",
        b"4",
    ],
)
def test_a_bucket_whose_header_is_none_is_unknown_as_a_whole(header: bytes) -> None:
    """Another format, or no number of slots: nothing behind it is believed, however well it could be read."""
    packed = header + zlib.compress(text_of(pack_bucket(BUCKET, 4)).encode())
    assert packed_slots(packed) == GARBAGE == 0
    assert parse_bucket(packed) == {}
    assert not says_exactly(packed, {})
    assert not is_whole(packed, {})


SETTLED = {name: Entry(name=name, applied=APPLIED, good=APPLIED) for name in ("a.test.", "b.test.")}


def test_what_others_finished_is_told_without_reading_its_entries() -> None:
    """Every content applied and seen, whatever the peaks and the generations."""
    wanted = dict.fromkeys(SETTLED, APPLIED.content)
    peaked = SETTLED | {
        "b.test.": SETTLED["b.test."]._replace(peaks=(Peak(1, Capacity(2, 1)), Peak(3, Capacity(1, 1))))
    }
    assert says_exactly(pack_bucket(SETTLED, 4), wanted)
    assert says_exactly(pack_bucket(peaked, 4), wanted)


@pytest.mark.parametrize("entry", [*ENTRIES[1:], SETTLED["a.test."]._replace(applied=GOOD, good=GOOD)])
def test_whatever_else_a_bucket_says_is_read(entry: Entry) -> None:
    """Pending, held, not seen, not owned, other content: none of them passes for finished."""
    wanted = dict.fromkeys((*SETTLED, entry.name), APPLIED.content)
    assert not says_exactly(pack_bucket(SETTLED | {entry.name: entry}, 4), wanted)


@given(st.integers(0, 200), st.sampled_from(["\t", "\n", "-", "=", "0", "a", "", ":", "/", "b.test."]), st.booleans())
def test_what_passes_for_finished_is_finished(at: int, put: str, over: bool) -> None:
    """Whatever befalls the text: where it passes, reading its entries says the same."""
    wanted = dict.fromkeys(SETTLED, APPLIED.content)
    text = text_of(pack_bucket(SETTLED, 4))
    packed = stored(text[:at] + put + text[at + over :])
    if says_exactly(packed, wanted):
        assert {name: entry.applied and entry.applied.content for name, entry in parse_bucket(packed).items()} == wanted
        assert all(entry.pending is None and entry.held is None for entry in parse_bucket(packed).values())


def test_an_entry_needs_what_it_may_fall_back_on() -> None:
    """Pending, a differing last known good, and what a held entry serves keep their plans."""
    assert set(references(ENTRIES)) == {4, 5, 6, 8}
    assert references(ENTRIES[:1]) == {}


def test_only_what_was_seen_becomes_last_known_good() -> None:
    """An acknowledged write that nobody saw served is applied, not known good."""
    entry = Entry(name="a.test.", applied=GOOD, good=GOOD)
    assert with_applied(entry, APPLIED, seen=False, now_s=1, capacity=Capacity(1, 1)).good == GOOD
    assert with_applied(entry, APPLIED, seen=True, now_s=1, capacity=Capacity(1, 1)).good == APPLIED


def answer(records: Records) -> Served:
    return Served(records=records)


def test_a_read_tells_which_of_the_writes_without_an_end_came_last() -> None:
    """Whichever version is found served is what is applied; a removal that is found makes the name not ours."""
    entry = Entry(name="e.test.", applied=APPLIED, good=APPLIED)
    for version in (BETWEEN, REMOVED, LATE):
        entry = with_pending(entry, version)
    assert with_pending(entry, LATE) == entry == BUCKET["e.test."]
    for version in (BETWEEN, LATE):
        found = with_answer(entry, answer(version.records("e.test.")))
        assert found == Entry(name="e.test.", applied=version, good=version)
    assert with_answer(entry, answer(APPLIED.records("e.test."))) == Entry(
        name="e.test.", applied=APPLIED, good=APPLIED
    )
    assert with_answer(entry, answer(NO_RECORDS)) is None
    foreign = answer(Records(ttl_s=5, a=(b"\x0a\x09\x09\x09",), aaaa=()))
    assert with_answer(entry, foreign) == Entry(name="e.test.", applied=APPLIED, good=APPLIED)
    assert with_answer(with_pending(Entry(name="e.test."), LATE), foreign) is None
