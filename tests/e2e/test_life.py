"""What goes wrong on a board is told, once, and ends nothing that need not end. (F4, F2, O4)"""

import subprocess
import sys
from pathlib import Path

import pytest

from e2e.renewing import flash, write_files
from e2e.test_boards import execute, wait_for

BOMB = b"""
import asyncio
import machine

class Driver:
    measures = True

    def __init__(self, entry):
        self.long = False

    def read(self):
        return {"note": "x" * 3000} if self.long else {"note": "fine"}

    def write(self, value):
        machine.WDT(timeout=3000)
        if value == "raise":
            asyncio.create_task(self.explode())
        elif value == "hang":
            while True:
                pass
        self.long = value == "long"

    async def explode(self):
        raise ZeroDivisionError("of the bomb")
"""
DRIVERS = [{"driver": "simulated", "name": "climate"}, {"driver": "bomb"}]


@pytest.fixture
def system(shared_system):
    return shared_system


@pytest.fixture
def fleet(shared_fleet):
    return shared_fleet


def switch_on(system, fleet, board):
    """Switch a board on that has a driver of its own, put beside ours."""
    fleet.add(system.enrol_device(board), system.gateways[:1], interval=500, drivers=DRIVERS)
    fleet.off(board)
    beside = next(Path(path).parent for path in flash(fleet, board) if path.endswith("/drivers/simulated.mpy"))
    write_files(fleet, board, {f"{beside}/bomb.py": BOMB})
    fleet.on(board)


def events(api, board, kind):
    return api.get("/api/v1/events", params={"device": board, "type": kind}).json()["items"]


def test_an_exception_and_a_hang_are_told_after_the_reset_each_once(system, fleet):
    switch_on(system, fleet, "crashing")
    with system.api() as api:
        sent = api.post(
            "/api/v1/devices/crashing/commands",
            json={"type": "write", "parameters": {"name": "bomb", "value": "raise"}},
        )
        assert sent.status_code == 202
        (crash,) = wait_for(lambda: events(api, "crashing", "crash"), 60, "the exception")
        assert crash["data"]["cause"] == "exception"
        assert crash["data"]["error"] == "ZeroDivisionError('of the bomb',)"
        assert "in explode" in crash["data"]["trace"]
        assert len(crash["data"]["trace"]) <= 1024
        assert crash["data"]["up"] > 0

        api.post(
            "/api/v1/devices/crashing/commands",
            json={"type": "write", "parameters": {"name": "bomb", "value": "hang"}},
        )
        wait_for(lambda: len(events(api, "crashing", "crash")) == 2, 60, "the watchdog's reset")
        assert events(api, "crashing", "crash")[0]["data"] == {"cause": "watchdog"}
        assert execute(api, "crashing", "reboot")["status"] == "succeeded"
        assert len(events(api, "crashing", "crash")) == 2
    fleet.off("crashing")


def test_a_record_over_the_limit_is_told_and_measuring_goes_on(system, fleet):
    switch_on(system, fleet, "wordy")
    with system.api() as api:
        execute(api, "wordy", "write", name="bomb", value="long", seconds=60)
        told = wait_for(lambda: events(api, "wordy", "record.rejected"), 30, "the record")
        assert told[0]["data"] == {"topic": "telemetry", "field": "record", "reason": "is longer than 2048 bytes"}
        execute(api, "wordy", "write", name="bomb", value="short", seconds=60)
        assert len(events(api, "wordy", "record.rejected")) == 1
        before = sum(fleet.acknowledged("wordy").values())
        wait_for(lambda: sum(fleet.acknowledged("wordy").values()) > before + 3, 30, "records")
    assert fleet.status()["wordy"]["starts"] == 2
    fleet.off("wordy")


def test_state_tells_memory_link_and_buffer(system, fleet):
    fleet.add(system.enrol_device("figures"), system.gateways[:1], interval=500)
    with system.api() as api:
        state = wait_for(lambda: api.get("/api/v1/devices/figures").json()["state"], 30, "the state")

    assert 0 < state["lowest"] <= 128 * 1024
    assert 0 < state["flash_free"] <= 1024 * 1024
    assert (state["rssi"], state["reconnects"], state["dropped"]) == (-50, 0, 0)
    assert state.keys() >= {"up", "firmware", "free", "idf_free", "waiting", "cause", "at"}
    fleet.off("figures")


def test_a_configuration_that_can_not_be_used_is_told_on_the_console_and_mpremote_gets_in(system, fleet):
    fleet.add(system.enrol_device("confused"), system.gateways[:1], interval="often")
    wait_for(lambda: "config.json can't be used" in fleet.console("confused"), 20, "the complaint")
    assert "config.json can't be used: interval: must be a whole number" in fleet.console("confused")

    mpremote = [Path(sys.executable).with_name("mpremote"), "connect", fleet.serial("confused")]
    read = subprocess.run(
        [*mpremote, "fs", "cat", ":config.json"], capture_output=True, text=True, timeout=60, check=True
    )

    assert '"interval": "often"' in read.stdout
    assert fleet.console("confused").count("Traceback") <= 1  # of mpremote's Ctrl-C
    fleet.off("confused")
