"""Signed questions and their answers: the fast check agrees with the full one, and with dnspython."""

import time
from collections.abc import Iterator
from types import SimpleNamespace

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.renderer
import dns.rrset
import dns.tsig
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enactord.wire.answer import TYPE_A, TYPE_AAAA, TYPE_TXT, pack_query, pack_question
from enactord.wire.signed_questions import SignedQuestions
from enactord.wire.tsig import ALGORITHMS, TsigError, TsigFault, TsigKey, find_tsig, sign, verify
from tests.hostile.effort import damaged, tries

NOW_S = int(time.time())


@pytest.fixture(autouse=True, scope="module")
def _dnspython_has_our_time() -> Iterator[None]:
    """These tests may run minutes after they were collected: longer than a signature is good for."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (dns.message, dns.renderer):
            if hasattr(module, "time"):
                patch.setattr(module, "time", SimpleNamespace(time=lambda: NOW_S))
        yield


SECRET = b"0123456789abcdef0123456789abcdef"
KEY = TsigKey(name="enactor", algorithm="hmac-sha256", secret=SECRET)
IN_ZONE = TsigKey(name="Keys.Example.test", algorithm="hmac-sha256", secret=SECRET)
NAME = "www.example.test."
QUESTION = pack_question(NAME, TYPE_A)
MESSAGE_ID = 0x1234


def keyring(key: TsigKey) -> dict[dns.name.Name, dns.tsig.Key]:
    """The key as dnspython takes it."""
    name = dns.name.from_text(key.name)
    return {name: dns.tsig.Key(name, key.secret, key.algorithm)}


def asked(key: TsigKey = KEY, message_id: int = MESSAGE_ID) -> tuple[SignedQuestions, bytes]:
    """One question for A, and its message."""
    signed = SignedQuestions(key, [QUESTION])
    (message,) = signed.messages([message_id], now_s=NOW_S)
    return signed, message


def answered(message: bytes, key: TsigKey = KEY, addresses: int = 3, rcode: int = 0) -> bytes:
    """The answer that dnspython makes and signs."""
    query = dns.message.from_wire(message, keyring=keyring(key))
    response = dns.message.make_response(query)
    response.flags |= dns.flags.AA
    response.set_rcode(dns.rcode.Rcode(rcode))
    if addresses:
        texts = [f"192.0.2.{number}" for number in range(addresses)]
        response.answer.append(dns.rrset.from_text(query.question[0].name, 30, "IN", "A", *texts))
    return response.to_wire()


def verdict(signed: SignedQuestions, message: bytes, now_s: int = NOW_S) -> TsigFault | None:
    """What the check says of an answer to the first question."""
    try:
        signed.check(0, message, now_s=now_s)
    except TsigError as error:
        return error.kind
    return None


def full_verdict(message: bytes, key: TsigKey, request: bytes, now_s: int = NOW_S) -> TsigFault | None:
    """What the full parser says."""
    record = find_tsig(request)
    assert record is not None
    try:
        verify(message, [key], now_s=now_s, request_mac=record.mac)
    except TsigError as error:
        return error.kind
    return None


@settings(max_examples=100)
@given(
    st.sampled_from(sorted(ALGORITHMS)),
    st.binary(min_size=1, max_size=200),
    st.lists(st.tuples(st.integers(0, 0xFFFF), st.sampled_from([TYPE_A, TYPE_AAAA, TYPE_TXT])), max_size=5),
)
def test_each_question_is_signed_as_the_full_signer_does(
    algorithm: str, secret: bytes, ids: list[tuple[int, int]]
) -> None:
    """Byte for byte, and dnspython takes it."""
    key = TsigKey(name="a.Key", algorithm=algorithm, secret=secret)
    questions = [pack_question(NAME, rtype) for _, rtype in ids]
    messages = SignedQuestions(key, questions).messages([message_id for message_id, _ in ids], now_s=NOW_S)
    for (message_id, _), question, message in zip(ids, questions, messages, strict=True):
        assert message == sign(message_id.to_bytes(2, "big") + pack_query(question), key, now_s=NOW_S)[0]
        read = dns.message.from_wire(message, keyring=keyring(key))
        assert read.had_tsig
        assert read.id == message_id
        assert not read.flags


@pytest.mark.parametrize("key", [KEY, IN_ZONE])
@pytest.mark.parametrize("addresses", [0, 1, 8, 200])
@pytest.mark.parametrize("rcode", [0, 3, 5])
def test_what_dnspython_signs_is_believed(key: TsigKey, addresses: int, rcode: int) -> None:
    """Whatever the answer holds. Only where dnspython compresses the key's name the whole answer is read for it."""
    signed, message = asked(key)
    answer = answered(message, key, addresses, rcode)
    assert signed._plainly_signed(0, answer, NOW_S) == (key is KEY)
    assert verdict(signed, answer) is None


@pytest.mark.parametrize("off_s", [-301, -300, 300, 301])
def test_an_answer_of_another_time_is_not_believed(off_s: int) -> None:
    """Beyond the fudge that its signer grants, either way."""
    signed, message = asked()
    expected = None if abs(off_s) <= 300 else TsigFault.BADTIME
    answer = answered(message)
    record = find_tsig(answer)
    assert record is not None
    assert verdict(signed, answer, record.time_signed_s + off_s) is expected


def test_answers_are_told_apart_by_question_and_by_id() -> None:
    """Neither the answer to another question, nor the one to the same question earlier, is believed."""
    questions = [QUESTION, pack_question(NAME, TYPE_AAAA)]
    signed = SignedQuestions(KEY, questions)
    messages = signed.messages([1, 2], now_s=NOW_S)
    answers = [answered(message, addresses=0) for message in messages]
    for index, answer in enumerate(answers):
        signed.check(index, answer, now_s=NOW_S)
        for other in (answers[1 - index], (2 - index).to_bytes(2, "big") + answers[1 - index][2:]):
            with pytest.raises(TsigError, match="does not match"):
                signed.check(index, other, now_s=NOW_S)
    later = SignedQuestions(KEY, questions)
    later.messages([1, 3], now_s=NOW_S + 1)
    anew = SignedQuestions(KEY, questions)
    anew.messages([3, 4], now_s=NOW_S)
    for again in (later, anew):
        with pytest.raises(TsigError, match="does not match"):
            again.check(0, answers[0], now_s=NOW_S)


def record_written(answer: bytes, key_name: bytes) -> bytes:
    """The answer with the full owner of its TSIG record written otherwise, which the MAC does not see."""
    record = find_tsig(answer)
    assert record is not None
    return answer[: record.start] + key_name + answer[record.start + len(record.key_name) :]


def test_the_names_in_the_record_may_be_compressed_or_in_another_case() -> None:
    """RFC 8945 asks for neither; the MAC is computed over the full name in lower case (section 4.3.3)."""
    signed, message = asked(IN_ZONE)
    request = find_tsig(message)
    assert request is not None
    plain = message[:2] + b"\x84\0\0\1\0\0\0\0\0\0" + QUESTION
    answer = sign(plain, IN_ZONE, now_s=NOW_S, request_mac=request.mac)[0]
    assert signed._plainly_signed(0, answer, NOW_S)
    pointer = (0xC000 | 12 + len("\4www")).to_bytes(2, "big")  # example.test. in the question
    for name in (b"\4keys" + pointer, b"\4KeYs" + pointer, b"\4KEYS\7example\4TEST\0"):
        other = record_written(answer, name)
        assert not signed._plainly_signed(0, other, NOW_S)
        assert verdict(signed, other) is None
    loud = answer.replace(b"hmac-sha256", b"HMAC-SHA256")
    assert loud != answer
    assert verdict(signed, loud) is None


def test_an_answer_with_other_additional_records_is_believed() -> None:
    """An OPT record before the TSIG record, as some server may add."""
    signed, message = asked()
    record = find_tsig(message)
    assert record is not None
    plain = message[:2] + b"\x84\0\0\1\0\0\0\0\0\1" + QUESTION + b"\0\0\x29\x04\xd0\0\0\0\0\0\0"
    assert verdict(signed, sign(plain, KEY, now_s=NOW_S, request_mac=record.mac)[0]) is None


SIGNED, REQUEST = asked()
ANSWERS = [
    answered(REQUEST, addresses=addresses, rcode=rcode) for addresses, rcode in ((0, 0), (0, 3), (1, 0), (8, 0), (0, 5))
]
TOKENS = [b"\xc0\x0c", b"\0\xfa\0\xff", b"\0\0", b"\0\1", b"\7enactor\0", b"\x0bhmac-sha256\0", b"\0\x20", b"\x01\x2c"]


@tries(1500)
@given(damaged(ANSWERS, tokens=TOKENS) | damaged([*ANSWERS, REQUEST], tokens=ANSWERS))
def test_the_fast_check_agrees_with_the_full_one_and_with_dnspython(message: bytes) -> None:
    """On whatever became of an answer: one verdict, and what is believed says what was signed."""
    found = verdict(SIGNED, message)
    assert found is full_verdict(message, KEY, REQUEST)
    record = find_tsig(REQUEST)
    assert record is not None
    if found is None:
        read = dns.message.from_wire(message, keyring=keyring(KEY), request_mac=record.mac)
        assert read.had_tsig
        signed = find_tsig(message)
        assert signed is not None
        assert any(message[2 : signed.start] == answer[2 : signed.start] for answer in ANSWERS)


def test_no_changed_bit_is_believed() -> None:
    """But in the id, which the stream has matched, and in the case of the record's names."""
    for answer in ANSWERS:
        for bit in range(8 * len(answer)):
            message = bytearray(answer)
            message[bit // 8] ^= 1 << bit % 8
            found = verdict(SIGNED, bytes(message))
            assert found is full_verdict(bytes(message), KEY, REQUEST)
            assert found is not None or bytes(message[2:]).lower() == answer[2:].lower()
