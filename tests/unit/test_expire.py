"""The question that tells a primary from a secondary, and what is read out of any answer to it."""

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from dns.edns import OptionType
from hypothesis import given
from hypothesis import strategies as st

from enactord.backends.rfc2136.denials import said
from enactord.ports import Duty
from enactord.wire.answer import BrokenAnswer
from enactord.wire.expire import Expiry, pack_expire_query, parse_expiry

ZONE = "example.test."
SOA = "ns.example.test. root.example.test. 1 7200 900 86400 60"


def asked() -> dns.message.Message:
    return dns.message.from_wire(b"\0\7" + pack_expire_query(ZONE))


def answer(*options: dns.edns.Option, soa: str = SOA, authoritative: bool = True, rcode: int = 0) -> bytes:
    made = dns.message.make_response(asked(), recursion_available=False)
    made.set_rcode(dns.rcode.Rcode(rcode))
    if authoritative:
        made.flags |= dns.flags.AA
    if soa:
        made.answer.append(dns.rrset.from_text(ZONE, 60, "IN", "SOA", soa))
        made.additional.append(dns.rrset.from_text(f"ns.{ZONE}", 60, "IN", "A", "192.0.2.1"))
    made.use_edns(0, options=list(options))
    return made.to_wire()


def left(seconds: int) -> dns.edns.Option:
    return dns.edns.GenericOption(OptionType.make(9), seconds.to_bytes(4, "big"))


def test_the_question_is_as_a_library_reads_it() -> None:
    query = asked()
    assert [(str(one.name), one.rdtype.name) for one in query.question] == [(ZONE, "SOA")]
    assert [(option.otype, option.to_wire()) for option in query.options] == [(9, b"")]
    assert not query.flags & dns.flags.RD


@pytest.mark.parametrize(
    ("made", "duty"),
    [
        (answer(left(86400)), Duty.PRIMARY),
        (answer(dns.edns.GenericOption(OptionType.make(3), b"ns1"), left(86400)), Duty.PRIMARY),
        (answer(left(86399)), Duty.OTHER),
        (answer(left(0)), Duty.OTHER),
        (answer(), Duty.UNKNOWN),
        (answer(dns.edns.GenericOption(OptionType.make(9), b"")), Duty.UNKNOWN),
        (answer(left(86400), authoritative=False), Duty.OTHER),
        (answer(soa=""), Duty.OTHER),
        (answer(soa="", rcode=5), Duty.OTHER),
        (answer(soa="", rcode=9), Duty.OTHER),
        (answer(soa="", rcode=2), Duty.UNKNOWN),
    ],
)
def test_what_an_answer_says(made: bytes, duty: Duty) -> None:
    assert said(parse_expiry(made, ZONE)).duty is duty


def test_an_answer_to_another_question_is_none() -> None:
    with pytest.raises(BrokenAnswer):
        parse_expiry(answer(left(1)), "example.net.")


@given(st.binary(max_size=120) | st.builds(lambda made, cut: made[:cut], st.just(answer(left(5))), st.integers(0, 200)))
def test_no_answer_does_worse_than_be_refused(message: bytes) -> None:
    try:
        assert isinstance(parse_expiry(message, ZONE), Expiry)
    except BrokenAnswer:
        pass


@given(st.integers(0, 200), st.integers(0, 255))
def test_nor_does_a_spoilt_byte(position: int, value: int) -> None:
    message = bytearray(answer(left(5)))
    message[position % len(message)] = value
    try:
        assert isinstance(parse_expiry(bytes(message), ZONE), Expiry)
    except BrokenAnswer:
        pass
