"""A real board that nobody has registered: found, approved, and then its readings are stored. (C8)"""

import contextlib
import json
import sqlite3

import httpx2
import pytest

from e2e.test_boards import wait_for
from fieldloom_sim.fleet import DRIVERS
from fixtures.commands import fieldloom

BOARD = "found-1"
SAID = ("type", "board", "firmware", "capabilities")


def forget(system, device):
    """Let the registry be one that never knew a device, as after a restore from an old copy."""
    with contextlib.closing(sqlite3.connect(system.cloud.data / "cloud.db", timeout=20)) as sql, sql:
        sql.execute("PRAGMA foreign_keys = ON")
        sql.execute("DELETE FROM device WHERE id = ?", (device,))


@pytest.fixture
def command(shared_system, monkeypatch, capsys):
    """Run a command against the system, and return its JSON."""
    monkeypatch.setenv("FIELDLOOM_API", f"http://127.0.0.1:{shared_system.cloud.port}")
    monkeypatch.setenv("FIELDLOOM_TOKEN", shared_system.cloud.token)

    def run(*arguments):
        capsys.readouterr()
        with shared_system.api() as api, monkeypatch.context() as patched:
            api.base_url = f"http://127.0.0.1:{shared_system.cloud.port}/api/v1"
            patched.setattr(httpx2, "Client", lambda **_: api)  # its own one stays open
            fieldloom(*arguments, "--json")
        return json.loads(capsys.readouterr().out)

    return run


def test_a_board_is_found_dismissed_and_approved_by_the_command(shared_system, shared_fleet, command):
    system, fleet = shared_system, shared_fleet

    def listed(*options):
        return [one for one in command("discovery", "list", *options)["items"] if one["device"] == BOARD]

    identity = system.enrol_device(BOARD)
    forget(system, BOARD)
    fleet.add(identity, system.gateways[:1], interval=500)
    try:
        wait_for(lambda: fleet.acknowledged(BOARD), 60, "the gateway's acknowledgement")
        answered = command("gateway", "discover", "--data", system.folder / "gateway-1", "--seconds", 4)["items"]
        (own,) = [one for one in answered if one["device"] == BOARD]
        (found,) = wait_for(listed, 30, "the found board")
        stored_before = system.stored(BOARD)
        command("discovery", "dismiss", BOARD)
        (dismissed,) = listed("--dismissed", "--site", "default")
        approved = command("discovery", "approve", BOARD)
        wait_for(lambda: system.stored(BOARD), 30, "readings after the approval")
    finally:
        fleet.off(BOARD)

    assert own["adapter"] == found["adapter"] == "broker"
    assert (found["site"], found["gateway"], found["dismissed"]) == ("default", "gw.site1", None)
    assert dismissed["dismissed"]
    assert (own["type"], own["capabilities"]) == ("climate", [driver["name"] for driver in DRIVERS])
    assert own["firmware"]
    for told in (found, approved):
        assert {name: told[name] for name in SAID} == {name: own[name] for name in SAID}
    assert stored_before == []
    assert listed() == listed("--dismissed") == []


def test_a_site_is_told_to_enter_found_devices_by_itself(command):
    assert command("discovery", "automatic", "default", "--on")["automatic_entry"] is True
    assert command("discovery", "automatic", "default", "--off")["automatic_entry"] is False
