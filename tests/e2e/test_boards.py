"""The real firmware on virtual boards, to the cloud and back. (F1 to F3, F7)"""

import time

import pytest

from e2e.system import System
from fieldloom_sim.fleet import Fleet

FINAL = ("succeeded", "failed", "rejected", "expired")


@pytest.fixture
def system(tmp_path):
    system = System(tmp_path)
    yield system
    system.stop()


@pytest.fixture
def fleet(tmp_path):
    fleet = Fleet(tmp_path / "boards")
    fleet.start()
    yield fleet
    fleet.stop()


def wait_for(what, seconds, description):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := what():
            return found
        time.sleep(0.1)
    raise AssertionError(f"{description} did not come in {seconds} s")


def execute(api, device, kind, seconds=20, **parameters):
    """Send a command and return it with its result."""
    sent = api.post(f"/api/v1/devices/{device}/commands", json={"type": kind, "parameters": parameters})
    assert sent.status_code == 202, sent.text

    def done():
        command = api.get(f"/api/v1/commands/{sent.json()['id']}").json()
        return command if command["status"] in FINAL else None

    return wait_for(done, seconds, f"the result of {kind}")


def test_a_board_reports_and_obeys_and_numbers_on_after_a_reboot(system, fleet):
    fleet.add(system.enrol_device("board-1"), system.gateways, interval=100)

    with system.api() as api:
        wait_for(lambda: len(system.stored("board-1")) > 10, 20, "telemetry")
        read = execute(api, "board-1", "read")
        written = execute(api, "board-1", "write", name="relay", value=True)
        slower = execute(api, "board-1", "set_interval", interval=200)
        wrong = execute(api, "board-1", "write", name="relay", value=7)
        unknown = execute(api, "board-1", "fly")
        rebooted = execute(api, "board-1", "reboot")
        after = execute(api, "board-1", "read", name="relay")
        events = api.get("/api/v1/events", params={"device": "board-1"}).json()["items"]

    assert set(read["result"]["values"]) == {"temperature", "humidity", "relay"}
    assert written["result"] == {"values": {"relay": True}}
    assert slower["result"] == {"interval": 200}
    assert (wrong["status"], wrong["error"]) == ("rejected", "value: must be true or false")
    assert (unknown["status"], unknown["error"]) == ("rejected", "type: fly is not known to this board")
    assert rebooted["status"] == "succeeded"
    assert after["result"] == {"values": {"relay": False}}
    assert fleet.status()["board-1"]["starts"] == 2
    first, second = sorted(fleet.acknowledged("board-1"))
    assert second == first + 1
    assert [event for event in events if event["type"] == "message.rejected"] == []
    assert "Traceback" not in fleet.console("board-1")
