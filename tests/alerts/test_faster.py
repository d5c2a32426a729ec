"""Rules and config are those that are shipped, with every time divided, and nothing else changed."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.alerts.faster import (
    AGES,
    FACTOR,
    divided,
    faster_alertmanager,
    faster_expression,
    faster_rules,
    faster_scrape,
    seconds,
    written,
)
from tests.observability.rules import ALERTS, DIRECTORY, EXPRESSIONS, RULES
from tests.servers.web_server import program

KEPT = {"EnactordCertificateExpires", "EnactordCertificateExpiresSoon"}
"""They compare an age with a time that is not these clocks': certificates of tests have real days."""


def durations(text: str) -> list[float]:
    """Return every duration in a text, in seconds."""
    units = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400}
    return [int(number) * units[unit] for number, unit in re.findall(r"\b(\d+)(ms|s|m|h|d)\b", text)]


def rules(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [rule for group in document["groups"] for rule in group["rules"]]


def test_every_time_of_the_rules_is_divided() -> None:
    """Each `for`, window and offset; labels and texts are as they are."""
    shipped, faster = rules(yaml.safe_load(RULES.read_text(encoding="utf-8"))), rules(faster_rules())
    assert len(shipped) == len(faster) > 50
    for before, after in zip(shipped, faster, strict=True):
        times = [each for key in ("expr", "for") for each in durations(before.get(key, ""))]
        assert [each for key in ("expr", "for") for each in durations(after.get(key, ""))] == [
            pytest.approx(each / FACTOR) for each in times
        ]
        for key in ("labels", "annotations", "alert", "record"):
            assert before.get(key) == after.get(key)


def test_every_age_is_divided() -> None:
    """A rule that compares the time of day, or how long something stands still, has its limit in the list."""
    for name in ALERTS:
        expression = EXPRESSIONS[name]
        if ("time()" in expression or "_still_seconds" in expression) and name not in KEPT:
            assert name in AGES, name
    for name, limits in AGES.items():
        faster = faster_expression(name, EXPRESSIONS[name])
        assert not any(limit in faster for limit in limits), name
    for name in KEPT:
        assert faster_expression(name, EXPRESSIONS[name]) == EXPRESSIONS[name]


def test_a_limit_that_was_changed_is_noticed() -> None:
    """The list would else divide nothing, without a word."""
    with pytest.raises(AssertionError, match="EnactordStuck"):
        faster_expression("EnactordStuck", "enactord_apply_loop_still_seconds > 60")


def test_the_config_silences_what_the_example_silences() -> None:
    """All of its waits are divided, and people are told at another address."""
    example = yaml.safe_load((DIRECTORY / "alertmanager.example.yml").read_text(encoding="utf-8"))
    faster = faster_alertmanager("http://127.0.0.1:1/people")
    assert faster["inhibit_rules"] == example["inhibit_rules"]
    for wait in ("group_wait", "group_interval", "repeat_interval"):
        assert faster["route"][wait] == divided(example["route"][wait])
    assert seconds("15m") == 900
    assert set(faster_scrape()) == {"scrape_interval", "evaluation_interval"}


def test_prometheus_and_alertmanager_take_them(tmp_path: Path) -> None:
    """As promtool and amtool say."""
    for tool, document in (
        (("promtool", "check", "rules"), faster_rules()),
        (("amtool", "check-config"), faster_alertmanager("http://127.0.0.1:1/people")),
    ):
        path = written(document, tmp_path / f"{tool[0]}.yml")
        done = subprocess.run([program(tool[0]), *tool[1:], path], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
