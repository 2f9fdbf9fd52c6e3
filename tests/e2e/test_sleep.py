"""Boards that sleep between wakes: presence by their schedule, one boot, commands handed over at the wake. (F9)"""

import httpx2
import pytest

from e2e.test_boards import execute, wait_for

SLEEP = {"every": 4000, "awake": 700}


@pytest.fixture
def system(shared_system):
    return shared_system


@pytest.fixture
def fleet(shared_fleet):
    return shared_fleet


def test_a_sleeping_board_keeps_its_boot_obeys_at_its_wakes_and_is_asleep_until_it_misses_one(system, fleet):
    fleet.add(system.enrol_device("sleeper"), system.gateways[:1], interval=60_000, sleep=SLEEP)
    with system.api() as api:

        def status():
            return api.get("/api/v1/devices/sleeper").json()["status"]

        def at_the_site():
            site = httpx2.get(system.status_pages[0].replace("/status", "/devices")).json()["items"]
            return next(one["status"] for one in site if one["id"] == "sleeper")

        wait_for(lambda: status() == "asleep", 40, "the first sleep")
        state = api.get("/api/v1/devices/sleeper").json()["state"]
        assert state["sleep"]["every"] == 4000
        assert 0 < state["sleep"]["for"] <= 4000
        assert "free" in state  # what it told while it was awake stays

        read = execute(api, "sleeper", "read", seconds=60)
        assert read["status"] == "succeeded"
        seen = set()

        def slept_again():
            seen.add(status())
            return fleet.status()["sleeper"]["starts"] >= 4

        wait_for(slept_again, 60, "more wakes")
        assert seen <= {"online", "asleep"}
        ((_, seq),) = fleet.acknowledged("sleeper").items()  # one boot
        assert seq >= 5  # a reading a wake, and a command's two results
        assert len(system.stored("sleeper")) >= 6  # of two metrics
        assert api.get("/api/v1/events", params={"device": "sleeper", "type": "crash"}).json()["items"] == []

        # At the gateway, and from the beginning of a sleep, so that the board has no time to wake before it is off.
        wait_for(lambda: at_the_site() == "online", 40, "a wake")
        wait_for(lambda: at_the_site() == "asleep", 40, "a sleep")
        fleet.off("sleeper")
        assert at_the_site() == "asleep"
        wait_for(lambda: status() == "offline", 40, "the missed wake")


def test_a_restart_of_a_sleeping_board_is_a_new_boot(system, fleet):
    fleet.add(system.enrol_device("dozer"), system.gateways[:1], interval=60_000, sleep=SLEEP)
    wait_for(lambda: fleet.status()["dozer"]["starts"] >= 2, 40, "a wake")
    fleet.off("dozer")
    fleet.on("dozer")
    wait_for(lambda: len(fleet.acknowledged("dozer")) == 2, 40, "records of the second boot")
    first, second = sorted(fleet.acknowledged("dozer"))
    assert second == first + 1
    fleet.off("dozer")
