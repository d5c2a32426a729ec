"""enactorctl doctor as a command: exit codes, what people read, and the document for programs."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from enactord.cli.ctl import main as ctl
from tests.doctor.desk import ZONE, Desk
from tests.servers.bind import Bind
from tests.servers.dns_server import free_port


@pytest.fixture(scope="module")
def bind() -> Iterator[Bind]:
    with Bind([ZONE]) as server:
        yield server


def run(desk: Desk, *words: str) -> Result:
    desk.write()
    return CliRunner().invoke(ctl, ["--config", str(desk.path), "doctor", *words])


def test_all_well_is_exit_0(tmp_path: Path, bind: Bind) -> None:
    """Every subject with what was seen, and the counts at the end."""
    done = run(Desk(tmp_path, servers=[bind.port]))
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[-1].endswith(" ok, 0 warning, 0 fault, 0 unknown")


def test_a_fault_is_exit_1_in_lines_that_fit(tmp_path: Path, bind: Bind) -> None:
    """The fix stands below what was seen; no line is wider than 80 columns unless a single word is."""
    desk = Desk(tmp_path, servers=[bind.port], key_name="nobody")
    done = run(desk)
    assert done.exit_code == 1, done.output
    assert "fault    example.test. at" in done.output
    assert "do: add the key to the server" in done.output
    assert [line for line in done.output.splitlines() if len(line) > 80 and len(line.split()) > 2] == []
    document = json.loads(run(desk, "--json").output)
    assert document["well"] is False
    assert document["counts"]["fault"] == 1
    assert {"group", "subject", "state", "seen", "fix"} == set(document["checks"][0])


def test_what_cannot_be_asked_is_exit_3(tmp_path: Path) -> None:
    """No fault is known, and not all was looked at."""
    desk = Desk(tmp_path)
    assert run(desk).exit_code == 3


def test_a_config_that_cannot_be_used_is_exit_2(tmp_path: Path) -> None:
    """As with every command: each problem of it is named."""
    desk = Desk(tmp_path, servers=[free_port()], zone="not a zone")
    done = run(desk, "--json")
    assert done.exit_code == 2
    assert json.loads(done.output)["error"]["kind"] == "config"
