"""Zones of each backend: the keys that it takes, its defaults, and what is said of keys of another."""

import asyncio
import sys
from pathlib import Path

import pytest

from enactord.backends.rfc2136.keys import Rfc2136Config
from enactord.config.reader import load_config
from enactord.config.tables import Config
from enactord.core.errors import ConfigError, ZoneUnproved
from enactord.core.records import Refused, Transaction
from enactord.core.render import WEIGHTED
from enactord.daemon.wiring import open_zones
from tests.servers.dns_server import SECRET
from tests.servers.tcp_peer import Peer, serving

HEAD = """
[enactor]
id = "e1"
scope = "s"
[store]
url = "{store}"
"""
ROUTE53 = '[[zone]]\nname = "a.test"\nbackend = "route53"\nhosted_zone_id = "Z0123"\n'
ANOTHER = ROUTE53.replace("a.test", "d.test")
SKYDNS = '[[zone]]\nname = "b.test"\nbackend = "skydns"\n'
EMBEDDED = '[[zone]]\nname = "c.test"\nbackend = "embedded"\n'


def load(folder: Path, zones: str, *, store: str = "etcd://h:2379") -> Config:
    path = folder / "c.toml"
    path.write_text(HEAD.format(store=store) + zones)
    return load_config(path)


def problems(folder: Path, zones: str, *, store: str = "etcd://h:2379") -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load(folder, zones, store=store)
    return caught.value.problems


def test_a_zone_of_route_53_is_weighted_and_takes_its_time(tmp_path: Path) -> None:
    """It expresses weights, so no sample is drawn; a change takes a minute to be served everywhere."""
    config = load(tmp_path, ROUTE53)
    (zone,) = config.settings.zones
    assert zone.answers_max == WEIGHTED
    assert (zone.in_flight_max, zone.verify_timeout_s) == (2, 90)
    assert config.zones[0].verify_servers == ()
    assert config.repair.interval_s == 300
    assert config.warnings == ()


def test_a_zone_of_skydns_has_small_batches_and_says_what_is_verified(tmp_path: Path) -> None:
    """A transaction of etcd holds 128 operations; without DNS servers to ask, keys alone are read back."""
    config = load(tmp_path, SKYDNS)
    (zone,) = config.settings.zones
    assert zone.batch_names_max == 10
    assert ["zone.verify" in warning for warning in config.warnings] == [True]
    assert load(tmp_path, SKYDNS + 'verify = ["192.0.2.1:53"]\n').warnings == ()


def test_other_zones_are_as_before(tmp_path: Path) -> None:
    """No key has to change for rfc2136 and embedded."""
    config = load(tmp_path, EMBEDDED, store="sqlite:///tmp/s")
    (zone,) = config.settings.zones
    assert (zone.answers_max, zone.batch_names_max, zone.in_flight_max, zone.verify_timeout_s) == (16, 50, 16, 3)
    assert [str(server) for server in config.zones[0].verify_servers] == ["127.0.0.1:5354"]
    assert config.repair.interval_s == 30


@pytest.mark.parametrize(
    ("zones", "said"),
    [
        (ROUTE53 + 'server = "192.0.2.1:53"', "server: is not for the backend route53, but for rfc2136 and embedded"),
        (ROUTE53 + 'verify = ["192.0.2.1:53"]', "zone.verify: is not for route53"),
        (ROUTE53 + "answers_max = 8", "zone.answers_max: is not for route53"),
        (ROUTE53 + 'skydns_path = "/x"', "zone.skydns_path: is not for the backend route53, but for skydns"),
        (ROUTE53 + 'endpoint_url = "h"', "zone.endpoint_url: must begin with http"),
        (ROUTE53.replace("Z0123", "z/../x"), "zone.hosted_zone_id: must be as Route 53 shows it"),
        (ROUTE53.replace('hosted_zone_id = "Z0123"\n', ""), "zone.hosted_zone_id: is missing"),
        (ROUTE53 + ANOTHER + "requests_per_s = 5", "zone.requests_per_s: must be the same as of a.test."),
        (SKYDNS + 'tsig_name = "k"', "zone.tsig_name: is not for the backend skydns, but for rfc2136 and embedded"),
        (SKYDNS + "answers_max = 51", "zone.answers_max: must be an integer from 1 to 50"),
        (SKYDNS + 'skydns_path = "skydns/"', "zone.skydns_path: must begin, but not end"),
        (EMBEDDED + 'hosted_zone_id = "Z1"', "zone.hosted_zone_id: is not for the backend embedded, but for route53"),
        (EMBEDDED + 'server = ["127.0.0.1:5354"]', "zone.server: must be a text, is ['127.0.0.1:5354']"),
        (EMBEDDED + "verify_timeout_s = 0", "zone.verify_timeout_s: must be a number from 0.1 to 600"),
    ],
)
def test_a_key_of_another_backend_is_a_problem(tmp_path: Path, zones: str, said: str) -> None:
    """It would be without effect; whoever wrote it believes otherwise."""
    found = problems(tmp_path, zones)
    assert len(found) == 1, found
    assert said in found[0]


def listed(folder: Path, servers: str) -> str:
    (folder / "key").write_text(SECRET)
    (folder / "key").chmod(0o600)
    zone = '[[zone]]\nname = "e.test"\nbackend = "rfc2136"\ntsig_name = "k"\ntsig_secret_file = "key"\n'
    return f"{zone}server = {servers}\n"


async def test_a_list_of_servers_is_a_choice_and_one_server_is_none(tmp_path: Path) -> None:
    """The first one is verified by default; where there is a choice, whichever is written to."""
    one = load(tmp_path, listed(tmp_path, '["192.0.2.1:53"]'))
    async with open_zones(one) as zones:
        assert zones["e.test."].primaries is None
        assert zones["e.test."].settings.primaries == ("192.0.2.1:53",)
    config = load(tmp_path, listed(tmp_path, '["192.0.2.1:53", "[2001:db8::1]:53"]'))
    async with open_zones(config) as zones:
        ports = zones["e.test."]
        assert ports.primaries is not None
        assert ports.primaries.names == ("192.0.2.1:53", "[2001:db8::1]:53")
        assert ports.primary == "192.0.2.1:53"
        assert [verifier.server for verifier in ports.verifiers] == ["the primary"]


@pytest.mark.parametrize(
    ("servers", "said"),
    [
        ("[]", "zone.server: must be"),
        ('["192.0.2.1:53", "192.0.2.1:53"]', "zone.server: names an address twice"),
        ('["192.0.2.1"]', "zone.server: '192.0.2.1' must be"),
        ("5", "zone.server: must be"),
    ],
)
def test_a_list_that_is_none_is_a_problem(tmp_path: Path, servers: str, said: str) -> None:
    (found,) = problems(tmp_path, listed(tmp_path, servers))
    assert said in found


def test_a_zone_without_a_server_is_a_problem(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, listed(tmp_path, "1").replace("server = 1\n", ""))
    assert "zone.server: is missing" in found


def test_records_for_coredns_need_an_etcd(tmp_path: Path) -> None:
    """CoreDNS reads no SQLite file."""
    (found,) = problems(tmp_path, SKYDNS, store="sqlite:///tmp/s")
    assert "store.url: must be etcd://" in found


async def test_route_53_without_boto3_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra: who has no zone there needs none of it."""
    for name in [name for name in sys.modules if name.startswith("enactord.backends.route53")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(ConfigError, match=r"boto3: pip install 'enactord\[route53\]'"):
        async with open_zones(load(tmp_path, ROUTE53)):
            pass


CLAUSE = f'key "enactor" {{ algorithm hmac-sha384; secret "{SECRET}"; }};'


def keyed(folder: Path, file: str, keys: str = "", name: str = "e.test") -> str:
    """Return a zone of rfc2136 whose key's file holds this."""
    (folder / "tsig").write_text(file)
    (folder / "tsig").chmod(0o600)
    return (
        f'[[zone]]\nname = "{name}"\nbackend = "rfc2136"\nserver = "192.0.2.1:53"\ntsig_secret_file = "tsig"\n{keys}\n'
    )


@pytest.mark.parametrize(
    ("file", "keys", "expected"),
    [
        (CLAUSE, "", ("enactor", "hmac-sha384")),
        (CLAUSE, 'tsig_name = "ENACTOR."\ntsig_algorithm = "HMAC-SHA384."', ("ENACTOR.", "hmac-sha384")),
        (SECRET, 'tsig_name = "k"', ("k", "hmac-sha256")),
        (SECRET, 'tsig_name = "k"\ntsig_algorithm = "Hmac-SHA512"', ("k", "hmac-sha512")),
        (CLAUSE + CLAUSE.replace("enactor", "other"), 'tsig_name = "other"', ("other", "hmac-sha384")),
    ],
)
def test_a_key_is_what_its_file_and_its_table_say_together(
    tmp_path: Path, file: str, keys: str, expected: tuple[str, str]
) -> None:
    """What the file tells may be left out; names and algorithms are compared as DNS compares them."""
    (zone,) = load(tmp_path, keyed(tmp_path, file, keys)).zones
    assert isinstance(zone, Rfc2136Config)
    assert (zone.tsig_name, zone.tsig_algorithm, len(zone.tsig_secret)) == (*expected, 32)


@pytest.mark.parametrize(
    ("file", "keys", "told"),
    [
        (CLAUSE, 'tsig_name = "k"', "line 12: zone.tsig_name: is 'k', but the key in tsig_secret_file is 'enactor'"),
        (
            CLAUSE,
            'tsig_algorithm = "hmac-sha256"',
            "line 12: zone.tsig_algorithm: is hmac-sha256, but the key in tsig_secret_file is of hmac-sha384",
        ),
        (SECRET, "", "zone.tsig_name: is missing"),
        (SECRET, 'tsig_name = "k"\ntsig_algorithm = "hmac-md5"', "zone.tsig_algorithm: hmac-md5 is refused: RFC 8945"),
        ("no base64!", 'tsig_name = "k"', "it is no base64: it must hold a key as tsig-keygen prints it"),
        (CLAUSE.replace("enactor", "a" * 64), "", "zone.tsig_secret_file: the name of the key in it is no name"),
    ],
)
def test_a_key_that_contradicts_itself_is_named_with_both_sides(
    tmp_path: Path, file: str, keys: str, told: str
) -> None:
    """With the config's file and the line of the key."""
    found = problems(tmp_path, keyed(tmp_path, file, keys))
    assert any(told in problem and problem.startswith(f"{tmp_path / 'c.toml'}: line ") for problem in found), found


def named(length: int) -> str:
    """Return a name of so many characters, its final dot included."""
    rest = length - len("test.")
    name = "".join("a" * min(60, left - 1) + "." for left in range(rest, 0, -61)) + "test."
    assert len(name) == length
    return name


def test_a_zone_leaves_room_for_its_fence(tmp_path: Path) -> None:
    """The fence's name has ten bytes more than the zone's; one of 255 bytes is the longest that DNS knows."""
    assert load(tmp_path, keyed(tmp_path, CLAUSE, name=named(244))).zones
    for length in (245, 254):
        (problem,) = problems(tmp_path, keyed(tmp_path, CLAUSE, name=named(length)))
        assert "zone.name: too long" in problem
        assert "244" in problem


async def test_a_thousand_zones_of_one_server_share_a_few_connections(tmp_path: Path) -> None:
    """Writes and reads of all zones at once: the server sees six connections at most, and answers every zone."""
    names = [f"z{number}.test." for number in range(1000)]
    opened = 0

    async def echo(peer: Peer) -> None:
        nonlocal opened
        opened += 1
        while True:
            message = bytearray(await peer.receive())
            message[2:4] = b"\xa8\x05"  # to an update: REFUSED
            peer.reply(bytes(message))

    async with serving(echo) as port:
        stanzas = [keyed(tmp_path, CLAUSE, name=name).replace("192.0.2.1:53", f"127.0.0.1:{port}") for name in names]
        config = load(tmp_path, "".join(stanzas))
        async with open_zones(config) as zones:
            write = Transaction(fence_seen=())
            outcomes = await asyncio.gather(*(zones[name].zone.write(write) for name in names))
            assert {type(outcome) for outcome in outcomes} == {Refused}
            reads = await asyncio.gather(*(zones[name].zone.read([name]) for name in names), return_exceptions=True)
            assert {type(read) for read in reads} == {ZoneUnproved}, "the answers are to another kind of question"
    assert 2 <= opened <= 6
