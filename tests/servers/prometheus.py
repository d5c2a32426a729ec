"""A real Prometheus for tests: loopback only, a directory of its own, asked by HTTP."""

import contextlib
import json
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from tests.servers.dns_server import free_port

_READY_LIMIT_S = 30.0
_STOP_LIMIT_S = 20.0

Sample = tuple[Mapping[str, str], float]


def program(name: str) -> str:
    """Return the path of `prometheus` or `promtool`."""
    path = shutil.which(name)
    if path is None:
        pytest.fail(f"{name} is not installed: run `make setup`")
    return path


class Prometheus:
    """Scrapes targets by the second, as the job "enactord" of a scope, and evaluates rules as often."""

    def __init__(self, targets: Sequence[str], *, scope: str, rules: Sequence[Path] = ()) -> None:
        self.port = free_port()
        self.dir = Path(tempfile.mkdtemp(prefix="enactord-prometheus-"))
        self._process: subprocess.Popen[bytes] | None = None
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "900ms", "evaluation_interval": "1s"},
            "rule_files": [str(path) for path in rules],
            "scrape_configs": [
                {
                    "job_name": "enactord",
                    "static_configs": [{"targets": list(targets), "labels": {"scope": scope}}],
                }
            ],
        }
        (self.dir / "prometheus.yml").write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML

    def start(self) -> None:
        with (self.dir / "output.log").open("ab") as output:
            self._process = subprocess.Popen(
                [
                    program("prometheus"),
                    f"--config.file={self.dir / 'prometheus.yml'}",
                    f"--storage.tsdb.path={self.dir / 'data'}",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                    "--log.level=warn",
                ],
                stdout=output,
                stderr=output,
            )
        deadline = time.monotonic() + _READY_LIMIT_S
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError):
                if urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=1).status == 200:
                    return
            time.sleep(0.05)
        said = (self.dir / "output.log").read_text()[-2000:]
        self.remove()
        pytest.fail(f"prometheus did not get ready: {said}")

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

    def remove(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(_STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(_STOP_LIMIT_S)
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self) -> "Prometheus":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    def _get(self, what: str, **parameters: str) -> Any:
        url = f"http://127.0.0.1:{self.port}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            pytest.fail(f"prometheus refuses {parameters}: {error.read().decode()}")
