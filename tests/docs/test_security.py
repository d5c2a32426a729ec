"""SECURITY.md promises nothing that is not there: commands, keys, files, alerts and the guards' numbers."""

import re
from pathlib import Path

import pytest

from enactord.config.tables import TABLE_ORDER, keys_of
from enactord.core.guards import LIMITS, replaced
from tests.docs.metrics import RULES
from tests.docs.reference import ROOT
from tests.docs.runbook import commands
from tests.docs.test_runbook import parse

TEXT = (ROOT / "SECURITY.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("command", sorted(set(commands(TEXT))))
def test_every_command_in_it_exists(command: str) -> None:
    """Who has lost a token does not try out options."""
    if not command.endswith("token create"):
        parse(command)


def test_every_key_alert_and_file_in_it_exists() -> None:
    all_keys = {f"{table}.{key.name}" for table in TABLE_ORDER for key in keys_of(table)}
    named = set(re.findall(rf"`((?:{'|'.join(TABLE_ORDER)})\.\w+)`", TEXT))
    assert {"http.read_needs_token", "http.tls_cert_file"} <= named <= all_keys
    rules = RULES.read_text(encoding="utf-8")
    alerts = set(re.findall(r"`(Enactord\w+)`", TEXT))
    assert alerts
    assert not [alert for alert in alerts if f"alert: {alert}" not in rules]
    files = set(re.findall(r"`((?:tests|deploy)/[\w./-]*)`", TEXT)) | set(re.findall(r"\]\((\w+\.md)\)", TEXT))
    assert "tests/deploy/test_secrets.py" in files
    assert not [file for file in files if not Path(ROOT, file).exists()]


def test_what_a_planner_may_change_is_what_the_guards_let_pass() -> None:
    """The defaults that the table tells in words."""
    limits = LIMITS.by_name()
    told = {
        "a fifth of the names may go": limits["endpoints_removed_max_ratio"] == 0.2,
        "three tenths may change": limits["endpoints_replaced_max_ratio"] == 0.3,
        "up to three names always may": "three may always move" in replaced.GUARD.keys[0].meaning,
        "half of a name's capacity": limits["capacity_removed_max_ratio"] == 0.5,
        "within five minutes": limits["velocity_window_s"] == 300,
    }
    assert all(right and words in TEXT for words, right in told.items()), told
