"""An outage of the link between gateway and cloud, as the proof of completeness tells it. (T8)"""

import os
import subprocess
from datetime import UTC, datetime

import httpx2

from e2e.test_boards import wait_for
from fixtures.processes import FIELDLOOM, wait_for_port

BOARD = "proof-1"


def proof(system, start, end):
    asked = {"device": BOARD, "start": start.isoformat(), "end": end.isoformat()}
    with system.api() as api:
        return api.get("/api/v1/completeness", params=asked).raise_for_status().json()


def waiting(system):
    return sum(httpx2.get(url, timeout=20).json()["outbox"]["records"] for url in system.status_pages)


def test_an_outage_is_open_until_all_has_come_and_complete_then(shared_system, shared_fleet):
    system = shared_system
    shared_fleet.add(system.enrol_device(BOARD), system.gateways, interval=100)
    wait_for(lambda: len(system.stored(BOARD)) > 4, 60, "telemetry")
    start = datetime.now(UTC)
    had = len(system.stored(BOARD))
    wait_for(lambda: len(system.stored(BOARD)) > had, 60, "a first record of the window")

    system.processes["cloud-broker"].stop()
    wait_for(lambda: waiting(system) > 10, 60, "records in an outbox")
    end = datetime.now(UTC)
    during = proof(system, start, end)
    system.processes["cloud-broker"].start()
    wait_for_port(system.cloud.mqtt_port)
    after = wait_for(lambda: (told := proof(system, start, end))["status"] == "complete" and told, 60, "the rest")

    assert during["status"] == "open"
    assert "nothing is known yet from beyond the end" in during["reasons"]
    assert (after["missing"], after["settled"]) == ([], after["end"])
    where = {"FIELDLOOM_API": f"http://127.0.0.1:{system.cloud.port}", "FIELDLOOM_TOKEN": system.cloud.token}
    command = [FIELDLOOM, "telemetry", "completeness", BOARD, "--since", "1s", "--until", end.isoformat()]
    done = subprocess.run(command, env=os.environ | where, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.split()[1]) == (0, "complete"), done.stdout + done.stderr
    shared_fleet.off(BOARD)
