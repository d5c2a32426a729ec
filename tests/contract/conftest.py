"""The zones that the zone suite runs over: one that no test has touched, and one whose server a test may stop."""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack

import pytest

from tests.contract.sites import EVERY, names
from tests.contract.sites.base import DnsSite, ProcessSite, Servers, Site
from tests.contract.sites.memory import MemorySite
from tests.servers.choosy import ChoosyBind, ChoosyKnot, ChoosyPowerDns
from tests.servers.route53_double import use_credentials

ZONES = [f"z{number:03}.test." for number in range(150)]
_fresh = {kind: iter(ZONES) for kind in EVERY}


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    with ExitStack() as stack:
        yield Servers(ZONES, stack)


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """For zones of Route 53."""
    use_credentials(monkeypatch)


async def _opened(kind: str, servers: Servers) -> AsyncIterator[Site]:
    """Yield a zone that no test has touched."""
    opened = await EVERY[kind].open(next(_fresh[kind]), servers)
    yield opened
    await opened.close()


@pytest.fixture(params=names())
async def site(request: pytest.FixtureRequest, servers: Servers) -> AsyncIterator[Site]:
    async for opened in _opened(request.param, servers):
        yield opened


@pytest.fixture(params=names(fence_in_zone=True))
async def record_site(request: pytest.FixtureRequest, servers: Servers) -> AsyncIterator[Site]:
    """Where the fence is a record of the zone, and names may be wildcards."""
    async for opened in _opened(request.param, servers):
        yield opened


@pytest.fixture(params=names(cut="NS"))
async def cut_site(request: pytest.FixtureRequest, servers: Servers) -> AsyncIterator[Site]:
    """Where a zone may hold delegations."""
    async for opened in _opened(request.param, servers):
        yield opened


@pytest.fixture(params=names(cut="DNAME"))
async def dname_site(request: pytest.FixtureRequest, servers: Servers) -> AsyncIterator[Site]:
    async for opened in _opened(request.param, servers):
        yield opened


@pytest.fixture(params=["memory", "bind", "knot"])
async def refusing_site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    """A zone whose server refuses some names to our key, and with each the message that holds it."""
    kind, zone = request.param, "choosy.test."
    servers = {"bind": ChoosyBind, "knot": ChoosyKnot}
    opened = MemorySite.refusing(zone) if kind == "memory" else ProcessSite.alone(zone, servers[kind])
    yield opened
    await opened.close()


@pytest.fixture(params=["memory", "powerdns"])
async def dropping_site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    """A zone whose server leaves some names out in silence, and answers success."""
    zone = "choosy.test."
    memory = request.param == "memory"
    opened = MemorySite.dropping(zone) if memory else ProcessSite.alone(zone, ChoosyPowerDns)
    yield opened
    await opened.close()


@pytest.fixture(params=names(rfc2136=True))
async def dns_site(request: pytest.FixtureRequest, servers: Servers) -> AsyncIterator[DnsSite]:
    async for opened in _opened(request.param, servers):
        assert isinstance(opened, DnsSite)
        yield opened


@pytest.fixture(params=names())
async def own_site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    """A site whose server is this test's alone, to stop or kill."""
    opened = await EVERY[request.param].own("own.test.")
    yield opened
    await opened.close()
