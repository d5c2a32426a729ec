"""The question that tells a primary server from a secondary: SOA with the EXPIRE option (RFC 7314).

A primary answers with the SOA's own expire value; a secondary with the time that its copy has left. BIND and
Knot answer so; PowerDNS leaves the option out.
"""

from struct import Struct
from struct import error as StructError
from typing import NamedTuple

from enactord.wire.answer import TYPE_SOA, BrokenAnswer, pack_question
from enactord.wire.names import HEADER_BYTES, Malformed, read_fixed, skip_name

_TYPE_OPT = 41
_OPTION_EXPIRE = 9
_PAYLOAD_BYTES = 1232
_OPT = (
    b"\0" + _TYPE_OPT.to_bytes(2, "big") + _PAYLOAD_BYTES.to_bytes(2, "big") + b"\0\0\0\0"
    b"\0\4" + _OPTION_EXPIRE.to_bytes(2, "big") + b"\0\0"
)
"""An OPT record with one empty option. Source: RFC 6891 section 6.1.2, RFC 7314 section 2."""
_SOA_NUMBERS = Struct("!IIIII")
_OPTION = Struct("!HH")
_QR, _AA = 0x8000, 0x0400


class Expiry(NamedTuple):
    """What an answer says. Times in seconds; None where it does not say.

    `expire_s`: the SOA's own value; `left_s`: what the option says.
    """

    rcode: int
    authoritative: bool
    expire_s: int | None
    left_s: int | None


def pack_expire_query(zone: str) -> bytes:
    """Return the query without its two bytes of message id; recursion is not desired."""
    return b"\0\0\0\1\0\0\0\0\0\1" + pack_question(zone, TYPE_SOA) + _OPT


def parse_expiry(message: bytes, zone: str) -> Expiry:
    """Read the answer to `pack_expire_query`. Raises `BrokenAnswer`."""
    try:
        return _parse(message, pack_question(zone, TYPE_SOA))
    except Malformed as error:
        raise BrokenAnswer(str(error)) from error
    except StructError as error:
        raise BrokenAnswer("the reply ends in the middle of a record") from error


def _parse(message: bytes, question: bytes) -> Expiry:
    if len(message) < HEADER_BYTES:
        raise BrokenAnswer("the reply ends in its header")
    flags, questions, answers, authority, additional = (
        int.from_bytes(message[start : start + 2], "big") for start in range(2, HEADER_BYTES, 2)
    )
    if not flags & _QR:
        raise BrokenAnswer("a query, not a reply")
    position = HEADER_BYTES
    if questions:
        position += len(question)
        if questions != 1 or message[HEADER_BYTES:position].lower() != question.lower():
            raise BrokenAnswer("the reply is to another question")
    expire_s = left_s = None
    for number in range(answers + authority + additional):
        rtype, _, _, start, end = read_fixed(message, skip_name(message, position))
        if rtype == TYPE_SOA and number < answers and end - start > _SOA_NUMBERS.size:
            expire_s = _SOA_NUMBERS.unpack_from(message, end - _SOA_NUMBERS.size)[3]
        elif rtype == _TYPE_OPT and number >= answers + authority:
            left_s = _option(message[start:end])
        position = end
    return Expiry(flags & 0xF, bool(flags & _AA), expire_s, left_s)


def _option(options: bytes) -> int | None:
    """Return the value of the EXPIRE option, None where there is none."""
    position = 0
    while position < len(options):
        code, length = _OPTION.unpack_from(options, position)
        position += _OPTION.size + length
        if position > len(options):
            raise BrokenAnswer("an option ends outside its record")
        if code == _OPTION_EXPIRE and length == 4:
            return int.from_bytes(options[position - length : position], "big")
    return None
