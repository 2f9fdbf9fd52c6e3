"""Bad batches of a gateway that is one of ours: counted, kept, and never in the way of its stream. (T1, T5)"""

import asyncio
import json
import os
import re
import ssl
import struct

import pytest

from cloud.conftest import made
from cloud.test_ingest import GATEWAY, START, Fleet, packed, reading, send
from fieldloom_cloud.automation.runtime import Runtime
from fieldloom_cloud.database import Database
from fieldloom_cloud.ingest import service
from fieldloom_cloud.ingest.service import Records
from fieldloom_cloud.ingest.worker import Broker, Worker
from fieldloom_cloud.pages import Asked
from fieldloom_cloud.registry import service as registry
from fieldloom_cloud.timeseries.store import TimeSeries
from fieldloom_cloud.workers.leases import AllSlots
from fieldloom_contract import batch, messages, topics
from fieldloom_runtime.records import Telemetry
from security.ground import until

NUMBERS = iter(range(1000, 10**6))


@pytest.fixture(scope="module")
def fleet(tmp_path_factory, new_database):
    """One cloud for the whole table."""
    fleet = Fleet(tmp_path_factory.mktemp("fleet"), database=new_database())
    yield fleet
    fleet.cloud.process.stop()
    fleet.broker.stop()


def counts(fleet):
    with fleet.cloud.client() as client:
        told = client.get("/metrics").text
    return {name: float(count) for name, count in re.findall(r'ingest_total\{outcome="(\w+)"\} (\S+)', told)}


def frame(stream, offset, covers, *records, first=1, count=None, told=None):
    """A batch as a faulty gateway might pack it: covers as text, a head that lies."""
    head = struct.pack("!2sBB16sQ", b"FL", 1, ord("B"), stream, offset)
    rest = struct.pack("!QII", first, len(records) if count is None else count, len(covers) if told is None else told)
    return head + rest + covers + b"\n".join(records)


def good(boot):
    return messages.dumps(reading(1, boot=boot))


def changed(**fields):
    """A record with fields changed, left out where they are None; `...` stands for JSON's null."""
    record = {**reading(1), **fields}
    return messages.dumps(
        {name: None if value is ... else value for name, value in record.items() if value is not None}
    )


def valued(value):
    return b'{"kind":"telemetry","device":"dev-1","boot":1,"seq":1,"ts":1,"at":1,"values":{"t":' + value + b"}}"


DEEP = b'{"a":' * 400 + b"1" + b"}" * 400
# Records of which the cloud makes dead letters in their place.
RECORDS = {
    "no JSON": b"{nonsense",
    "nothing": b" ",
    "a list": b"[1]",
    "NaN": valued(b"NaN"),
    "no values": changed(values=None),
    "values of 10**400": valued(b"1" + b"0" * 400),
    "values of 1e999": valued(b"1e999"),
    "values of 2**63": changed(values={"t": 2**63}),
    "an object as value": changed(values={"t": {"a": 1}}),
    "a boot of 10**30": changed(boot=10**30),
    "a boot of true": changed(boot=True),
    "a negative seq": changed(seq=-1),
    "a seq of 2**63": changed(seq=2**63),
    "a time of 2**62": changed(ts=2**62),
    "a time as text": changed(ts="now"),
    "no time": changed(at=None),
    "an unknown kind": changed(kind="wish"),
    "kind void": b'{"kind":"void"}',
    "a device of 65": changed(device="d" * 65),
    "a device that is a list": changed(device=["dev-1"]),
    "no device": changed(device=None),
    "an event without type": changed(kind="event", data={}),
    "an event whose data is a text": changed(kind="event", type="t", data="x"),
    "an event nested 400 deep": changed(kind="event", type="t").replace(b'"kind"', b'"data":' + DEEP + b',"kind"'),
    "an event with NUL": changed(kind="event", type="t", data={"a": "\0"}),
    "half a surrogate pair": changed(kind="event", type="@", data={}).replace(b"@", rb"\ud800"),
    "a result without id": changed(kind="result", status="succeeded"),
    "a state without online": changed(kind="state"),
}  # fmt: skip


@pytest.mark.parametrize("what", RECORDS)
async def test_a_bad_record_becomes_a_dead_letter_between_good_ones(fleet, what):
    before, stream, boot = counts(fleet), os.urandom(16), next(NUMBERS)
    records = [good(boot), RECORDS[what], good(boot + 10**6)]
    covers = messages.dumps([["dev-1", boot, 1, 1], ["dev-1", boot + 10**6, 1, 1]])

    async with fleet.gateway() as gateway:
        assert await send(gateway, frame(stream, 1, covers, *records)) == (stream, 3)

    letter = fleet.get("/dead-letters")["items"][0]
    assert (letter["device"], letter["gateway"], letter["record"]["length"]) == ("", GATEWAY, len(RECORDS[what]))
    assert letter["reason"].startswith("unreadable: ")
    after = counts(fleet)
    assert (after["records"], after["dead_letters"]) == (before["records"] + 3, before["dead_letters"] + 1)
    assert after["unforeseen"] == 0


# Frames whose head can be read and nothing else: settled as a whole by one dead letter.
REST = {
    "covers that are no JSON": frame(b"%", 1, b"{", good(1), good(2)),
    "covers that are no list": frame(b"%", 1, b"{}", good(1), good(2)),
    "covers of a boot of 10**30": frame(b"%", 1, b'[["dev-1",1%s,1,1]]' % (b"0" * 30), good(1), good(2)),
    "covers that end before they begin": frame(b"%", 1, b'[["dev-1",1,2,1]]', good(1), good(2)),
    "covers of true": frame(b"%", 1, b'[["dev-1",true,1,1]]', good(1), good(2)),
    "covers of a gateway": frame(b"%", 1, b'[["gw.one",1,1,1]]', good(1), good(2)),
    "covers with a repeated key": frame(b"%", 1, b'[{"a":1,"a":2}]', good(1), good(2)),
    "fewer records than told": frame(b"%", 1, b"[]", good(1), count=2),
    "more records than told": frame(b"%", 1, b"[]", good(1), good(2), good(3), count=2),
}


@pytest.mark.parametrize("what", REST)
async def test_a_batch_with_a_bad_rest_is_settled_and_the_stream_goes_on(fleet, what):
    before, stream, boot = counts(fleet), os.urandom(16), next(NUMBERS)
    payload = REST[what].replace(struct.pack("16s", b"%"), stream)

    async with fleet.gateway() as gateway:
        assert await send(gateway, payload) == (stream, 2)
        assert await send(gateway, payload) == (stream, 2), "sent again, as after a lost acknowledgement"
        assert await send(gateway, packed(stream, 3, reading(1, boot=boot))) == (stream, 3)

    letters = fleet.get("/dead-letters")["items"]
    assert letters[0]["record"]["length"] == len(payload)
    assert re.match(r"batch\.|device: ", letters[0]["reason"])
    assert counts(fleet)["dead_letters"] >= before["dead_letters"] + 1
    assert len([one for one in letters if one["record"].get("payload") == letters[0]["record"]["payload"]]) == 1


# Nothing of these says which stream goes on: kept once, however often they come, and never acknowledged.
HEADS = {
    "nothing": b"",
    "noise": b"\xff" * 100,
    "an acknowledgement": batch.pack_ack(b"s" * 16, 1),
    "another version": frame(b"s", 1, b"[]", good(1)).replace(b"FL\x01", b"FL\x09"),
    "offset 0": frame(b"s", 0, b"[]", good(1), first=0),
    "offset 2**64 - 1": frame(b"s", 2**64 - 1, b"[]", good(1)),
    "first after offset": frame(b"s", 1, b"[]", good(1), first=2),
    "a count of 2**32 - 1": frame(b"s", 1, b"[]", good(1), count=2**32 - 1),
    "no record": frame(b"s", 1, b"[]"),
    "covers longer than all": frame(b"s", 1, b"[]", good(1), told=2**32 - 1),
    "cut in its head": frame(b"s", 1, b"[]", good(1))[:30],
    "200 KiB of noise": b"x" * 200 * 1024,
}


@pytest.mark.parametrize("what", HEADS)
async def test_a_frame_that_is_none_is_kept_once_and_holds_up_nothing(fleet, what):
    before, stream = counts(fleet), os.urandom(16)

    async with fleet.gateway() as gateway:
        for _ in range(3):
            await gateway.publish(topics.up(GATEWAY), HEADS[what])
        assert await send(gateway, packed(stream, 1, reading(1, boot=next(NUMBERS)))) == (stream, 1)

    letter = fleet.get("/dead-letters")["items"][0]
    assert (letter["gateway"], letter["record"].get("length", 0)) == (GATEWAY, len(HEADS[what]))
    after = counts(fleet)
    assert (after["unreadable"], after["dead_letters"]) == (before["unreadable"] + 3, before["dead_letters"] + 1)


@pytest.mark.parametrize("number", [2**53, 2**63, 2**64 - 1])
async def test_an_acknowledgement_beyond_all_numbers_is_kept_and_harms_nothing(fleet, number):
    async with fleet.gateway() as gateway:
        await gateway.publish(topics.gateway(GATEWAY, "down/ack"), batch.pack_ack(b"s" * 16, number))
        await gateway.publish(topics.gateway(GATEWAY, "state"), b"\xff\xff")
        stream = os.urandom(16)
        assert await send(gateway, packed(stream, 1, reading(1, boot=next(NUMBERS)))) == (stream, 1)

    state, acknowledgement = fleet.get("/dead-letters")["items"][:2]
    assert state["reason"].startswith("state: ")
    assert acknowledgement["reason"].startswith("batch.offset")


async def test_another_gateway_goes_on_while_one_floods(fleet):
    stream, boots = os.urandom(16), [next(NUMBERS) for _ in range(20)]
    async with fleet.gateway("gw.other") as flooder, fleet.gateway() as gateway:
        for number in range(300):
            await flooder.publish(topics.up("gw.other"), os.urandom(500) + number.to_bytes(4, "big"))
        for offset, boot in enumerate(boots, start=1):
            record = {**reading(1, boot=boot, calm=float(offset)), "ts": START + offset}
            async with asyncio.timeout(30):  # an answer to what was sent twice may come late
                while await send(gateway, packed(stream, offset, record)) != (stream, offset):
                    continue

    points = await asyncio.to_thread(fleet.points, metric="calm")
    assert [value for _, value in points["calm"]] == [float(offset) for offset in range(1, 21)]


async def test_every_list_can_still_be_read_and_the_cloud_has_not_stumbled(fleet):
    for path in ("/events", "/dead-letters", "/devices", "/devices/dev-1/latest", "/telemetry"):
        fleet.get(path)

    log = (fleet.cloud.folder / "cloud.log").read_text()
    assert "Traceback" not in log
    assert not [line for line in log.splitlines() if json.loads(line)["level"] == "error"]
    assert fleet.cloud.process.popen.poll() is None


async def test_what_no_check_foresaw_is_kept_and_its_stream_goes_on(tmp_path, new_database, monkeypatch):
    database, series = Database(made(new_database, tmp_path)), TimeSeries(tmp_path)
    slots = AllSlots()
    runtime = Runtime(database, slots)
    broker = Broker("127.0.0.1", 1, "svc.cloud", ssl.create_default_context())
    worker = Worker(broker, database, series, None, runtime, slots)
    ingest = series.ingest

    def stumble(group):
        if any(isinstance(record, Telemetry) for sent in group for record in sent.records):
            raise KeyError("a fault of the program")
        return ingest(group)

    monkeypatch.setattr(series, "ingest", stumble)
    async with database.transaction() as session:
        await registry.add_site(session, "s", "s")
        await registry.add_gateway(session, GATEWAY, "s")
        await registry.add_device(session, {"id": "dev-1"})

    stream = os.urandom(16)
    working = asyncio.create_task(worker._write(Records(database, None, slots, runtime, lambda: None)))
    await worker._hear(topics.up(GATEWAY), packed(stream, 1, reading(1), reading(2)))
    await until(lambda: worker.counts["batches"])
    working.cancel()

    async with database.transaction() as session:
        letters, _ = await service.dead_letters(session, None, Asked(limit=9))
    assert [letter["reason"] for letter in letters] == ["can't be stored: KeyError"] * 2
    assert series._guard.position(stream) == 2
    assert worker.counts["unforeseen"] == 1
    series.close()
    await database.close()
