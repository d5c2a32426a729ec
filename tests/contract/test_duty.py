"""What a server says of its duty, and what a refusal of all updates is then put down to: on real servers."""

import base64
import contextlib
from collections.abc import AsyncIterator, Iterator

import pytest

from enactord.backends.rfc2136.zone import Rfc2136Zone
from enactord.clock import SystemClock
from enactord.core.records import Committed, Reason, Refused, Transaction
from enactord.ports import Duty
from enactord.wire.tsig import TsigKey
from tests.servers.bind import Bind
from tests.servers.dns_server import SECRET, DnsServer
from tests.servers.knot import Knot
from tests.servers.powerdns import PowerDns
from tests.servers.secondaries import ControlledBind, ListedBind, MovableBind, SecondaryKnot

ZONE = "example.test."
KEY = TsigKey(name="enactor.", algorithm="hmac-sha256", secret=base64.b64decode(SECRET))


@contextlib.asynccontextmanager
async def zone_of(server: DnsServer, name: str = ZONE) -> AsyncIterator[Rfc2136Zone]:
    zone = Rfc2136Zone(name, host=server.host, port=server.port, key=KEY, clock=SystemClock(), timeout_s=5.0)
    try:
        yield zone
    finally:
        await zone.close()


async def denied(zone: Rfc2136Zone) -> str:
    """Why an update that changes nothing is refused."""
    outcome = await zone.write(Transaction(fence_seen=()))
    assert isinstance(outcome, Refused), outcome
    assert outcome.reason is Reason.DENIED, outcome
    return outcome.detail


@pytest.fixture(scope="module")
def bind() -> Iterator[ControlledBind]:
    with ControlledBind([ZONE]) as server:
        yield server


async def test_a_primary_says_so_and_takes_updates(bind: ControlledBind) -> None:
    async with zone_of(bind) as zone:
        assert (await zone.duty()).duty is Duty.PRIMARY
        assert await zone.write(Transaction(fence_seen=())) == Committed()


async def test_a_frozen_zone_is_named_as_such(bind: ControlledBind) -> None:
    bind.rndc("freeze", ZONE)
    try:
        async with zone_of(bind) as zone:
            assert (await zone.duty()).duty is Duty.PRIMARY
            told = await denied(zone)
            assert "frozen (BIND: rndc thaw)" in told
            assert "secondary" not in told
    finally:
        bind.rndc("thaw", ZONE)


async def test_a_list_that_lacks_the_key_is_named_beside_it() -> None:
    """BIND answers both alike."""
    with ListedBind([ZONE]) as server:
        async with zone_of(server) as zone:
            assert "allow-update" in await denied(zone)


async def test_a_secondary_says_so(bind: ControlledBind) -> None:
    with MovableBind([ZONE], bind) as server:
        async with zone_of(server) as zone:
            said = await zone.duty()
            while said.duty is Duty.PRIMARY:  # in the second of its transfer, its copy has all of its time left
                said = await zone.duty()
            assert said.duty is Duty.OTHER
            told = await denied(zone)
            assert "it is a secondary of the zone" in told
            assert "frozen" not in told


async def test_a_secondary_of_knot_says_so(bind: ControlledBind) -> None:
    with SecondaryKnot([ZONE], bind) as server:
        async with zone_of(server) as zone:
            said = await zone.duty()
            while said.duty is Duty.PRIMARY:
                said = await zone.duty()
            assert said.duty is Duty.OTHER


async def test_knot_as_a_primary_says_so() -> None:
    with Knot([ZONE]) as server:
        async with zone_of(server) as zone:
            assert (await zone.duty()).duty is Duty.PRIMARY


async def test_powerdns_does_not_say() -> None:
    with PowerDns([ZONE]) as server:
        async with zone_of(server) as zone:
            assert (await zone.duty()).duty is Duty.UNKNOWN


async def test_a_server_without_the_zone_says_so() -> None:
    with Bind(["other.test."]) as server:
        async with zone_of(server) as zone:
            assert (await zone.duty()).duty is Duty.OTHER
            assert "does not serve it" in await denied(zone)


async def test_a_key_that_is_not_known_proves_nothing(bind: ControlledBind) -> None:
    async with zone_of(bind) as zone:
        zone.key = TsigKey(name="stranger.", algorithm="hmac-sha256", secret=b"0" * 32)
        assert (await zone.duty()).duty is Duty.UNKNOWN
        assert "BADKEY" in await denied(zone)


async def test_a_server_that_is_away_says_nothing(bind: ControlledBind) -> None:
    server = Bind([ZONE])
    try:
        async with zone_of(server) as zone:
            assert (await zone.duty()).duty is Duty.UNKNOWN
    finally:
        server.remove()
