"""Whatever stands in a config file, it is used as it is meant, or refused by `ConfigError`: never by a traceback."""

import socket
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from enactord.backends.rfc2136.keys import Rfc2136Config
from enactord.config.reader import CONFIG_BYTES_MAX, PROBLEMS_MAX, load_config
from enactord.config.tables import Config
from enactord.core.errors import ConfigError
from enactord.core.names import parse_name, wire_name
from enactord.wire.address import Address
from enactord.wire.tsig import TsigKey
from tests.hostile.effort import damaged, tries
from tests.tokens import write_tokens
from tests.unit.test_config import GOOD

MORE = b"""
[store]
timeout_s = 2.5
ca_file = "password"
username = "u"

[repair]
names_per_s = 1

[http]
listen = "127.0.0.1:8451"
tokens_file = "tokens"
connections_max = 9

[log]
level = "debug"
format = "json"
"""
SAMPLES = [
    GOOD.encode(),
    GOOD.replace('password_file = "password"\n', "").encode() + MORE.replace(b"[store]", b"[guard.x]"),
]
TOKENS = [
    *b"[ ] [[ ]] = # ' \" ''' \"\"\" . , { } \\ \xff \xed\xa0\x80 \xef\xbb\xbf \r \x00 \x0c \xe2\x80\xa8".split(b" "),
    *b"nan inf -inf 0x 1e999 true 1979-05-27T07:32:00Z 07:32:00 [[zone]] [zone] [http] zone={} http=1 store=[]".split(),
    *(b"1" * 5000, b"0x" + b"f" * 5000, b"=" + b"[" * 5000, b"a." * 5000, b'"\\u0000"', b'"%d/x"', b'"%H"'),
    *b'"a..b:53" "[::::]:53" "h:0" ".:53" "\\u0000:53" "\xd9\xa5:\xd9\xa5" "/" "/dev/zero" "."'.split(),
    *(
        b'"' + b"x" * 70 + b'.y:53"',
        b'"' + b"x" * 5000 + b'"',
        b"timeout_s = 0x" + b"f" * 4000,
        b'tsig_name = "\xc3\xa9"',
    ),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("config")
    (folder / "secret").write_text("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n")
    (folder / "password").write_text("hunter2\n")
    write_tokens(folder / "tokens", alice="operator")
    return folder


def load(folder: Path, text: bytes) -> Config | None:
    """Read a config; what is accepted can be used, what is refused is named in bounded words."""
    path = folder / "c.toml"
    path.write_bytes(text)
    config: Config | None = None
    problems: tuple[str, ...] = ()
    try:
        config = load_config(path)
    except ConfigError as error:
        problems = error.problems
    if config is None:
        assert 0 < len(problems) <= PROBLEMS_MAX + 1
        assert max(map(len, problems)) < 10_000
        return None
    assert config.settings.zones
    for zone in config.zones:
        assert len(wire_name(parse_name(zone.name))) <= 255
        if isinstance(zone, Rfc2136Config):
            TsigKey(name=zone.tsig_name, algorithm=zone.tsig_algorithm, secret=zone.tsig_secret)
        for server in zone.verify_servers:
            assert can_be_asked_for(server)
    assert all(can_be_asked_for(address) for address in config.http.listen)
    assert "\0" not in str(config.enactor.state_dir)
    assert len(config.http.tokens.all) <= 1
    return config


def can_be_asked_for(address: Address) -> bool:
    """Whether looking the host up can end by an answer or an OSError, and by nothing else."""
    try:
        socket.getaddrinfo(address.host, address.port, flags=socket.AI_NUMERICHOST)
    except OSError:
        pass
    return 0 < address.port < 65536


def test_the_samples_are_read(folder: Path) -> None:
    """What the tests below damage is accepted, the second but for one table that is not known."""
    assert load(folder, SAMPLES[0]) is not None
    assert load(folder, SAMPLES[1].replace(b"[guard.x]", b"[store.x]")) is None


@tries(250)
@given(text=damaged(SAMPLES, tokens=TOKENS))
def test_damaged_configs(folder: Path, text: bytes) -> None:
    """A config that is cut, changed or put together anew is read or refused."""
    load(folder, text)


LINES = [line for line in GOOD.splitlines() + MORE.decode().splitlines() if " = " in line]


@tries(250)
@given(
    line=st.sampled_from(LINES), value=st.sampled_from(TOKENS) | st.text(max_size=30).map(lambda text: text.encode())
)
@example(line='server = "192.0.2.1:53"', value=b'"a..b:53"')
@example(line='server = "192.0.2.1:53"', value=b'"[::::]:53"')
@example(line='tsig_name = "key"', value=b'"' + b"x" * 70 + b'"')
@example(line='state_dir = "state"', value=b'"a\\u0000b"')
@example(line='tsig_secret_file = "secret"', value=b'"a\\u0000b"')
@example(line='listen = "127.0.0.1:8451"', value=b'"a\\u0000b:1"')
def test_any_value_of_any_key(folder: Path, line: str, value: bytes) -> None:
    """A value of any kind, in whatever key's place, is used or refused."""
    key = line.partition(" = ")[0].encode()
    config = GOOD.encode().replace(line.encode(), key + b" = " + value, 1)
    if line not in GOOD:
        table = MORE.decode()[: MORE.decode().index(line)].rpartition("[")[2].partition("]")[0].encode()
        config = config.replace(b"[" + table + b"]", b"[" + table + b"]\n" + key + b" = " + value, 1)
        if b"[" + table + b"]" not in config:
            config += b"\n[" + table + b"]\n" + key + b" = " + value
    load(folder, config)


@pytest.mark.parametrize(
    "text", [b"a=" + b"[" * 100_000, b"a=" + b"{a=" * 100_000, b"[" + b"a." * 6_000 + b"a]", b"a=" + b"1" * 5000]
)
def test_depth_and_length_without_end(folder: Path, text: bytes) -> None:
    """Nesting and numbers beyond what Python reads are problems of the file."""
    assert load(folder, text) is None


def test_a_file_without_end_is_not_read_to_its_end(folder: Path) -> None:
    """A config, or a secret, that is a device or a huge file is refused after its first part."""
    with pytest.raises(ConfigError):
        load_config(Path("/dev/zero"))
    (folder / "large").write_bytes(b"#" * (CONFIG_BYTES_MAX + 1))
    with pytest.raises(ConfigError, match="longer"):
        load_config(folder / "large")
    (folder / "large").write_bytes(b"#" + "é".encode() * CONFIG_BYTES_MAX)  # a limit in bytes, whatever the letters
    with pytest.raises(ConfigError, match="longer"):
        load_config(folder / "large")
    assert load(folder, GOOD.replace('"password"', '"/dev/zero"').encode()) is None


@pytest.mark.parametrize("secret", [b"", b"\n", b" \t\n"])
def test_an_empty_secret_is_no_secret(tmp_path: Path, secret: bytes) -> None:
    """A file of a secret that holds none is a problem: else writing would be off, or signing fail, without a word."""
    for name in ("secret", "password"):
        (tmp_path / name).write_bytes(b"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
    for name in ("secret", "password"):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(secret)
        assert load(tmp_path, GOOD.encode()) is None
        (tmp_path / name).write_bytes(whole)
    assert load(tmp_path, GOOD.encode()) is not None


def test_problems_without_number_are_cut(folder: Path) -> None:
    """Thousands of unknown keys are not looked for one by one in thousands of lines."""
    lines = b"".join(b"k%d=1\n" % number for number in range(12_000))
    assert load(folder, b"[guard]\n" + lines) is None
