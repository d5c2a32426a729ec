"""The rules as they are shipped, and the Alertmanager's config, with every time in them divided.

An alert waits for minutes, and some windows are hours. Forty faults would take a day. So the clock of Prometheus and
of the Alertmanager is made to run `FACTOR` times as fast: each `for`, window, offset and interval, and each limit
that is an age, is divided. Nothing else of a rule is changed. What is compared with a time that does not come from
these clocks stays: days until a certificate expires, the seconds of an SOA record, how long a write took.

Enactors and servers run at their own speed. Their waits are about `FACTOR` times as long, measured by these clocks, as
they would be; only those that the config of `tests/faults/ground.py` shortens are in proportion. So effects come
later here, against the causes, than in production.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.observability.rules import DIRECTORY, RULES

FACTOR = 20
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"(?<=\[)\d+[smhd](?=\])|(?<=offset )\d+[smhd]")
AGES = {
    "EnactordNotVerified": ("> 900",),
    "EnactordStuck": ("> 30",),
    "EnactordNoPlan": ("> 3600",),
    "EnactordOverrideStays": ("> 600",),
}
"""Limits of rules that are ages: how long ago something was."""
_WAITS = ("group_wait", "group_interval", "repeat_interval")


def seconds(duration: str) -> float:
    """Return the seconds of a duration as Prometheus writes it, of one unit."""
    return int(duration[:-1]) * _UNITS_S[duration[-1]]


def divided(duration: str) -> str:
    """Return a duration divided by `FACTOR`."""
    return f"{round(seconds(duration) * 1000 / FACTOR)}ms"


def faster_expression(name: str, expression: str) -> str:
    """Return the expression of a rule with its windows, offsets and ages divided."""
    found = _DURATION.sub(lambda match: divided(match[0]), expression)
    for limit in AGES.get(name, ()):
        assert found.count(limit) == 1, f"{name} has no limit {limit!r} any more"
        sign, age = limit.split()
        found = found.replace(limit, f"{sign} {float(age) / FACTOR:g}")
    return found


def faster_rules() -> dict[str, Any]:
    """Return the rules that are shipped, faster."""
    document: dict[str, Any] = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    for rule in (rule for group in document["groups"] for rule in group["rules"]):
        rule["expr"] = faster_expression(rule.get("alert", rule.get("record")), rule["expr"])
        if "for" in rule:
            rule["for"] = divided(rule["for"])
    return document


def faster_alertmanager(receiver: str) -> dict[str, Any]:
    """Return the example of an Alertmanager's config, faster, with `receiver` as the URL that people are told at."""
    document: dict[str, Any] = yaml.safe_load((DIRECTORY / "alertmanager.example.yml").read_text(encoding="utf-8"))
    for route in (document["route"], *document["route"]["routes"]):
        for wait in _WAITS:
            if wait in route and seconds(route[wait]):
                route[wait] = divided(route[wait])
    (people,) = (each for each in document["receivers"] if each["name"] == document["route"]["receiver"])
    people["webhook_configs"] = [{"url": receiver, "send_resolved": False}]
    return document


def faster_scrape() -> Mapping[str, str]:
    """Return the intervals of the example of Prometheus' config, divided."""
    example = yaml.safe_load((DIRECTORY / "prometheus.example.yml").read_text(encoding="utf-8"))["global"]
    return {key: divided(example[key]) for key in ("scrape_interval", "evaluation_interval")}


def written(document: Mapping[str, Any], path: Path) -> Path:
    """Write a document as YAML; returns its path."""
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return path
