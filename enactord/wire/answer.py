"""The answer parser: what a server replied to one question, read by hand for speed.

It reads A, AAAA and TXT answers and notices a CNAME; every offset is checked against
the message, so that no reply, however broken, does worse than raise `BrokenAnswer`.
"""

from struct import Struct
from struct import error as StructError
from typing import NamedTuple

from enactord.core.names import wire_name
from enactord.wire.names import Malformed, read_name

TYPE_A, TYPE_CNAME, TYPE_TXT, TYPE_AAAA = 1, 5, 16, 28  # Source: RFC 1035 section 3.2.2, RFC 3596 section 2.1.
TYPE_NS, TYPE_SOA, TYPE_DNAME = 2, 6, 39  # Source: RFC 1035 section 3.2.2, RFC 6672 section 2.1.

RCODE_NOERROR, RCODE_NXDOMAIN = 0, 3  # Source: RFC 1035 section 4.1.1.

_HEADER = Struct("!HHHHHH")
_RECORD = Struct("!HHIH")
_QR, _AA, _TC = 0x8000, 0x0400, 0x0200
_CLASS_IN = 1
_NAME_POINTER = b"\xc0\x0c"
_TTL_MAX = 0x7FFFFFFF
_SOA_LENGTH_MIN = 22
"""Two names of at least one byte, and five numbers of four. Source: RFC 1035 section 3.3.13."""
_RDATA_LENGTHS = {TYPE_A: 4, TYPE_AAAA: 16}
_PLAIN_HEADS = {rtype: _NAME_POINTER + rtype.to_bytes(2, "big") + b"\0\1" for rtype in _RDATA_LENGTHS}
_PLAIN_LENGTHS = {rtype: length.to_bytes(2, "big") for rtype, length in _RDATA_LENGTHS.items()}


class BrokenAnswer(ValueError):
    """A reply that is no well-formed answer to the question."""


class Answer(NamedTuple):
    """What one reply says of its question.

    `rdatas` is the RRset of the type asked for, sorted; `ttl_s` its TTL, 0 where it is
    empty; `ttl_most_s` the greatest TTL where its records have several (`ttl_s` is the least
    then), else None. `alias` is the target of a CNAME that stands at the name, else None.
    `dname` is the owner of a DNAME above the name that the answer was made from. `cut` is who
    answers in place of an empty answer: the type (NS or SOA) and the owner of the first such
    record in the authority section. `negative_ttl_s` is how long a resolver keeps an empty
    answer, where its SOA tells.
    """

    rcode: int
    authoritative: bool
    truncated: bool
    ttl_s: int
    rdatas: tuple[bytes, ...]
    alias: str | None
    dname: str = ""
    cut: tuple[int, str] | None = None
    ttl_most_s: int | None = None
    negative_ttl_s: int | None = None

    @property
    def ttls(self) -> tuple[int, ...]:
        """The least and the greatest TTL of the RRset; () where it is empty."""
        if not self.rdatas:
            return ()
        return (self.ttl_s,) if self.ttl_most_s is None else (self.ttl_s, self.ttl_most_s)


def pack_question(name: str, rtype: int) -> bytes:
    """Return the question section for a normalised name. Source: RFC 1035 section 4.1.2."""
    return wire_name(name) + rtype.to_bytes(2, "big") + b"\0\1"


def pack_query(question: bytes) -> bytes:
    """Return a query without its two bytes of message id; recursion is not desired."""
    return b"\0\0\0\1\0\0\0\0\0\0" + question


def parse_answer(message: bytes, question: bytes) -> Answer:
    """Read the reply to a question that `pack_question` made. Raises `BrokenAnswer`."""
    try:
        return _parse(message, question)
    except Malformed as error:
        raise BrokenAnswer(str(error)) from error
    except StructError as error:
        raise BrokenAnswer("the reply ends in the middle of a record") from error


def _parse(message: bytes, question: bytes) -> Answer:
    _, flags, questions, records, authority, _ = _HEADER.unpack_from(message)
    if not flags & _QR:
        raise BrokenAnswer("a query, not a reply")
    rcode = flags & 0xF
    authoritative, truncated = bool(flags & _AA), bool(flags & _TC)
    if questions == 0 and rcode != RCODE_NOERROR:  # an error reply may leave everything out
        return Answer(rcode, authoritative, truncated, 0, (), None)
    position = 12 + len(question)
    asked = message[12:position]
    if questions != 1 or (asked != question and asked.lower() != question.lower()):
        raise BrokenAnswer("the reply is to another question")
    rtype = int.from_bytes(question[-4:-2], "big")
    if rtype in _RDATA_LENGTHS and records:
        plain = _plain(message, position, rtype, records)
        if plain is not None:
            ttl_s, addresses = plain
            return Answer(rcode, authoritative, truncated, ttl_s, addresses, None)
    rdatas: list[bytes] = []
    ttls: list[int] = []
    alias = None
    dname = ""
    for _ in range(records):
        owner = question[:-4]
        if message[position : position + 2] == _NAME_POINTER:
            position += 2
            at_name = True
        else:
            owner, position = read_name(message, position)
            at_name = owner.lower() == question[:-4].lower()
        found_type, found_class, ttl, length = _RECORD.unpack_from(message, position)
        position += 10 + length
        if position > len(message):
            raise BrokenAnswer("the reply ends in the middle of a record")
        if not at_name or found_class != _CLASS_IN:
            if found_type == TYPE_DNAME and question[:-4].lower().endswith(owner.lower()):
                dname = _text(owner.lower())
            continue
        if found_type == rtype:
            if _RDATA_LENGTHS.get(rtype, length) != length:
                raise BrokenAnswer(f"an address of {length} bytes")
            rdatas.append(message[position - length : position])
            ttls.append(ttl if ttl <= _TTL_MAX else 0)  # Source: RFC 2181 section 8.
        elif found_type == TYPE_CNAME:
            target, end = read_name(message, position - length)
            if end != position:
                raise BrokenAnswer("a CNAME longer than its record")
            alias = _text(target.lower())
    if len(rdatas) > 1:
        rdatas = sorted(set(rdatas))  # an RRset is a set: RFC 2181 section 5
    cut, negative_ttl_s = (None, None) if rdatas or alias else _cut(message, position, authority)
    least, most = (min(ttls), max(ttls)) if ttls else (0, 0)
    several = most if least != most else None
    return Answer(rcode, authoritative, truncated, least, tuple(rdatas), alias, dname, cut, several, negative_ttl_s)


def _cut(message: bytes, position: int, records: int) -> tuple[tuple[int, str] | None, int | None]:
    """Return type and owner of the first NS or SOA record of an authority section, and the negative TTL of an SOA."""
    for _ in range(records):
        owner, position = read_name(message, position)
        found_type, found_class, ttl, length = _RECORD.unpack_from(message, position)
        position += 10 + length
        if position > len(message):
            raise BrokenAnswer("the reply ends in the middle of a record")
        if found_class == _CLASS_IN and found_type in (TYPE_NS, TYPE_SOA):
            return (found_type, _text(owner.lower())), _negative_ttl_s(message, position, ttl, found_type, length)
    return None, None


def _negative_ttl_s(message: bytes, end: int, ttl: int, found_type: int, length: int) -> int | None:
    """Return the lesser of an SOA's TTL and its last field, MINIMUM. Source: RFC 2308 section 5."""
    if found_type != TYPE_SOA or length < _SOA_LENGTH_MIN:
        return None
    return min(ttl if ttl <= _TTL_MAX else 0, int.from_bytes(message[end - 4 : end], "big"))


def _plain(message: bytes, position: int, rtype: int, records: int) -> tuple[int, tuple[bytes, ...]] | None:
    """Read what nearly every answer is: address records alone, all at the name asked for and of one TTL.

    Then what stands before each address is the same twelve bytes, and parts the answer at
    them; None where it is not so, or not for certain.
    """
    length = _RDATA_LENGTHS[rtype]
    head = message[position : position + 12]
    if head[:6] != _PLAIN_HEADS[rtype] or head[10:] != _PLAIN_LENGTHS[rtype]:
        return None
    nothing, *rdatas = message[position : position + records * (12 + length)].split(head)
    if nothing or len(rdatas) != records or {len(rdata) for rdata in rdatas} != {length}:
        return None
    ttl = int.from_bytes(head[6:10], "big")
    return ttl if ttl <= _TTL_MAX else 0, tuple(sorted(set(rdatas)))


def _text(labels: bytes) -> str:
    """Write uncompressed labels as text, with the escapes of RFC 1035 section 5.1."""
    parts: list[str] = []
    position = 0
    while length := labels[position]:
        label = labels[position + 1 : position + 1 + length]
        parts.append("".join(chr(c) if 0x21 <= c < 0x7F and c not in b'."\\();@$' else f"\\{c:03}" for c in label))
        position += 1 + length
    return ".".join(parts) + "."
