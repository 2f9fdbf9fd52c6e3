"""What a gateway measures of its partitions, as Prometheus reads it. (D4)"""

from fastapi.testclient import TestClient

from fieldloom_gateway.status import status_app

PARTITIONS = {
    **dict.fromkeys(("owned", "active", "loading", "transferring", "read_only"), 7),
    **dict.fromkeys(
        ("rebalances", "moves", "takeovers", "transfers", "loads", "load_failures", "refused", "missed"), 3
    ),
    "load_s": 1.5,
    "transfer_s": 2.5,
    "units_per_s": 12.5,
    "by_load": True,
}

CLUSTER = {
    "members": 1,
    "writable": True,
    "map": {"entries": 0, "bytes": 0, "index": 0},
    "heartbeats_missed": 0,
    "checks_done": 0,
    "consensus": None,
}


def scraped(partitions, statuses=None, windows=None):
    counted = dict.fromkeys(("events", "firings", "late", "amendments", "shadow", "rules"), 0)
    snapshot = {
        "ingest": {},
        "adapters": [],
        "releases": {},
        "transformers": {"stages": {}},
        "rules": {**counted, "effects": [], "windows": windows},
        "workflows": {"counts": {}, "active": 0, "statuses": statuses or {}, "timer_delay_ms": 1500, "queue": 0},
        "outbox": {"bytes": 0, "records": 0},
        "twins": {"waiting": 6},
        "dead_letters": 0,
        "cloud_connected": False,
        "cluster": {**CLUSTER, "partitions": partitions},
    }
    return TestClient(status_app(lambda: snapshot, list)).get("/metrics").text


def test_partitions_are_told_by_state_with_what_happened_and_how_long_it_took():
    told = scraped(PARTITIONS)
    assert 'fieldloom_gateway_partitions{state="active"} 7.0' in told
    assert 'fieldloom_gateway_partition_events_total{what="rebalances"} 3.0' in told
    assert 'fieldloom_gateway_partition_seconds_total{what="transfer"} 2.5' in told
    assert "fieldloom_gateway_partition_units_per_second 12.5" in told
    assert "fieldloom_gateway_partitions_by_load 1.0" in told


def test_instances_of_workflows_are_told_by_status_with_the_delay_of_their_timers():
    told = scraped(None, {"waiting": 4})
    assert 'fieldloom_gateway_workflow_instances{status="waiting"} 4.0' in told
    assert 'fieldloom_gateway_workflow_instances{status="running"} 0.0' in told
    assert "fieldloom_gateway_workflow_timer_delay_seconds 1.5" in told


def test_what_waits_for_the_owners_of_windows_is_told():
    """D7."""
    told = scraped(None, windows={"waiting": 5, "kept": 9, "dropped": 2, "refused": 1, "unkept": 4})
    assert 'fieldloom_gateway_windows_rows{lacks="owner"} 5.0' in told
    assert 'fieldloom_gateway_windows_rows{lacks="checkpoint"} 9.0' in told
    assert 'fieldloom_gateway_windows_given_up_total{what="rows"} 2.0' in told
    assert 'fieldloom_gateway_windows_given_up_total{what="checkpoints"} 1.0' in told
    assert "fieldloom_gateway_windows_unkept 4.0" in told


def test_a_gateway_that_is_alone_tells_of_none_and_of_patches_that_wait():
    told = scraped(None)
    assert "fieldloom_gateway_twin_patches 6.0" in told
    assert "fieldloom_gateway_partition" not in told
    assert "fieldloom_gateway_windows" not in told
