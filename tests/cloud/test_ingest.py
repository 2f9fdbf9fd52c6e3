"""Batches of a gateway at the real cloud and its real broker: stored once, acknowledged after the write. (T5, S2)"""

import asyncio
import base64
import contextlib
import os
import ssl

import aiomqtt
import pytest

from cloud.conftest import Cloud
from fieldloom_cli.identity import new_key_and_request, write
from fieldloom_cloud.ingest.checked import parsed
from fieldloom_contract import batch, messages, topics
from fieldloom_runtime.records import DeadLetter
from fieldloom_runtime.tls import client_context
from fixtures.processes import mosquitto, wait_for_port

GATEWAY = "gw.one"
START = 1_790_000_000_000


class Fleet:
    """A cloud with its broker, two sites, a gateway each, and a device at the first."""

    def __init__(self, folder):
        self.cloud = Cloud(folder)
        self.broker = mosquitto(self.cloud.data / "broker" / "mosquitto.conf", folder / "broker.log")
        self.broker.start()
        wait_for_port(self.cloud.mqtt_port)
        self.cloud.start()
        self.tls = {}
        with self.cloud.client(self.cloud.token) as api:
            api.post("/api/v1/sites", json={"id": "other"})
            api.post("/api/v1/devices", json={"id": "dev-1", "site": "default"})
            for name, site in ((GATEWAY, "default"), ("gw.other", "other")):
                api.post("/api/v1/gateways", json={"id": name, "site": site})
                key, csr = new_key_and_request(name)
                issued = api.post("/api/v1/certificates", json={"csr": csr.decode()}).json()
                files = write(folder / name, key, issued["certificate"], issued["ca"])
                self.tls[name] = client_context(files["ca"], files["cert"], files["key"], ssl.TLSVersion.TLSv1_3)

    def gateway(self, name=GATEWAY):
        return aiomqtt.Client(
            "127.0.0.1",
            self.cloud.mqtt_port,
            identifier=name,
            tls_context=self.tls[name],
            protocol=aiomqtt.ProtocolVersion.V5,
        )

    def get(self, path, **params):
        with self.cloud.client(self.cloud.token) as api:
            answer = api.get(f"/api/v1{path}", params=params)
            assert answer.status_code == 200, answer.text
            return answer.json()

    def points(self, **params):
        asked = {"device": "dev-1", "start": "2026-01-01T00:00:00Z", "end": "2027-01-01T00:00:00Z", **params}
        return {one["metric"]: one["points"] for one in self.get("/telemetry", **asked)["series"]}


@pytest.fixture
def fleet(tmp_path):
    fleet = Fleet(tmp_path)
    yield fleet
    fleet.cloud.process.stop()
    fleet.broker.stop()


def reading(seq, boot=7, **values):
    record = {"kind": "telemetry", "device": "dev-1", "boot": boot, "seq": seq}
    return {**record, "ts": START + seq * 1000, "at": START, "values": values or {"temperature": float(seq)}}


def packed(stream, offset, *records, first=1):
    covers = [["dev-1", record["boot"], record["seq"], record["seq"]] for record in records if record.get("seq")]
    return batch.pack(stream, offset, first, covers, [messages.dumps(record) for record in records])


async def send(client, payload, name=GATEWAY):
    """Send until the cloud answers, as a gateway does, and return what it acknowledges."""
    await client.subscribe(topics.gateway(name, "ack"))
    async with asyncio.timeout(30):
        while True:
            await client.publish(topics.up(name), payload)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    return batch.unpack_ack((await anext(aiter(client.messages))).payload)


async def test_what_is_acknowledged_is_stored_once_over_resends_and_kill_9(fleet):
    stream = os.urandom(16)
    async with fleet.gateway() as gateway:
        assert await send(gateway, packed(stream, 1, reading(1), reading(2))) == (stream, 2)
        fleet.cloud.process.kill()
        fleet.cloud.start()
        await send(gateway, packed(stream, 1, reading(1), reading(2)))
        await send(gateway, packed(stream, 2, reading(2), reading(3)))

    points = await asyncio.to_thread(fleet.points)
    assert [value for _, value in points["temperature"]] == [1.0, 2.0, 3.0]
    assert points["temperature"][0][0] == "2026-09-21T14:13:21.000Z"


async def test_a_batch_that_leaves_a_gap_is_not_stored(fleet):
    stream = os.urandom(16)
    async with fleet.gateway() as gateway:
        await send(gateway, packed(stream, 1, reading(1)))
        assert await send(gateway, packed(stream, 5, reading(5))) == (stream, 1)
        assert await send(gateway, packed(stream, 5, reading(5), first=5)) == (stream, 5)

    points = await asyncio.to_thread(fleet.points)
    assert [value for _, value in points["temperature"]] == [1.0, 5.0]


async def test_the_same_record_over_two_streams_is_stored_once(fleet):
    async with fleet.gateway() as gateway:
        await send(gateway, packed(os.urandom(16), 1, reading(1), reading(2)))
        await send(gateway, packed(os.urandom(16), 1, reading(2), reading(3)))
        await send(gateway, packed(os.urandom(16), 1, reading(2, boot=8)))

    points = await asyncio.to_thread(fleet.points)
    assert [value for _, value in points["temperature"]] == [1.0, 2.0, 2.0, 3.0]


async def test_a_gateway_of_another_site_speaks_for_no_device_of_ours(fleet):
    letter = {"kind": "dead_letter", "device": "dev-1", "ts": START, "at": START, "boot": 7, "seq": 2, "reason": "bad"}
    async with fleet.gateway("gw.other") as stranger:
        await send(stranger, packed(os.urandom(16), 1, letter, reading(1)), "gw.other")

    assert await asyncio.to_thread(fleet.points) == {}
    letters = (await asyncio.to_thread(fleet.get, "/dead-letters"))["items"]
    assert letters[0]["reason"] == "the device is not registered at the site of this gateway"
    assert letters[0]["record"]["was"]["values"] == {"temperature": 1.0}
    async with fleet.gateway() as gateway:
        await send(gateway, packed(os.urandom(16), 1, reading(1), reading(2)))
    points = await asyncio.to_thread(fleet.points)
    assert [value for _, value in points["temperature"]] == [1.0, 2.0], "the stranger's numbers were believed"


async def test_events_results_states_and_texts_have_their_places(fleet):
    ident = {"device": "dev-1", "boot": 7, "at": START}
    records = [
        reading(1, mode="auto", open=True, missing=None),
        {**ident, "kind": "event", "seq": 2, "ts": START, "type": "door.opened", "data": {"door": 2}},
        {**ident, "kind": "result", "seq": 3, "ts": START, "id": "c1", "status": "succeeded", "result": None},
        {
            **ident,
            "kind": "state",
            "seq": None,
            "ts": START,
            "online": True,
            "session": "s",
            "facts": {"firmware": "1.4.0"},
        },
    ]
    async with fleet.gateway() as gateway:
        await send(gateway, packed(os.urandom(16), 1, *records))

    assert {metric: points[0][1] for metric, points in (await asyncio.to_thread(fleet.points)).items()} == {"open": 1.0}
    latest = (await asyncio.to_thread(fleet.get, "/devices/dev-1/latest"))["metrics"]
    assert {metric: one["value"] for metric, one in latest.items()} == {"mode": "auto", "open": True, "missing": None}
    events = (await asyncio.to_thread(fleet.get, "/events", device="dev-1"))["items"]
    numbered = [(event["type"], event["seq"]) for event in events if event["seq"]]
    assert numbered == [("command.result", 3), ("door.opened", 2)]
    device = await asyncio.to_thread(fleet.get, "/devices/dev-1")
    assert (device["status"], device["firmware"], device["version"]) == ("online", "1.4.0", 1)


async def test_windows_are_aligned_to_the_epoch(fleet):
    async with fleet.gateway() as gateway:
        await send(gateway, packed(os.urandom(16), 1, *[reading(seq) for seq in range(1, 121)]))

    values = [float(seq) for seq in range(40, 100)]  # the seconds of that minute
    wanted = {"average": sum(values) / 60, "sum": sum(values), "min": values[0], "max": values[-1], "count": 60}
    for aggregate, expected in wanted.items():
        points = (
            await asyncio.to_thread(
                fleet.points, aggregate=aggregate, window="1m", start="2026-09-21T14:00:00Z", end="2026-09-21T15:00:00Z"
            )
        )["temperature"]
        assert dict(points)["2026-09-21T14:14:00.000Z"] == expected, aggregate
    newest = (await asyncio.to_thread(fleet.points, limit=2))["temperature"]
    assert [value for _, value in newest] == [119.0, 120.0]


@pytest.mark.parametrize(
    ("params", "path"),
    [
        ({"window": "1x"}, "window"),
        ({"window": "1m"}, "aggregate"),
        ({"aggregate": "mode"}, "aggregate"),
        ({"aggregate": "sum", "window": "1ms"}, "window"),
        ({"start": "2027-01-01T00:00:00Z", "end": "2026-01-01T00:00:00Z"}, "start"),
        ({"start": "2027-01-01T00:00:00"}, "start"),
        ({"limit": "10001"}, "limit"),
    ],
)
def test_a_senseless_query_names_the_field(api, params, path):
    answer = api.get("/api/v1/telemetry", params=params)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["path"] == path


def test_no_device_has_no_latest_values(api):
    assert api.get("/api/v1/devices/nobody/latest").status_code == 404


def test_a_record_that_is_no_json_becomes_a_dead_letter():
    letter = parsed(b"{nonsense", 5)

    assert isinstance(letter, DeadLetter)
    assert base64.b64decode(letter.payload) == b"{nonsense"


async def test_a_device_is_gone_for_its_newest_session_alone(fleet):
    stream = os.urandom(16)

    def state(at, session, **fields):
        record = {"kind": "state", "device": "dev-1", "boot": 7, "ts": START + at, "at": START + at}
        return {**record, "session": session, "facts": {}, **fields}

    words = [
        (state(1, "old", online=True, facts={"firmware": "1.0", "free": 5}), "online"),
        (state(2, "new", online=True, facts={"firmware": "1.0", "free": 6, "sleep": {"every": 9}}), "online"),
        (state(3, "old", online=False), "online"),
        (state(4, "new", online=False, facts={"wakes_by": START}), "asleep"),
        (state(5, "new", online=False), "offline"),
        (state(1, "old", online=True, facts={"firmware": "0.9"}), "offline"),
    ]
    async with fleet.gateway() as client:
        for number, (word, expected) in enumerate(words, 1):
            await send(client, packed(stream, number, word))
            shown = fleet.get("/devices/dev-1")
            assert (number, shown["status"]) == (number, expected)

    assert shown["firmware"] == "1.0"
    assert shown["state"]["free"] == 6
    assert shown["state"]["at"].endswith("Z")
