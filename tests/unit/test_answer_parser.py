"""The answer parser, against replies that dnspython renders and against broken ones."""

import contextlib

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from enactord.wire.answer import (
    TYPE_A,
    TYPE_AAAA,
    TYPE_TXT,
    Answer,
    BrokenAnswer,
    pack_query,
    pack_question,
    parse_answer,
)

NAME = "www.example.test."
QUESTION_A = pack_question(NAME, TYPE_A)


def reply(
    *rrsets: tuple[str, ...], name: str = NAME, rtype: str = "A", rcode: int = 0, flags: int = dns.flags.AA
) -> bytes:
    """A rendered reply with `rrsets` (name, ttl, type, rdata…) in its answer section."""
    message = dns.message.make_response(dns.message.make_query(name, rtype, flags=0))
    message.flags |= flags
    message.set_rcode(dns.rcode.Rcode(rcode))
    for owner, ttl, kind, *rdatas in rrsets:
        message.answer.append(dns.rrset.from_text(owner, int(ttl), "IN", kind, *rdatas))
    return message.to_wire(max_size=65535)


def test_query_is_what_dnspython_makes() -> None:
    """A packed query is an ordinary question that asks for no recursion."""
    ours = dns.message.from_wire(b"\0\7" + pack_query(QUESTION_A))
    assert ours == dns.message.make_query(NAME, "A", flags=0, id=7)


def test_answer_gives_addresses_sorted_with_their_ttl() -> None:
    """The RRset asked for comes back sorted, whatever order the server chose."""
    wire = reply((NAME, "30", "A", "192.0.2.9", "192.0.2.1"))
    assert parse_answer(wire, QUESTION_A) == Answer(0, True, False, 30, (b"\xc0\0\2\1", b"\xc0\0\2\t"), None)


def test_answer_gives_aaaa_and_txt() -> None:
    """AAAA and TXT come as rdata, a TXT with the lengths of its strings."""
    wire = reply((NAME, "5", "AAAA", "2001:db8::1"), rtype="AAAA")
    assert parse_answer(wire, pack_question(NAME, TYPE_AAAA)).rdatas == (b"\x20\1\r\xb8" + bytes(11) + b"\1",)
    wire = reply((NAME, "0", "TXT", '"ab" "c"', '""'), rtype="TXT")
    assert parse_answer(wire, pack_question(NAME, TYPE_TXT)).rdatas == (b"\0", b"\2ab\1c")


@pytest.mark.parametrize("rcode", [0, 3])
def test_answer_shows_a_cname_and_not_what_it_leads_to(rcode: int) -> None:
    """The target's addresses are not the name's; NXDOMAIN is about the target then (RFC 6604)."""
    rrsets = [(NAME, "30", "CNAME", "Other.example.test."), ("other.example.test.", "5", "A", "192.0.2.1")]
    answer = parse_answer(reply(*rrsets[: 2 if rcode == 0 else 1], rcode=rcode), QUESTION_A)
    assert answer.alias == "other.example.test."
    assert answer.rdatas == ()


def test_answer_escapes_an_odd_alias() -> None:
    """A label may hold any byte; as text a dot inside it must not look like the end of the label."""
    wire = reply((NAME, "30", "CNAME", r"a\.b\000.example.test."))
    assert parse_answer(wire, QUESTION_A).alias == r"a\046b\000.example.test."


def test_answer_tells_rcode_authority_and_truncation() -> None:
    """NXDOMAIN, a missing AA bit and TC are for the caller to judge."""
    assert parse_answer(reply(rcode=3), QUESTION_A) == Answer(3, True, False, 0, (), None)
    assert parse_answer(reply(flags=0), QUESTION_A).authoritative is False
    assert parse_answer(reply(flags=dns.flags.TC), QUESTION_A).truncated is True


def test_answer_takes_any_case_of_the_name() -> None:
    """A server may give the name back in the case of its zone file (RFC 4343)."""
    wire = reply((NAME.upper(), "30", "A", "192.0.2.1"), name=NAME.upper())
    assert len(parse_answer(wire, QUESTION_A).rdatas) == 1


def test_answer_without_a_question_is_taken_only_with_an_error() -> None:
    """An error reply may leave the question out; an answer without it could be to anything."""
    header = b"\0\1\x84\5" + bytes(8)
    assert parse_answer(header, QUESTION_A).rcode == 5
    with pytest.raises(BrokenAnswer):
        parse_answer(b"\0\1\x84\0" + bytes(8), QUESTION_A)


@pytest.mark.parametrize(
    "wire",
    [
        b"",
        b"\0" * 11,
        b"\0\7" + pack_query(QUESTION_A),
        reply(name="else.example.test."),
        reply(rtype="AAAA"),
        reply((NAME, "30", "A", "192.0.2.1"))[:-1],
        reply((NAME, "30", "A", "192.0.2.1"))[:-14],
        reply((NAME, "30", "A", "192.0.2.1")).replace(b"\0\4\xc0\0\2\1", b"\0\3\xc0\0\2"),
        reply((NAME, "30", "A", "192.0.2.1")).replace(b"\xc0\x0c\0\1", b"\xc0\x23\0\1"),  # points at itself
        reply((NAME, "30", "A", "192.0.2.1")).replace(b"\xc0\x0c\0\1", b"\x80\x0c\0\1"),
    ],
    ids=["empty", "short", "query", "name", "type", "cut rdata", "cut owner", "address of 3", "loop", "label kind"],
)
def test_answer_refuses_a_broken_reply(wire: bytes) -> None:
    """What is no whole answer to the question is refused, never guessed at."""
    with pytest.raises(BrokenAnswer):
        parse_answer(wire, QUESTION_A)


WHOLE = reply((NAME, "30", "A", "192.0.2.1"), (NAME, "30", "CNAME", "x.example.test."))


@given(wire=st.binary(max_size=80) | st.binary(max_size=80).map(lambda tail: WHOLE[:35] + tail))
@example(wire=WHOLE[:35] + b"\xc0\x23")
@settings(max_examples=500, deadline=None)
def test_answer_parser_survives_any_bytes(wire: bytes) -> None:
    """Any bytes end in an answer or in BrokenAnswer, and in no endless loop."""
    with contextlib.suppress(BrokenAnswer):
        parse_answer(wire, QUESTION_A)
