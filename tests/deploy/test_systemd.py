"""The files for systemd, judged by systemd's own tools."""

import re
import sys
from pathlib import Path

import pytest

from enactord.config.reader import load_config
from enactord.http.app import STUCK_S
from tests.deploy.tools import ROOT, run
from tests.servers.dns_server import SECRET

FOLDER = ROOT / "deploy" / "systemd"
UNIT = FOLDER / "enactord.service"
EXPOSURE_MAX = 2.0
CREDENTIALS = {"tsig.secret": SECRET, "etcd.password": "hunter2"}


def settings(unit: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"^(\w+)=(.*)$", unit, re.MULTILINE):
        found.setdefault(key, []).append(value)
    return found


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The unit with the programs of this environment in place of those in /opt/enactord."""
    program = Path(sys.executable).with_name("enactord")
    assert program.exists(), "run `make setup`"
    path = tmp_path / UNIT.name
    path.write_text(UNIT.read_text().replace("/opt/enactord/bin/enactord", str(program)))
    return path


def test_systemd_takes_the_unit(installed: Path) -> None:
    """Every directive is known, and has a value that is meant."""
    done = run("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(installed))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_systemd_finds_a_directive_that_it_does_not_know(installed: Path) -> None:
    """The test above can fail."""
    installed.write_text(installed.read_text().replace("PrivateTmp=", "PrivateTemp="))
    done = run("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(installed))
    assert "PrivateTemp" in done.stderr


def test_the_unit_exposes_little() -> None:
    """systemd's own judgement of the sandbox, 0 to 10."""
    limit = f"--threshold={EXPOSURE_MAX * 10:.0f}"
    done = run("systemd-analyze", "security", "--offline=true", limit, "--no-pager", str(UNIT))
    assert done.returncode == 0, done.stdout
    assert "Overall exposure level for enactord.service" in done.stdout


def test_the_user_is_made(tmp_path: Path) -> None:
    """systemd-sysusers makes the user and group that the unit names."""
    (tmp_path / "etc").mkdir()
    done = run("systemd-sysusers", f"--root={tmp_path}", "--dry-run", str(FOLDER / "enactord.sysusers.conf"))
    assert done.returncode == 0, done.stderr
    unit = settings(UNIT.read_text())
    assert f"Creating user '{unit['User'][0]}'" in done.stderr
    assert f"Creating group '{unit['Group'][0]}'" in done.stderr


def test_the_folders_are_made(tmp_path: Path) -> None:
    """systemd-tmpfiles takes every line; secrets are for root alone."""
    own = tmp_path / "own.conf"
    text = (FOLDER / "enactord.tmpfiles.conf").read_text()
    # As whoever runs this test: giving files away is root's, and root need not be who tests.
    own.write_text(re.sub(r"root (enactord|root)$", "- -", text, flags=re.MULTILINE))
    assert own.read_text() != text
    for _ in range(2):
        done = run("systemd-tmpfiles", "--create", f"--root={tmp_path}", str(own))
        assert (done.returncode, done.stderr) == (0, "")
        secret = tmp_path / "etc/enactord/credentials/tsig.secret"
        secret.touch()
        secret.chmod(0o644)
        (tmp_path / "etc/enactord/enactord.toml").touch()
    modes = {path: (tmp_path / path).stat().st_mode & 0o777 for path in ("etc/enactord", "etc/enactord/credentials")}
    assert modes == {"etc/enactord": 0o750, "etc/enactord/credentials": 0o700}
    assert (tmp_path / "etc/enactord/http.tokens").stat().st_mode & 0o777 == 0o640
    run("systemd-tmpfiles", "--create", f"--root={tmp_path}", str(own))
    assert secret.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "etc/enactord/enactord.toml").stat().st_mode & 0o777 == 0o640


def test_the_config_is_accepted_with_the_credentials_that_the_unit_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who installs the files as they are has a config that `enactord check-config` takes."""
    loaded = [value.partition(":")[0] for value in settings(UNIT.read_text())["LoadCredential"]]
    assert sorted(loaded) == sorted(CREDENTIALS)
    named = re.findall(r'"%d/([^"]+)"', (FOLDER / "enactord.toml").read_text())
    assert sorted(named) == sorted(loaded)
    for name, secret in CREDENTIALS.items():
        (tmp_path / name).write_text(secret + "\n")
        (tmp_path / name).chmod(0o400)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    path = tmp_path / "enactord.toml"
    path.write_text((FOLDER / "enactord.toml").read_text())
    (tmp_path / "http.tokens").touch(0o640)  # as systemd-tmpfiles makes it
    done = run("enactord", "check-config", str(path))
    assert (done.returncode, done.stderr) == (0, "")
    config = load_config(path)
    unit = settings(UNIT.read_text())
    assert str(config.enactor.state_dir) == f"/var/lib/{unit['StateDirectory'][0]}"
    assert config.warnings == ()


def test_the_watchdog_waits_as_long_as_health_does() -> None:
    """A loop that /healthz still calls alive must not be killed."""
    unit = settings(UNIT.read_text())
    assert float(unit["WatchdogSec"][0].removesuffix("s")) >= STUCK_S
    assert unit["Type"] == ["notify"]


def test_the_documented_exposure_is_the_one_that_systemd_finds() -> None:
    """The number in README.md beside the unit does not go stale."""
    told = re.search(r"exposure of ([\d.]+) of 10", (FOLDER / "README.md").read_text())
    assert told is not None
    found = run("systemd-analyze", "security", "--offline=true", "--no-pager", str(UNIT))
    assert f"enactord.service: {told[1]} " in found.stdout
