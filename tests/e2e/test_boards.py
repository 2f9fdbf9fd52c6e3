"""The real firmware on virtual boards, to the cloud and back. (F1 to F3, F7)"""

import time
from datetime import datetime

import httpx2

from e2e.system import System
from fieldloom_cloud import census
from fieldloom_sim.fleet import Fleet

FINAL = ("succeeded", "failed", "rejected", "expired")


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


def census_after_stop(system, fleet):
    """Count what the cloud holds; nothing runs any more then."""
    fleet.stop()
    system.stop()
    return census.take(system.cloud.data)


def has_all(fleet, board, boot, seq):
    return fleet.acknowledged(board).get(boot, 0) >= seq


def only_life(fleet, board):
    (boot,) = fleet.acknowledged(board)
    return boot


def test_five_boards_with_a_thousand_readings_each_and_a_command_each(system, fleet):
    boards = [f"board-{number}" for number in range(1, 6)]
    for board in boards:
        fleet.add(system.enrol_device(board), system.gateways, interval=20)

    wait_for(
        lambda: all(max(fleet.acknowledged(board).values(), default=0) >= 1000 for board in boards), 90, "readings"
    )
    with system.api() as api:
        results = [execute(api, board, "set_interval", interval=0) for board in boards]
        time.sleep(1)
        wait_for(lambda: outboxes_are_empty(system), 60, "an empty outbox")
    acknowledged = {board: fleet.acknowledged(board) for board in boards}
    counted = census_after_stop(system, fleet)

    assert [result["status"] for result in results] == ["succeeded"] * 5
    assert counted.duplicated == 0
    for board in boards:
        ((boot, seq),) = acknowledged[board].items()
        assert seq >= 1002
        assert counted.stored[board, boot].spans == [[1, seq]]


def outboxes_are_empty(system):
    return all(httpx2.get(page).json()["outbox"]["records"] == 0 for page in system.status_pages)


def test_a_board_whose_flash_was_erased_is_a_new_life(system, fleet):
    identity = system.enrol_device("board-1")
    fleet.add(identity, system.gateways, interval=50)
    wait_for(lambda: max(fleet.acknowledged("board-1").values(), default=0) > 30, 30, "the first life")
    old = only_life(fleet, "board-1")

    fleet.off("board-1")
    fleet.erase(identity, system.gateways, interval=50)
    fleet.on("board-1")

    wait_for(lambda: len(fleet.acknowledged("board-1")) == 2, 30, "the second life")
    (new,) = set(fleet.acknowledged("board-1")) - {old}
    assert 2**20 <= new < 2**30
    wait_for(lambda: has_all(fleet, "board-1", new, 20), 30, "records of the second life")
    wait_for(lambda: outboxes_are_empty(system), 60, "an empty outbox")
    acknowledged = fleet.acknowledged("board-1")
    counted = census_after_stop(system, fleet)
    for boot in (old, new):
        assert counted.lost(("board-1", boot), acknowledged[boot]) == []
    assert counted.duplicated == 0


def test_a_gateway_whose_folder_was_emptied_begins_a_new_stream(system, fleet):
    fleet.add(system.enrol_device("board-1"), system.gateways, interval=50)
    wait_for(lambda: max(fleet.acknowledged("board-1").values(), default=0) > 30, 30, "records")
    with system.api() as api:
        execute(api, "board-1", "set_interval", interval=0)  # what comes after the outbox was empty goes with the disk
    wait_for(lambda: outboxes_are_empty(system), 60, "an empty outbox")
    boot = only_life(fleet, "board-1")

    system.processes["gateway-1"].kill()
    for file in (system.folder / "gateway-1").glob("gateway.db*"):
        file.unlink()
    system.processes["gateway-1"].start()
    with system.api() as api:
        execute(api, "board-1", "set_interval", interval=50)

    before = fleet.acknowledged("board-1")[boot]
    wait_for(lambda: has_all(fleet, "board-1", boot, before + 40), 60, "records over the new gateway")
    wait_for(lambda: outboxes_are_empty(system), 60, "an empty outbox")
    acknowledged = fleet.acknowledged("board-1")[boot]
    counted = census_after_stop(system, fleet)
    assert counted.lost(("board-1", boot), acknowledged) == []
    assert counted.duplicated == 0


def test_a_board_moves_to_another_gateway_with_records_in_flight(tmp_path, fleet):
    system = System(tmp_path, gateways=2)
    try:
        fleet.add(system.enrol_device("board-1"), system.gateways, interval=20)
        wait_for(lambda: max(fleet.acknowledged("board-1").values(), default=0) > 50, 30, "records")
        boot = only_life(fleet, "board-1")
        with system.api() as api:
            for gateway in (system.gateways[1], system.gateways[0], system.gateways[1]):
                moved = execute(api, "board-1", "connect", gateway=gateway.id)
                assert moved["result"] == {"gateway": gateway.id}
                before = fleet.acknowledged("board-1")[boot]
                wait_for(lambda: has_all(fleet, "board-1", boot, before + 50), 30, "records")  # noqa: B023
            nowhere = execute(api, "board-1", "connect", gateway="gw.nowhere")
            execute(api, "board-1", "set_interval", interval=0)
        wait_for(lambda: outboxes_are_empty(system), 60, "empty outboxes")
        acknowledged = fleet.acknowledged("board-1")
        counted = census_after_stop(system, fleet)
    finally:
        system.stop()

    assert (nowhere["status"], nowhere["error"]) == ("rejected", "gateway: is not in this board's configuration")
    assert list(acknowledged) == [boot]
    assert counted.stored["board-1", boot].spans == [[1, acknowledged[boot]]]
    assert counted.duplicated == 0


def test_a_board_whose_every_clock_stands_in_2000_connects(system, tmp_path):
    fleet = Fleet(tmp_path / "boards", wrapper=("faketime", "2000-01-01 00:00:00"))
    fleet.start()
    try:
        fleet.add(system.enrol_device("board-1"), system.gateways, interval=100)
        wait_for(lambda: max(fleet.acknowledged("board-1").values(), default=0) > 10, 30, "records")
        with system.api() as api:
            latest = api.get("/api/v1/devices/board-1/latest").json()["metrics"]["temperature"]["ts"]
    finally:
        fleet.stop()

    assert abs(datetime.fromisoformat(latest).timestamp() - time.time()) < 60
