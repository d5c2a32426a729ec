"""UPDATE: a message read by hand, and what it does to a zone (RFC 2136 section 3).

Nothing here touches a zone: an update is worked out in a draft of its own, so that a
message that is refused half way leaves nothing behind.
"""

from typing import NamedTuple

from enactord.dns_server.answers import (
    FORMERR,
    NOTZONE,
    NXDOMAIN,
    NXRRSET,
    REFUSED,
    SERVFAIL,
    YXDOMAIN,
    YXRRSET,
    contains,
)
from enactord.dns_server.zone import (
    CNAME,
    NS,
    RRSET_BYTES_MAX,
    SOA,
    SUPPORTED,
    Draft,
    Nodes,
    RRset,
    read_rdata,
    serial_is_newer,
    soa_serial,
    with_next_serial,
)
from enactord.wire.names import Malformed

_IN, _NONE, _ANY = 1, 254, 255
_TYPE_ANY = 255
_FIXED_BYTES = 12


class Rejected(Exception):
    """An update that is not carried out; `rcode` says why."""

    def __init__(self, rcode: int) -> None:
        self.rcode = rcode
        super().__init__(f"rcode {rcode}")


class Record(NamedTuple):
    """A record of an UPDATE message; its rdata still lies in the message."""

    name: bytes
    rtype: int
    rclass: int
    ttl_s: int
    start: int
    end: int


class _Working:
    """An RRset while an update changes it; the dict keeps the order and finds a record at once."""

    __slots__ = ("rdatas", "ttl_s")

    def __init__(self, ttl_s: int, rdatas: tuple[bytes, ...] = ()) -> None:
        self.ttl_s = ttl_s
        self.rdatas = dict.fromkeys(rdatas)


_WorkingNode = dict[int, _Working]


def _is_meta(rtype: int) -> bool:
    """OPT, and all from 128 to 255: types of questions and messages, not of data. Source: RFC 6895 section 3.1."""
    return 128 <= rtype <= 255 or rtype in (0, 41)


def evaluate(base: Nodes, origin: bytes, message: bytes, prerequisites: list[Record], updates: list[Record]) -> Draft:
    """Return what the update makes of the zone. Raises `Rejected`."""
    try:
        _check_prerequisites(base, origin, message, prerequisites)
        _scan(origin, updates)
        return _apply(base, origin, message, updates)
    except Malformed as error:
        raise Rejected(FORMERR) from error


def _check_prerequisites(base: Nodes, origin: bytes, message: bytes, records: list[Record]) -> None:
    """Source: RFC 2136 sections 2.4 and 3.2."""
    exact: dict[tuple[bytes, int], set[bytes]] = {}
    for name, rtype, rclass, ttl_s, start, end in records:
        if ttl_s != 0:
            raise Rejected(FORMERR)
        if not contains(origin, name):
            raise Rejected(NOTZONE)
        if rclass == _IN:
            if rtype not in SUPPORTED:
                raise Rejected(FORMERR if _is_meta(rtype) else NXRRSET)
            exact.setdefault((name, rtype), set()).add(read_rdata(message, rtype, start, end))
            continue
        if start != end or rclass not in (_ANY, _NONE):
            raise Rejected(FORMERR)
        node = base.node(name)
        if rtype == _TYPE_ANY:
            if rclass == _ANY and not node:
                raise Rejected(NXDOMAIN)
            if rclass == _NONE and node:
                raise Rejected(YXDOMAIN)
        elif rclass == _ANY and rtype not in node:
            raise Rejected(NXRRSET)
        elif rclass == _NONE and rtype in node:
            raise Rejected(YXRRSET)
    for (name, rtype), rdatas in exact.items():
        rrset = base.node(name).get(rtype)
        if rrset is None or set(rrset.rdatas) != rdatas:
            raise Rejected(NXRRSET)


def _scan(origin: bytes, records: list[Record]) -> None:
    """Refuse what no zone can take, before anything is changed. Source: RFC 2136 section 3.4.1."""
    for name, rtype, rclass, ttl_s, start, end in records:
        if not contains(origin, name):
            raise Rejected(NOTZONE)
        if rclass == _IN:
            if _is_meta(rtype):
                raise Rejected(FORMERR)
            if rtype not in SUPPORTED:
                raise Rejected(REFUSED)
            if ttl_s > 0x7FFFFFFF:  # Source: RFC 2181 section 8.
                raise Rejected(FORMERR)
        elif rclass == _ANY:
            if ttl_s != 0 or start != end or (_is_meta(rtype) and rtype != _TYPE_ANY):
                raise Rejected(FORMERR)
        elif rclass != _NONE or ttl_s != 0 or _is_meta(rtype):
            raise Rejected(FORMERR)


def _apply(base: Nodes, origin: bytes, message: bytes, records: list[Record]) -> Draft:
    """Source: RFC 2136 sections 3.4.2 and 3.6 (the serial)."""
    working: dict[bytes, _WorkingNode] = {}
    for record in records:
        name, rtype, rclass, _, start, end = record
        node = working.get(name)
        if node is None:
            node = {kind: _Working(*rrset) for kind, rrset in base.node(name).items()}
            working[name] = node
        at_apex = name == origin
        if rclass == _IN:
            _add(node, record, read_rdata(message, rtype, start, end), at_apex)
        elif rclass == _ANY:
            for kind in list(node) if rtype == _TYPE_ANY else [rtype]:
                if not (at_apex and kind in (SOA, NS)):
                    node.pop(kind, None)
        elif rtype in SUPPORTED:
            _delete(node, rtype, read_rdata(message, rtype, start, end), at_apex)
    draft = Draft(base)
    for name, node in working.items():
        frozen = {kind: RRset(rrset.ttl_s, tuple(rrset.rdatas)) for kind, rrset in node.items()}
        if frozen != base.node(name):
            if any(_size(rrset) > RRSET_BYTES_MAX for rrset in frozen.values()):
                raise Rejected(SERVFAIL)
            draft.replace(name, frozen)
    if draft.changed:
        apex = draft.node(origin)
        soa = apex[SOA]
        if soa_serial(soa.rdatas[0]) == soa_serial(base.node(origin)[SOA].rdatas[0]):
            draft.replace(origin, {**apex, SOA: RRset(soa.ttl_s, (with_next_serial(soa.rdatas[0]),))})
    return draft


def _size(rrset: RRset) -> int:
    return sum(map(len, rrset.rdatas)) + _FIXED_BYTES * len(rrset.rdatas)


def _add(node: _WorkingNode, record: Record, rdata: bytes, at_apex: bool) -> None:
    """Add one record, or leave it out in silence where it may not stand. Source: RFC 2136 section 3.4.2.2."""
    rtype, ttl_s = record.rtype, record.ttl_s
    if rtype == SOA:
        if at_apex and serial_is_newer(soa_serial(rdata), soa_serial(next(iter(node[SOA].rdatas)))):
            node[SOA] = _Working(ttl_s, (rdata,))
        return
    if rtype == CNAME:
        if not node or (len(node) == 1 and CNAME in node):
            node[CNAME] = _Working(ttl_s, (rdata,))
        return
    if CNAME in node:
        return
    rrset = node.get(rtype)
    if rrset is None:
        node[rtype] = _Working(ttl_s, (rdata,))
    else:
        rrset.ttl_s = ttl_s  # one TTL an RRset: RFC 2181 section 5.2
        rrset.rdatas[rdata] = None


def _delete(node: _WorkingNode, rtype: int, rdata: bytes, at_apex: bool) -> None:
    """Delete one record; a zone keeps its SOA and its last NS. Source: RFC 2136 section 3.4.2.4."""
    rrset = node.get(rtype)
    if rrset is None or rtype == SOA or rdata not in rrset.rdatas:
        return
    if at_apex and rtype == NS and len(rrset.rdatas) == 1:
        return
    del rrset.rdatas[rdata]
    if not rrset.rdatas:
        del node[rtype]
