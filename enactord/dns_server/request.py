"""A request as the server reads it: question, EDNS, signature, and the records of an UPDATE."""

from struct import Struct
from typing import NamedTuple

from enactord.dns_server.update import Record
from enactord.wire.names import HEADER_BYTES, Malformed, read_fixed, read_name
from enactord.wire.tsig import TYPE_TSIG, TsigRecord, read_tsig

QUERY, UPDATE = 0, 5
"""Opcodes. Source: RFC 1035 section 4.1.1, RFC 2136 section 2.2."""

FLAG_QR, FLAG_AA, FLAG_TC, FLAG_RD, FLAG_CD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0010
EDNS_DO = 0x8000

_HEADER = Struct("!HHHHHH")
_QUESTION = Struct("!HH")
_TYPE_OPT = 41


class Edns(NamedTuple):
    """The OPT record of a request. Source: RFC 6891 section 6.1."""

    size: int
    """The largest UDP answer that the client takes."""
    version: int
    dnssec_ok: bool
    has_options: bool


class Request(NamedTuple):
    """A well-formed request with one question. Names are in lower case wire form."""

    message: bytes
    flags: int
    qname: bytes
    qtype: int
    qclass: int
    question_end: int
    edns: Edns | None
    tsig: TsigRecord | None
    prerequisites: list[Record]
    updates: list[Record]

    @property
    def opcode(self) -> int:
        return self.flags >> 11 & 0xF


def parse_request(message: bytes) -> Request:
    """Read a request, every record of it, so that no answer goes to what is broken. Raises `Malformed`.

    The work is bounded by the length of the message, whatever its counts claim: each
    record takes at least eleven bytes of it.
    """
    _, flags, questions, answers, authorities, additionals = _HEADER.unpack_from(message)
    if questions != 1:
        raise Malformed("not one question")  # Source: RFC 9619 (and RFC 2136 section 3.1.1)
    qname, position = read_name(message, HEADER_BYTES)
    question_end = position + 4
    if question_end > len(message):
        raise Malformed("the question ends outside the message")
    qtype, qclass = _QUESTION.unpack_from(message, position)
    prerequisites: list[Record] = []
    updates: list[Record] = []
    position = question_end
    if answers:
        position = _read_records(message, position, answers, prerequisites)
    if authorities:
        position = _read_records(message, position, authorities, updates)
    edns: Edns | None = None
    tsig: TsigRecord | None = None
    for left in range(additionals - 1, -1, -1):
        start = position
        owner, position = read_name(message, position)
        rtype, rclass, ttl, rdata_start, position = read_fixed(message, position)
        if rtype == _TYPE_OPT:
            if edns is not None or owner != b"\0":
                raise Malformed("a second OPT record, or one that is not at the root")
            edns = Edns(rclass, ttl >> 16 & 0xFF, bool(ttl & EDNS_DO), rdata_start != position)
        elif rtype == TYPE_TSIG:
            if left:
                raise Malformed("a TSIG record that is not the last record")
            tsig = read_tsig(message, start)
    if position != len(message):
        raise Malformed("bytes after the last record")
    return Request(message, flags, qname.lower(), qtype, qclass, question_end, edns, tsig, prerequisites, updates)


def _read_records(message: bytes, position: int, count: int, into: list[Record]) -> int:
    """Read the records of one section; return where the next one starts."""
    owner_bytes, name = b"\xff", b""  # no name starts with this byte
    for _ in range(count):
        # Records of one name stand together, and the same bytes at another place are the same name.
        if message.startswith(owner_bytes, position):
            position += len(owner_bytes)
        else:
            name, after = read_name(message, position)
            name = name.lower()
            owner_bytes = message[position:after]
            position = after
        rtype, rclass, ttl_s, start, position = read_fixed(message, position)
        if rtype == TYPE_TSIG:
            raise Malformed("a TSIG record that is not the last record")
        into.append(Record(name, rtype, rclass, ttl_s, start, position))
    return position
