"""docs/metrics.md: each metric with its labels, and the alerts that ask for it."""

import re
from pathlib import Path

import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from enactord.telemetry.metrics import Metrics
from tests.docs.markdown import code, table

RULES = Path(__file__).parents[2] / "deploy" / "prometheus" / "enactord.rules.yml"
_INTRODUCTION = """\
# Metrics

At `GET /metrics` of each enactor, in base units. No endpoint's name is ever a label. Gauges that tell a state of
the scope say the same on every enactor that reaches the store; counters and histograms tell of this enactor's own
work. Besides these come the usual `process_…` and `python_…` metrics."""


def metrics_page() -> list[str]:
    """Return the lines of the page."""
    registry = CollectorRegistry()
    Metrics(registry, [])
    alerts = alerts_by_metric()
    rows: list[tuple[str, ...]] = []
    buckets: list[tuple[str, ...]] = []
    # Labels and buckets of a metric without any value yet are to be had from the library's own attributes alone.
    for metric in registry._collector_to_names:
        assert isinstance(metric, MetricWrapperBase)
        (family,) = metric.describe()
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = ", ".join(code(label) for label in metric._labelnames)
        asked = ", ".join(f"[{alert}](../deploy/RUNBOOK.md#{alert.lower()})" for alert in alerts.get(name, ()))
        rows.append((name, family.type, labels, family.documentation, asked))
        if family.type == "histogram":
            bounds = " ".join(f"{bound:g}" for bound in metric._kwargs["buckets"])
            buckets.append((name, bounds))
    lines = _INTRODUCTION.splitlines()
    lines += ["", *table(("metric", "type", "labels", "what it is", "alerts"), _named(rows))]
    lines += ["", "Buckets of the histograms, in seconds:", "", *table(("metric", "upper bounds"), _named(buckets))]
    return lines


def _named(rows: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    return [(code(name), *rest) for name, *rest in sorted(rows)]


def alerts_by_metric() -> dict[str, list[str]]:
    """Return which alerts ask for a metric, be it through a recorded series."""
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    recorded = {rule["record"]: _names(rule["expr"]) for rule in rules if "record" in rule}
    found: dict[str, list[str]] = {}
    for rule in rules:
        if "alert" not in rule:
            continue
        asked = _names(rule["expr"])
        for series, names in recorded.items():
            if series in rule["expr"]:
                asked |= names
        for name in sorted(asked):
            found.setdefault(name, []).append(rule["alert"])
    return found


def _names(expression: str) -> set[str]:
    plain = re.findall(r"(?<![\w:])enactord_\w+", expression)
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in plain}
