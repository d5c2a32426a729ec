"""Every file that is made from another: the pages of the reference, and the alerts as Kubernetes takes them."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import yaml

from enactord.config.schema import config_schema
from tests.docs.cli import cli_page
from tests.docs.config import config_page
from tests.docs.metrics import RULES, metrics_page

ROOT = Path(__file__).parents[2]
_NOTE = "by `python -m tests.docs`; do not edit."
_PAGES: dict[str, Callable[[], Sequence[str]]] = {
    "docs/cli.md": cli_page,
    "docs/config.md": config_page,
    "docs/metrics.md": metrics_page,
}
_RULE = "deploy/kubernetes/monitoring/prometheusrule.yaml"
_SCHEMA = "docs/config.schema.json"
FILES = (*_PAGES, _RULE, _SCHEMA)


class _Dumper(yaml.SafeDumper):
    """Sets a text of several lines as one."""

    def represent_str(self, data: str) -> yaml.ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:str", data, style="|" if "\n" in data else None)


_Dumper.add_representer(str, _Dumper.represent_str)


def made(path: str) -> str:
    """Return what a file of `FILES` should hold."""
    if path == _RULE:
        return prometheus_rule()
    if path == _SCHEMA:
        return json.dumps(config_schema(), indent=2, ensure_ascii=False) + "\n"
    return "\n".join([f"<!-- Made from the code {_NOTE} -->", "", *_PAGES[path]()]) + "\n"


def prometheus_rule() -> str:
    """Return the alerts as an object of the Prometheus operator, which takes a file of rules as it is."""
    rule = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "enactord"},
        "spec": yaml.safe_load(RULES.read_text(encoding="utf-8")),
    }
    text = yaml.dump(rule, Dumper=_Dumper, sort_keys=False, width=1000, allow_unicode=True)
    return f"# Made from {RULES.relative_to(ROOT)} {_NOTE}\n{text}"
