"""README's example: its config is taken as it stands, and its commands work in the order in which they are told."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from enactord.cli import ctl, daemon
from enactord.config.reader import load_config
from tests.docs.reference import ROOT
from tests.docs.runbook import commands
from tests.docs.test_runbook import parse
from tests.servers.dns_server import SECRET

README = (ROOT / "README.md").read_text(encoding="utf-8")
INSTALL = README.partition("## Install and configure\n")[2].partition("\n## ")[0]
FOLDER = "/etc/enactord/"
(CONFIG,) = re.findall(r"^```toml\n(.*?)^```\n", INSTALL, re.MULTILINE | re.DOTALL)
COMMANDS = sorted(set(commands(INSTALL.replace(f"```toml\n{CONFIG}```\n", ""))))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_installation_exists(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Options and arguments are taken by the program of today."""
    monkeypatch.chdir(tmp_path)
    for name in ("enactord.toml", "plan.json"):
        Path(name).touch()
    parse(command)


def test_the_programs_are_on_the_path_before_they_are_typed() -> None:
    assert 0 < INSTALL.find('export PATH="$PATH:/opt/enactord/bin"') < INSTALL.find("\nenactorctl ")


def test_the_config_is_sound_once_the_token_is_made_and_not_before(tmp_path: Path) -> None:
    """In the order of the text: the config's line, the token, the file's owner and mode, the check."""
    assert CONFIG.count(FOLDER) == 2
    config = tmp_path / "enactord.toml"
    config.write_text(CONFIG.replace(FOLDER, f"{tmp_path}/").replace("/var/lib/enactord", str(tmp_path)))
    (tmp_path / "tsig.secret").write_text(SECRET)
    (tmp_path / "tsig.secret").chmod(0o600)
    steps = ["token create planner-1 --role planner", f"chown root:enactord {FOLDER}http.tokens", "check-config"]
    places = [INSTALL.find(step) for step in steps]
    assert 0 < places[0] < places[1] < places[2]
    before = CliRunner().invoke(daemon.main, ["check-config", str(config)])
    assert before.exit_code == 2
    assert "enactorctl token create" in before.output
    made = CliRunner().invoke(ctl.main, ["--config", str(config), *steps[0].split()])
    assert made.exit_code == 0, made.output
    (tmp_path / "http.tokens").chmod(0o640)
    checked = CliRunner().invoke(daemon.main, ["check-config", str(config)])
    assert checked.exit_code == 0, checked.output
    assert load_config(config).warnings == ()


def test_the_key_of_the_zone_has_one_name_wherever_it_is_told() -> None:
    """Who copies the DNS server's config from one file and enactord's from another gets updates that are taken."""
    runbook = (ROOT / "deploy" / "RUNBOOK.md").read_text(encoding="utf-8")
    examples = [README, *(path.read_text(encoding="utf-8") for path in (ROOT / "deploy").rglob("enactord.toml"))]
    names = {name for text in examples for name in re.findall(r'^tsig_name = "(.+)"', text, re.MULTILINE)}
    names |= set(re.findall(r"^tsig-keygen -a \S+ (\S+)", runbook, re.MULTILINE))
    names |= set(re.findall(r"\b(?:grant|key) (\w+)(?: zonesub|;)", README))
    assert names == {"enactord"}
