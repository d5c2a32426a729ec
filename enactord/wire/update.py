"""The UPDATE encoder: one `core.records.Transaction` as an unsigned RFC 2136 message.

Packed by hand: dnspython needs about 800 µs a name to build and sign the same
message, this a hundredth of it, and dnspython is the oracle of its tests.

A name is written once, in its first prerequisite, as its labels below the zone and a
pointer to the zone's name at offset 12; after that it is a pointer to there. So a message
of 100 names with eight addresses each has about 20 kB, and all of its pointers reach.
Source: RFC 1035 section 4.1.4 (a pointer has 14 bits).
"""

from collections.abc import Sequence
from struct import Struct

from enactord.core.names import fence_name, wire_name
from enactord.core.records import Change, Expect, Records, Transaction

MAX_MESSAGE_BYTES = 65535
"""Source: RFC 1035 section 4.2.2 (a two-byte length goes before each message on TCP)."""

TSIG_RESERVE_BYTES = 512
"""Left free for the TSIG record: key name, algorithm name and MAC (RFC 8945 section 4.2)."""


class TooLarge(ValueError):
    """A transaction that does not fit one message."""


Sections = tuple[list[bytes], list[bytes], tuple[int, int]]
"""Prerequisites and updates, packed, and how many records each holds."""

_HEADER = Struct("!HHHHHH")
_FLAGS_UPDATE = 5 << 11  # Source: RFC 2136 section 2.2 (opcode 5).
_POINTER = 0xC000
_POINTER_REACH = 0x4000
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


_NO_ADDRESSES = (_ABSENT_A, _ABSENT_AAAA)
_A_HEAD, _AAAA_HEAD = _A + _IN, _AAAA + _IN
_A_LENGTH, _AAAA_LENGTH = b"\0\4", b"\0\x10"


def _owner(name: str, zone: str) -> bytes:
    """Return a name as its labels below the zone and a pointer to the zone's."""
    if name == zone:
        return _ZONE_NAME_POINTER
    if not name.endswith("." + zone):
        raise ValueError(f"{name} is not in zone {zone}")
    labels = name[: -len(zone) - 1].encode("ascii").split(b".")
    return b"".join([bytes((len(label),)) + label for label in labels]) + _ZONE_NAME_POINTER


def pack_update(zone: str, transaction: Transaction, message_id: int) -> bytes:
    """Return the message, ready to be signed.

    Raises `TooLarge` when it does not fit one message, ValueError when a name is not in the zone.
    """
    return pack_after(_fence_sections(zone, transaction), zone, transaction.changes, message_id)


def pack_after(start: Sections, zone: str, changes: Sequence[Change], message_id: int) -> bytes:
    """Return the message whose sections begin so; `pack_update` lets them begin with the fence."""
    question = wire_name(zone) + _SOA_IN
    prerequisites, updates, counts = start
    prerequisite_count, update_count = counts
    position = _HEADER.size + len(question) + sum(map(len, prerequisites))
    for change in changes:
        after = change.after
        owner = _owner(change.name, zone)
        removal = not after.a and not after.aaaa
        required: tuple[bytes, ...] = () if removal else (_ABSENT_CNAME,)
        if change.expect is not Expect.OWNED:
            required += _expectation(change)
        if required:
            written = owner
            if position < _POINTER_REACH:
                owner = _pack_length(_POINTER | position)
            section = written + owner.join(required)
            prerequisites.append(section)
            position += len(section)
            prerequisite_count += len(required)
        updates.append(owner + _DELETE_A + owner + _DELETE_AAAA)
        update_count += 2 + len(after.a) + len(after.aaaa)
        if removal:
            continue
        ttl = _pack_ttl(after.ttl_s)
        if after.a:
            head = owner + _A_HEAD + ttl + _A_LENGTH
            updates.append(head + head.join(after.a))
        if after.aaaa:
            head = owner + _AAAA_HEAD + ttl + _AAAA_LENGTH
            updates.append(head + head.join(after.aaaa))
    if prerequisite_count > 0xFFFF or update_count > 0xFFFF:
        raise TooLarge(f"{len(changes)} changes do not fit the counters of one message")
    head = _HEADER.pack(message_id, _FLAGS_UPDATE, 1, prerequisite_count, update_count, 0)
    message = b"".join((head, question, *prerequisites, *updates))
    if len(message) > MAX_MESSAGE_BYTES - TSIG_RESERVE_BYTES:
        raise TooLarge(
            f"{len(changes)} changes need {len(message)} bytes; "
            f"one message holds {MAX_MESSAGE_BYTES - TSIG_RESERVE_BYTES}: make the batch smaller"
        )
    return message


def _fence_sections(zone: str, transaction: Transaction) -> Sections:
    """Start both sections with the fence: what it must be, and what it becomes."""
    owner = _owner(fence_name(zone), zone)
    seen = transaction.fence_seen
    prerequisites = [owner + _present(_TXT, rdata) for rdata in seen] or [owner + _ABSENT_TXT]
    for name, records in transaction.requires:
        required = _owner(name, zone)
        prerequisites += [required + record for record in (_ABSENT_CNAME, *_exactly(records))]
    updates: list[bytes] = []
    if transaction.fence_after is not None:
        # Where a CNAME stands, BIND and Knot drop the new TXT in silence and accept the rest:
        # the open would look committed and no fence would stand.
        prerequisites.append(owner + _ABSENT_CNAME)
        rdata = transaction.fence_after.rdata
        head = owner + _TXT + _IN + _pack_ttl(transaction.fence_ttl_s) + _pack_length(len(rdata))
        updates = [owner + _DELETE_TXT, head + rdata]
    return prerequisites, updates, (len(prerequisites), len(updates))


def _expectation(change: Change) -> tuple[bytes, ...]:
    """Return the records that NEW or EXACT require, without their owner."""
    if change.expect is Expect.NEW:
        return _NO_ADDRESSES
    return _exactly(change.before)


def _exactly(records: Records) -> tuple[bytes, ...]:
    """Return the records that require exactly these addresses, without their owner."""
    return (
        *([_present(_A, address) for address in records.a] or [_ABSENT_A]),
        *([_present(_AAAA, address) for address in records.aaaa] or [_ABSENT_AAAA]),
    )
