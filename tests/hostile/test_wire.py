"""What a server answers, as our own parsers read it; and the messages that we send it, as dnspython reads them."""

import asyncio
import contextlib
import random
from collections.abc import Callable

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rdataclass
import dns.rdatatype
import pytest
from hypothesis import assume, given, reject
from hypothesis import strategies as st

from enactord.backends.readers.bulk import BulkReader
from enactord.backends.rfc2136.zone import Rfc2136Zone
from enactord.core.errors import ZoneDown
from enactord.core.fence import Fence
from enactord.core.records import NO_RECORDS, Change, Committed, Expect, Records, Served, Transaction
from enactord.wire.answer import (
    TYPE_A,
    TYPE_AAAA,
    TYPE_TXT,
    Answer,
    BrokenAnswer,
    pack_question,
    parse_answer,
)
from enactord.wire.names import Malformed, read_fixed, read_name, skip_name
from enactord.wire.stream import MaybeReceived, NeverSent, Stream
from enactord.wire.tsig import TsigError, TsigKey, find_tsig, sign, verify
from enactord.wire.update import MAX_MESSAGE_BYTES, TSIG_RESERVE_BYTES, TooLarge, pack_update
from tests.hostile.effort import damaged, tries
from tests.property.test_update_encoder import ZONE, oracle, section_lines
from tests.servers.tcp_peer import Peer, serving
from tests.unit.test_answer_parser import NAME, reply

NOW = 1_700_000_000
KEY = TsigKey(name="enactor", algorithm="hmac-sha256", secret=b"0123456789abcdef0123456789abcdef")
LIMIT_S = 5.0
SHORT_S = 0.05

QUESTIONS = {rtype: pack_question(NAME, rtype) for rtype in (TYPE_A, TYPE_AAAA, TYPE_TXT)}
REPLIES = {
    TYPE_A: [
        reply((NAME, "30", "A", "192.0.2.9", "192.0.2.1")),
        reply((NAME, "30", "CNAME", "to.example.test."), ("to.example.test.", "5", "A", "192.0.2.1")),
        reply(rcode=3),
        reply(rcode=5, flags=0),
        reply((NAME, "5", "A", *(f"10.0.{number}.1" for number in range(200)))),
    ],
    TYPE_AAAA: [reply((NAME, "5", "AAAA", "2001:db8::1", "2001:db8::2"), rtype="AAAA")],
    TYPE_TXT: [reply((NAME, "0", "TXT", '"v=enactord1 scope=a gen=1"', '"ab" "c"'), rtype="TXT")],
}
WIRE_TOKENS = [
    b"\xc0\x0c",
    b"\xc0\xff",
    b"\xff\xff",
    b"\0",
    b"\x3f",
    b"\x40",
    b"\0\x05\0\1",
    b"\0\1\0\1",
    b"\0\x1c\0\1",
]


def dnspython_reads(wire: bytes, rtype: int) -> tuple[bytes, ...] | None:
    """The RRset of the question as dnspython has it; None where it reads no reply to that question."""
    try:
        message = dns.message.from_wire(wire, one_rr_per_rrset=True)
    except (dns.exception.DNSException, ValueError, IndexError):
        return None
    name = dns.name.from_text(NAME)
    asked = [(one.name, one.rdtype, one.rdclass) for one in message.question]
    if asked != [(name, rtype, dns.rdataclass.IN)] or message.opcode() != 0:
        return None
    found = {
        rdata.to_wire() or b""
        for rrset in message.answer
        if (rrset.name, rrset.rdtype, rrset.rdclass) == (name, rtype, dns.rdataclass.IN)
        for rdata in rrset
    }
    return tuple(sorted(found))


@tries(700)
@given(st.data(), st.sampled_from(sorted(QUESTIONS)))
def test_damaged_replies(data: st.DataObject, rtype: int) -> None:
    """A reply is read as dnspython reads it, or is `BrokenAnswer`; no bytes do worse."""
    wire = data.draw(damaged(REPLIES[rtype], tokens=WIRE_TOKENS))
    try:
        answer = parse_answer(wire, QUESTIONS[rtype])
    except BrokenAnswer:
        return
    check(answer, rtype)
    theirs = dnspython_reads(wire, rtype)
    if theirs is not None:
        assert answer.rdatas == theirs


def check(answer: Answer, rtype: int) -> None:
    assert 0 <= answer.rcode < 16
    assert 0 <= answer.ttl_s < 2**31
    assert list(answer.rdatas) == sorted(set(answer.rdatas))
    if rtype != TYPE_TXT:
        assert {len(rdata) for rdata in answer.rdatas} <= {4 if rtype == TYPE_A else 16}
    assert answer.alias is None or (answer.alias.isascii() and answer.alias.isprintable())


@tries(300)
@given(st.binary(max_size=300), st.sampled_from(sorted(QUESTIONS)), st.booleans())
def test_random_replies(rest: bytes, rtype: int, framed: bool) -> None:
    """Random bytes, also behind a header and question that are right, are an answer or `BrokenAnswer`."""
    head = b"\0\0\x84\0\0\1\0\x09\0\0\0\0" + QUESTIONS[rtype] if framed else b""
    try:
        check(parse_answer(head + rest, QUESTIONS[rtype]), rtype)
    except BrokenAnswer:
        pass


def test_every_truncation_of_every_reply() -> None:
    """A reply that is cut before its last answer is broken; none is read as one with fewer addresses."""
    for rtype, replies in REPLIES.items():
        for wire in replies:
            whole = parse_answer(wire, QUESTIONS[rtype])
            for cut in range(len(wire)):
                try:
                    assert parse_answer(wire[:cut], QUESTIONS[rtype]) == whole
                except BrokenAnswer:
                    pass


@tries(500)
@given(st.binary(max_size=300), st.integers(0, 320))
def test_readers_of_names_and_records_stay_inside(message: bytes, position: int) -> None:
    """Each reader returns a place within the message, or raises `Malformed`."""
    with contextlib.suppress(Malformed):
        assert position < skip_name(message, position) <= len(message)
    with contextlib.suppress(Malformed):
        name, after = read_name(message, position)
        assert position < after <= len(message)
        assert len(name) <= 255
    with contextlib.suppress(Malformed):
        assert read_fixed(message, position)[4] <= len(message)


SIGNED = sign(b"\0\7\xa8\0\0\1\0\0\0\0\0\0\7example\4test\0\0\6\0\1", KEY, now_s=NOW, request_mac=b"m" * 32)[0]


def verifies(wire: bytes) -> bool:
    try:
        verify(wire, [KEY], now_s=NOW, request_mac=b"m" * 32)
    except TsigError:
        return False
    return True


@tries(700)
@given(damaged([SIGNED], tokens=WIRE_TOKENS))
def test_no_damaged_signature_verifies(wire: bytes) -> None:
    """Whatever verifies says what was signed: only the id may differ, and how the key's name is written."""
    assert verifies(SIGNED)
    if not verifies(wire):
        return
    ours, theirs = find_tsig(wire), find_tsig(SIGNED)
    assert ours is not None
    assert theirs is not None
    assert wire[2 : ours.start] == SIGNED[2 : theirs.start]
    assert (ours.mac, ours.error, ours.other) == (theirs.mac, theirs.error, theirs.other)


# -- a server that answers what it likes, on a real socket


def scripted(frames: bytes, *, end: str) -> Callable[[Peer], object]:
    """A server that takes one request, sends bytes, and closes, resets or falls silent."""

    async def script(peer: Peer) -> None:
        await peer.receive()
        peer.writer.write(frames)
        if end == "reset":
            peer.reset()
        elif end == "silent":
            await peer.writer.drain()
            await asyncio.Event().wait()

    return script


ends = st.sampled_from(["close", "reset", "silent"])


@tries(40, costly=True)
@given(frames=st.binary(max_size=200) | damaged([b"\0\x20" + bytes(32) + b"\0\x0c" + bytes(12)]), end=ends)
def test_stream_with_a_server_that_sends_anything(frames: bytes, end: str) -> None:
    """An exchange ends by a reply to its own id or by an error of ours; nothing stays counted as in flight."""

    async def run() -> None:
        async with serving(scripted(frames, end=end)) as port:  # type: ignore[arg-type]
            stream = Stream("127.0.0.1", port, in_flight_max=4)
            try:
                answer = await stream.ask(lambda message_id: message_id.to_bytes(2, "big") + bytes(10), SHORT_S)
                assert len(answer) >= 12
            except (NeverSent, MaybeReceived):
                pass
            await stream.close()
            assert stream.load == 0

    asyncio.run(run())


@tries(25, costly=True)
@given(body=st.binary(max_size=100) | damaged([reply_body for replies in REPLIES.values() for reply_body in replies]))
def test_reading_from_a_server_that_answers_anything(body: bytes) -> None:
    """A read gives what was answered, or `ZoneDown`, within its time."""

    async def answering(peer: Peer) -> None:
        while True:
            request = await peer.receive()
            peer.reply(request[:2] + body[2:])

    async def run() -> None:
        async with serving(answering) as port:
            reader = BulkReader("127.0.0.1", port, timeout_s=4 * SHORT_S, connections=1)
            try:
                async with asyncio.timeout(LIMIT_S):
                    served = await reader.read([NAME])
                assert set(served) == {NAME}
            except ZoneDown:
                pass
            await reader.close()

    asyncio.run(run())


class StillClock:
    def now(self) -> float:
        return NOW


@tries(60, costly=True)
@given(rcode=st.sampled_from([0, 0, *range(16)]), flip=st.none() | st.integers(0, 2**16))
def test_an_update_is_committed_by_a_good_signature_alone(rcode: int, flip: int | None) -> None:
    """Any damage to the answer makes the end unknown, or a refusal: never committed, never an exception."""
    told: list[tuple[bytes, bytes]] = []

    async def answering(peer: Peer) -> None:
        request = await peer.receive()
        record = find_tsig(request)
        assert record is not None
        plain = request[:2] + (0xA800 | rcode).to_bytes(2, "big") + b"\0\1\0\0\0\0\0\0" + QUESTIONS[TYPE_A]
        whole = sign(plain, KEY, now_s=NOW, request_mac=record.mac)[0]
        said = bytearray(whole)
        if flip is not None:
            said[2 + flip // 8 % (len(whole) - 2)] ^= 1 << flip % 8
        told.append((whole, bytes(said)))
        peer.reply(told[-1][1])

    async def run() -> None:
        async with serving(answering) as port:
            zone = Rfc2136Zone(ZONE, host="127.0.0.1", port=port, key=KEY, clock=StillClock(), timeout_s=LIMIT_S)
            outcome = await zone.write(Transaction(fence_seen=()))
            await zone.close()
        whole, said = told[-1]
        if whole == said:
            assert isinstance(outcome, Committed) == (rcode == 0)
        elif isinstance(outcome, Committed):
            assert rcode == 0
            assert whole.lower() == said.lower(), "only the case of the names of key and algorithm says nothing"

    asyncio.run(run())


@tries(60, costly=True)
@given(flip=st.none() | st.integers(0, 2**16))
def test_a_name_is_told_of_by_a_good_signature_alone(flip: int | None) -> None:
    """Any damage to an answer leaves its name out, or says what was signed: never anything else."""
    truth = {NAME: Served(records=Records(ttl_s=30, a=(b"\xc0\0\2\1", b"\xc0\0\2\2"), aaaa=()))}
    harmless: list[bool] = []

    async def answering(peer: Peer) -> None:
        while True:
            request = await peer.receive()
            record = find_tsig(request)
            assert record is not None
            question = request[12 : record.start]
            count = 2 if question == QUESTIONS[TYPE_A] else 0
            records = [b"\xc0\x0c\0\1\0\1\0\0\0\x1e\0\4\xc0\0\2" + bytes((number,)) for number in (1, 2)]
            plain = request[:2] + b"\x84\0\0\1\0" + bytes((count, 0, 0, 0, 0)) + question + b"".join(records[:count])
            whole = sign(plain, KEY, now_s=NOW, request_mac=record.mac)[0]
            said = bytearray(whole)
            if flip is not None and count:
                said[2 + flip // 8 % (len(whole) - 2)] ^= 1 << flip % 8
            harmless.append(whole.lower() == said.lower())
            peer.reply(bytes(said))

    async def run() -> None:
        async with serving(answering) as port:
            zone = Rfc2136Zone(ZONE, host="127.0.0.1", port=port, key=KEY, clock=StillClock(), timeout_s=LIMIT_S)
            try:
                assert await zone.read([NAME]) == truth
                assert all(harmless), "only the case of the names of key and algorithm says nothing"
            except ZoneDown:
                assert flip is not None
            await zone.close()

    asyncio.run(run())


# -- the encoder, beyond what small examples reach


def large_transaction(seed: int, names: int, addresses: int, label_length: int) -> Transaction:
    """Many changes of one drawn shape; a seed draws their contents."""
    draw = random.Random(seed)
    changes = []
    for number in range(names):
        label = f"{number:04x}" + "x" * draw.randrange(label_length)
        name = f"{label}.sub.{ZONE}" if number % 3 else f"{label}.{ZONE}"

        def records() -> Records:
            a = tuple(sorted({draw.randbytes(4) for _ in range(draw.randrange(addresses + 1))}))
            aaaa = tuple(sorted({draw.randbytes(16) for _ in range(draw.randrange(addresses + 1))}))
            return Records(ttl_s=draw.randrange(2**31) if a or aaaa else 0, a=a, aaaa=aaaa)

        after = records() if draw.random() < 0.8 else NO_RECORDS
        changes.append(Change(name=name, after=after, expect=draw.choice(list(Expect)), before=records()))
    fence = Fence(scope="s", generation=draw.randrange(10**18), plan=f"{draw.getrandbits(64):016x}")
    return Transaction(fence_seen=fence.seen, fence_after=fence if seed % 2 else None, changes=changes)


@tries(12, costly=True)
@given(st.integers(0, 2**32), st.integers(100, 500), st.integers(1, 9), st.integers(1, 50))
def test_update_encoder_where_pointers_no_longer_reach(
    seed: int, names: int, addresses: int, label_length: int
) -> None:
    """Beyond 16 KiB, too, the message says what dnspython says, or is `TooLarge`: never a pointer to another name."""
    transaction = large_transaction(seed, names, addresses, label_length)
    try:
        wire = pack_update(ZONE, transaction, 7)
    except TooLarge:
        with pytest.raises(TooLarge):
            pack_update(ZONE, transaction, 8)
        return
    assert len(wire) <= MAX_MESSAGE_BYTES - TSIG_RESERVE_BYTES
    assume(len(wire) > 0x4000)
    ours = dns.message.from_wire(wire, one_rr_per_rrset=False)
    theirs = dns.message.from_wire(rendered(oracle(transaction)))
    for section in range(4):
        assert section_lines(ours, section) == section_lines(theirs, section)


@tries(20, costly=True)
@given(st.integers(0, 2**32), st.integers(1, 9), st.integers(1, 50))
def test_update_encoder_fills_a_message_to_the_brim(seed: int, addresses: int, label_length: int) -> None:
    """The largest batch that is not `TooLarge` can be signed and framed; one name more cannot be packed."""
    transaction = large_transaction(seed, 3000, addresses, label_length)
    low, high = 1, len(transaction.changes)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(transaction, middle) else (low, middle)
    assert fits(transaction, low)
    assert not fits(transaction, low + 1)
    wire = pack_update(ZONE, part(transaction, low), 7)
    long_key = TsigKey(name=".".join(["k" * 63] * 3), algorithm="hmac-sha512", secret=b"s" * 64)
    assert len(sign(wire, long_key, now_s=NOW)[0]) <= MAX_MESSAGE_BYTES


def rendered(message: dns.message.Message) -> bytes:
    """The message as dnspython packs it, where it can: it repeats long names sooner than we do."""
    try:
        return message.to_wire(max_size=MAX_MESSAGE_BYTES)
    except dns.exception.TooBig:
        reject()


def part(transaction: Transaction, count: int) -> Transaction:
    return Transaction(
        fence_seen=transaction.fence_seen, fence_after=transaction.fence_after, changes=transaction.changes[:count]
    )


def fits(transaction: Transaction, count: int) -> bool:
    try:
        pack_update(ZONE, part(transaction, count), 7)
    except TooLarge:
        return False
    return True


def test_update_encoder_counts_before_it_overflows() -> None:
    """More records than a counter of 16 bits holds are `TooLarge`, not a message that says fewer."""
    changes = [Change(name=f"{number:x}.{ZONE}", after=NO_RECORDS) for number in range(40_000)]
    with pytest.raises(TooLarge):
        pack_update(ZONE, Transaction(fence_seen=(), changes=changes), 0)
