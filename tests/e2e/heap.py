"""The firmware in a small heap: TLS, a backlog of 500 records, a 4 KiB command, a reconnect. (F1)"""

import time

from e2e.test_boards import census_after_stop, execute, outboxes_are_empty, wait_for
from fixtures.processes import wait_for_port

BACKLOG = 500


def live(system, fleet, heap, seconds):
    """Let a board live for that long in a heap, and return a line with what it had left."""
    begun = time.monotonic()
    broker = system.processes["gateway-1-broker"]
    fleet.add(system.enrol_device("board-1"), system.gateways, heap=heap, interval=20)
    wait_for(lambda: max(fleet.acknowledged("board-1").values(), default=0) > 10, 30, "records")

    broker.stop()
    time.sleep(BACKLOG * 0.02 + 2)
    broker.start()
    wait_for_port(system.mqtt_port)
    with system.api() as api:
        assert execute(api, "board-1", "set_interval", interval=200, seconds=60)["status"] == "succeeded"
        acknowledged = max(fleet.acknowledged("board-1").values())
        assert acknowledged > BACKLOG
        long = execute(api, "board-1", "write", name="relay", value="x" * 3900, seconds=60)
        assert (long["status"], long["error"]) == ("rejected", "value: must be true or false")

        broker.kill()
        broker.start()
        wait_for_port(system.mqtt_port)
        assert execute(api, "board-1", "read", seconds=60)["status"] == "succeeded"
        while time.monotonic() - begun < seconds:
            time.sleep(1)
            assert fleet.status()["board-1"]["starts"] == 1, fleet.console("board-1")
        execute(api, "board-1", "set_interval", interval=0, seconds=60)
        time.sleep(1)
        wait_for(lambda: outboxes_are_empty(system), 20, "an empty outbox")

    assert fleet.status()["board-1"]["starts"] == 1, fleet.console("board-1")
    assert "MemoryError" not in fleet.console("board-1"), fleet.console("board-1")
    ((boot, seq),) = fleet.acknowledged("board-1").items()
    counted = census_after_stop(system, fleet)
    assert counted.stored["board-1", boot].spans == [[1, seq]]
    assert counted.duplicated == 0
    return f"heap {heap}: {seq} records in {time.monotonic() - begun:.0f} s, backlog, 4 KiB command and reconnect"
