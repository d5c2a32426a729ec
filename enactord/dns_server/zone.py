"""The content of a zone, and a draft of a change to it.

A node (all RRsets of one name) is never changed once it stands in a zone, only
replaced. So a reader that took a reference keeps a consistent content, a draft costs
no more than what it touches, and a transfer can walk a shallow copy.

Names are in lower case wire form throughout.
"""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from enactord.wire.names import Malformed, read_name, text_to_wire

A, NS, CNAME, SOA, TXT, AAAA = 1, 2, 5, 6, 16, 28
"""Source: RFC 1035 section 3.2.2, RFC 3596 section 2.1."""

SUPPORTED = frozenset((A, NS, CNAME, SOA, TXT, AAAA))

RRSET_BYTES_MAX = 60_000
"""Largest RRset: it must fit one message over TCP, with question, TSIG and a SOA."""

_TTL_APEX_S = 3600
_REFRESH_S, _RETRY_S, _EXPIRE_S = 3600, 600, 604800
_SOA_NUMBERS = 20  # bytes of serial, refresh, retry, expire and minimum


class RRset(NamedTuple):
    """The records of one name and type; rdata in wire form without compression, names in it in lower case."""

    ttl_s: int
    rdatas: tuple[bytes, ...]


Node = Mapping[int, RRset]

EMPTY: Node = {}


class Nodes(Protocol):
    """Something that holds nodes: a zone, or a draft of one."""

    def node(self, name: bytes) -> Node:
        """Return what stands at a name, EMPTY where nothing does."""
        ...


class Zone:
    """One zone as it is served."""

    def __init__(self, origin: bytes, nodes: dict[bytes, Node]) -> None:
        self.origin = origin
        self._nodes: dict[bytes, Node] = {}
        self._beneath: dict[bytes, int] = {}
        for name, node in nodes.items():
            self.replace(name, node)

    def node(self, name: bytes) -> Node:
        return self._nodes.get(name, EMPTY)

    def nodes(self) -> dict[bytes, Node]:
        """Return a copy of all nodes, which later changes do not touch."""
        return dict(self._nodes)

    def __len__(self) -> int:
        return len(self._nodes)

    @property
    def soa(self) -> RRset:
        return self._nodes[self.origin][SOA]

    def replace(self, name: bytes, node: Node) -> None:
        """Put a node in a name's place; an empty one removes the name."""
        existed = name in self._nodes
        if node:
            self._nodes[name] = node
        else:
            self._nodes.pop(name, None)
        if existed != bool(node):
            self._count(name, 1 if node else -1)

    def _count(self, name: bytes, step: int) -> None:
        """Keep, for every name between this one and the apex, how many names with records lie below it."""
        beneath = self._beneath
        while len(name) > len(self.origin):
            name = name[name[0] + 1 :]
            left = beneath.get(name, 0) + step
            if left:
                beneath[name] = left
            else:
                del beneath[name]

    def lookup(self, name: bytes) -> Node | None:
        """Return the node that answers for a name in the zone, EMPTY for NODATA, None for NXDOMAIN.

        A name without records but with names below it exists, and stops wildcards
        above it. Source: RFC 4592 sections 2.2.2 and 3.3.1, RFC 8020.
        """
        nodes, beneath = self._nodes, self._beneath
        node = nodes.get(name)
        if node is not None:
            return node
        if name in beneath:
            return EMPTY
        encloser = name
        while encloser not in nodes and encloser not in beneath:
            encloser = encloser[encloser[0] + 1 :]
        wildcard = b"\1*" + encloser
        node = nodes.get(wildcard)
        if node is None and wildcard in beneath:
            return EMPTY
        return node


class Draft:
    """Changes to a zone, or to another draft of it, that are not in force yet."""

    def __init__(self, base: Nodes) -> None:
        self._base = base
        self.changed: dict[bytes, Node] = {}

    def node(self, name: bytes) -> Node:
        node = self.changed.get(name)
        return self._base.node(name) if node is None else node

    def replace(self, name: bytes, node: Node) -> None:
        self.changed[name] = node


def new_zone(origin_text: str, nameserver: str, soa_minimum_s: int) -> Zone:
    """Return a zone with nothing but a SOA and one NS record."""
    origin = text_to_wire(origin_text)
    server = text_to_wire(nameserver)
    mailbox = b"\x0ahostmaster" + origin
    numbers = (1, _REFRESH_S, _RETRY_S, _EXPIRE_S, soa_minimum_s)
    soa = server + mailbox + b"".join(number.to_bytes(4, "big") for number in numbers)
    apex = {SOA: RRset(_TTL_APEX_S, (soa,)), NS: RRset(_TTL_APEX_S, (server,))}
    return Zone(origin, {origin: apex})


def soa_serial(soa: bytes) -> int:
    """Return the serial number of a SOA's rdata."""
    return int.from_bytes(soa[-_SOA_NUMBERS : 4 - _SOA_NUMBERS], "big")


def soa_minimum_s(soa: bytes) -> int:
    """Return the last field of a SOA's rdata: how long "no" may be kept. Source: RFC 2308 section 4."""
    return int.from_bytes(soa[-4:], "big")


def with_next_serial(soa: bytes) -> bytes:
    """Return the SOA with its serial raised by one; 0 is left out. Source: RFC 2136 section 4, RFC 1982."""
    serial = (soa_serial(soa) + 1) & 0xFFFFFFFF or 1
    return soa[:-_SOA_NUMBERS] + serial.to_bytes(4, "big") + soa[4 - _SOA_NUMBERS :]


def serial_is_newer(serial: int, than: int) -> bool:
    """Compare serials on their circle. Source: RFC 1982 section 3.2."""
    return 0 < (serial - than) & 0xFFFFFFFF < 0x80000000


def read_rdata(message: bytes, rtype: int, start: int, end: int) -> bytes:
    """Return the rdata of a supported type in the form that zones keep. Raises `Malformed`.

    Source: RFC 1035 sections 3.3 and 3.4; RFC 2136 section 1.1.1 (names in rdata compare without case).
    """
    if rtype in (A, AAAA):
        if end - start != (4 if rtype == A else 16):
            raise Malformed("an address of the wrong length")
        return message[start:end]
    if rtype == TXT:
        position = start
        while position < end:
            position += 1 + message[position]
        if position != end or start == end:
            raise Malformed("a TXT record whose strings do not add up")
        return message[start:end]
    name, position = read_name(message, start)
    if rtype == SOA:
        mailbox, position = read_name(message, position)
        if position + _SOA_NUMBERS != end:
            raise Malformed("a SOA record of the wrong length")
        return (name + mailbox).lower() + message[position:end]
    if position != end:
        raise Malformed("a name longer than its record")
    return name.lower()
