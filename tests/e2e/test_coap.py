"""A CoAP device: from an issued key to the cloud's store, and a command back, until the key is revoked. (C3, P8, T5)"""

import json
import subprocess
import time

WAIT_S = 60
REVOKED_WITHIN_S = 5


def coap(system, credential, method, path, body=None):
    """Ask the first gateway by libcoap's client, and return what it prints."""
    keys = ["-u", credential["id"][-12:], "-k", credential["secret"]]
    payload = [] if body is None else ["-t", "50", "-e", json.dumps(body)]
    uri = f"coaps://127.0.0.1:{system.coap_ports[0]}{path}"
    command = ["coap-client-openssl", "-m", method, "-B", "2", *keys, *payload, uri]
    done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=True)
    return done.stdout.strip() + done.stderr.strip()


def until(wanted, ask):
    """Ask until the answer is as wanted; return how long that took."""
    start = time.monotonic()
    while not wanted(answer := ask()):
        assert time.monotonic() < start + WAIT_S, answer
        time.sleep(0.05)
    return time.monotonic() - start


def test_a_key_opens_the_way_to_the_cloud_and_back_until_it_is_revoked(shared_system):
    system = shared_system
    with system.api() as api:
        api.post("/api/v1/devices", json={"id": "valve-1"})
        key = api.post("/api/v1/credentials", json={"device": "valve-1", "kind": "psk"}).json()
    first = {"boot": 1, "seq": 1, "values": {"t": 1}}
    until(lambda told: told == "", lambda: coap(system, key, "post", "/telemetry/valve-1", first))
    assert coap(system, key, "post", "/telemetry/valve-1", first) == ""
    assert coap(system, key, "post", "/telemetry/valve-2", first).startswith("4.03")
    assert coap(system, key, "post", "/telemetry/valve-1", {**first, "seq": 2}) == ""
    until(lambda values: len(values) >= 2, lambda: system.stored("valve-1"))

    with system.api() as api:
        command = api.post("/api/v1/devices/valve-1/commands", json={"type": "open", "parameters": {}}).json()
    until(lambda told: command["id"] in told, lambda: coap(system, key, "get", "/command/valve-1"))
    assert coap(system, key, "post", "/command/valve-1/result", {"id": command["id"], "status": "succeeded"}) == ""
    with system.api() as api:
        until(lambda told: told["status"] == "succeeded", lambda: api.get(f"/api/v1/commands/{command['id']}").json())

        api.post(f"/api/v1/credentials/{key['id']}/revoke", json={}).raise_for_status()
    within_s = until(lambda told: told != "", lambda: coap(system, key, "post", "/telemetry/valve-1", first))
    assert within_s < REVOKED_WITHIN_S
    assert sorted(system.stored("valve-1")) == [1, 1]
