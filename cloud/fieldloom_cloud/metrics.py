"""What the cloud tells Prometheus of itself. (O2)"""

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from fieldloom_cloud.ingest.worker import Worker
from fieldloom_cloud.trail.refusals import Refusals


def registry_of(worker: Worker, refusals: Refusals) -> CollectorRegistry:
    """Return a registry of the ingest's figures, and of what the interfaces have refused."""
    registry = CollectorRegistry()
    registry.register(_Figures(worker, refusals))
    return registry


class _Figures(Collector):
    """Reads the worker's counts when it is scraped, so that nothing is counted twice."""

    def __init__(self, worker: Worker, refusals: Refusals) -> None:
        self._worker = worker
        self._refusals = refusals

    def collect(self) -> list[CounterMetricFamily | GaugeMetricFamily]:
        ingest = CounterMetricFamily(
            "fieldloom_cloud_ingest", "Batches and records by what became of them.", labels=["outcome"]
        )
        for outcome in ("batches", "records", "dead_letters", "unreadable", "disk_errors", "unforeseen"):
            ingest.add_metric([outcome], self._worker.counts[outcome])
        pieces = CounterMetricFamily(
            "fieldloom_cloud_release_pieces", "What gateways asked for of releases.", labels=["outcome"]
        )
        for outcome in ("piece", "unknown", "replaced", "disk_errors"):
            pieces.add_metric([outcome], self._worker.pieces.counts[outcome])
        connected = GaugeMetricFamily(
            "fieldloom_cloud_broker_connected", "1 while the broker can be reached.", int(self._worker.is_connected)
        )
        waiting = GaugeMetricFamily(
            "fieldloom_cloud_downlink_records", "What gateways have not acknowledged.", self._worker.downlink.waiting
        )
        refused = CounterMetricFamily(
            "fieldloom_cloud_requests_refused",
            "Requests without the right to them, and changes that were refused.",
            labels=["status"],
        )
        for status, count in sorted(self._refusals.counts.items()):
            refused.add_metric([str(status)], count)
        return [ingest, pieces, connected, waiting, refused]
