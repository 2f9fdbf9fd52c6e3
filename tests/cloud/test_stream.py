"""What is stored is told live, to whoever may see it, and nobody who listens badly holds anything up. (A1)"""

import asyncio
import contextlib
import json
import os
import socket
import time
from types import SimpleNamespace

import httpx2
import pytest

from cloud.conftest import Cloud, made
from cloud.test_ingest import START, Fleet, packed, reading, send
from cloud.test_sessions import SAME, logged_in
from fieldloom_cloud.auth import service
from fieldloom_cloud.changes import Change, announce
from fieldloom_cloud.database import Database
from fieldloom_cloud.live import routes
from fieldloom_cloud.live.hub import QUEUE, Hub


@pytest.fixture(scope="module")
def fleet(tmp_path_factory, new_database):
    fleet = Fleet(tmp_path_factory.mktemp("fleet"), database=new_database())
    deadline = time.monotonic() + 30
    while len(fleet.get("/events", type="gateway.registered")["items"]) < len(
        fleet.tls
    ):  # the last that it told of itself
        assert time.monotonic() < deadline
        time.sleep(0.05)
    yield fleet
    fleet.cloud.process.stop()
    fleet.broker.stop()


@contextlib.asynccontextmanager
async def listening(fleet, **params):
    """Give an iterator over the events of a stream; the first one says that it has begun."""
    headers = {"Authorization": f"Bearer {fleet.cloud.token}"}
    async with (
        asyncio.timeout(30),
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{fleet.cloud.port}", headers=headers) as client,
        client.stream("GET", "/api/v1/stream", params=params) as answer,
    ):
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = _events(answer)
        assert await anext(events) == {"kind": "ready"}
        yield events


async def _events(answer):
    async for line in answer.aiter_lines():
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


def told(kind, seq, **fields):
    return {"kind": kind, "device": "dev-1", "boot": 9, "seq": seq, "ts": START + seq, "at": START + seq, **fields}


async def test_everything_that_is_stored_is_told_a_batch_s_readings_last(fleet):
    with fleet.cloud.client(fleet.cloud.token) as api:
        async with listening(fleet) as events, fleet.gateway() as gateway:
            sent = api.post("/api/v1/devices/dev-1/commands", json={"type": "read"}).json()
            records = [
                told("state", 9, online=True, session="s", facts={"firmware": "1.2.3"}),
                told("telemetry", 1, values={"temperature": 21.5, "mode": "eco"}),
                told("event", 2, type="door.opened", data={"by": "key"}),
                told("result", 3, id=sent["id"], status="succeeded", result={"values": {}}, error=None),
                {**told("event", 4, type="x", data={}), "device": "stranger"},
            ]
            await send(gateway, packed(os.urandom(16), 1, *records))
            heard = [await anext(events) for _ in range(7)]

    kinds = [event["kind"] for event in heard]
    assert kinds == ["command", "presence", "event", "command", "event", "dead_letter", "telemetry"]
    assert (heard[0]["status"], heard[3]["status"]) == ("pending", "succeeded")
    assert heard[1] == {"kind": "presence", "device": "dev-1", "status": "online", "firmware": "1.2.3"}
    assert heard[2]["data"] == {"by": "key"}
    assert "not registered" in heard[5]["reason"]
    assert heard[6]["values"] == {"temperature": 21.5, "mode": "eco"}
    assert heard[6]["ts"] == "2026-09-21T14:13:20.001Z"


async def test_what_is_stored_already_is_not_told_again(fleet):
    stream = os.urandom(16)
    async with fleet.gateway() as gateway:
        await send(gateway, packed(stream, 1, reading(1, boot=20)))
        async with listening(fleet) as events:
            await send(gateway, packed(stream, 1, reading(1, boot=20), reading(2, boot=20)))
            event = await anext(events)

    assert event["values"] == {"temperature": 2.0}


async def test_a_stream_of_one_device_tells_nothing_of_others(fleet):
    with fleet.cloud.client(fleet.cloud.token) as api:
        async with listening(fleet, device="dev-9") as events:
            api.post("/api/v1/devices", json={"id": "dev-8", "site": "default"}).raise_for_status()
            api.post("/api/v1/devices", json={"id": "dev-9", "site": "default"}).raise_for_status()
            assert (await anext(events))["device"] == "dev-9"


def test_nobody_listens_without_a_token(fleet):
    with fleet.cloud.client() as nobody, fleet.cloud.client("fl_wrong") as stranger:
        assert nobody.get("/api/v1/stream").status_code == 401
        assert stranger.get("/api/v1/stream").status_code == 401


async def test_a_slow_listener_misses_and_is_told_so_while_the_ingest_goes_on(fleet):
    with socket.create_connection(("127.0.0.1", fleet.cloud.port)) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        slow.sendall(
            f"GET /api/v1/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {fleet.cloud.token}\r\n\r\n".encode()
        )
        slow.settimeout(30)
        heard = b""
        while b"ready" not in heard:
            heard += await asyncio.to_thread(slow.recv, 4096)
        count, text = 9_000, "x" * 1000
        async with fleet.gateway() as gateway:
            stream = os.urandom(16)
            for first in range(1, count, 100):
                records = [reading(seq, boot=30, note=text) for seq in range(first, first + 100)]
                assert await send(gateway, packed(stream, first, *records)) == (stream, first + 99)
        while b'"lagged"' not in heard:
            chunk = await asyncio.to_thread(slow.recv, 65536)
            assert chunk, "the stream has ended"
            heard = heard[-100:] + chunk

    missed = int(heard.partition(b'"missed":')[2].split(b"}")[0])
    assert 0 < missed < count - QUEUE


async def test_a_watcher_hears_what_fits_and_then_how_much_did_not():
    hub = Hub()
    with hub.watch(None) as watcher:
        hub.tell(Change("telemetry", "d", {"n": number}) for number in range(QUEUE + 3))
        heard = [await watcher.get() for _ in range(QUEUE + 1)]
        hub.tell([Change("telemetry", "d", {"n": -1})])

        assert [change.told["n"] for change in heard[:QUEUE]] == list(range(QUEUE))
        assert heard[QUEUE] == Change("lagged", "", {"missed": 3})
        assert (await watcher.get()).told == {"n": -1}
        hub.close()
        assert await watcher.get() is None
    with hub.watch(None) as late:
        assert await late.get() is None


async def test_a_watcher_of_one_device_hears_the_alarms_of_all_if_it_wants_to():
    hub = Hub()
    mine, others = Change("event", "mine", {}), [Change("alarm", "other", {}), Change("event", "other", {})]
    with hub.watch("mine") as one, hub.watch("mine", every_alarm=True) as both:
        hub.tell([*others, mine])

        assert await one.get() == mine
        assert [await both.get(), await both.get()] == [others[0], mine]


def test_a_cloud_with_an_idle_stream_open_stops_at_once(tmp_path):
    cloud = Cloud(tmp_path).start()
    with (
        cloud.client(cloud.token) as api,
        logged_in(cloud, api, "viewer") as browser,
        api.stream("GET", "/api/v1/stream") as one,
        browser.stream("GET", "/api/v1/stream") as two,
    ):
        assert next(one.iter_lines()).startswith("data:")
        assert next(two.iter_lines()).startswith("data:")
        begun = time.monotonic()
        code = cloud.process.stop()

    assert (code, time.monotonic() - begun < 5) == (0, True)
    log = cloud.process.log.read_text()
    assert "Traceback" not in log
    assert "stop_deadline_passed" not in log


async def test_a_stream_ends_when_its_session_does(tmp_path, new_database, monkeypatch):
    """The route in this process, with a look at the session every 0.1 s in place of 5 s."""
    monkeypatch.setattr(routes, "LOOK_EVERY_S", 0.1)
    hub = Hub()
    database = Database(made(new_database, tmp_path), hub.tell)
    request = SimpleNamespace(app=SimpleNamespace(state=SimpleNamespace(hub=hub, database=database)))
    async with database.transaction() as session:
        secret, _ = await service.add_login_link(session, "viewer")
        _, caller = await service.log_in(session, secret)
    events = routes.stream(request, caller, None)
    assert (await anext(events)).root.kind == "ready"

    async with database.transaction() as session:
        await service.log_out(session, caller.id)

    async with asyncio.timeout(30):
        assert [event async for event in events] == []
    await database.close()


async def test_what_is_undone_is_not_told(tmp_path, new_database):
    heard = []
    database = Database(made(new_database, tmp_path), heard.extend)
    with pytest.raises(ValueError, match="undo"):
        async with database.transaction() as session:
            announce(session, "event", "d", {})
            raise ValueError("undo")
    async with database.transaction() as session:
        announce(session, "event", "e", {})
    await database.close()

    assert [change.device for change in heard] == ["e"]


def test_logging_out_needs_the_console_itself(fleet):
    with fleet.cloud.client(fleet.cloud.token) as api, logged_in(fleet.cloud, api) as browser:
        assert browser.delete("/api/v1/session").status_code == 403
        assert browser.delete("/api/v1/session", headers=SAME).status_code == 204
