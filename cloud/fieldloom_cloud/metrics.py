"""What the cloud tells Prometheus of itself. (O2)"""

from typing import NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from fieldloom_cloud.automation.runtime import Runtime
from fieldloom_cloud.ingest.worker import Worker
from fieldloom_cloud.timeseries import measures
from fieldloom_cloud.timeseries.maintenance import Maintenance
from fieldloom_cloud.trail.refusals import Refusals
from fieldloom_cloud.workers.leases import Slots
from fieldloom_cloud.workflows.worker import WorkflowWorker


class Counted(NamedTuple):
    """The parts of a process that count."""

    worker: Worker
    slots: Slots
    runtime: Runtime
    maintenance: Maintenance
    workflows: WorkflowWorker


def registry_of(counted: Counted, refusals: Refusals) -> CollectorRegistry:
    """Return a registry of the figures of ingest and time series, and of what the interfaces have refused."""
    registry = CollectorRegistry()
    registry.register(_Figures(counted, refusals))
    for figure in measures.ALL:
        registry.register(figure)
    return registry


class _Figures(Collector):
    """Reads the parts' counts when it is scraped, so that nothing is counted twice."""

    def __init__(self, counted: Counted, refusals: Refusals) -> None:
        self._worker, self._slots, self._runtime, self._maintenance, self._workflows = counted
        self._refusals = refusals

    def collect(self) -> list[CounterMetricFamily | GaugeMetricFamily]:
        ingest = CounterMetricFamily(
            "fieldloom_cloud_ingest", "Batches and records by what became of them.", labels=["outcome"]
        )
        outcomes = ("batches", "records", "dead_letters", "unreadable", "disk_errors", "unforeseen", "held_back")
        for outcome in (*outcomes, "not_ours"):
            ingest.add_metric([outcome], self._worker.counts[outcome])
        held = GaugeMetricFamily("fieldloom_cloud_slots_held", "Slots that this process has.", len(self._slots.held))
        moved = CounterMetricFamily(
            "fieldloom_cloud_slots_moved",
            "Slots that were taken, given back to come to a fair share, or lost with the lease.",
            labels=["how"],
        )
        for how in ("taken", "given", "lost"):
            moved.add_metric([how], self._slots.counts[how])
        pieces = CounterMetricFamily(
            "fieldloom_cloud_release_pieces", "What gateways asked for of releases.", labels=["outcome"]
        )
        for outcome in ("piece", "unknown", "replaced", "disk_errors"):
            pieces.add_metric([outcome], self._worker.pieces.counts[outcome])
        rules = CounterMetricFamily(
            "fieldloom_cloud_rules", "What the rules of the cloud have judged and done.", labels=["outcome"]
        )
        for outcome in (
            "events",
            "firings",
            "effects_sent",
            "effects_done",
            "effects_failed",
            "effects_retried",
            "unforeseen",
        ):
            rules.add_metric([outcome], self._runtime.counts[outcome])
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
        upkeep = CounterMetricFamily(
            "fieldloom_cloud_series_upkeep",
            "Points that rules of downsampling made, days or shards that were dropped, turns that failed.",
            labels=["outcome"],
        )
        for outcome in ("points", "dropped", "failures"):
            upkeep.add_metric([outcome], self._maintenance.counts[outcome])
        counted = [ingest, moved, pieces, rules, refused, upkeep]
        return [*counted, held, connected, waiting, *self._of_workflows(), *self._relayed()]

    def _of_workflows(self) -> list[CounterMetricFamily | GaugeMetricFamily]:
        done = CounterMetricFamily(
            "fieldloom_cloud_workflows", "What instances of workflows did, and how they ended.", labels=["what"]
        )
        ends = ("succeeded", "failed", "terminated")
        for what in ("started", "steps", "transitions", *ends, "refused", "interfered", "stopped"):
            done.add_metric([what], self._workflows.counts[what])
        active = GaugeMetricFamily(
            "fieldloom_cloud_workflow_instances",
            "Instances of the cloud that are not over, of all processes.",
            labels=["status"],
        )
        for status in ("created", "running", "waiting"):
            active.add_metric([status], self._workflows.active[status])
        delay = GaugeMetricFamily(
            "fieldloom_cloud_workflow_timer_delay_seconds",
            "How late the timer is that waits longest.",
            self._workflows.delay_ms / 1000,
        )
        return [done, active, delay]

    def _relayed(self) -> list[CounterMetricFamily | GaugeMetricFamily]:
        relay = self._worker.relay
        if relay is None:
            return []
        held = GaugeMetricFamily(
            "fieldloom_cloud_series_waiting_bytes", "What the server has not durably.", relay.waiting_bytes
        )
        repeated = CounterMetricFamily(
            "fieldloom_cloud_series_repeats", "How often all that waits was sent again.", relay.counts["repeated"]
        )
        return [held, repeated]
