"""The UPDATE encoder against dnspython, for any transaction."""

import ipaddress

import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataset
import dns.update
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enactord.core.fence import Fence
from enactord.core.names import fence_name
from enactord.core.records import NO_RECORDS, Change, Expect, Records, Transaction
from enactord.wire.update import MAX_MESSAGE_BYTES, pack_update

ZONE = "example.test."

labels = st.from_regex(r"[a-z0-9]([a-z0-9_-]{0,20}[a-z0-9])?", fullmatch=True)
names = st.one_of(
    st.just(ZONE),
    st.lists(labels, min_size=1, max_size=4).map(lambda parts: ".".join((*parts, ZONE))),
    labels.map(lambda label: f"*.{label}.{ZONE}"),
)


def packed_addresses(size: int) -> st.SearchStrategy[tuple[bytes, ...]]:
    return st.lists(st.binary(min_size=size, max_size=size), max_size=9, unique=True).map(
        lambda found: tuple(sorted(found))
    )


records = st.builds(
    lambda ttl_s, a, aaaa: Records(ttl_s=ttl_s if a or aaaa else 0, a=a, aaaa=aaaa),
    st.integers(0, 2**31 - 1),
    packed_addresses(4),
    packed_addresses(16),
)
fences = st.builds(
    lambda scope, generation, plan: Fence(scope=scope, generation=generation, plan=f"{plan:016x}"),
    st.from_regex(r"[a-z0-9._-]{1,63}", fullmatch=True),
    st.integers(0, 10**18),
    st.integers(0, 2**64 - 1),
)
character_strings = st.lists(st.binary(max_size=60), min_size=1, max_size=3).map(
    lambda parts: b"".join(bytes((len(part),)) + part for part in parts)
)
seen = st.one_of(
    fences.map(lambda fence: fence.seen),
    st.lists(character_strings, max_size=3, unique=True).map(lambda found: tuple(sorted(found))),
)
changes = st.lists(
    st.builds(
        lambda name, after, expect, before: Change(name=name, after=after, expect=expect, before=before),
        names,
        st.one_of(records, st.just(NO_RECORDS)),
        st.sampled_from(Expect),
        records,
    ),
    max_size=12,
    unique_by=lambda change: change.name,
)
transactions = st.builds(
    lambda seen, after, changes: Transaction(fence_seen=seen, fence_after=after, changes=changes),
    seen,
    st.none() | fences,
    changes,
)


def rdataset(rtype: str, ttl_s: int, addresses: tuple[bytes, ...]) -> dns.rdataset.Rdataset:
    return dns.rdataset.from_text_list("IN", rtype, ttl_s, [str(ipaddress.ip_address(one)) for one in addresses])


def txt(rdata: bytes) -> dns.rdata.Rdata:
    return dns.rdata.from_wire("IN", "TXT", rdata, 0, len(rdata))


def oracle(transaction: Transaction) -> dns.update.UpdateMessage:
    """The same update, built the way dnspython's documentation shows."""
    update = dns.update.UpdateMessage(ZONE)
    fence = dns.name.from_text(fence_name(ZONE))
    if transaction.fence_seen:
        update.present(fence, *[txt(rdata) for rdata in transaction.fence_seen])
    else:
        update.absent(fence, "TXT")
    if transaction.fence_after is not None:
        update.absent(fence, "CNAME")
        update.replace(fence, 0, txt(transaction.fence_after.rdata))
    for change in transaction.changes:
        name = dns.name.from_text(change.name)
        if not change.after.empty:
            update.absent(name, "CNAME")
        for rtype, before in (("A", change.before.a), ("AAAA", change.before.aaaa)):
            if change.expect is Expect.NEW or (change.expect is Expect.EXACT and not before):
                update.absent(name, rtype)
            elif change.expect is Expect.EXACT:
                update.present(name, rdataset(rtype, 0, before))
        for rtype, after in (("A", change.after.a), ("AAAA", change.after.aaaa)):
            update.delete(name, rtype)
            if after:
                update.add(name, rdataset(rtype, change.after.ttl_s, after))
    return update


Line = tuple[str, int, int, int, frozenset[bytes]]


def section_lines(message: dns.message.Message, section: int) -> list[Line]:
    """Every RRset of a section as plain values: name, type, what it demands, TTL, rdata.

    dnspython leaves the order of records of one RRset, and of RRsets that are not of
    one name, to itself; RFC 2136 gives no meaning to the former.
    """
    return sorted(
        (
            rrset.name.to_text(),
            int(rrset.rdtype),
            int(rrset.deleting or 0),
            rrset.ttl,
            frozenset(rdata.to_wire() or b"" for rdata in rrset),
        )
        for rrset in message.sections[section]
    )


@given(transaction=transactions, message_id=st.integers(0, 65535))
@settings(max_examples=100, deadline=None)
def test_update_encoder_says_what_dnspython_says(transaction: Transaction, message_id: int) -> None:
    """Our bytes parse to the update that dnspython builds from the same transaction."""
    wire = pack_update(ZONE, transaction, message_id)
    ours = dns.message.from_wire(wire, one_rr_per_rrset=False)
    theirs = dns.message.from_wire(oracle(transaction).to_wire(max_size=65535))
    assert isinstance(ours, dns.update.UpdateMessage)
    assert ours.id == message_id
    assert ours.opcode() == theirs.opcode()
    assert ours.flags == theirs.flags
    for section in range(4):
        assert section_lines(ours, section) == section_lines(theirs, section)


@given(transaction=transactions)
@settings(max_examples=50, deadline=None)
def test_update_encoder_deletes_before_it_adds(transaction: Transaction) -> None:
    """Updates are carried out in order (RFC 2136 section 3.4.2), so each delete must precede the adds of its RRset."""
    message = dns.message.from_wire(pack_update(ZONE, transaction, 1), one_rr_per_rrset=True)
    added = set()
    for rrset in message.sections[2]:
        key = (rrset.name, rrset.rdtype)
        if rrset.deleting:
            assert key not in added
        else:
            added.add(key)


@given(transaction=transactions)
@settings(max_examples=50, deadline=None)
def test_update_encoder_is_deterministic(transaction: Transaction) -> None:
    """The same transaction gives the same bytes, and the id changes nothing else."""
    one, other = pack_update(ZONE, transaction, 0x0102), pack_update(ZONE, transaction, 0xFFFF)
    assert one == pack_update(ZONE, transaction, 0x0102)
    assert one[:2] == b"\1\2"
    assert one[2:] == other[2:]


def test_update_encoder_refuses_a_name_of_another_zone() -> None:
    """A name outside the zone is the caller's mistake, also one that merely ends in the same letters."""
    for name in ("www.example.org.", "www.badexample.test."):
        with pytest.raises(ValueError, match="not in zone"):
            pack_update(ZONE, Transaction(fence_seen=(), changes=[Change(name=name, after=NO_RECORDS)]), 0)


def test_update_encoder_refuses_what_one_message_cannot_hold() -> None:
    """A batch beyond 64 KiB, its signature included, is the caller's mistake."""
    after = Records(ttl_s=5, a=tuple(bytes((10, 0, 0, k)) for k in range(100)), aaaa=())
    batch = [Change(name=f"n{k:03}.{ZONE}", after=after) for k in range(40)]
    with pytest.raises(ValueError, match="smaller"):
        pack_update(ZONE, Transaction(fence_seen=(), changes=batch), 0)
    assert len(pack_update(ZONE, Transaction(fence_seen=(), changes=batch[:25]), 0)) < MAX_MESSAGE_BYTES
