"""The alert rules: accepted by promtool, each tried both ways, each with what a person at night needs."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.observability.rules import ALERTS, CASES, DIRECTORY, EXPRESSIONS, RULES, apart, cases
from tests.servers.web_server import program

_FIRST = 20
"""Cases that are tried again with links changed."""


def promtool(*arguments: str) -> str:
    """Run promtool beside the rules; returns what it says, or fails the test with it."""
    done = subprocess.run([program("promtool"), *arguments], cwd=DIRECTORY, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_rules_are_accepted_as_they_stand() -> None:
    """By promtool, with its lint; and the example config that loads them."""
    assert f"{len(EXPRESSIONS)} rules found" in promtool("check", "rules", RULES.name)
    assert "SUCCESS" in promtool("check", "config", "prometheus.example.yml")


@pytest.mark.long
def test_rules_say_what_their_cases_expect() -> None:
    """Labels, and annotations as they are rendered, included."""
    assert "SUCCESS" in promtool("test", "rules", CASES.name)


def test_each_rule_says_what_its_cases_expect(tmp_path: Path) -> None:
    """The same, of each alert with the recording rules alone: Prometheus evaluates every rule that it has."""
    files = apart(tmp_path)
    assert len(files) == len(ALERTS)
    assert promtool("test", "rules", *map(str, files)).count("SUCCESS") == len(files)


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_is_tried_both_ways(alert: str) -> None:
    """At least one case in which it fires, and one, as near as may be, in which it must not."""
    fires = [bool(case["exp_alerts"]) for case in cases() if case["alertname"] == alert]
    assert True in fires
    assert (False in fires) is (alert != "EnactordHeartbeat")  # it always fires


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_says_what_to_do(alert: str) -> None:
    """How bad it is, what is the case, what is served meanwhile, and which section of the runbook to open."""
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in {"critical", "warning", "info"} or alert == "EnactordHeartbeat"
    assert rule["annotations"]["runbook_url"] == f"deploy/RUNBOOK.md#{alert.lower()}"
    assert {"summary", "description"} <= rule["annotations"].keys()
    assert re.fullmatch(r"Enactord[A-Z]\w+", alert)


def test_every_invariant_is_watched() -> None:
    """I1 to I8, by at least one alert each."""
    watched = {invariant for rule in ALERTS.values() for invariant in re.findall(r"I\d", str(rule["annotations"]))}
    assert watched == {f"I{number}" for number in range(1, 9)}


def test_links_to_the_runbook_are_absolute_where_they_are_asked_to_be(tmp_path: Path) -> None:
    """In every file with alerts; the rules stay rules, and the first of their cases hold."""
    script = DIRECTORY.parents[1] / "scripts" / "deploy-files"
    url = "https://wiki.example.com/enactord/RUNBOOK.md"
    done = subprocess.run([script, url, tmp_path / "out"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    copied = tmp_path / "out" / "prometheus"
    for file in (copied / RULES.name, tmp_path / "out" / "kubernetes" / "monitoring" / "prometheusrule.yaml"):
        links = re.findall(r"runbook_url: (\S+)", file.read_text(encoding="utf-8"))
        assert len(links) == len(ALERTS)
        assert all(link.startswith(f"{url}#enactord") for link in links)
    tried_by = (copied / CASES.name).read_text(encoding="utf-8").split("\n  - name: ")
    assert len(tried_by) > len(ALERTS)
    (copied / CASES.name).write_text("\n  - name: ".join(tried_by[: _FIRST + 1]), encoding="utf-8")
    tried = subprocess.run(
        [program("promtool"), "test", "rules", CASES.name], cwd=copied, capture_output=True, timeout=60
    )
    assert tried.returncode == 0, tried.stdout
    assert list((tmp_path / "out" / "dashboards").glob("*.json"))


@pytest.mark.parametrize("url", ["", "RUNBOOK.md", "ftp://x/y", "https://x/a b", 'https://x/"'])
def test_a_link_that_is_none_is_refused(tmp_path: Path, url: str) -> None:
    """With how to say it; nothing is written."""
    script = DIRECTORY.parents[1] / "scripts" / "deploy-files"
    done = subprocess.run([script, url, tmp_path / "out"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "RUNBOOK_URL=https://" in done.stderr
    assert not (tmp_path / "out").exists()
