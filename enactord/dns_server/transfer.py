"""A zone transfer: the messages of an AXFR answer, one at a time (RFC 5936)."""

from collections.abc import Iterator

from enactord.dns_server.answers import pack_rrset
from enactord.dns_server.request import FLAG_AA, FLAG_QR, Request
from enactord.dns_server.zone import SOA, Zone
from enactord.wire.tsig import TsigKey, sign

_MESSAGE_BYTES = 16384
"""Aimed at, so that compressing pointers of other servers' habits do not matter and no message grows near 64 KiB."""


def transfer(zone: Zone, request: Request, key: TsigKey, request_mac: bytes, now_s: int) -> Iterator[bytes]:
    """Yield the signed messages of the zone as it stands at the first step.

    Source: RFC 5936 section 2.2 (SOA first and last), RFC 8945 section 5.3.1 (each
    message after the first is signed over the MAC before it, and the time alone).
    """
    mac, first = request_mac, True
    for count, body in _chunks(zone):
        question = request.message[12 : request.question_end] if first else b""
        header = b"".join(
            (
                request.message[:2],
                (FLAG_QR | FLAG_AA).to_bytes(2, "big"),
                b"\0\1" if first else b"\0\0",
                count.to_bytes(2, "big"),
                b"\0\0\0\0",
            )
        )
        message, mac = sign(header + question + body, key, now_s=now_s, request_mac=mac, timers_only=not first)
        first = False
        yield message


def _chunks(zone: Zone) -> Iterator[tuple[int, bytes]]:
    soa = pack_rrset(zone.origin, SOA, zone.soa)
    nodes = zone.nodes()
    parts, count, size = [soa], 1, len(soa)
    for name, node in nodes.items():
        for rtype, rrset in node.items():
            if rtype == SOA:
                continue
            packed = pack_rrset(name, rtype, rrset)
            if size + len(packed) > _MESSAGE_BYTES and count:
                yield count, b"".join(parts)
                parts, count, size = [], 0, 0
            if len(packed) > _MESSAGE_BYTES:
                yield from _split(name, rtype, rrset.ttl_s, rrset.rdatas)
                continue
            parts.append(packed)
            count += len(rrset.rdatas)
            size += len(packed)
    parts.append(soa)
    yield count + 1, b"".join(parts)


def _split(name: bytes, rtype: int, ttl_s: int, rdatas: tuple[bytes, ...]) -> Iterator[tuple[int, bytes]]:
    """Cut an RRset whose records, each with its owner in full, do not fit one message."""
    fixed = name + rtype.to_bytes(2, "big") + b"\0\1" + ttl_s.to_bytes(4, "big")
    parts: list[bytes] = []
    size = 0
    for rdata in rdatas:
        packed = fixed + len(rdata).to_bytes(2, "big") + rdata
        if parts and size + len(packed) > _MESSAGE_BYTES:
            yield len(parts), b"".join(parts)
            parts, size = [], 0
        parts.append(packed)
        size += len(packed)
    yield len(parts), b"".join(parts)
