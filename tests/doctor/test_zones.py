"""What the doctor says of DNS servers: keys, rights, duty, fences, connections, and servers that lag."""

import asyncio
import base64
import shutil
from collections.abc import Iterator
from pathlib import Path

import dns.message
import dns.query
import dns.tsig
import dns.update
import pytest

from enactord.config.reader import load_config
from enactord.core.fence import NO_PLAN, Fence
from enactord.core.kv import Put
from enactord.doctor import State, examine
from enactord.store.keys import Keys, installation_value
from enactord.stores.by_url import open_store
from tests.doctor.desk import WRONG_SECRET, ZONE, Desk, bad, fault, raise_fence, warning
from tests.servers.bind import Bind
from tests.servers.dns_server import DnsServer, free_port
from tests.servers.knot import Knot
from tests.servers.powerdns import PowerDns
from tests.servers.secondaries import ControlledBind, ListedBind, MovableBind, SecondaryKnot, serial


@pytest.fixture(scope="module", params=[Bind, Knot, PowerDns], ids=lambda kind: kind.__name__.lower())
def server(request: pytest.FixtureRequest) -> Iterator[DnsServer]:
    with request.param([ZONE]) as server:
        yield server


@pytest.fixture(scope="module")
def bind() -> Iterator[Bind]:
    with Bind([ZONE]) as server:
        yield server


def desk_of(folder: Path, server: DnsServer) -> Desk:
    return Desk(folder, servers=[server.port])


async def test_a_server_that_is_well_has_no_finding_and_is_not_changed(tmp_path: Path, server: DnsServer) -> None:
    """Key, rights and connections are as they should be, and the zone's serial stays: nothing was written."""
    before = serial(server, ZONE)
    report = await desk_of(tmp_path, server).examine()
    assert bad(report) == []
    assert report.well
    assert {check.group for check in report.checks} >= {"zones", "connections", "store", "disk"}
    assert serial(server, ZONE) == before


async def test_a_wrong_secret_is_told(tmp_path: Path, server: DnsServer) -> None:
    """BADSIG, and the key of the config whose file is to be mended."""
    desk = desk_of(tmp_path, server)
    desk.secret = WRONG_SECRET
    found = fault(await desk.examine(), "zones")
    assert ("NOTAUTH" if isinstance(server, PowerDns) else "BADSIG") in found.seen
    assert "tsig_secret_file" in found.fix


async def test_an_unknown_key_is_told(tmp_path: Path, server: DnsServer) -> None:
    """BADKEY, with the name of the key."""
    desk = desk_of(tmp_path, server)
    desk.key_name = "nobody"
    found = fault(await desk.examine(), "zones")
    assert "nobody" in found.seen
    assert ("NOTAUTH" if isinstance(server, PowerDns) else "BADKEY") in found.seen


async def test_a_zone_that_is_not_served_is_told(tmp_path: Path, server: DnsServer) -> None:
    """The server's answer, and the keys of the config that may be wrong."""
    desk = desk_of(tmp_path, server)
    desk.zone = "absent.example."
    found = fault(await desk.examine(), "zones")
    assert "does not serve the zone" in found.seen or "REFUSED" in found.seen


async def test_a_server_that_is_away_stops_no_other_check(tmp_path: Path) -> None:
    """The zone is a fault, its connections are not known, and all the rest is looked at."""
    port = free_port()
    report = await Desk(tmp_path, servers=[port]).examine()
    found = fault(report, "zones")
    assert f"127.0.0.1:{port}" in found.seen
    assert f"dig @127.0.0.1 -p {port}" in found.fix
    assert report.count(State.UNKNOWN) == 1
    assert report.count(State.OK) >= 4


async def test_a_policy_that_refuses_updates_is_told(tmp_path: Path) -> None:
    """By BIND's allow-update of another key, and by a rule of Knot that permits no addresses."""
    for kind in (ListedBind, _TextKnot):
        with kind([ZONE]) as server:
            found = fault(await desk_of(tmp_path, server).examine(), "zones")
        assert "REFUSED" in found.seen or "NOTAUTH" in found.seen
        assert "A, AAAA and TXT" in found.fix


class _TextKnot(Knot):
    """knotd that lets the key update TXT alone."""

    def _write_config(self) -> None:
        super()._write_config()
        path = self.dir / self.template
        text = path.read_text()
        assert "update-type: [A, AAAA, TXT]" in text
        path.write_text(text.replace("update-type: [A, AAAA, TXT]", "update-type: [TXT]"))


class _Ungranted(Bind):
    """named whose update policy gives the key nothing."""

    def zone_stanza(self, zone: str) -> str:
        return super().zone_stanza(zone).replace("grant enactor zonesub A AAAA TXT; ", "")


async def test_a_policy_without_a_grant_is_told(tmp_path: Path) -> None:
    """named takes an update of prerequisites alone from any key: only one that could change something tells."""
    with _Ungranted([ZONE]) as server:
        found = fault(await desk_of(tmp_path, server).examine(), "zones")
    assert "may not change" in found.seen
    assert "REFUSED" in found.seen


async def test_a_secondary_is_told_from_a_primary(tmp_path: Path, bind: Bind) -> None:
    """A write to it would be refused; the fix names the key of the config."""
    with SecondaryKnot([ZONE], bind) as secondary:
        found = fault(await desk_of(tmp_path, secondary).examine(), "zones")
        assert "secondary" in found.seen
        assert ".server" in found.fix
        both = Desk(tmp_path, servers=[bind.port, secondary.port])
        assert bad(await both.examine()) == [], "one of the list is the primary, and the other may become it"
        both.servers = [bind.port, free_port()]
        found = warning(await both.examine(), "zones")
        assert "no answer" in found.seen


async def test_a_fence_of_another_scope_is_told(tmp_path: Path) -> None:
    """Two installations on one zone: the scope that stands there is named."""
    with Bind([ZONE]) as server:
        await raise_fence(server.port, Fence(scope="other", generation=7, plan=NO_PLAN))
        found = fault(await desk_of(tmp_path, server).examine(), "zones")
        assert "fenced by scope other" in found.seen
        assert "enactor.scope" in found.fix
        desk = desk_of(tmp_path, server)
        await desk.copied("a" * 16)
        other = Fence(scope="test", generation=8, plan=NO_PLAN, installation="f" * 16)
        await raise_fence(server.port, other)
        found = fault(await desk.examine(), "zones")
        assert f"another installation {'f' * 16}" in found.seen
        assert f"enactorctl zone take {ZONE}" in found.fix
        shutil.rmtree(tmp_path / "state")
        await raise_fence(server.port, Fence(scope="test", generation=8, plan=NO_PLAN, hold="Ann: no"))
        found = warning(await desk_of(tmp_path, server).examine(), "zones")
        assert "Ann: no" in found.seen
        assert found.fix == f"enactorctl emergency release {ZONE}"


async def test_a_fence_is_compared_with_the_id_in_the_store(tmp_path: Path) -> None:
    """A second installation has a store of its own, and no local copy yet."""
    ours, theirs = "a" * 16, "f" * 16
    with Bind([ZONE]) as server:
        desk = desk_of(tmp_path, server)
        await raise_fence(server.port, Fence(scope="test", generation=8, plan=NO_PLAN, installation=theirs))
        found = fault(await desk.examine(), "zones")
        assert "our plan store has no id" in found.seen
        assert "enactorctl restore --from-copy" in found.fix
        assert f"enactorctl zone take {ZONE}" in found.fix
        store = await open_store(f"sqlite://{tmp_path}/store.db")
        for installation in (ours, theirs):
            await store.transact((), [Put(key=Keys("test").installation, value=installation_value(installation))])
            report = await desk.examine()
            if installation == ours:
                assert f"ours is {ours}" in fault(report, "zones").seen
            else:
                assert bad(report) == []
        await store.close()


async def test_a_fence_is_compared_with_nothing_where_no_id_is_known(tmp_path: Path) -> None:
    """The store is away, and there is no local copy: that is said, and no fault of the zone."""
    with Bind([ZONE]) as server:
        desk = desk_of(tmp_path, server)
        desk.store = f"etcd://127.0.0.1:{free_port()}"
        await raise_fence(server.port, Fence(scope="test", generation=8, plan=NO_PLAN, installation="f" * 16))
        (found,) = [check for check in (await desk.examine()).checks if check.subject.endswith(": fence")]
        assert found.state is State.OK
        assert "neither store nor local copy tells" in found.seen


async def test_two_primaries_are_a_warning(tmp_path: Path, bind: Bind) -> None:
    """Both take updates, and neither copies the zone from the other."""
    with Knot([ZONE]) as other:
        found = warning(await Desk(tmp_path, servers=[bind.port, other.port]).examine(), "zones")
    assert f"2 servers say that they are its primary: 127.0.0.1:{bind.port}, 127.0.0.1:{other.port}" in found.seen


async def test_the_clock_of_a_secondary_is_a_fault(tmp_path: Path, bind: Bind) -> None:
    """That a secondary stands beside the primary makes its duty right, and nothing else."""
    with SecondaryKnot([ZONE], bind) as secondary:
        report = await Desk(tmp_path, servers=[bind.port, secondary.port]).examine(ahead_s=20.0)
        off = {check.subject for check in report.checks if check.state is State.FAULT}
    assert off == {f"DNS server 127.0.0.1:{port}" for port in (bind.port, secondary.port)}


async def test_a_secondary_that_has_just_copied_the_zone_is_no_primary(tmp_path: Path) -> None:
    """It has all of its time left, as a primary has, and refuses every update."""
    with MovableBind([ZONE]) as primary, MovableBind([ZONE], primary) as secondary:
        desk = Desk(tmp_path, servers=[primary.port, secondary.port])
        await well_again(desk, secondary)
        for _ in range(3):
            before = serial(secondary, ZONE)
            edit(primary, f"more.{ZONE}", "A", "192.0.2.1")
            edit(primary, f"more.{ZONE}", "TXT", f"{before}")
            secondary.rndc("refresh", ZONE)
            while serial(secondary, ZONE) == before:
                await asyncio.sleep(0.02)
            assert bad(await desk.examine()) == []


async def test_a_verify_server_that_is_away_or_behind_is_told(tmp_path: Path) -> None:
    """A secondary that missed the newest fence, and one that does not answer."""
    with MovableBind([ZONE]) as primary, MovableBind([ZONE], primary) as secondary:
        desk = Desk(tmp_path, servers=[primary.port], verify=[secondary.port])
        await well_again(desk, secondary)
        await raise_fence(primary.port, Fence(scope="test", generation=5, plan=NO_PLAN))
        found = fault(await desk.examine(), "verify servers")
        assert "its fence is absent, and the primary's 5" in found.seen
        await well_again(desk, secondary)
        edit(primary, f"more.{ZONE}", "A", "192.0.2.1")
        found = fault(await desk.examine(), "verify servers")
        assert f"serial is {serial(secondary, ZONE)}, and the primary's {serial(primary, ZONE)}" in found.seen
        await well_again(desk, secondary)
        desk.verify = [free_port()]
        found = fault(await desk.examine(), "verify servers")
        assert "no answer" in found.seen


async def well_again(desk: Desk, secondary: MovableBind) -> None:
    """Wait until a secondary has what its primary has."""
    for _ in range(50):
        secondary.rndc("refresh", ZONE)
        report = await desk.examine()
        if not bad(report):
            return
    assert bad(report) == []


def edit(server: DnsServer, name: str, rtype: str, value: str) -> None:
    """Add a record by the key that may."""
    update = dns.update.UpdateMessage(ZONE)
    update.add(name, 30, rtype, value)
    update.use_tsig(dns.tsig.Key("foreign.", base64.b64decode(server.foreign_secret), dns.tsig.HMAC_SHA256))
    assert dns.query.tcp(update, server.host, timeout=5, port=server.port).rcode() == 0


class _FewConnections(PowerDns):
    """pdns_server that takes two TCP connections."""

    def _write_config(self) -> None:
        super()._write_config()
        path = self.dir / self.template
        path.write_text(path.read_text().replace("max-tcp-connections=500", "max-tcp-connections=2"))


async def test_too_few_connections_are_counted(tmp_path: Path) -> None:
    """The number that was answered, and the setting of each server."""
    with _FewConnections([ZONE]) as server:
        found = fault(await desk_of(tmp_path, server).examine(), "connections")
    assert "of 4 TCP connections" in found.seen
    assert "max-tcp-connections" in found.fix


class _LongMinimum(Bind):
    """named with a zone whose empty answers are kept for ten minutes."""

    def _write_config(self) -> None:
        super()._write_config()
        path = self.dir / f"{ZONE}zone"
        text = path.read_text()
        assert "$TTL 60" in text
        assert "86400 5" in text
        path.write_text(text.replace("$TTL 60", "$TTL 900").replace("86400 5", "86400 600"))


async def test_long_negative_caching_is_a_warning(tmp_path: Path) -> None:
    """The wait of a client that saw the empty answer, in seconds."""
    with _LongMinimum([ZONE]) as server:
        report = await desk_of(tmp_path, server).examine()
        found = warning(report, "zones")
        assert "600 s after the repair" in found.seen
        assert report.well, "a warning is no fault"


async def test_a_frozen_zone_is_told(tmp_path: Path) -> None:
    """`rndc freeze` lets the server answer, and refuse every update."""
    with ControlledBind([ZONE]) as server:
        server.rndc("freeze", ZONE)
        assert "rndc thaw" in fault(await desk_of(tmp_path, server).examine(), "zones").seen


async def test_a_wildcard_at_the_fence_is_no_finding(tmp_path: Path) -> None:
    """A name that a wildcard answers for has no fence."""
    with Bind([ZONE]) as server:
        edit(server, f"*.{ZONE}", "TXT", '"v=spf1 -all"')
        assert bad(await desk_of(tmp_path, server).examine()) == []


async def test_many_zones_of_a_server_are_looked_at(tmp_path: Path) -> None:
    """One after the other, and its connections once."""
    zones = [f"z{number}.test." for number in range(12)]
    with Bind(zones) as server:
        desk = Desk(tmp_path, servers=[server.port], zone=zones[0])
        desk.write()
        text = desk.path.read_text()
        begin = text.index("[[zone]]")
        table = text[begin:]
        desk.path.write_text(text[:begin] + "".join(table.replace(zones[0], zone) for zone in zones))
        report = await examine(load_config(desk.path))
    assert bad(report) == []
    assert sum("updates" in check.subject for check in report.checks) == len(zones)
    assert sum(check.group == "connections" for check in report.checks) == 1
