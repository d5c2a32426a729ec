"""UPDATE messages of any prerequisites and any records: what a server is tried with, and enactord never sends.

Source: RFC 2136 sections 2.4 (prerequisites) and 2.5 (updates).
"""

from collections.abc import Sequence
from struct import Struct
from typing import NamedTuple

from enactord.core.names import wire_name

TYPE_ANY = 255
IN, NONE, ANY = 1, 254, 255
_HEADER = Struct("!HHHHH")
_FIXED = Struct("!HHIH")
_FLAGS_UPDATE = 5 << 11
_SOA_IN = b"\0\6\0\1"


class Record(NamedTuple):
    """One record of a section: owner (a normalised name), type, class, TTL and rdata as they are sent."""

    name: str
    rtype: int
    rclass: int
    ttl_s: int = 0
    rdata: bytes = b""


def exactly(name: str, rtype: int, rdatas: Sequence[bytes]) -> list[Record]:
    """Require an RRset to be exactly these records (section 2.4.2)."""
    return [Record(name, rtype, IN, 0, rdata) for rdata in rdatas]


def exists(name: str, rtype: int) -> Record:
    """Require an RRset, whatever it holds (section 2.4.1)."""
    return Record(name, rtype, ANY)


def absent(name: str, rtype: int) -> Record:
    """Require that there is no such RRset (section 2.4.3)."""
    return Record(name, rtype, NONE)


def in_use(name: str) -> Record:
    """Require that a name has any record (section 2.4.4)."""
    return Record(name, TYPE_ANY, ANY)


def not_in_use(name: str) -> Record:
    """Require that a name has no record (section 2.4.5)."""
    return Record(name, TYPE_ANY, NONE)


def add(name: str, rtype: int, rdata: bytes, ttl_s: int = 60) -> Record:
    """Add a record (section 2.5.1)."""
    return Record(name, rtype, IN, ttl_s, rdata)


def delete(name: str, rtype: int) -> Record:
    """Delete an RRset (section 2.5.2)."""
    return Record(name, rtype, ANY)


def text(value: str) -> bytes:
    """Return TXT rdata of one character-string (RFC 1035 section 3.3.14)."""
    return bytes((len(value),)) + value.encode("ascii")


def pack_plain(zone: str, prerequisites: Sequence[Record], updates: Sequence[Record]) -> bytes:
    """Return the message without its two bytes of id, unsigned and without compression."""
    head = _HEADER.pack(_FLAGS_UPDATE, 1, len(prerequisites), len(updates), 0)
    return b"".join((head, wire_name(zone), _SOA_IN, *map(_packed, prerequisites), *map(_packed, updates)))


def _packed(record: Record) -> bytes:
    fixed = _FIXED.pack(record.rtype, record.rclass, record.ttl_s, len(record.rdata))
    return wire_name(record.name) + fixed + record.rdata
