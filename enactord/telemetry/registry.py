"""A registry of metrics whose scrape answers what it can."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from enactord.telemetry.failures import Failures


class IsolatingRegistry(CollectorRegistry):
    """Leaves out a collector that raises, and counts it; the others are scraped."""

    def __init__(self, failures: Failures) -> None:
        super().__init__()
        self._failures = failures
        self._registered: list[Collector] = []

    def register(self, collector: Collector) -> None:
        super().register(collector)
        self._registered.append(collector)

    def unregister(self, collector: Collector) -> None:
        super().unregister(collector)
        self._registered.remove(collector)

    def collect(self) -> Iterable[Metric]:
        found: list[Metric] = []
        for collector in list(self._registered):
            with self._failures.caught("scrape"):
                found += list(collector.collect())
        return found
