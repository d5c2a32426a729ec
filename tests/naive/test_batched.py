"""The floor that enactord's cost is measured against writes what it should, and no fence."""

from collections.abc import AsyncIterator

import dns.message
import dns.update
import pytest

from bench.naive.batched import BatchedZone, pack_unfenced
from bench.naive.ports import Key, Rrset, Transaction, ZoneFailed
from enactord.core.content import pack_address
from enactord.core.names import FENCE_LABEL, fence_name
from enactord.core.records import Change, Records
from tests.contract.sites.base import FixedClock, tsig_key
from tests.naive.sites import DnsSite
from tests.servers.dns_server import SECRET, DnsServer


def changes(zone: str, count: int) -> list[Change]:
    return [
        Change(name=f"n{i}.{zone}", after=Records(ttl_s=5, a=(pack_address(f"10.0.0.{i}"),), aaaa=()))
        for i in range(count)
    ]


@pytest.fixture
async def batched(dns_zone: tuple[DnsServer, str]) -> AsyncIterator[tuple[BatchedZone, DnsSite]]:
    server, zone = dns_zone
    key = tsig_key("enactor", SECRET)
    opened = BatchedZone(zone, host=server.host, port=server.port, key=key, clock=FixedClock(), timeout_s=5)
    site = DnsSite(zone, server)
    yield opened, site
    await opened.close()
    await site.close()


def test_a_message_holds_all_but_the_requirement_on_the_fence() -> None:
    """By another reader of messages: one requirement and three updates a name, and nowhere the fence."""
    message = dns.message.from_wire(pack_unfenced("example.test.", changes("example.test.", 3)))
    assert isinstance(message, dns.update.UpdateMessage)
    text = message.to_text()
    assert FENCE_LABEL not in text
    assert [sum(max(1, len(rrset)) for rrset in part) for part in (message.prerequisite, message.update)] == [3, 9]
    for i in range(3):
        assert f"n{i}.example.test. 5 IN A 10.0.0.{i}" in text


async def test_all_batches_are_served(batched: tuple[BatchedZone, DnsSite]) -> None:
    """Every name of every batch, and no fence in the zone."""
    zone, site = batched
    await zone.apply(changes(site.zone, 25), batch_names=4, in_flight_max=3)
    for i in range(25):
        assert (await site.resolve(f"n{i}.{site.zone}")).addresses == (f"10.0.0.{i}",)
    assert (await site.resolve(fence_name(site.zone))).rcode == "NXDOMAIN"


async def test_a_batch_that_is_not_committed_is_an_error(batched: tuple[BatchedZone, DnsSite]) -> None:
    """An alias in the way: the server says no, and so does the whole apply."""
    zone, site = batched
    alias = Rrset(key=Key(f"n1.{site.zone}", "CNAME"), ttl_s=5, values=(f"n0.{site.zone}",))
    await site.client("foreign").transact(Transaction(exactly={}, adds=[alias]))
    with pytest.raises(ZoneFailed, match="rcode"):
        await zone.apply(changes(site.zone, 3), batch_names=1, in_flight_max=3)
