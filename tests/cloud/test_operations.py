"""What operates a cloud: tokens, readiness, metrics. (A2, O2)"""

import time

import httpx2

from fixtures.processes import mosquitto, wait_for_port


def test_a_token_is_made_used_and_revoked(cloud, api):
    made = api.post("/api/v1/tokens", json={"name": "dashboard", "role": "viewer"})
    assert made.status_code == 201
    secret = made.json()["token"]

    with cloud.client(secret) as viewer:
        assert viewer.get("/api/v1/devices").status_code == 200
        assert viewer.post("/api/v1/tokens", json={"name": "more"}).status_code == 403
        listed = api.get("/api/v1/tokens").json()["items"]
        assert secret not in str(listed)
        assert api.delete(f"/api/v1/tokens/{made.json()['id']}").status_code == 204
        assert viewer.get("/api/v1/devices").status_code == 401

    assert api.delete("/api/v1/tokens/nobody").status_code == 404
    assert api.post("/api/v1/tokens", json={"name": "x", "role": "king"}).json()["errors"][0]["path"] == "role"


def test_it_is_alive_without_its_broker_and_ready_with_it(cloud):
    address = f"http://127.0.0.1:{cloud.port}"
    assert httpx2.get(f"{address}/healthz").status_code == 200
    waiting = httpx2.get(f"{address}/readyz")
    assert (waiting.status_code, waiting.json()["reason"]) == (503, "the broker of this cloud can't be reached")

    broker = mosquitto(cloud.data / "broker" / "mosquitto.conf", cloud.data / "broker.log").start()
    try:
        wait_for_port(cloud.mqtt_port)
        for _ in range(200):
            if httpx2.get(f"{address}/readyz").status_code == 200:
                break
            time.sleep(0.05)
        else:
            raise AssertionError("it is not ready with its broker")
        told = httpx2.get(f"{address}/metrics").text
        assert "fieldloom_cloud_broker_connected 1.0" in told
        assert 'fieldloom_cloud_workflows_total{what="started"} 0.0' in told
        assert 'fieldloom_cloud_workflow_instances{status="waiting"} 0.0' in told
        assert "fieldloom_cloud_workflow_timer_delay_seconds 0.0" in told
    finally:
        broker.stop()
