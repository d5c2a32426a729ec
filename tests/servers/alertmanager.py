"""A real Alertmanager for tests: loopback only, a directory of its own, asked by HTTP."""

import json
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.servers.web_server import WebServer


class Alertmanager(WebServer):
    """Takes alerts by HTTP, and says which of them another one silences."""

    def __init__(self, config: Path) -> None:
        super().__init__("prometheus-alertmanager")
        self._config = config

    def fire(self, alerts: Sequence[Mapping[str, str]]) -> None:
        """Have alerts with these labels fire."""
        body = json.dumps([{"labels": labels} for labels in alerts]).encode()
        request = urllib.request.Request(
            f"{self.url}/api/v2/alerts", data=body, headers={"Content-Type": "application/json"}
        )
        urllib.request.urlopen(request, timeout=5).close()

    def alerts(self) -> list[dict[str, Any]]:
        """Return the alerts that fire, with whether another one silences them (`status.inhibitedBy`)."""
        with urllib.request.urlopen(f"{self.url}/api/v2/alerts", timeout=5) as answer:
            found: list[dict[str, Any]] = json.load(answer)
        return found

    def _arguments(self) -> Sequence[str]:
        return [f"--config.file={self._config}", f"--storage.path={self.dir / 'data'}", "--cluster.listen-address="]
