"""No bytes that arrive can make the embedded server raise, hang or read without bound."""

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager

import dns.message
import dns.name
import dns.update
from hypothesis import example, given, settings
from hypothesis import strategies as st

from enactord.dns_server.request import parse_request
from enactord.dns_server.responder import PendingUpdate, Responder
from enactord.dns_server.update import Rejected, evaluate
from enactord.dns_server.zone import Zone, new_zone
from enactord.wire.names import Malformed, read_name, text_to_wire
from enactord.wire.tsig import TsigError, find_tsig, sign, verify
from tests.embedded_lab import KEY, ZONE, update

NOW = 1_700_000_000
BOUND = 60
"""The work that any one message may cost, in yardsticks."""
_CHEAP_S = 0.05
"""Below this nobody measures."""


def zone() -> Zone:
    return new_zone(ZONE, f"ns.{ZONE}", 5)


def yardstick_s() -> float:
    """CPU seconds of a fixed piece of work on this machine, now."""

    def once() -> float:
        started = time.thread_time()
        sum(number & 7 for number in range(100_000))
        return time.thread_time() - started

    return max(once() for _ in range(5))


@contextmanager
def no_collection() -> Iterator[None]:
    """Keep Python's garbage collector out: a turn of it over the whole suite's objects is no work of a message."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def respond(message: bytes, over_tcp: bool) -> bytes | None:
    """What the server does with a message, up to the answer."""
    served = zone()
    responder = Responder({served.origin: served}, [KEY], clock=lambda: NOW, udp_bytes_max=4096)
    with no_collection():
        started = time.thread_time()
        first = response = responder.respond(message, over_tcp)
        if isinstance(response, PendingUpdate):
            try:
                draft = evaluate(
                    served, served.origin, message, response.request.prerequisites, response.request.updates
                )
                assert draft is not None
                rcode = 0
            except Rejected as rejected:
                rcode = rejected.rcode
            response = responder.finish(response, rcode)
        elif isinstance(response, Iterator):
            response = b"".join(response)
        else:
            assert responder.respond(message, over_tcp) == first  # the cache answers as the slow path did
        spent_s = time.thread_time() - started
    assert spent_s < _CHEAP_S or spent_s < BOUND * yardstick_s()
    assert response is None or isinstance(response, bytes)
    return response


def samples() -> list[bytes]:
    """Well-formed messages of every kind."""
    queries = [
        dns.message.make_query(ZONE, "SOA"),
        dns.message.make_query(f"a.b.{ZONE}", "A", use_edns=0, want_dnssec=True),
        dns.message.make_query(ZONE, "AXFR", use_edns=False),
    ]
    signed = dns.message.make_query(ZONE, "AXFR", use_edns=False)
    changes = update(signer=None)
    changes.present("x", "TXT", "gen=1")
    changes.absent("y", "CNAME")
    changes.delete("y", "A")
    changes.add("y", 5, "A", "192.0.2.1")
    changes.add("y", 5, "AAAA", "2001:db8::1")
    changes.add("z", 5, "CNAME", "y")
    changes.add("@", 5, "SOA", "ns hostmaster 9 1 2 3 4")
    changes.delete("old")
    wires = [query.to_wire() for query in queries]
    return wires + [sign(message.to_wire(), KEY, now_s=NOW)[0] for message in (signed, changes)]


SAMPLES = samples()


@settings(max_examples=500)
@given(st.binary(max_size=600), st.booleans())
def test_random_bytes(message: bytes, over_tcp: bool) -> None:
    """Anything is answered or dropped; an answer is a response to the id that was sent."""
    reply = respond(message, over_tcp)
    if reply is not None:
        assert reply[:2] == message[:2]
        assert reply[2] & 0x80


@settings(max_examples=500)
@given(st.data(), st.booleans())
def test_damaged_messages(data: st.DataObject, over_tcp: bool) -> None:
    """A valid message, cut and with some bytes changed, does no more harm than random bytes."""
    message = bytearray(data.draw(st.sampled_from(SAMPLES)))
    for position in data.draw(st.lists(st.integers(2, len(message) - 1), max_size=6)):
        message[position] = data.draw(st.integers(0, 255))
    cut = data.draw(st.one_of(st.just(len(message)), st.integers(0, len(message))))
    reply = respond(bytes(message[:cut]), over_tcp)
    assert reply is None or reply[:2] == message[:2]


@settings(max_examples=500)
@given(st.data())
def test_damaged_updates_that_are_signed_all_the_same(data: st.DataObject) -> None:
    """Behind a good signature, too, a broken update is refused as a whole or leaves a zone that answers."""
    plain = SAMPLES[-1][: find_tsig_start(SAMPLES[-1])]
    message = bytearray(plain[:10] + b"\0\0" + plain[12:])
    for position in data.draw(st.lists(st.integers(2, len(message) - 1), max_size=4)):
        message[position] = data.draw(st.integers(0, 255))
    reply = respond(sign(message, KEY, now_s=NOW)[0], True)
    assert reply is None or reply[2] & 0x80


def find_tsig_start(message: bytes) -> int:
    record = find_tsig(message)
    assert record is not None
    return record.start


def test_every_truncation_of_every_message() -> None:
    """A message cut anywhere but at its end is FORMERR, or dropped when it has no whole header."""
    for message in SAMPLES:
        for cut in range(len(message)):
            reply = respond(message[:cut], True)
            if cut < 12:
                assert reply is None
            else:
                assert reply is not None
                assert reply[3] & 15 == 1
                assert len(reply) == 12
        reply = respond(message, True)
        assert reply is not None
        assert reply[3] & 15 != 1


@given(st.lists(st.integers(0, 0xFFFF), min_size=4, max_size=4), st.sampled_from([0, 0x28]), st.binary(max_size=64))
def test_giant_counts(counts: list[int], opcode: int, rest: bytes) -> None:
    """Work follows the bytes that are there, never the counts in the header."""
    header = bytes((0, 1, opcode, 0)) + b"".join(count.to_bytes(2, "big") for count in counts)
    respond(header + b"\7example\4test\0\0\6\0\1" + rest, True)


def test_the_most_records_that_fit() -> None:
    """The largest message of the smallest records, and of the longest chains of pointers, stays in bounds."""
    header = b"\0\1\x28\0\0\1\0\0\xff\xff\0\0"
    question = b"\7example\4test\0\0\6\0\1"
    respond(header + question + b"\0\0\1\0\1\0\0\0\0\0\0" * 5900, True)
    chain = bytearray(header + question)
    for _ in range(5000):
        chain += b"\xc0\x0c\0\1\0\xff\0\0\0\0\0\0"
    respond(bytes(chain), True)
    pointers = bytearray(header + question + b"\0\0\x10\0\1\0\0\0\0\x27\x10")
    start = len(pointers)
    pointers += b"\xc0\x0c"
    for index in range(1, 5000):
        pointers += (0xC000 | start + 2 * (index - 1)).to_bytes(2, "big")
    first, second = ((0xC000 | len(pointers) - back).to_bytes(2, "big") for back in (2, 4))
    fixed = b"\0\1\0\xff\0\0\0\0\0\0"
    pointers += (first + fixed + second + fixed) * 2000  # not the same owner twice in a row
    respond(bytes(pointers), True)
    # As long as a chain may be: refused only for what is in it.
    legal = bytearray(header + question + b"\0\0\x10\0\1\0\0\0\0\0\x3c")
    start = len(legal)
    legal += b"\xc0\x0c"
    for index in range(1, 30):
        legal += (0xC000 | start + 2 * (index - 1)).to_bytes(2, "big")
    first, second = ((0xC000 | len(legal) - back).to_bytes(2, "big") for back in (2, 4))
    legal += (first + fixed + second + fixed) * 2600
    respond(bytes(legal), True)


@example(b"\xc0\x0c", 0)
@example(b"\xc0\x0e\xc0\x0c", 1)
@example(b"\1a\xc0\x0c", 0)
@settings(max_examples=400)
@given(
    st.lists(
        st.sampled_from([b"\0", b"\1a", b"\3abc", b"\xc0", b"\x0c", b"\x10", b"\x40", b"\xc0\x0c", b"\xc0\x12"])
    ).map(b"".join),
    st.integers(0, 40),
)
def test_names_with_pointers(tail: bytes, offset: int) -> None:
    """A name is read as dnspython reads it, or is refused; no pointer can make a loop."""
    message = bytes(12) + tail
    position = 12 + offset
    try:
        name, after = read_name(message, position)
    except Malformed:
        return
    parser = dns.name.from_wire(message, position)
    assert parser[0].to_wire() == name
    assert after == position + parser[1]


@settings(max_examples=500)
@given(st.binary(max_size=300))
def test_verify_raises_nothing_but_tsig_errors(message: bytes) -> None:
    """The check of a signature, as a client uses it on any reply, raises `TsigError` alone."""
    for sample in (message, message + SAMPLES[-1], SAMPLES[-1][:12] + message):
        try:
            verify(sample, [KEY], now_s=NOW)
        except TsigError:
            pass


labels = st.text("abcXYZ019-_", min_size=1, max_size=12)


@settings(max_examples=300)
@given(
    st.lists(
        st.tuples(labels, st.sampled_from(["A", "AAAA", "TXT", "CNAME", "NS"]), st.integers(0, 2**31 - 1)), max_size=12
    ),
    st.lists(st.tuples(labels, st.sampled_from(["present", "absent"])), max_size=4),
)
def test_updates_are_read_as_dnspython_writes_them(
    records: list[tuple[str, str, int]], requirements: list[tuple[str, str]]
) -> None:
    """Names, types, TTLs and rdata of a message that dnspython packed, with its compression, are what it meant."""
    rdatas = {"A": "192.0.2.1", "AAAA": "2001:db8::1", "TXT": '"x y" z', "CNAME": f"To.{ZONE}", "NS": f"ns.{ZONE}"}
    message = dns.update.UpdateMessage(ZONE)
    for name, rtype, ttl_s in records:
        message.add(name, ttl_s, rtype, rdatas[rtype])
    for name, sense in requirements:
        getattr(message, sense)(name)
    request = parse_request(message.to_wire())
    expected = [
        (text_to_wire(rrset.name.derelativize(dns.name.from_text(ZONE)).to_text()), int(rrset.rdtype), rrset.ttl)
        for rrset in message.update
        for _ in rrset
    ]
    assert [(record.name, record.rtype, record.ttl_s) for record in request.updates] == expected
    assert len(request.prerequisites) == sum(max(1, len(rrset)) for rrset in message.prerequisite)
