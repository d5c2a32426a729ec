"""The UPDATE encoder: one `core.records.Transaction` as an unsigned RFC 2136 message.

Packed by hand: dnspython needs about 800 µs a name to build and sign the same
message, this a hundredth of it, and dnspython is the oracle of its tests.

Every owner name is written as its labels below the zone and a pointer to the zone's
name at offset 12, so the bytes of a name do not depend on where in the message they
stand and can be cached.
"""

from functools import lru_cache
from struct import Struct
from typing import NamedTuple

from enactord.core.names import fence_name, wire_name
from enactord.core.records import Change, Expect, Transaction

MAX_MESSAGE_BYTES = 65535
"""Source: RFC 1035 section 4.2.2 (a two-byte length goes before each message on TCP)."""

TSIG_RESERVE_BYTES = 512
"""Left free for the TSIG record: key name, algorithm name and MAC (RFC 8945 section 4.2)."""

_HEADER = Struct("!HHHHHH")
_FLAGS_UPDATE = 5 << 11  # Source: RFC 2136 section 2.2 (opcode 5).
_ZONE_NAME_POINTER = b"\xc0\x0c"
_SOA_IN = b"\0\6\0\1"

_A, _AAAA, _CNAME, _TXT = b"\0\1", b"\0\x1c", b"\0\5", b"\0\x10"
_IN, _NONE, _ANY = b"\0\1", b"\0\xfe", b"\0\xff"
_TTL_0, _NO_RDATA = b"\0\0\0\0", b"\0\0"

_pack_ttl = Struct("!I").pack
_pack_length = Struct("!H").pack


def _absent(rtype: bytes) -> bytes:
    """Prerequisite "RRset does not exist". Source: RFC 2136 section 2.4.3."""
    return rtype + _NONE + _TTL_0 + _NO_RDATA


def _present(rtype: bytes, rdata: bytes) -> bytes:
    """One record of prerequisite "RRset exists (value dependent)". Source: RFC 2136 section 2.4.2."""
    return rtype + _IN + _TTL_0 + _pack_length(len(rdata)) + rdata


def _delete_rrset(rtype: bytes) -> bytes:
    """Update "delete an RRset". Source: RFC 2136 section 2.5.2."""
    return rtype + _ANY + _TTL_0 + _NO_RDATA


_ABSENT_A, _ABSENT_AAAA, _ABSENT_CNAME, _ABSENT_TXT = (_absent(rtype) for rtype in (_A, _AAAA, _CNAME, _TXT))
# Never "delete all RRsets of a name" (type ANY): Knot denies it to a key that is limited to types,
# and it would take along what others keep at the name.
_DELETE_A, _DELETE_AAAA, _DELETE_TXT = (_delete_rrset(rtype) for rtype in (_A, _AAAA, _TXT))


class _Packed(NamedTuple):
    """What the message needs of one name, whatever its addresses are."""

    owner: bytes
    no_cname: bytes
    no_addresses: bytes
    delete_addresses: bytes


@lru_cache(maxsize=16384)
def _packed(name: str, zone: str) -> _Packed:
    if name == zone:
        owner = _ZONE_NAME_POINTER
    elif name.endswith("." + zone):
        owner = wire_name(name)[: -len(wire_name(zone))] + _ZONE_NAME_POINTER
    else:
        raise ValueError(f"{name} is not in zone {zone}")
    return _Packed(
        owner,
        owner + _ABSENT_CNAME,
        owner + _ABSENT_A + owner + _ABSENT_AAAA,
        owner + _DELETE_A + owner + _DELETE_AAAA,
    )


def pack_update(zone: str, transaction: Transaction, message_id: int) -> bytes:
    """Return the message, ready to be signed.

    Raises ValueError when it is too large for one message, or a name is not in the zone.
    """
    prerequisites, updates, counts = _fence_sections(zone, transaction)
    prerequisite_count, update_count = counts
    for change in transaction.changes:
        name = _packed(change.name, zone)
        after = change.after
        removal = not after.a and not after.aaaa
        if not removal:
            prerequisites.append(name.no_cname)
            prerequisite_count += 1
        if change.expect is not Expect.OWNED:
            prerequisite_count += _expectation(prerequisites, name, change)
        updates.append(name.delete_addresses)
        update_count += 2 + len(after.a) + len(after.aaaa)
        if removal:
            continue
        ttl = _pack_ttl(after.ttl_s)
        if after.a:
            head = name.owner + b"\0\1\0\1" + ttl + b"\0\4"  # type A, class IN, 4 bytes
            updates.append(head + head.join(after.a))
        if after.aaaa:
            head = name.owner + b"\0\x1c\0\1" + ttl + b"\0\x10"  # type AAAA, class IN, 16 bytes
            updates.append(head + head.join(after.aaaa))
    if prerequisite_count > 0xFFFF or update_count > 0xFFFF:
        raise ValueError(f"{len(transaction.changes)} changes do not fit the counters of one message")
    message = b"".join(
        (
            _HEADER.pack(message_id, _FLAGS_UPDATE, 1, prerequisite_count, update_count, 0),
            wire_name(zone),
            _SOA_IN,
            *prerequisites,
            *updates,
        )
    )
    if len(message) > MAX_MESSAGE_BYTES - TSIG_RESERVE_BYTES:
        raise ValueError(
            f"{len(transaction.changes)} changes need {len(message)} bytes; "
            f"one message holds {MAX_MESSAGE_BYTES - TSIG_RESERVE_BYTES}: make the batch smaller"
        )
    return message


def _fence_sections(zone: str, transaction: Transaction) -> tuple[list[bytes], list[bytes], tuple[int, int]]:
    """Start both sections with the fence: what it must be, and what it becomes."""
    owner = _packed(fence_name(zone), zone).owner
    seen = transaction.fence_seen
    prerequisites = [owner + _present(_TXT, rdata) for rdata in seen] or [owner + _ABSENT_TXT]
    updates: list[bytes] = []
    if transaction.fence_after is not None:
        # Where a CNAME stands, BIND and Knot drop the new TXT in silence and accept the rest:
        # the open would look committed and no fence would stand.
        prerequisites.append(owner + _ABSENT_CNAME)
        updates = [owner + _DELETE_TXT, owner + _present(_TXT, transaction.fence_after.rdata)]  # TTL 0
    return prerequisites, updates, (len(prerequisites), len(updates))


def _expectation(prerequisites: list[bytes], name: _Packed, change: Change) -> int:
    """Add what NEW or EXACT require; return how many records that took."""
    if change.expect is Expect.NEW:
        prerequisites.append(name.no_addresses)
        return 2
    count = 0
    for rtype, absent, addresses in (
        (_A, _ABSENT_A, change.before.a),
        (_AAAA, _ABSENT_AAAA, change.before.aaaa),
    ):
        if addresses:
            prerequisites.extend(name.owner + _present(rtype, address) for address in addresses)
            count += len(addresses)
        else:
            prerequisites.append(name.owner + absent)
            count += 1
    return count
