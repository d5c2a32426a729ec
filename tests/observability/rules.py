"""The alert rules as they are shipped, and the cases that they are tested by."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

DIRECTORY = Path(__file__).parents[2] / "deploy" / "prometheus"
RULES = DIRECTORY / "enactord.rules.yml"
CASES = DIRECTORY / "enactord.rules.test.yml"


def _rules() -> Sequence[Mapping[str, Any]]:
    document = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    return [rule for group in document["groups"] for rule in group["rules"]]


ALERTS: Mapping[str, Mapping[str, Any]] = {rule["alert"]: rule for rule in _rules() if "alert" in rule}
RECORDED: Mapping[str, str] = {rule["record"]: rule["expr"] for rule in _rules() if "record" in rule}
EXPRESSIONS: Mapping[str, str] = {**{name: rule["expr"] for name, rule in ALERTS.items()}, **RECORDED}

BY_LOAD = frozenset({"EnactordAnswersUnknown", "EnactordLoopLag", "EnactordStaleWritesRefused"})
"""These a busy machine may bring to wait; to fire they would have to last."""


def apart(folder: Path) -> Sequence[Path]:
    """Write each alert's cases into a file, and its rule with the recording rules into another; returns the first."""
    document = yaml.safe_load(CASES.read_text(encoding="utf-8"))
    recording = [rule for rule in _rules() if "record" in rule]
    found = []
    for alert, rule in ALERTS.items():
        rules, mine = folder / f"{alert}.yml", folder / f"{alert}.test.yml"
        rules.write_text(yaml.safe_dump({"groups": [{"name": alert, "rules": [*recording, rule]}]}), encoding="utf-8")
        tests = [
            {**test, "alert_rule_test": [case for case in test["alert_rule_test"] if case["alertname"] == alert]}
            for test in document["tests"]
        ]
        tests = [test for test in tests if test["alert_rule_test"]]
        mine.write_text(yaml.safe_dump({**document, "rule_files": [rules.name], "tests": tests}), encoding="utf-8")
        found.append(mine)
    return found


@cache
def cases() -> Sequence[Mapping[str, Any]]:
    """What promtool expects of each alert at some moment."""
    document = yaml.safe_load(CASES.read_text(encoding="utf-8"))
    return [case for test in document["tests"] for case in test["alert_rule_test"]]
