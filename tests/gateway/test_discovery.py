"""A gateway finds devices and is found: it asks at intervals, tells the cloud who is there, announces itself. (C8)"""

import asyncio
import json
import sqlite3
import subprocess

import pytest
from zeroconf.asyncio import AsyncServiceInfo

from fieldloom_contract import messages, topics
from fieldloom_gateway import mdns
from fieldloom_gateway.adapters.base import TAKEN, Fault, Outcome, Verdict
from fieldloom_gateway.ingest import service
from fixtures.commands import fieldloom
from gateway.bench import NOW, Bench, Loopback
from gateway.conftest import GATEWAY, Site

SAID = {"type": "pump", "board": "esp32-generic", "firmware": "1.4.0", "capabilities": ["temperature", "relay"]}
READING = messages.dumps({"values": {"t": 1}})


def answer(**device):
    return messages.dumps({"request_id": "ask-1", "device": device})


@pytest.fixture
async def bench(tmp_path):
    bench = Bench(tmp_path)
    bench.other = Loopback()
    bench.add("yard", "http", bench.other)
    async with bench.running():
        yield bench


async def test_who_answers_is_told_of_with_what_it_says(bench):
    assert await bench.broker.say(answer(**SAID, free=9), verb="discovery") == TAKEN
    await bench.broker.say(answer(type="", board=None), verb="discovery")

    common = {"kind": "discovered", "device": "dev-1", "ts": NOW, "at": NOW, "adapter": "broker"}
    assert bench.found() == [{**common, **SAID}, common]


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"type": 7}, "type"),
        ({"board": "b" * 65}, "board"),
        ({"capabilities": "all"}, "capabilities"),
        ({"capabilities": [""]}, "capabilities"),
        ({"capabilities": ["x"] * 65}, "capabilities"),
        ({"twin": "x"}, "twin"),
    ],
)
async def test_an_answer_that_can_not_be_read_lies_with_the_dead_letters(bench, said, field):
    outcome = await bench.broker.say(answer(**said), verb="discovery")

    assert (outcome.verdict, outcome.faults[0].path) == (Verdict.REFUSED, field)
    assert bench.letters()[-1][2].startswith(f"{field}: must ")
    assert bench.found() == []


async def test_where_nobody_can_be_asked_who_is_heard_is_told_of_once_a_round(bench):
    await bench.other.say(READING)
    await bench.other.say(b"what", fault=Fault("user_id", "is missing"))
    assert [(one["device"], one["adapter"]) for one in bench.found()] == [("dev-1", "yard")]

    await bench.ingest.greet_all()
    await bench.other.say(READING)
    await bench.broker.say(READING)

    assert [one["adapter"] for one in bench.found()] == ["yard", "yard"]
    topic, payload = bench.broker.heard.get_nowait()
    assert (topic, json.loads(payload)["ts"]) == (topics.DISCOVERY_REQUEST, NOW)


async def test_who_was_heard_in_a_group_that_was_undone_is_told_of_with_the_next_one(bench, monkeypatch):
    def fail(*_):
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(service, "DISK_PAUSE_S", 0.0)
    monkeypatch.setattr(bench.store, "_write_ranges", fail)
    assert (await bench.other.say(READING)).verdict == Verdict.BUSY
    monkeypatch.undo()
    assert bench.found() == []

    assert await bench.other.say(READING) == Outcome(Verdict.TAKEN)
    assert [one["adapter"] for one in bench.found()] == ["yard"]


async def test_a_gateway_asks_again_and_again_and_is_found_in_its_network(tmp_path, authority, capsys):
    site = Site(tmp_path, authority)
    settings = site.data / "gateway.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"discovery_minutes": 0.005, "mdns": True}))
    try:
        site.start()
        async with site.device("dev-1") as device, asyncio.timeout(60):
            await device.subscribe(topics.DISCOVERY_REQUEST)
            own = None
            while own is None:  # it is ready before it is announced
                capsys.readouterr()
                await asyncio.to_thread(fieldloom, "gateway", "find", "--host", "127.0.0.1", "--seconds", 1, "--json")
                found = json.loads(capsys.readouterr().out)["items"]
                own = next((one for one in found if one["port"] == site.ports["mqtt"]), None)
            asked = [json.loads((await anext(device.messages)).payload)["request_id"] for _ in range(3)]
    finally:
        site.stop()

    assert (own["gateway"], own["addresses"]) == (GATEWAY, ["127.0.0.1"])
    assert own["ca"] == fingerprint(authority.ca)
    assert len(set(asked)) == 3


def fingerprint(ca):
    shown = subprocess.check_output(["openssl", "x509", "-in", ca, "-noout", "-fingerprint", "-sha256"], text=True)
    return shown.strip().partition("=")[2].replace(":", "").lower()


@pytest.mark.parametrize(
    ("told", "port", "reason"),
    [
        ({"id": "dev-1", "ca": "0" * 64}, 8883, "gateway: "),
        ({"id": "gw.\x1b[2J", "ca": "0" * 64}, 8883, "gateway: "),
        ({"id": "gw.one", "ca": "\x1b[2J"}, 8883, "ca: "),
        ({"id": "gw.one"}, 8883, "ca: "),
        ({}, 8883, "gateway: "),
        ({"id": "gw.one", "ca": "0" * 64}, None, "port: "),
    ],
)
def test_nothing_is_shown_of_an_announcement_that_can_not_be_one(told, port, reason):
    found = mdns.Found([], [])
    info = AsyncServiceInfo(mdns.TYPE, f"odd.{mdns.TYPE}", port=port, properties=told)

    mdns._read([info, *mdns._named(["odd\x1b[2J", f"odd\x1b.{mdns.TYPE}"], found)], found)

    assert found.gateways == []
    assert reason in found.unreadable[-1]
    assert len(found.unreadable) == 3
    assert "\x1b" not in "".join(found.unreadable)
