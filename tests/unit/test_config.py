"""A config is used as it is meant, or every problem in it is named at once, with its line."""

from pathlib import Path

import pytest

from enactord.backends.rfc2136.keys import Rfc2136Config
from enactord.config.reader import load_config
from enactord.core.errors import ConfigError
from enactord.core.retention import Keep
from enactord.wire.address import Address

GOOD = """
[enactor]
id = "enactor-a"
scope = "us-east-1"
state_dir = "state"

[store]
url = "etcd://h1:2379,h2:2379"
password_file = "password"

[[zone]]
name = "Example.test"
backend = "rfc2136"
server = "192.0.2.1:53"
tsig_name = "key"
tsig_secret_file = "secret"
verify = ["192.0.2.2:53", "[2001:db8::1]:5353"]

[[zone]]
name = "local.test"
backend = "embedded"

[guard]
targets_min = 2

[prune]
keep_plans = 0
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n")
    (tmp_path / "password").write_text("hunter2\n")
    for name in ("secret", "password"):
        (tmp_path / name).chmod(0o600)
    return tmp_path


def problems(folder: Path, text: str, *, for_daemon: bool = True) -> tuple[str, ...]:
    (folder / "c.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(folder / "c.toml", for_daemon=for_daemon)
    return caught.value.problems


def test_a_good_config_is_read_whole(folder: Path) -> None:
    """Names are normalised, paths are relative to the file, secrets come from their files."""
    (folder / "c.toml").write_text(GOOD)
    config = load_config(folder / "c.toml")
    assert config.enactor.state_dir == folder / "state"
    assert config.store.password == b"hunter2"
    first, second = config.zones
    assert first.name == "example.test."
    assert isinstance(first, Rfc2136Config)
    assert first.tsig_secret == b"0123456789abcdef0123456789abcdef"
    assert first.verify_servers == (Address(host="192.0.2.2", port=53), Address(host="2001:db8::1", port=5353))
    assert second.verify_servers == (Address(host="127.0.0.1", port=5354),)
    assert config.settings.limits.by_name()["targets_min"] == 2
    assert config.settings.keep == Keep(plans=0, window_s=300.0, history_s=86_400.0)
    assert not config.warnings


def test_secrets_never_show(folder: Path) -> None:
    """A config that is printed by mistake tells no secret."""
    (folder / "c.toml").write_text(GOOD)
    text = repr(load_config(folder / "c.toml"))
    assert "hunter2" not in text
    assert "0123456789abcdef" not in text


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ('id = "enactor-a"', "", "line 2: enactor.id: is missing"),
        ('scope = "us-east-1"', 'scope = "US East"', "line 4: enactor.scope"),
        ('url = "etcd://h1:2379,h2:2379"', 'url = "redis://h"', "line 8: store.url"),
        (
            'url = "etcd://h1:2379,h2:2379"',
            'url = "etcd://root:hunter2@h1:2379"',
            "line 8: store.url: must hold no name and no password: set store.username and store.password_file",
        ),
        (
            'url = "etcd://h1:2379,h2:2379"',
            'url = "ETCD://root:hun/ter2@h1:2379"',
            "line 8: store.url: must hold no name and no password: set store.username and store.password_file",
        ),
        ("targets_min = 2", "targets_mni = 2", "line 24: guard.targets_mni: unknown key; did you mean targets_min?"),
        ("targets_min = 2", "targets_min = 0", "line 24: guard.targets_min: must be an integer from 1"),
        ("targets_min = 2", "targets_min = true", "line 24: guard.targets_min: must be an integer"),
        ("[prune]", "[purne]", "line 26: purne: unknown table; did you mean prune?"),
        ('server = "192.0.2.1:53"', 'server = "192.0.2.1"', "line 14: zone.server: '192.0.2.1' must be \"host:port\""),
        ('tsig_secret_file = "secret"', 'tsig_secret_file = "missing"', "line 16: zone.tsig_secret_file"),
        ('tsig_secret_file = "secret"', 'tsig_secret_file = "password"', "base64"),
        ('name = "local.test"', 'name = "example.test."', "line 20: zone.name: example.test. is there twice"),
        ('backend = "embedded"', 'backend = "powerdns"', "line 21: zone.backend: 'powerdns' must be one of"),
        ("keep_plans = 0", "keep_plans = 1\n[http]\ntls_cert_file = 'secret'", "goes together with tls_key_file"),
    ],
)
def test_each_problem_has_its_line_and_key(folder: Path, before: str, after: str, found: str) -> None:
    """What is wrong, where, and what would be right."""
    assert before in GOOD
    told = problems(folder, GOOD.replace(before, after))
    assert any(found in problem for problem in told), told


def test_all_problems_are_told_at_once(folder: Path) -> None:
    """In the order of their lines, each with the file."""
    told = problems(folder, GOOD.replace('id = "enactor-a"', 'id = ""').replace("targets_min = 2", "targets_min = -1"))
    file = folder / "c.toml"
    assert [problem.partition(": enactor")[0].partition(": guard")[0] for problem in told] == [
        f"{file}: line 3",
        f"{file}: line 24",
    ]


def test_what_is_no_toml_or_no_file_is_told(folder: Path) -> None:
    """With the path."""
    assert "c.toml" in problems(folder, "[enactor")[0]
    with pytest.raises(ConfigError, match="nowhere"):
        load_config(folder / "nowhere.toml")


def test_a_secret_that_everybody_can_read_is_a_warning(folder: Path) -> None:
    """It works, and says how to mend it."""
    (folder / "secret").chmod(0o644)
    (folder / "c.toml").write_text(GOOD)
    assert "chmod" in load_config(folder / "c.toml").warnings[0]


def test_tools_need_no_id_and_no_secrets(folder: Path) -> None:
    """An operator's copy of the config works without what only the daemon needs."""
    text = GOOD.replace('id = "enactor-a"', "").replace('tsig_secret_file = "secret"', "")
    (folder / "c.toml").write_text(text)
    assert load_config(folder / "c.toml", for_daemon=False).enactor.scope == "us-east-1"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ('"[::]:8451"', (Address(host="::", port=8451),)),
        ('["127.0.0.1:1", "[::1]:1"]', (Address(host="127.0.0.1", port=1), Address(host="::1", port=1))),
    ],
)
def test_http_listens_on_a_text_or_a_list(folder: Path, given: str, expected: tuple[Address, ...]) -> None:
    """One address needs no brackets; several are a list."""
    (folder / "c.toml").write_text(f"{GOOD}[http]\nlisten = {given}\n")
    assert load_config(folder / "c.toml").http.listen == expected


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("[]", "a list of 1 to 16"),
        ("[1]", "a list of 1 to 16"),
        ("7", "a list of 1 to 16"),
        ('["127.0.0.1:1", "127.0.0.1"]', "host:port"),
        ('["127.0.0.1:1", "127.0.0.1:1"]', "twice"),
    ],
)
def test_a_list_to_listen_on_that_is_none_is_named(folder: Path, given: str, told: str) -> None:
    """With its line and key, as any other problem."""
    (problem,) = problems(folder, f"{GOOD}[http]\nlisten = {given}\n")
    assert "http.listen" in problem
    assert told in problem
