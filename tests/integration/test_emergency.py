"""enactorctl emergency on a real Knot, with the store away and no daemon anywhere."""

import json
from collections.abc import Iterator
from pathlib import Path

import dns.message
import dns.query
import dns.rdatatype
import pytest
from click.testing import CliRunner, Result

from enactord.cli.ctl import main as ctl
from tests.integration.test_ctl_zone import CONFIG, put
from tests.servers.dns_server import SECRET, DnsServer, free_port
from tests.servers.knot import Knot

SCOPE = "test"
ZONE = "example.test."
NAME = f"api.{ZONE}"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Knot]:
    with Knot([ZONE]) as server:
        (tmp_path / "tsig.secret").write_text(SECRET + "\n")
        (tmp_path / "tsig.secret").chmod(0o600)
        config = CONFIG.format(scope=SCOPE, directory=tmp_path, zone=ZONE, port=server.port)
        nowhere = f'url = "etcd://127.0.0.1:{free_port()}"'
        (tmp_path / "enactord.toml").write_text(config.replace(f'url = "sqlite://{tmp_path}/store.db"', nowhere))
        yield server


def run(tmp_path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(ctl, ["--config", str(tmp_path / "enactord.toml"), "emergency", *arguments])


def answers(server: DnsServer, name: str, rtype: str) -> list[str]:
    """What the server answers, each record as text, sorted."""
    answer = dns.query.tcp(dns.message.make_query(name, rtype), server.host, timeout=5, port=server.port)
    wanted = dns.rdatatype.from_text(rtype)
    return sorted(item.to_text() for rrset in answer.answer if rrset.rdtype == wanted for item in rrset)


def test_set_seal_and_release_without_a_store(server: Knot, tmp_path: Path) -> None:
    """Addresses and hold land in one update; another set replaces them; the release is above both."""
    arguments = ("set", NAME, "192.0.2.2", "192.0.2.1", "2001:db8::1", "--zone", ZONE, "--reason", "INC-4711 \N{BOMB}")
    first = run(tmp_path, *arguments, "--author", "alice", "--json")
    assert first.exit_code == 0, first.output
    document = json.loads(first.output)
    assert document["served"] == ["192.0.2.1", "192.0.2.2", "2001:db8::1"]
    assert (document["generation"], document["held"]) == (1, "alice: INC-4711 ?")
    assert answers(server, NAME, "A") == ["192.0.2.1", "192.0.2.2"]
    assert answers(server, NAME, "AAAA") == ["2001:db8::1"]
    held = "v=enactord1 scope=test gen=1 plan=0000000000000000 held=alice: INC-4711 ?"
    assert answers(server, f"_enactord.{ZONE}", "TXT") == [f'"{held}"']

    second = run(tmp_path, "set", NAME, "192.0.2.9", "--zone", ZONE, "--reason", "better")
    assert second.exit_code == 0, second.output
    assert f"{NAME} serves: 192.0.2.9" in second.output
    assert f"give it back with: enactorctl emergency release {ZONE}" in second.output
    assert answers(server, NAME, "A") == ["192.0.2.9"]
    assert answers(server, NAME, "AAAA") == []

    assert run(tmp_path, "seal", ZONE).exit_code == 0
    released = run(tmp_path, "release", ZONE)
    assert released.exit_code == 0, released.output
    assert answers(server, f"_enactord.{ZONE}", "TXT") == ['"v=enactord1 scope=test gen=4 plan=0000000000000000"']
    again = run(tmp_path, "release", ZONE)
    assert again.exit_code == 1
    assert "no operator holds" in again.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("set", NAME, "192.0.2.300", "--zone", ZONE, "--reason", "r"), "no IPv4 or IPv6 address"),
        (("set", "api.elsewhere.test", "192.0.2.3", "--zone", ZONE, "--reason", "r"), "is not in example.test."),
        (("set", NAME, "192.0.2.3", "--zone", "elsewhere.test", "--reason", "r"), "it has: example.test."),
        (("set", NAME, "192.0.2.3", "--zone", ZONE), "--reason"),
        (("set", f"_enactord.{ZONE}", "192.0.2.3", "--zone", ZONE, "--reason", "r"), "fence"),
        (("seal", "elsewhere.test"), "it has: example.test."),
    ],
)
def test_wrong_usage_says_what_is_wrong_and_changes_nothing(
    server: Knot, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    """Exit code 2, and no update."""
    done = run(tmp_path, *arguments)
    assert done.exit_code == 2, done.output
    assert said in done.output
    assert answers(server, f"_enactord.{ZONE}", "TXT") == []


def test_an_alias_is_not_overwritten(server: Knot, tmp_path: Path) -> None:
    """A CNAME is somebody's: the command says what to do first."""
    put(server, NAME, "CNAME", f"elsewhere.{ZONE}")
    done = run(tmp_path, "set", NAME, "192.0.2.3", "--zone", ZONE, "--reason", "r")
    assert done.exit_code == 1, done.output
    assert "alias to" in done.output
    assert answers(server, f"_enactord.{ZONE}", "TXT") == []


def test_a_server_that_is_away_is_said_to_be(server: Knot, tmp_path: Path) -> None:
    """Exit code 3, which server, and no traceback."""
    server.stop()
    done = run(tmp_path, "seal", ZONE)
    assert done.exit_code == 3, done.output
    assert "127.0.0.1" in done.output
