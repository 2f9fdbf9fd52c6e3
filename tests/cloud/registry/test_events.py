"""Every change is told once, in the transaction that makes it, over any kill. (R2)"""

import sqlite3
import subprocess
import sys
import time
from contextlib import closing

from fieldloom_cloud.database import migrate
from fieldloom_cloud.registry import service as registry


def events(api, device=None, count=1, **params):
    """Wait for so many events, and return them, the oldest first."""
    deadline = time.monotonic() + 20
    while True:
        params = {**params, **({"device": device} if device else {})}
        items = api.get("/events", params=params).json()["items"]
        if len(items) >= count or time.monotonic() > deadline:
            return [(one["type"], one["data"]) for one in reversed(items)]
        time.sleep(0.02)


def test_what_is_registered_changed_and_removed_is_told_in_order(api):
    api.post("/devices", json={"id": "told", "site": "default", "type": "pump", "tags": {"floor": "1"}})
    api.patch("/devices/told", json={"name": "North", "tags": {}})
    api.delete("/devices/told")

    (first, registered), updated, removed = events(api, "told", 3)
    assert (first, registered["type"], registered["tags"], registered["version"]) == (
        "device.registered",
        "pump",
        {"floor": "1"},
        1,
    )
    assert updated == ("device.updated", {"version": 2, "changes": {"name": "North", "tags": {}}})
    assert removed == ("device.removed", {"version": 2, "site": "default"})


def test_sites_and_gateways_are_told_too(api):
    api.post("/sites", json={"id": "told-site"})
    api.post("/gateways", json={"id": "gw.told", "site": "told-site"})

    asked = [("site.registered", {"id": "told-site", "name": "told-site"})]
    assert events(api, type="site.registered", count=3)[-1:] == asked
    assert events(api, type="gateway.registered") == [("gateway.registered", {"id": "gw.told", "site": "told-site"})]


def test_what_is_refused_is_not_told(api):
    api.post("/devices", json={"id": "once", "site": "default"})
    refused = [api.post("/devices", json={"id": "once", "site": "default"})]
    refused += [api.patch("/devices/once", json={"name": "x"}, headers={"If-Match": '"7"'})]
    refused += [api.delete("/devices/once", headers={"If-Match": '"7"'})]
    api.patch("/devices/once", json={"name": "y"})

    assert [answer.status_code for answer in refused] == [409, 412, 412]
    assert [kind for kind, _ in events(api, "once", 2)] == ["device.registered", "device.updated"]


def test_what_a_device_says_of_its_firmware_is_told_when_it_is_new(served, api):
    api.post("/devices", json={"id": "speaks", "site": "default"})
    for at, firmware in ((1, "1.4.0"), (2, "1.4.0"), (3, "1.5.0")):
        told = registry.Told("s", at, "online", {"firmware": firmware, "board": "esp32-generic"})
        served.within(lambda session, told=told: registry.set_presence(session, "speaks", told))

    changes = [data["changes"] for kind, data in events(api, "speaks", 3) if kind == "device.updated"]
    assert changes == [{"firmware": "1.4.0", "board": "esp32-generic"}, {"firmware": "1.5.0"}]


def test_a_removed_device_takes_its_twin_along(api):
    api.post("/devices", json={"id": "twinned", "site": "default"})
    api.patch("/devices/twinned/twin", json={"desired": {"interval": 500}})
    api.delete("/devices/twinned")
    api.post("/devices", json={"id": "twinned", "site": "default"})

    again = api.get("/devices/twinned/twin").json()
    assert (again["version"], again["desired"], again["pending"]) == (0, {}, [])


PASSES_ON = """
import asyncio, sys
from pathlib import Path
from fieldloom_cloud.database import Database
from fieldloom_cloud.ingest.registry_events import Publisher
from fieldloom_cloud.outbox import service

service.AT_ONCE = 1
asyncio.run(Publisher(Database(Path(sys.argv[1]))).run())
"""


def test_each_event_is_there_once_however_often_who_passes_it_on_is_killed(tmp_path):
    path, count = tmp_path / "cloud.db", 100
    migrate(path)

    with closing(sqlite3.connect(path, timeout=20)) as sql:
        left = [("device.updated", "dev-1", 1, f'{{"number": {number}}}') for number in range(count)]
        with sql:
            sql.executemany("INSERT INTO outbox (type, device, ts, data) VALUES (?, ?, ?, ?)", left)
        for left in (50, 0):
            passing = subprocess.Popen([sys.executable, "-c", PASSES_ON, path])
            deadline = time.monotonic() + 60
            while sql.execute("SELECT count(*) FROM outbox").fetchone()[0] > left and time.monotonic() < deadline:
                time.sleep(0.001)
            passing.kill()
            passing.wait()
        numbers = [row[0] for row in sql.execute("SELECT data ->> 'number' FROM event ORDER BY id")]

    assert numbers == list(range(count))
