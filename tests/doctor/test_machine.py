"""What the doctor says of the machine: clocks, certificates, disk; and of what hangs or fails unforeseen."""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from enactord.backends.rfc2136.signed_soa import behind
from enactord.client.http_date import ask_clock
from enactord.daemon.certificates import Certificate
from enactord.doctor import Check, State
from enactord.doctor.aside import beside
from enactord.doctor.certificates import check_certificates
from enactord.doctor.check import Group
from enactord.doctor.clock import judge_clock
from enactord.doctor.disk import judge_rights, judge_room
from enactord.doctor.examination import told
from enactord.wire.tls import Tls
from tests.doctor.desk import ZONE, Desk, bad, fault, warning
from tests.servers.bind import Bind
from tests.servers.certificates import Authority
from tests.servers.dns_server import DnsServer, free_port
from tests.servers.etcd import Etcd
from tests.servers.knot import Knot
from tests.servers.powerdns import PowerDns


@pytest.mark.parametrize(
    ("theirs_s", "state"),
    [(1000, "ok"), (995, "ok"), (1005, "ok"), (993, "fault"), (1007, "fault")],
)
def test_a_clock_is_judged_by_five_seconds(theirs_s: float, state: str) -> None:
    """What it tells is rounded down to the second, which counts for it."""
    assert judge_clock("x", theirs_s, 1000.5).state == state


@pytest.mark.parametrize("kind", [Bind, Knot, PowerDns])
async def test_a_dns_server_with_another_clock_is_told(tmp_path: Path, kind: type[DnsServer]) -> None:
    """A signed answer tells its clock, and so does a refusal of BIND and Knot (BADTIME). PowerDNS never tells."""
    with kind([ZONE]) as server:
        desk = Desk(tmp_path, servers=[server.port])
        for ahead_s, seen in ((20.0, "s behind this machine's clock"), (-40.0, "s ahead of this machine's clock")):
            report = await desk.examine(ahead_s=ahead_s)
            if kind is PowerDns:
                assert "clock" not in {check.group for check in report.checks}
                continue
            found = fault(report, "clock")
            assert seen in found.seen
            assert "chronyc" in found.fix
        report = await desk.examine(ahead_s=900.0)
        if kind is PowerDns:
            assert "a clock" in fault(report, "zones").seen
        else:
            assert "BADTIME" in fault(report, "zones").seen
            assert "900 s behind" in fault(report, "clock").seen or "901 s behind" in fault(report, "clock").seen


def test_certificates_are_judged_by_what_is_left() -> None:
    """Expired is a fault, two weeks are a warning."""
    day_s = 86_400.0
    ends = {"a": -day_s, "b": 5 * day_s, "c": 20 * day_s}
    found = check_certificates([Certificate(use=key, key=key, expires_at=1e9 + at) for key, at in ends.items()], 1e9)
    assert [check.state for check in found] == [State.FAULT, State.WARNING, State.OK]
    assert "1.0 days ago" in found[0].seen


async def test_certificates_of_the_config_are_looked_at(tmp_path: Path) -> None:
    """Of HTTP and of the store's client."""
    authority = Authority(tmp_path / "ca")
    for name in ("http", "client"):
        authority.issue(name)
    with Bind([ZONE]) as server:
        desk = Desk(tmp_path, servers=[server.port])
        desk.more["http"] = 'tls_cert_file = "ca/http.pem"\ntls_key_file = "ca/http.key"'
        desk.more["store"] = 'cert_file = "ca/client.pem"\nkey_file = "ca/client.key"'
        found = bad(await desk.examine())
    assert [(check.group.value, check.subject) for check in found] == [
        ("certificates", "store.cert_file"),
        ("certificates", "http.tls_cert_file"),
    ]
    assert all("expires in" in check.seen for check in found)


async def test_a_state_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """With the user that tried, and the command that makes it."""
    with Bind([ZONE]) as server:
        desk = Desk(tmp_path, servers=[server.port])
        desk.more["enactor"] = 'state_dir = "/proc/enactord"'
        found = fault(await desk.examine(), "disk")
    assert f"user {os.geteuid()}" in found.seen
    assert "install -d" in found.fix


def test_room_on_a_disk_is_judged_by_bytes_and_by_part() -> None:
    """A large disk that is nearly full is a warning before it is a fault."""
    gib = 1024**3
    assert judge_room(50 * gib, 100 * gib) is State.OK
    assert judge_room(4 * gib, 100 * gib) is State.WARNING
    assert judge_room(100 * 1024**2, gib) is State.WARNING
    assert judge_room(1024**2, 100 * gib) is State.FAULT


@pytest.mark.parametrize(
    ("mode", "owner", "user", "denied"),
    [
        (0o40700, 998, 0, False),
        (0o40500, 998, 0, True),
        (0o40600, 998, 0, True),
        (0o40077, 998, 0, True),
        (0o40500, 998, 998, False),
        (0o40500, 0, 0, False),
    ],
)
def test_root_judges_a_folder_for_its_owner(mode: int, owner: int, user: int, denied: bool) -> None:
    """Root may write everywhere; whoever else tries has tried."""
    assert bool(judge_rights(mode, owner, user)) is denied


async def test_a_state_directory_that_its_owner_may_not_write_is_told(tmp_path: Path) -> None:
    """Also where root looks at it."""
    folder = tmp_path / "state"
    folder.mkdir()
    if os.geteuid() == 0:
        os.chown(folder, _NOBODY, -1)
    folder.chmod(0o500)
    found = fault(await Desk(tmp_path, servers=[free_port()]).examine(), "disk")
    assert "write" in found.seen
    folder.chmod(0o700)


_NOBODY = 65534
_AS_ANOTHER = """
import asyncio, json, os, sys
from pathlib import Path
from enactord.config.reader import load_config
from enactord.doctor import examine
config = load_config(Path(sys.argv[1]))
if os.geteuid() == 0:
    os.setegid(65534)
    os.seteuid(65534)
print(json.dumps(asyncio.run(examine(config)).document()))
"""


@pytest.mark.parametrize("backend", ["embedded", "rfc2136"])
def test_a_folder_that_this_user_may_not_look_into_is_told(tmp_path: Path, backend: str) -> None:
    """Neither "there is none" nor an error that no rule foresees: which user is to look."""
    locked = tmp_path / "locked"
    (locked / "state").mkdir(parents=True)
    desk = Desk(tmp_path, servers=[free_port()] if backend == "rfc2136" else [], store=f"sqlite://{locked}/store.db")
    desk.more["enactor"] = f'state_dir = "{locked}/state"'
    desk.write()
    locked.chmod(0)
    done = subprocess.run([sys.executable, "-c", _AS_ANOTHER, str(desk.path)], capture_output=True, text=True)
    locked.chmod(0o700)
    assert done.returncode == 0, done.stderr
    checks = json.loads(done.stdout)["checks"]
    assert "unforeseen" not in done.stdout
    assert "no rule foresees" not in done.stdout
    denied = {check["group"] for check in checks if "as the enactor's user" in check["fix"]}
    assert denied >= {"store", "disk"}
    assert backend == "rfc2136" or "zones" in denied
    (installation,) = [check for check in checks if check["subject"] == "installation"]
    assert "cannot be read" in installation["seen"]


async def test_the_clock_of_an_etcd_is_read(tmp_path: Path) -> None:
    """Over HTTP, and over HTTPS with a client's certificate."""
    authority = Authority(tmp_path / "ca")
    authority.issue("server")
    with Etcd() as plain, Etcd(authority.at) as secured:
        tls = authority.tls("client")
        for server, shown in ((plain, Tls()), (secured, tls)):
            told = await ask_clock(server.endpoint, shown, 5.0)
            assert told is not None
            assert judge_clock("x", told, time.time()).state is State.OK


async def test_an_etcd_with_another_clock_is_told(tmp_path: Path) -> None:
    """This machine's clock is a minute ahead of both servers."""
    with Etcd() as etcd, Bind([ZONE]) as server:
        report = await Desk(tmp_path, servers=[server.port], store=etcd.url).examine(ahead_s=60.0)
        off = {check.subject for check in report.checks if check.state is State.FAULT}
        assert off == {f"etcd {etcd.endpoint}", f"DNS server {server.host}:{server.port}"}


@pytest.fixture
async def silent() -> AsyncIterator[int]:
    """A port that takes connections and never says a word."""
    held: list[asyncio.StreamWriter] = []

    async def hold(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    for writer in held:
        writer.close()


async def test_a_server_that_hangs_stops_no_other_check(tmp_path: Path, silent: int) -> None:
    """Each check has its time; the others are done."""
    with Bind([ZONE]) as server:
        report = await Desk(tmp_path, servers=[server.port], verify=[silent]).examine()
        assert [check.group.value for check in bad(report)] == ["verify servers"]
        report = await Desk(tmp_path, servers=[silent]).examine()
        assert "no answer" in fault(report, "zones").seen


async def test_the_embedded_server_without_its_key_is_not_known(tmp_path: Path) -> None:
    """The doctor makes no key: the daemon may be another user."""
    report = await Desk(tmp_path).examine()
    assert [check.state for check in report.checks if check.group == "zones"] == [State.UNKNOWN]
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("serial", "other", "older"),
    [(1, 2, True), (2, 1, False), (2, 2, False), (2**32 - 1, 0, True), (0, 2**32 - 1, False)],
)
def test_serials_are_compared_around_their_end(serial: int, other: int, older: bool) -> None:
    """RFC 1982."""
    assert behind(serial, other) is older


async def test_a_warning_of_the_config_is_shown(tmp_path: Path) -> None:
    """As check-config tells it."""
    with Bind([ZONE]) as server:
        desk = Desk(tmp_path, servers=[server.port], secret_mode=0o644)
        assert "chmod" in warning(await desk.examine(), "config").seen


async def test_a_disk_that_hangs_stops_no_other_check() -> None:
    """Its thread is left to itself: what waits for it has a time limit, and the program's end does not wait at all."""
    hangs = threading.Event()

    def hang() -> list[Check]:
        hangs.wait()
        return []

    checks = await told(Group.DISK, "x", 0.05, beside(hang))
    assert [check.state for check in checks] == [State.UNKNOWN]
    (thread,) = [thread for thread in threading.enumerate() if thread.name == "doctor"]
    assert thread.daemon
    hangs.set()
    await asyncio.to_thread(thread.join)


async def test_a_part_that_fails_unforeseen_is_not_known() -> None:
    """An error becomes a check of that part; the others are done."""

    def fails() -> list[Check]:
        raise RuntimeError("unforeseen")

    (check,) = await told(Group.DISK, "x", 5.0, beside(fails))
    assert check.state is State.UNKNOWN
    assert "unforeseen" in check.seen
