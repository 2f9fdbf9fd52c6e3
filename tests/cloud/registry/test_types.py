"""Device types: versioned, commands and twins held against them, readings that do not fit flagged and kept. (R6)"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.registry.conftest import told
from fieldloom_cloud.automation.runtime import Runtime
from fieldloom_cloud.device_types.definition import Definition, Metric, Range
from fieldloom_cloud.guard import Incoming
from fieldloom_cloud.ingest.service import Records
from fieldloom_cloud.workers.leases import AllSlots
from fieldloom_runtime.records import Telemetry

SPEED = {"type": "object", "properties": {"rpm": {"type": "integer", "maximum": 3000}}, "required": ["rpm"]}
PUMP = {
    "metrics": {"temperature": {"unit": "°C", "range": {"min": -40, "max": 85}, "period": "5s"}, "mode": {}},
    "commands": {"set_speed": {"parameters": SPEED | {"additionalProperties": False}}},
    "twin": {"properties": {"interval": {"type": "integer", "minimum": 100}}},
}
NOW = 1_790_000_000_000


@pytest.fixture(scope="module", autouse=True)
def fleet(api):
    for name, kind in (("t-pump", "pump-t"), ("t-plain", "")):
        assert api.post("/devices", json={"id": name, "site": "default", "type": kind}).status_code == 201
    assert api.put("/types/pump-t", json=PUMP).status_code == 200


def faults(answer):
    assert answer.status_code == 422, answer.text
    return {fault["path"]: fault["reason"] for fault in answer.json()["errors"]}


def test_each_change_is_a_version_and_no_change_is_none(api):
    first = api.put("/types/valve", json={"metrics": {"open": {}}}, headers={"If-Match": '"0"'})
    again = api.put("/types/valve", json={"metrics": {"open": {}}})
    second = api.put("/types/valve", json={"name": "Valve"}, headers={"If-Match": first.headers["ETag"]})
    stale = api.put("/types/valve", json={"name": "X"}, headers={"If-Match": first.headers["ETag"]})

    assert [one.json()["version"] for one in (first, again, second)] == [1, 1, 2]
    assert stale.status_code == 412
    assert list(api.get("/types/valve?version=1").json()["definition"]["metrics"]) == ["open"]
    assert api.get("/types/valve").json()["definition"]["name"] == "Valve"
    assert api.get("/types/valve?version=3").status_code == 404
    assert [(one["id"], one["version"]) for one in api.get("/types").json()["items"]] == [("pump-t", 1), ("valve", 2)]
    assert [data["version"] for _, data in told(api, "type.", 2, about="valve")] == [1, 2]


def test_a_type_stays_while_a_device_has_it(api):
    api.put("/types/spare", json={})

    assert [api.delete(f"/types/{name}").status_code for name in ("pump-t", "spare", "spare")] == [409, 204, 404]


@pytest.mark.parametrize(
    ("definition", "path"),
    [
        ({"colour": 1}, "colour"),
        ({"metrics": {"t": {"range": {"min": 2, "max": 1}}}}, "metrics.t.range"),
        ({"metrics": {"t": {"period": "soon"}}}, "metrics.t.period"),
        ({"metrics": {"": {}}}, "metrics..[key]"),
        ({"commands": {"x": {"parameters": {"type": "nothing"}}}}, "commands.x.parameters"),
        ({"commands": {"x": {"parameters": {"$ref": "http://127.0.0.1:9/schema"}}}}, "commands.x.parameters"),
        ({"twin": {"$ref": "file:///etc/passwd"}}, "twin"),
        ({"twin": {"pattern": "("}}, "twin"),
    ],
)
def test_a_definition_that_makes_no_sense_is_refused_with_its_place(api, definition, path):
    answer = api.put("/types/bad", json=definition)

    assert list(faults(answer)) == [path]
    assert api.get("/types/bad").status_code == 404


def test_a_command_that_does_not_fit_is_refused_before_it_is_sent(api):
    def send(device, kind, **parameters):
        return api.post(f"/devices/{device}/commands", json={"type": kind, "parameters": parameters})

    wrong = faults(send("t-pump", "set_speed", rpm=9000, colour="red"))
    good = [send("t-pump", "set_speed", rpm=900), send("t-pump", "reboot"), send("t-plain", "set_speed", colour=1)]
    api.post("/groups", json={"id": "typed", "query": {"q": "t-p"}})
    of_group = api.post("/groups/typed/commands", json={"type": "set_speed"}).json()["items"]

    assert list(wrong) == ["parameters.rpm", "parameters"]
    assert wrong["parameters.rpm"] == "9000 is greater than the maximum of 3000"
    assert [one.status_code for one in good] == [202] * 3
    refused = {one["device"]: [fault["path"] for fault in one["errors"]] for one in of_group}
    assert refused == {"t-plain": [], "t-pump": ["parameters"]}


def test_what_no_device_of_the_type_may_want_is_refused(api):
    wrong = api.patch("/devices/t-pump/twin", json={"desired": {"interval": 5}})
    right = api.patch("/devices/t-pump/twin", json={"desired": {"interval": 500, "led": 1}})

    assert list(faults(wrong)) == ["desired.interval"]
    assert right.status_code == 202


def reading(seq, device="t-pump", **values):
    return Telemetry(device=device, boot=1, seq=seq, ts=NOW + seq * 1000, at=NOW + seq * 1000, values=values)


def test_readings_that_do_not_fit_are_kept_counted_and_told_of_once_an_hour(served, api):
    records = Records(served.database, None, AllSlots(), Runtime(served.database, AllSlots()), lambda: None)

    def store(number, *readings):
        batch = Incoming("gw.one", bytes([number]) * 16, 1, 1, [], list(readings))
        served.client.portal.call(records.write, [batch])

    plain = reading(1, "t-plain", temperature=900.0)
    store(1, reading(1, temperature=20.0, mode="eco"), reading(2, temperature=90.0, speed=3), plain)
    store(2, reading(2, temperature=90.0, speed=3), reading(3, temperature=-41), reading(4, temperature=None))
    store(3, reading(3605, temperature="hot"))

    found = {one["metric"]: (one["count"], one["reason"]) for one in api.get("/devices/t-pump/misfits").json()["items"]}
    assert found == {"speed": (1, "is no metric of this type"), "temperature": (3, "must be a number")}
    assert api.get("/devices/t-plain/misfits").json()["items"] == []
    told_of = [(data["metric"], data["value"]) for _, data in told(api, "reading.unfit", 3)]
    assert sorted(told_of, key=str) == [("speed", 3), ("temperature", "hot"), ("temperature", 90.0)]
    assert api.get("/devices/t-pump/latest").json()["metrics"]["temperature"]["value"] == "hot"


bounds = st.none() | st.floats(-1e9, 1e9)


@given(low=bounds, high=bounds, value=st.floats(allow_nan=False) | st.integers(-(2**63), 2**63 - 1) | st.booleans())
def test_a_value_fits_if_it_lies_between_the_bounds_that_are_there(low, high, value):
    if low is not None and high is not None:
        low, high = min(low, high), max(low, high)
    definition = Definition(metrics={"m": Metric(range=Range(min=low, max=high))})

    fits = (low is None or value >= low) and (high is None or value <= high)
    assert (definition.misfit("m", value) is None) == fits
