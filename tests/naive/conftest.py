"""Servers and zones that no test has touched."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.naive.sites import DnsSite, MemorySite, Site
from tests.servers.bind import Bind
from tests.servers.dns_server import DnsServer
from tests.servers.knot import Knot

ZONES = [f"v{number:02}.test." for number in range(40)]
_fresh = {kind: iter(ZONES) for kind in ("knot", "bind")}


@pytest.fixture(scope="session")
def knot_server() -> Iterator[Knot]:
    with Knot(ZONES) as server:
        yield server


@pytest.fixture(scope="session")
def bind_server() -> Iterator[Bind]:
    with Bind(ZONES) as server:
        yield server


@pytest.fixture(params=["memory", "knot", "bind"])
async def site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    opened: Site
    if request.param == "memory":
        opened = MemorySite("memory.test.")
    else:
        opened = DnsSite(next(_fresh[request.param]), request.getfixturevalue(f"{request.param}_server"))
    yield opened
    await opened.close()


@pytest.fixture(params=["knot", "bind"])
def dns_zone(request: pytest.FixtureRequest) -> tuple[DnsServer, str]:
    """A server, and a zone of its."""
    return request.getfixturevalue(f"{request.param}_server"), next(_fresh[request.param])
