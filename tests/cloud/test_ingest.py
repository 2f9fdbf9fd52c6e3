"""Batches of a gateway at the real cloud and its real broker: stored once, acknowledged after the write. (T5, S2)"""

import asyncio
import base64
import contextlib
import itertools
import os
import re
import ssl
from functools import partial

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

numbers = itertools.count(1)


class Fleet:
    """A cloud with its broker, two sites, a gateway each, and a device at the first."""

    def __init__(self, folder, *options, database=None):
        self.cloud = Cloud(folder, *options, database=database)
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

    def counted(self, outcome):
        """Return how many records have come to an end, since the process has begun."""
        with self.cloud.client() as client:
            told = client.get("/metrics").text
        return float(re.search(rf'ingest_total\{{outcome="{outcome}"\}} (\S+)', told)[1])


@pytest.fixture(scope="module")
def fleet(tmp_path_factory, new_database):
    fleet = Fleet(tmp_path_factory.mktemp("fleet"), database=new_database())
    yield fleet
    fleet.cloud.process.stop()
    fleet.broker.stop()


@pytest.fixture
def device(fleet):
    """A device of the first site that no other test speaks of."""
    name = f"own-{next(numbers)}"
    with fleet.cloud.client(fleet.cloud.token) as api:
        api.post("/api/v1/devices", json={"id": name, "site": "default"}).raise_for_status()
    return name


@pytest.fixture
def own(device):
    """Make readings of that device."""
    return partial(reading, device=device)


def reading(seq, boot=7, device="dev-1", **values):
    record = {"kind": "telemetry", "device": device, "boot": boot, "seq": seq}
    return {**record, "ts": START + seq * 1000, "at": START, "values": values or {"temperature": float(seq)}}


def packed(stream, offset, *records, first=1):
    covers = [
        [record["device"], record["boot"], record["seq"], record["seq"]] for record in records if record.get("seq")
    ]
    return batch.pack(stream, offset, first, covers, [messages.dumps(record) for record in records])


async def send(client, payload, name=GATEWAY):
    """Send until the cloud answers, as a gateway does, and return what it acknowledges of that stream."""
    await client.subscribe(topics.gateway(name, "ack"))
    async with asyncio.timeout(30):
        while True:
            await client.publish(topics.up(name), payload)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    async for message in client.messages:
                        if not message.topic.matches(topics.gateway(name, "ack")):
                            continue  # what comes down, if it is subscribed to, comes again
                        stream, position = batch.unpack_ack(message.payload)
                        if stream == stream_of(payload):  # another one's answer may come late
                            return stream, position


def stream_of(payload):
    return payload[4:20]


async def test_what_is_acknowledged_is_stored_once_over_resends_and_kill_9(fleet, device, own):
    stream = os.urandom(16)
    async with fleet.gateway() as gateway:
        assert await send(gateway, packed(stream, 1, own(1), own(2))) == (stream, 2)
        fleet.cloud.process.kill()
        fleet.cloud.start()
        await send(gateway, packed(stream, 1, own(1), own(2)))
        await send(gateway, packed(stream, 2, own(2), own(3)))

    points = await asyncio.to_thread(fleet.points, device=device)
    assert [value for _, value in points["temperature"]] == [1.0, 2.0, 3.0]
    assert points["temperature"][0][0] == "2026-09-21T14:13:21.000Z"


async def test_a_batch_that_leaves_a_gap_is_not_stored(fleet, device, own):
    stream = os.urandom(16)
    async with fleet.gateway() as gateway:
        await send(gateway, packed(stream, 1, own(1)))
        assert await send(gateway, packed(stream, 5, own(5))) == (stream, 1)
        assert await send(gateway, packed(stream, 5, own(5), first=5)) == (stream, 5)

    points = await asyncio.to_thread(fleet.points, device=device)
    assert [value for _, value in points["temperature"]] == [1.0, 5.0]


async def test_the_same_record_over_two_streams_is_stored_once(fleet, device, own):
    async with fleet.gateway() as gateway:
        await send(gateway, packed(os.urandom(16), 1, own(1), own(2)))
        await send(gateway, packed(os.urandom(16), 1, own(2), own(3)))
        await send(gateway, packed(os.urandom(16), 1, own(2, boot=8)))

    points = await asyncio.to_thread(fleet.points, device=device)
    assert [value for _, value in points["temperature"]] == [1.0, 2.0, 2.0, 3.0]


async def test_a_gateway_of_another_site_speaks_for_no_device_of_ours(fleet, device, own):
    letter = {"kind": "dead_letter", "device": device, "ts": START, "at": START, "boot": 7, "seq": 2, "reason": "bad"}
    async with fleet.gateway("gw.other") as stranger:
        await send(stranger, packed(os.urandom(16), 1, letter, own(1)), "gw.other")

    assert await asyncio.to_thread(fleet.points, device=device) == {}
    letters = (await asyncio.to_thread(fleet.get, "/dead-letters"))["items"]
    assert letters[0]["reason"] == "the device is not registered at the site of this gateway"
    assert letters[0]["record"]["was"]["values"] == {"temperature": 1.0}
    async with fleet.gateway() as gateway:
        await send(gateway, packed(os.urandom(16), 1, own(1), own(2)))
    points = await asyncio.to_thread(fleet.points, device=device)
    assert [value for _, value in points["temperature"]] == [1.0, 2.0], "the stranger's numbers were believed"


async def test_events_results_states_and_texts_have_their_places(fleet, device, own):
    ident = {"device": device, "boot": 7, "at": START}
    records = [
        own(1, mode="auto", open=True, missing=None),
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

    points = await asyncio.to_thread(fleet.points, device=device)
    assert {metric: points[0][1] for metric, points in points.items()} == {"open": 1.0}
    latest = (await asyncio.to_thread(fleet.get, f"/devices/{device}/latest"))["metrics"]
    assert {metric: one["value"] for metric, one in latest.items()} == {"mode": "auto", "open": True, "missing": None}
    events = (await asyncio.to_thread(fleet.get, "/events", device=device))["items"]
    numbered = [(event["type"], event["seq"]) for event in events if event["seq"]]
    assert numbered == [("command.result", 3), ("door.opened", 2)]
    shown = await asyncio.to_thread(fleet.get, f"/devices/{device}")
    assert (shown["status"], shown["firmware"], shown["version"]) == ("online", "1.4.0", 1)


async def test_windows_are_aligned_to_the_epoch(fleet, device, own):
    async with fleet.gateway() as gateway:
        await send(gateway, packed(os.urandom(16), 1, *[own(seq) for seq in range(1, 121)]))

    values = [float(seq) for seq in range(40, 100)]  # the seconds of that minute
    wanted = {"average": sum(values) / 60, "sum": sum(values), "min": values[0], "max": values[-1], "count": 60}
    for aggregate, expected in wanted.items():
        asked = {"device": device, "aggregate": aggregate, "window": "1m"}
        hour = {"start": "2026-09-21T14:00:00Z", "end": "2026-09-21T15:00:00Z"}
        points = (await asyncio.to_thread(fleet.points, **asked, **hour))["temperature"]
        assert dict(points)["2026-09-21T14:14:00.000Z"] == expected, aggregate
    newest = (await asyncio.to_thread(fleet.points, device=device, limit=2))["temperature"]
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


async def test_a_device_is_gone_for_its_newest_session_alone(fleet, device):
    stream = os.urandom(16)

    def state(at, session, **fields):
        record = {"kind": "state", "device": device, "boot": 7, "ts": START + at, "at": START + at}
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
            shown = fleet.get(f"/devices/{device}")
            assert (number, shown["status"]) == (number, expected)

    assert shown["firmware"] == "1.0"
    assert shown["state"]["free"] == 6
    assert shown["state"]["at"].endswith("Z")


async def test_events_and_dead_letters_come_in_pages_the_newest_first(fleet, device):
    before, stranger = fleet.counted("records"), f"not-{device}"
    records = [event(device, number) for number in range(1, 8)] + [event(stranger, number) for number in range(1, 4)]
    async with fleet.gateway() as gateway:
        await send(gateway, packed(os.urandom(16), 1, *records))

    with fleet.cloud.client(fleet.cloud.token) as api:
        seen = pages(api, "/api/v1/events", device=device, type="tick", limit=3)
        strange = pages(api, "/api/v1/dead-letters", device=stranger, limit=2)
        wrong = api.get("/api/v1/events", params={"cursor": ">i:x"})
    assert [one["data"]["n"] for one in seen] == [7, 6, 5, 4, 3, 2, 1]
    assert [letter["device"] for letter in strange] == [stranger] * 3
    assert (wrong.status_code, wrong.json()["errors"][0]["path"]) == (422, "cursor")
    assert fleet.counted("records") == before + 10


def event(device, number):
    record = {"kind": "event", "device": device, "boot": 7, "seq": number, "ts": START + number, "at": START + number}
    return {**record, "type": "tick", "data": {"n": number}}


def pages(api, path, **params):
    found, cursor = [], None
    while True:
        page = api.get(path, params={**params, **({"cursor": cursor} if cursor else {})}).json()
        found += page["items"]
        assert len(page["items"]) <= params["limit"]
        cursor = page["next"]
        if cursor is None:
            return found
