"""A board of our own TOML files on virtual hardware: from the sensors' registers to the cloud. (F1, F4, F7)"""

import pytest

from e2e.test_boards import execute, wait_for
from fieldloom_build import boards

MORE = [{"driver": "ds18b20", "name": "tank", "pin": 5, "metric": "water"}, {"driver": "nowhere"}]
TOLD = ("driver.failed", "input.changed")


def test_what_sensors_measure_reaches_the_cloud_and_a_fault_is_told_once(system, fleet):
    told = boards.load("esp32-c3-devkitm").configuration()
    told |= {"interval": 200, "drivers": [*told["drivers"], *MORE]}
    fleet.add(system.enrol_device("board-1"), system.gateways, **told)
    with system.api() as api:

        def latest():
            return api.get("/api/v1/devices/board-1/latest").json()["metrics"]

        def measured(**wanted):
            def is_there():
                told = latest()
                return all(
                    metric in told and told[metric]["value"] == pytest.approx(value, abs=0.1)
                    for metric, value in wanted.items()
                )

            wait_for(is_there, 20, f"{wanted}")

        def events():
            told = api.get("/api/v1/events", params={"device": "board-1"}).json()["items"]
            return sorted((event["type"], *event["data"].values()) for event in told if event["type"] in TOLD)

        measured(temperature=21, humidity=45, pressure=1013.25, water=21)
        fleet.sensor("board-1", "climate", temperature=-7.5, humidity=80)
        fleet.sensor("board-1", "tank", temperature=63)
        fleet.sensor("board-1", "door", level=1)
        measured(temperature=-7.5, humidity=80, water=63)

        fleet.sensor("board-1", "climate", fault="absent")
        wait_for(lambda: len(events()) == 3, 20, "the fault")
        partly = execute(api, "board-1", "read")
        fleet.sensor("board-1", "climate", temperature=12)
        measured(temperature=12)

        before = fleet.pins("board-1")[4]["level"]
        execute(api, "board-1", "write", name="relay", value=True)
        after = fleet.pins("board-1")[4]["level"]
        query = {"device": "board-1", "metric": "pressure"}
        ((_, pressure),) = api.get("/api/v1/telemetry", params=query).json()["series"][0]["points"]

        assert events() == [
            ("driver.failed", "climate", "OSError(19,)"),
            ("driver.failed", "nowhere", "ImportError(\"no module named 'fieldloom_agent.drivers.nowhere'\",)"),
            ("input.changed", "door", True),
        ]
    assert partly["result"]["errors"] == {"climate": "OSError(19,)"}
    assert partly["result"]["values"]["water"] == pytest.approx(63, abs=0.1)
    assert (before, after) == (1, 0)
    assert pressure == pytest.approx(1013.25, abs=0.02)
    with pytest.raises(ValueError, match="the parts of this board are climate, door, tank"):
        fleet.sensor("board-1", "relay", level=1)
