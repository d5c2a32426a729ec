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


@cache
def cases() -> Sequence[Mapping[str, Any]]:
    """What promtool expects of each alert at some moment."""
    document = yaml.safe_load(CASES.read_text(encoding="utf-8"))
    return [case for test in document["tests"] for case in test["alert_rule_test"]]
