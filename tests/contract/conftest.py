"""The zones that the zone suite runs over: one that no test has touched, and one whose server a test may stop."""

from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from tests.contract.route53_site import Route53Site
from tests.contract.skydns_site import SkydnsSite
from tests.contract.zone_sites import (
    BindSite,
    DnsSite,
    EmbeddedProcessSite,
    EmbeddedSite,
    KnotSite,
    MemorySite,
    OwnSite,
    PowerDnsSite,
    Site,
)
from tests.servers.bind import Bind
from tests.servers.choosy import ChoosyBind, ChoosyKnot, ChoosyPowerDns
from tests.servers.etcd import Etcd
from tests.servers.knot import Knot
from tests.servers.powerdns import PowerDns
from tests.servers.route53_double import use_credentials

ZONES = [f"z{number:03}.test." for number in range(150)]
OVER_DNS = ("embedded", "bind", "knot", "powerdns")
OF_RECORDS = ("memory", *OVER_DNS, "route53")
"""Where the fence is a record of the zone, and names may be wildcards."""
ALL = (*OF_RECORDS, "skydns")

_fresh = {kind: iter(ZONES) for kind in ALL}


@pytest.fixture(scope="session")
def bind_server() -> Iterator[Bind]:
    with Bind(ZONES) as server:
        yield server


@pytest.fixture(scope="session")
def knot_server() -> Iterator[Knot]:
    with Knot(ZONES) as server:
        yield server


@pytest.fixture(scope="session")
def powerdns_server() -> Iterator[PowerDns]:
    with PowerDns(ZONES) as server:
        yield server


@pytest.fixture(scope="session")
def skydns_server() -> Iterator[Etcd]:
    with Etcd() as server:
        yield server


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """For zones of Route 53."""
    use_credentials(monkeypatch)


async def open_site(request: pytest.FixtureRequest) -> Site:
    """A zone that no test has touched."""
    kind = request.param
    zone = next(_fresh[kind])
    match kind:
        case "memory":
            return MemorySite(zone)
        case "embedded":
            return await EmbeddedSite.open(zone)
        case "bind":
            return BindSite(zone, request.getfixturevalue("bind_server"))
        case "knot":
            return KnotSite(zone, request.getfixturevalue("knot_server"))
        case "powerdns":
            return PowerDnsSite(zone, request.getfixturevalue("powerdns_server"))
        case "route53":
            return await Route53Site.open(zone)
        case _:
            return SkydnsSite(zone, request.getfixturevalue("skydns_server"))


@pytest.fixture(params=ALL)
async def site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    opened = await open_site(request)
    yield opened
    await opened.close()


@pytest.fixture(params=OF_RECORDS)
async def record_site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    opened = await open_site(request)
    yield opened
    await opened.close()


CUT_BY = ("memory", "bind", "knot", "powerdns")
"""Where a zone may hold delegations, and DNAMEs (which PowerDNS, as it comes, does not follow)."""


@pytest.fixture(params=CUT_BY)
async def cut_site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    opened = await open_site(request)
    yield opened
    await opened.close()


@pytest.fixture(params=CUT_BY[:-1])
async def dname_site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    opened = await open_site(request)
    yield opened
    await opened.close()


@pytest.fixture(params=["memory", "bind", "knot"])
async def refusing_site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    """A zone whose server refuses some names to our key, and with each the message that holds it."""
    kind, zone = request.param, "choosy.test."
    servers = {"bind": ChoosyBind, "knot": ChoosyKnot}
    opened = MemorySite.refusing(zone) if kind == "memory" else OwnSite.open(zone, servers[kind])
    yield opened
    await opened.close()


@pytest.fixture(params=["memory", "powerdns"])
async def dropping_site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    """A zone whose server leaves some names out in silence, and answers success."""
    zone = "choosy.test."
    memory = request.param == "memory"
    opened = MemorySite.dropping(zone) if memory else OwnSite.open(zone, ChoosyPowerDns)
    yield opened
    await opened.close()


@pytest.fixture(params=OVER_DNS)
async def dns_site(request: pytest.FixtureRequest) -> AsyncIterator[DnsSite]:
    opened = await open_site(request)
    assert isinstance(opened, DnsSite)
    yield opened
    await opened.close()


@pytest.fixture(params=ALL)
async def own_site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    """A site whose server is this test's alone, to stop or kill."""
    own: dict[str, Callable[[str], Site]] = {
        "memory": MemorySite,
        "embedded": EmbeddedProcessSite.own,
        "bind": BindSite.own,
        "knot": KnotSite.own,
        "powerdns": PowerDnsSite.own,
        "skydns": SkydnsSite.own,
    }
    kind, zone = request.param, "own.test."
    opened = await Route53Site.open(zone) if kind == "route53" else own[kind](zone)
    yield opened
    await opened.close()
