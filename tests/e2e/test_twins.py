"""Twins of real boards, from the cloud and from the site, with parts of it away. (R4, F4)"""

import httpx2
import pytest

from e2e.system import System
from e2e.test_boards import execute, wait_for
from fieldloom_sim.fleet import Fleet
from fixtures.processes import wait_for_port, wait_until_ready

BOARD = "board-1"
TWIN = f"/api/v1/devices/{BOARD}/twin"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A system with one board, for all stories."""
    system = System(tmp_path_factory.mktemp("system"))
    fleet = Fleet(system.folder / "boards")
    fleet.start()
    try:
        fleet.add(system.enrol_device(BOARD), system.gateways, interval=500)
        wait_for(lambda: system.stored(BOARD), 60, "telemetry")
        yield system, fleet
    finally:
        fleet.stop()
        system.stop()


def patch(system, desired, **headers):
    with system.api() as api:
        answer = api.patch(TWIN, json={"desired": desired}, headers=headers)
    assert answer.status_code == 202, answer.text
    return answer.json()


def patch_at_the_site(system, desired):
    token = (system.folder / "gateway-1" / "local.token").read_text().strip()
    url = system.status_pages[0].replace("/api/v1/status", TWIN)
    answer = httpx2.patch(url, json={"desired": desired}, headers={"Authorization": f"Bearer {token}"}, timeout=20)
    assert answer.status_code == 200, answer.text
    return answer.json()


def settled(system, version):
    """Return the cloud's twin once it has the board's report of a version."""

    def told():
        with system.api() as api:
            twin = api.get(TWIN).json()
        return twin if twin["reported_version"] >= version and not twin["pending"] else None

    return wait_for(told, 60, f"version {version}")


def reports(system, version):
    """Return what the board has reported of a version."""
    with system.api() as api:
        events = api.get("/api/v1/events", params={"device": BOARD, "type": "twin.reported"}).json()["items"]
    return [event["data"] for event in events if event["data"]["version"] == version]


def version_of(system):
    """Return the version that the cloud knows."""
    with system.api() as api:
        return api.get(TWIN).json()["version"]


def test_a_patch_reaches_the_board_and_survives_its_reset(world):
    system, fleet = world
    version, starts = version_of(system) + 1, fleet.status()[BOARD]["starts"] + 1
    wanted = {"interval": 250, "led": 99, "drivers": {"climate": {"temperature": 60}}}

    patch(system, wanted)
    taken = settled(system, version)
    with system.api() as api:
        execute(api, BOARD, "reboot", seconds=60)
        read = execute(api, BOARD, "read", name="climate", seconds=60)
    told = wait_for(lambda: len(told := reports(system, version)) == 2 and told, 60, "a report of the next start")

    assert (taken["desired"], taken["delta"]) == (wanted, {"led": 99})
    assert taken["errors"] == {"led": "must be from 0 to 48"}
    assert fleet.status()[BOARD]["starts"] == starts
    assert told == [{"version": version, "values": taken["reported"], "errors": taken["errors"]}] * 2
    assert read["result"]["values"]["temperature"] > 50


def test_patches_wait_for_a_board_without_power_and_come_in_order(world):
    system, fleet = world
    before = version_of(system)

    fleet.off(BOARD)
    patch(system, {"interval": 300, "led": None}, **{"Idempotency-Key": "first"})
    patch(system, {"interval": 350}, **{"Idempotency-Key": "second"})
    patch(system, {"interval": 300, "led": None}, **{"Idempotency-Key": "first"})
    wait_for(lambda: version_of(system) == before + 2, 60, "the owner's word")
    fleet.on(BOARD)
    taken = settled(system, before + 2)

    assert (taken["version"], taken["reported"]["interval"], taken["delta"]) == (before + 2, 350, {})


def test_a_patch_waits_for_a_gateway_that_is_off(world):
    system, _ = world
    before = version_of(system)

    system.processes["gateway-1"].kill()
    pending = patch(system, {"interval": 400})
    system.processes["gateway-1"].start()
    wait_until_ready(int(system.status_pages[0].split(":")[2].split("/")[0]))
    taken = settled(system, before + 1)

    assert len(pending["pending"]) == 1
    assert (taken["version"], taken["reported"]["interval"]) == (before + 1, 400)


def test_the_site_goes_on_while_the_cloud_is_away(world):
    system, _ = world
    before = version_of(system)

    system.processes["cloud"].kill()
    here = patch_at_the_site(system, {"interval": 450})
    wait_for(lambda: patch_at_the_site(system, {})["reported_version"] == before + 1, 60, "the board's report")
    system.processes["cloud"].start()
    wait_for_port(system.cloud.port)
    taken = settled(system, before + 1)

    assert here["version"] == before + 1
    assert (taken["desired"]["interval"], taken["reported"]["interval"], taken["delta"]) == (450, 450, {})


def test_a_gateway_that_lost_its_disk_gets_its_twins_back(world):
    system, _ = world
    before = settled(system, version_of(system))

    system.processes["gateway-1"].kill()
    for path in (system.folder / "gateway-1").glob("gateway.db*"):
        path.unlink()
    system.processes["gateway-1"].start()
    patch(system, {"interval": 500})
    taken = settled(system, before["version"] + 1)

    assert taken["desired"] == {**before["desired"], "interval": 500}
    assert taken["delta"] == {}


def test_a_board_starts_with_a_long_twin(world):
    """4 KiB in the default heap: what could not be read at a start would keep the board from all its work."""
    system, fleet = world
    fleet.add(system.enrol_device("board-2"), system.gateways, interval=500)

    with system.api() as api:
        path = "/api/v1/devices/board-2/twin"
        api.patch(path, json={"desired": {"interval": 250, "note": "x" * 3900}}).raise_for_status()
        wait_for(lambda: api.get(path).json()["reported_version"] == 1, 60, "the report")
        (first,) = fleet.acknowledged("board-2")  # its boot
        fleet.reset("board-2")
        wait_for(lambda: fleet.status()["board-2"]["starts"] == 2, 20, "a second start")
        asked = {"device": "board-2", "type": "twin.reported"}
        told = wait_for(
            lambda: [one for one in api.get("/api/v1/events", params=asked).json()["items"] if one["boot"] != first],
            60,
            "a report of the second start",
        )

    assert told[0]["data"]["values"] == {"interval": 250}
    assert "MemoryError" not in fleet.console("board-2")
