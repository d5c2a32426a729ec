"""A real Prometheus for tests: loopback only, a directory of its own, asked by HTTP."""

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.servers.web_server import WebServer

_BY_THE_SECOND = {"scrape_interval": "1s", "scrape_timeout": "900ms", "evaluation_interval": "1s"}
Sample = tuple[Mapping[str, str], float]


class Prometheus(WebServer):
    """Scrapes targets by the second, as the job "enactord" of a scope, and evaluates rules as often.

    `intervals`: others, by their names in the config. `alertmanager`: where alerts are sent, "host:port".
    `lookback`: how long a sample counts that no newer one has followed.
    """

    def __init__(
        self,
        targets: Sequence[str],
        *,
        scope: str,
        rules: Sequence[Path] = (),
        intervals: Mapping[str, str] = _BY_THE_SECOND,
        alertmanager: str = "",
        lookback: str = "5m",
    ) -> None:
        super().__init__("prometheus")
        self._lookback = lookback
        managers = [{"static_configs": [{"targets": [alertmanager]}]}] if alertmanager else []
        config = {
            "global": {"scrape_timeout": intervals["scrape_interval"], **intervals},
            "rule_files": [str(path) for path in rules],
            "alerting": {"alertmanagers": managers},
            "scrape_configs": [
                {
                    "job_name": "enactord",
                    "static_configs": [{"targets": list(targets), "labels": {"scope": scope}}],
                }
            ],
        }
        (self.dir / "prometheus.yml").write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML

    def query(self, expression: str) -> list[Sample]:
        """Return what an expression says now. An expression that Prometheus refuses fails the test."""
        result = self._get("query", query=expression)
        if result["resultType"] in {"scalar", "string"}:
            return [({}, float(result["result"][1]))]
        return [(sample["metric"], float(sample["value"][1])) for sample in result["result"]]

    def alerts(self) -> dict[str, set[str]]:
        """Return the states ("pending", "firing") of each alert that is active."""
        states: dict[str, set[str]] = {}
        for alert in self._get("alerts")["alerts"]:
            states.setdefault(alert["labels"]["alertname"], set()).add(alert["state"])
        return states

    def rules(self) -> list[Mapping[str, Any]]:
        """Return every rule as it stands: name, health, last error."""
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def _arguments(self) -> Sequence[str]:
        return [
            f"--config.file={self.dir / 'prometheus.yml'}",
            f"--storage.tsdb.path={self.dir / 'data'}",
            f"--query.lookback-delta={self._lookback}",
            "--log.level=warn",
        ]

    def _get(self, what: str, **parameters: str) -> Any:
        url = f"{self.url}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            pytest.fail(f"prometheus refuses {parameters}: {error.read().decode()}")
