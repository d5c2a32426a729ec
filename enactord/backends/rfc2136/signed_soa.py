"""One signed question for a zone's SOA: what its answer tells of key, clocks and zone, as values."""

from dataclasses import dataclass, replace
from struct import Struct

from enactord.core.errors import ZoneDown
from enactord.ports import Clock
from enactord.wire.answer import TYPE_SOA, Answer, BrokenAnswer, pack_query, pack_question, parse_answer
from enactord.wire.names import Malformed
from enactord.wire.stream import MaybeReceived, NeverSent, Stream
from enactord.wire.tsig import TsigError, TsigFault, TsigKey, find_tsig, sign, verify

_SOA_NUMBERS = Struct("!IIIII")
"""Serial, refresh, retry, expire, minimum. Source: RFC 1035 section 3.3.13."""
_SERIAL_HALF = 1 << 31
_SIGNED_AGO_S = (11, 17)
"""Far within the 300 s that RFC 8945 allows."""
_FAULTS = frozenset(int(fault) for fault in TsigFault if fault >= TsigFault.BADSIG)


@dataclass(frozen=True, slots=True, kw_only=True)
class Soa:
    """A zone's SOA. `negative_ttl_s`: how long resolvers keep an empty answer (RFC 2308 section 5)."""

    serial: int
    negative_ttl_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """What a server answers to the signed question.

    `key_fault`: why it does not accept the signature, or why its own is not accepted; None: all is well.
    `clock_s`: the server's clock, in seconds since the epoch and rounded down; None where it does not tell.
    `soa`: None where it has none.
    """

    rcode: int
    authoritative: bool
    key_fault: TsigFault | None
    clock_s: int | None
    soa: Soa | None


async def ask_signed_soa(stream: Stream, zone: str, key: TsigKey, clock: Clock, timeout_s: float) -> Word:
    """Ask a server for a zone's SOA. Raises `ZoneDown` where no answer comes, or none that can be read.

    PowerDNS signs its answers at the time of the question, and not of its clock. So the question is signed as of a
    moment ago; an answer of just that time is asked for once more, as of another moment.
    """
    for ago_s in _SIGNED_AGO_S:
        word, copied = await _ask(stream, zone, key, clock, timeout_s, ago_s)
        if not copied:
            return word
    return replace(word, clock_s=None)


async def _ask(
    stream: Stream, zone: str, key: TsigKey, clock: Clock, timeout_s: float, ago_s: int
) -> tuple[Word, bool]:
    """Ask once, signed as of so long ago; also returns whether the answer is signed at that very time."""
    question = pack_question(zone, TYPE_SOA)
    mac, signed_at = b"", 0

    def signed(message_id: int) -> bytes:
        nonlocal mac, signed_at
        signed_at = int(clock.now()) - ago_s
        query = message_id.to_bytes(2, "big") + pack_query(question)
        message, mac = sign(query, key, now_s=signed_at)
        return message

    try:
        reply = await stream.ask(signed, timeout_s)
        record = find_tsig(reply)
        answer = parse_answer(reply, question)
    except (NeverSent, MaybeReceived) as error:
        raise ZoneDown(f"{stream.peer}: {error}") from error
    except (Malformed, BrokenAnswer) as error:
        raise ZoneDown(f"{stream.peer}: an answer that cannot be read: {error}") from error
    fault: TsigFault | None = None
    try:
        verify(reply, [key], now_s=int(clock.now()), request_mac=mac)
    except TsigError as error:
        fault = error.kind
    clock_s = None
    if record is not None:
        if record.error in _FAULTS:
            fault = TsigFault(record.error)
        if fault is not TsigFault.BADTIME:
            clock_s = record.time_signed_s if record.mac else None
        elif len(record.other) == 6:  # with BADTIME the server tells its clock apart: RFC 8945 section 5.2.3
            clock_s = int.from_bytes(record.other, "big")
        elif not record.error:  # it signed by its own clock, and we do not accept that
            clock_s = record.time_signed_s
    word = Word(
        rcode=answer.rcode,
        authoritative=answer.authoritative,
        key_fault=fault,
        clock_s=clock_s,
        soa=soa_of(answer),
    )
    return word, clock_s == signed_at


def soa_of(answer: Answer) -> Soa | None:
    """Return the SOA of an answer to the question for it, None where it has none."""
    if len(answer.rdatas) != 1 or len(answer.rdatas[0]) < _SOA_NUMBERS.size:
        return None
    rdata = answer.rdatas[0]
    serial, _, _, _, minimum = _SOA_NUMBERS.unpack_from(rdata, len(rdata) - _SOA_NUMBERS.size)
    return Soa(serial=serial, negative_ttl_s=min(minimum, answer.ttl_s))


def behind(serial: int, other: int) -> bool:
    """Whether a serial is older than another one. Source: RFC 1982 section 3.2."""
    return 0 < (other - serial) % (2 * _SERIAL_HALF) < _SERIAL_HALF
