"""The firmware in small heaps: TLS, a backlog of 500 records, a 4 KiB command, a reconnect. (F1)"""

import time

from e2e.test_boards import census_after_stop, execute, outboxes_are_empty, wait_for
from fixtures.processes import wait_for_port

BACKLOG = 500


def live(system, fleet, boards, seconds):
    """Let boards, {name: how it is added}, live for that long, and return a line with what they lived through."""
    begun = time.monotonic()
    broker = system.processes["gateway-1-broker"]
    for name, told in boards.items():
        fleet.add(system.enrol_device(name), system.gateways, interval=20, **told)
    for name in boards:
        wait_for(lambda: max(fleet.acknowledged(name).values(), default=0) > 10, 30, "records")  # noqa: B023 - at once

    broker.stop()
    time.sleep(BACKLOG * 0.02 + 2)
    broker.start()
    wait_for_port(system.mqtt_port)
    with system.api() as api:
        for name in boards:
            assert execute(api, name, "set_interval", interval=200, seconds=60)["status"] == "succeeded"
            assert max(fleet.acknowledged(name).values()) > BACKLOG
            long = execute(api, name, "write", name="relay", value="x" * 3900, seconds=60)
            assert (long["status"], long["error"]) == ("rejected", "value: must be true or false")

        broker.kill()
        broker.start()
        wait_for_port(system.mqtt_port)
        for name in boards:
            assert execute(api, name, "read", seconds=60)["status"] == "succeeded"
        while time.monotonic() - begun < seconds:
            time.sleep(1)
            check(fleet, boards)
        for name in boards:
            execute(api, name, "set_interval", interval=0, seconds=60)
        time.sleep(1)
        wait_for(lambda: outboxes_are_empty(system), 20, "an empty outbox")

    check(fleet, boards)
    lives = {name: fleet.acknowledged(name) for name in boards}
    counted = census_after_stop(system, fleet)
    for name, acknowledged in lives.items():
        ((boot, seq),) = acknowledged.items()
        assert counted.stored[name, boot].spans == [[1, seq]]
    assert counted.duplicated == 0
    records = sum(max(acknowledged.values()) for acknowledged in lives.values())
    return f"{records} records in {time.monotonic() - begun:.0f} s, backlog, 4 KiB command and reconnect: {boards}"


def check(fleet, boards):
    """Each has started once, and never lacked memory."""
    for name in boards:
        assert fleet.status()[name]["starts"] == 1, fleet.console(name)
        assert "MemoryError" not in fleet.console(name), fleet.console(name)
