"""The ledger's values survive their stored form, and damage is contained."""

import zlib

from enactord.core.ledger import Entry, Hold, Peak, Version, pack_bucket, parse_bucket, references, with_applied

APPLIED = Version(generation=5, content='[5,[["10.0.0.1",1]]]', answers_max=8)
GOOD = Version(generation=4, content='[5,[["10.0.0.2",1]]]', answers_max=8)
ENTRIES = [
    Entry(name="a.test.", applied=APPLIED, good=APPLIED, peaks=(Peak(start_s=1, capacity=2),)),
    Entry(name="b.test.", applied=APPLIED, good=GOOD, pending=Version(generation=6, content="-", answers_max=8)),
    Entry(name="c.test.", held=Hold(generation=6, guard="foreign", detail="tab\t, line\n, ü", since_s=9)),
    Entry(name="d.test.", applied=APPLIED, held=Hold(generation=6, guard="velocity", detail="x", since_s=9)),
]
BUCKET = {entry.name: entry for entry in ENTRIES}


def test_a_bucket_survives_its_store() -> None:
    """What is packed is what is parsed, whatever a guard's detail holds."""
    assert parse_bucket(pack_bucket(BUCKET)) == BUCKET


def test_what_cannot_be_read_is_left_out() -> None:
    """A damaged ledger is only unknown: it never stops the way to the newest plan."""
    assert parse_bucket(b"junk") == {}
    text = zlib.decompress(pack_bucket(BUCKET)).decode().splitlines(keepends=True)
    damaged = zlib.compress("".join([text[0], "b.test.\tjunk\n", *text[2:]]).encode())
    assert sorted(parse_bucket(damaged)) == ["a.test.", "c.test.", "d.test."]


def test_an_entry_needs_what_it_may_fall_back_on() -> None:
    """Pending, a differing last known good, and what a held entry serves keep their plans."""
    assert set(references(ENTRIES)) == {4, 5, 6}
    assert references(ENTRIES[:1]) == {}


def test_only_what_was_seen_becomes_last_known_good() -> None:
    """An acknowledged write that nobody saw served is applied, not known good."""
    entry = Entry(name="a.test.", applied=GOOD, good=GOOD)
    assert with_applied(entry, APPLIED, seen=False, now_s=1, capacity=1).good == GOOD
    assert with_applied(entry, APPLIED, seen=True, now_s=1, capacity=1).good == APPLIED
