"""What a gateway tells of itself on loopback, with or without the cloud."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

Snapshot = Callable[[], dict[str, Any]]


def status_app(snapshot: Snapshot, devices: Callable[[], list[dict[str, Any]]]) -> FastAPI:
    """Return the HTTP interface; `snapshot` and `devices` give the present state."""
    app = FastAPI(title="Fieldloom gateway", docs_url=None, redoc_url=None)
    registry = CollectorRegistry()
    registry.register(_Metrics(snapshot))

    @app.get("/api/v1/status")
    def status() -> dict[str, Any]:
        return snapshot()

    @app.get("/api/v1/devices")
    def list_devices() -> dict[str, Any]:
        return {"items": devices(), "next": None}

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/readyz")
    def readyz(response: Response) -> dict[str, Any]:
        now = snapshot()
        ready = bool(now["broker_connected"])
        response.status_code = 200 if ready else 503
        # Without a majority of the site's gateways this one takes records and judges rules all the same. (D7)
        reason = None if ready else "the broker of this gateway can't be reached"
        return {"ready": ready, "reason": reason, "cluster": now["cluster"]["fault"]}

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return app


class _Metrics(Collector):
    """Reads the snapshot when it is scraped, so that nothing is counted twice."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> list[CounterMetricFamily | GaugeMetricFamily]:
        now = self._snapshot()
        ingest = CounterMetricFamily(
            "fieldloom_gateway_ingest", "Messages and records by what became of them.", labels=["outcome"]
        )
        for outcome, count in sorted(now["ingest"].items()):
            ingest.add_metric([outcome], count)
        adapters = CounterMetricFamily(
            "fieldloom_gateway_adapter", "What passed an adapter.", labels=["adapter", "protocol", "what"]
        )
        for one in now["adapters"]:
            for what, count in sorted({**one["metrics"], "restarts": one["restarts"]}.items()):
                adapters.add_metric([one["name"], one["protocol"], what], count)
        releases = CounterMetricFamily(
            "fieldloom_gateway_releases", "What boards asked for of releases, and what came of it.", labels=["outcome"]
        )
        for outcome, count in sorted(now["releases"].items()):
            releases.add_metric([outcome], count)
        stages = CounterMetricFamily(
            "fieldloom_gateway_transformer_readings", "Readings by stage and outcome.", labels=["stage", "outcome"]
        )
        seconds = CounterMetricFamily(
            "fieldloom_gateway_transformer_seconds", "Time spent in a stage.", labels=["stage"]
        )
        for stage, figures in now["transformers"]["stages"].items():
            seconds.add_metric([stage], figures["ns"] / 1e9)
            for outcome in ("received", "processed", "failed", "skipped"):
                stages.add_metric([stage, outcome], figures[outcome])
        rules = CounterMetricFamily(
            "fieldloom_gateway_rules", "What rules have judged, and how often they fired.", labels=["what"]
        )
        for what in ("events", "firings", "late", "amendments", "shadow"):
            rules.add_metric([what], now["rules"][what])
        effects = CounterMetricFamily(
            "fieldloom_gateway_rule_effects", "What rules asked for, and what became of it.", labels=["kind", "status"]
        )
        for effect in now["rules"]["effects"]:
            effects.add_metric([effect["kind"], effect["status"]], effect["count"])
        windows = [] if now["rules"]["windows"] is None else _windows(now["rules"]["windows"])
        gauges = [
            GaugeMetricFamily("fieldloom_gateway_rules_at_work", "Rules at work.", now["rules"]["rules"]),
            GaugeMetricFamily("fieldloom_gateway_outbox_bytes", "What waits for the cloud.", now["outbox"]["bytes"]),
            GaugeMetricFamily(
                "fieldloom_gateway_outbox_records", "What waits for the cloud.", now["outbox"]["records"]
            ),
            GaugeMetricFamily(
                "fieldloom_gateway_twin_patches", "Patches of twins to be decided.", now["twins"]["waiting"]
            ),
            GaugeMetricFamily("fieldloom_gateway_dead_letters", "Dead letters kept.", now["dead_letters"]),
            GaugeMetricFamily("fieldloom_gateway_cloud_connected", "1 while it is.", int(now["cloud_connected"])),
        ]
        shared = now["cluster"]["partitions"]
        partitions = [] if shared is None else _partitions(shared)
        site = [*_workflows(now["workflows"]), *_cluster(now["cluster"])]
        return [ingest, adapters, releases, stages, seconds, rules, effects, *windows, *gauges, *site, *partitions]


def _windows(now: dict[str, Any]) -> list[CounterMetricFamily | GaugeMetricFamily]:
    """Return what is measured of rules that remember, in a cluster. (D4, D7)"""
    rows = GaugeMetricFamily(
        "fieldloom_gateway_windows_rows",
        "What was received for rules that remember, by what it lacks.",
        labels=["lacks"],
    )
    rows.add_metric(["owner"], now["waiting"])
    rows.add_metric(["checkpoint"], now["kept"])
    given_up = CounterMetricFamily("fieldloom_gateway_windows_given_up", "What there was no room for.", labels=["what"])
    given_up.add_metric(["rows"], now["dropped"])
    given_up.add_metric(["checkpoints"], now["refused"])
    unkept = GaugeMetricFamily(
        "fieldloom_gateway_windows_unkept", "Devices owned of which a checkpoint is due.", now["unkept"]
    )
    return [rows, given_up, unkept]


def _workflows(now: dict[str, Any]) -> list[CounterMetricFamily | GaugeMetricFamily]:
    """Return what is measured of instances of workflows. (O2)"""
    done = CounterMetricFamily(
        "fieldloom_gateway_workflows", "What instances of workflows did, and how they ended.", labels=["what"]
    )
    for what, count in sorted(now["counts"].items()):
        done.add_metric([what], count)
    active = GaugeMetricFamily("fieldloom_gateway_workflow_instances", "Instances that are active.", labels=["status"])
    for status in ("created", "running", "waiting"):
        active.add_metric([status], now["statuses"].get(status, 0))
    delay = GaugeMetricFamily(
        "fieldloom_gateway_workflow_timer_delay_seconds",
        "How late the timer is that waits longest.",
        now["timer_delay_ms"] / 1000,
    )
    return [
        done,
        active,
        delay,
        GaugeMetricFamily("fieldloom_gateway_workflow_queue", "Starts that wait.", now["queue"]),
    ]


def _cluster(now: dict[str, Any]) -> list[CounterMetricFamily | GaugeMetricFamily]:
    """Return what is measured of the site's gateways as this one sees them. (D1, D2, D3, O2)"""
    found: list[CounterMetricFamily | GaugeMetricFamily] = [
        GaugeMetricFamily("fieldloom_gateway_cluster_members", "Gateways of the cluster.", now["members"]),
        GaugeMetricFamily("fieldloom_gateway_cluster_writable", "1 while it has a leader.", int(now["writable"])),
        GaugeMetricFamily("fieldloom_gateway_cluster_entries", "Entries of the map.", now["map"]["entries"]),
        GaugeMetricFamily("fieldloom_gateway_cluster_bytes", "Size of the map's entries.", now["map"]["bytes"]),
        GaugeMetricFamily("fieldloom_gateway_cluster_index", "The last command in the map.", now["map"]["index"]),
        CounterMetricFamily(
            "fieldloom_gateway_cluster_heartbeats_missed", "Heartbeats not taken.", now["heartbeats_missed"]
        ),
        CounterMetricFamily("fieldloom_gateway_cluster_checks", "Checks of own services.", now["checks_done"]),
    ]
    standing = now["consensus"]
    return found if standing is None else found + _consensus(standing)


def _consensus(now: dict[str, Any]) -> list[CounterMetricFamily | GaugeMetricFamily]:
    refused = CounterMetricFamily(
        "fieldloom_gateway_consensus_refused", "Connections of peers refused.", labels=["reason"]
    )
    for reason, count in sorted(now["refused"].items()):
        refused.add_metric([reason], count)
    return [
        refused,
        GaugeMetricFamily("fieldloom_gateway_consensus_term", "The term of leadership.", now["term"]),
        GaugeMetricFamily("fieldloom_gateway_consensus_leads", "1 at the leader.", int(now["is_leader"])),
        GaugeMetricFamily("fieldloom_gateway_consensus_committed", "The last entry committed.", now["committed"]),
        GaugeMetricFamily("fieldloom_gateway_consensus_log_bytes", "Size of the log.", now["log_bytes"]),
        CounterMetricFamily("fieldloom_gateway_consensus_elections", "Elections begun here.", now["elections"]),
    ]


def _partitions(now: dict[str, Any]) -> list[CounterMetricFamily | GaugeMetricFamily]:
    """Return what is measured of this gateway's partitions. (D4)"""
    states = GaugeMetricFamily("fieldloom_gateway_partitions", "Partitions by their state here.", labels=["state"])
    for state in ("owned", "active", "loading", "transferring", "read_only"):
        states.add_metric([state], now[state])
    events = CounterMetricFamily(
        "fieldloom_gateway_partition_events", "What happened to leases and assignments.", labels=["what"]
    )
    for what in ("rebalances", "moves", "takeovers", "transfers", "loads", "load_failures", "refused", "missed"):
        events.add_metric([what], now[what])
    seconds = CounterMetricFamily(
        "fieldloom_gateway_partition_seconds", "Time that loads and transfers took.", labels=["what"]
    )
    seconds.add_metric(["load"], now["load_s"])
    seconds.add_metric(["transfer"], now["transfer_s"])
    units = GaugeMetricFamily(
        "fieldloom_gateway_partition_units_per_second", "What is done for the partitions here.", now["units_per_s"]
    )
    by_load = GaugeMetricFamily(
        "fieldloom_gateway_partitions_by_load", "1 while partitions are shared by load.", int(now["by_load"])
    )
    return [states, events, seconds, units, by_load]
