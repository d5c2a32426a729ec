"""Answers: what a zone says to a question, packed."""

from struct import Struct
from typing import NamedTuple

from enactord.dns_server.zone import CNAME, EMPTY, SOA, RRset, Zone, soa_minimum_s

NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = range(6)
YXDOMAIN, YXRRSET, NXRRSET, NOTAUTH, NOTZONE = range(6, 11)
"""Source: RFC 1035 section 4.1.1, RFC 2136 section 2.2."""

TYPE_ANY = 255
_CHAIN_MAX = 16
_QNAME_POINTER = b"\xc0\x0c"
_pack_fixed = Struct("!HHI").pack


class Answer(NamedTuple):
    """The sections after the question, to stand behind a question at offset 12."""

    rcode: int
    answers: int
    authorities: int
    body: bytes


def pack_rrset(owner: bytes, rtype: int, rrset: RRset) -> bytes:
    """Return the records of an RRset under an owner in wire form."""
    fixed = owner + _pack_fixed(rtype, 1, rrset.ttl_s)
    return b"".join([fixed + len(rdata).to_bytes(2, "big") + rdata for rdata in rrset.rdatas])


def answer(zone: Zone, qname: bytes, qtype: int) -> Answer:
    """Return what the zone says to a question of class IN for a name (lower case) that it contains.

    A CNAME is followed as long as it stays in the zone; the code is that of the last
    name of the chain. Source: RFC 1034 section 4.3.2, RFC 2308 section 2, RFC 6604.
    """
    name, owner = qname, _QNAME_POINTER
    parts: list[bytes] = []
    count = 0
    seen: set[bytes] = set()
    while True:
        node = zone.lookup(name)
        rrset = None if node is None else node.get(qtype)
        if rrset is not None:
            parts.append(pack_rrset(owner, qtype, rrset))
            return Answer(NOERROR, count + len(rrset.rdatas), 0, b"".join(parts))
        if node and qtype == TYPE_ANY:
            parts.extend(pack_rrset(owner, rtype, rrset) for rtype, rrset in node.items())
            return Answer(NOERROR, count + sum(len(rrset.rdatas) for rrset in node.values()), 0, b"".join(parts))
        alias = (node or EMPTY).get(CNAME)
        if alias is None:
            parts.append(_no(zone, qname))
            return Answer(NXDOMAIN if node is None else NOERROR, count, 1, b"".join(parts))
        parts.append(pack_rrset(owner, CNAME, alias))
        count += 1
        seen.add(name)
        name = owner = alias.rdatas[0]
        if name in seen or len(seen) == _CHAIN_MAX or not contains(zone.origin, name):
            return Answer(NOERROR, count, 0, b"".join(parts))


def _no(zone: Zone, qname: bytes) -> bytes:
    """The SOA record that says how long a "no" may be kept. Source: RFC 2308 sections 3 and 5."""
    soa = zone.soa
    apex = 0xC000 + 12 + len(qname) - len(zone.origin)
    ttl_s = min(soa.ttl_s, soa_minimum_s(soa.rdatas[0]))
    return pack_rrset(apex.to_bytes(2, "big"), SOA, RRset(ttl_s, soa.rdatas))


def contains(origin: bytes, name: bytes) -> bool:
    """Whether a name lies in the zone of that origin, both in lower case wire form."""
    over = len(name) - len(origin)
    if over < 0 or not name.endswith(origin):
        return False
    position = 0
    while position < over:  # the end may look like the origin and yet lie inside a label
        position += name[position] + 1
    return position == over
