"""Bad input at a real gateway: seen, counted, kept with its reason, answered; and good traffic goes on. (T1)"""

import asyncio
import contextlib
import json
import random
import sqlite3
import time
from pathlib import Path
from urllib.request import urlopen

import pytest

from contract import corpus
from fieldloom_contract import messages, topics
from fieldloom_contract.stream import fingerprint
from fixtures import raw_mqtt
from fixtures.certificates import TestAuthority
from gateway.conftest import Site, hear

KIB = 1024
SEED = 20261126
FLOOD = 3000
READINGS = 50
GROWTH_MB = 150


@pytest.fixture(scope="module")
def crowd(tmp_path_factory):
    """One gateway for the whole table."""
    folder = tmp_path_factory.mktemp("crowd")
    site = Site(folder, TestAuthority(folder / "pki")).start()
    yield site
    site.stop()


def status(site):
    with urlopen(f"http://127.0.0.1:{site.ports['http']}/api/v1/status", timeout=20) as answer:
        return json.load(answer)


def rows(site, query, *values):
    with contextlib.closing(sqlite3.connect(f"file:{site.data / 'gateway.db'}?mode=ro", uri=True)) as connection:
        return connection.execute(query, values).fetchall()


def letters(site):
    """The dead letters, the newest first: topic, payload, length, reason."""
    return rows(site, "SELECT topic, payload, length, reason FROM dead_letter ORDER BY number DESC")


def sent_up(site, device):
    """What waits for the cloud of a device, the oldest first."""
    lines = [line for (body,) in rows(site, "SELECT body FROM outbox ORDER BY last") for line in body.splitlines()]
    return [record for record in map(json.loads, lines) if record["device"] == device]


def record(seq=1, boot=1, **fields):
    return messages.dumps({"boot": boot, "seq": seq, "values": {"t": 1}} | fields).decode()


def reading(value, name='"t"'):
    return f'{{"boot":1,"seq":1,"values":{{{name}:{value}}}}}'


def numbered(boot, seq):
    return f'{{"boot":{boot},"seq":{seq},"values":{{"t":1}}}}'


NO_NUMBERS = ("0", "-1", "1.5", "1e3", "true", "false", '"1"', "null")
# (what, payload, what the reason says): of these nothing can be read, and the device is told so.
UNREADABLE = [
    ("no JSON", "{nonsense", "is not JSON"),
    ("nothing", "", "is not JSON"),
    ("an empty array", "[]", "holds no record"),
    ("a number", "5", "must be a JSON object"),
    ("a text", '"x"', "must be a JSON object"),
    ("an array of arrays", "[[1],[2]]", "must be a JSON object"),
    ("NaN", reading("NaN"), "NaN is not JSON"),
    ("infinity", reading("-Infinity"), "-Infinity is not JSON"),
    ("5,000 digits", reading("9" * 5000), "is not JSON"),
    ("nested 30,000 deep", "[" * 30_000 + "]" * 30_000, "nested too deeply"),
    ("cut off", record()[:-3], "is not JSON"),
    ("two values", record() + record(), "is not JSON"),
    ("a repeated key", '{"boot":1,"seq":1,"seq":2,"values":{"t":1}}', "a key is repeated"),
    ("a repeated metric", '{"boot":1,"seq":1,"values":{"t":1,"t":2}}', "a key is repeated"),
    ("invalid UTF-8", b'{"boot":1,"seq":1,"values":{"\xff":1}}', "is not JSON"),
    ("a surrogate's bytes", b'{"boot":1,"seq":1,"values":{"\xed\xa0\x80":1}}', "is not JSON"),
    ("a byte order mark", b"\xef\xbb\xbf" + record().encode(), "is not JSON"),
    ("200 KiB", record(note="x" * 200 * KIB), "the limit is 65536"),
    ("64 KiB and a byte", b" " * 64 * KIB + b"1", "the limit is 65536"),
    *((f"seq {one}", numbered(1, one), "seq: must be") for one in (*NO_NUMBERS, "9007199254740992", "1" + "0" * 400)),
    *((f"boot {one}", numbered(one, 1), "boot: must be") for one in (*NO_NUMBERS, "2147483648", "[]")),
]
# Of these boot and seq can be read: the record counts as received, and goes to the dead letters.
GUILTY = [
    ("1e999", reading("1e999"), "values.t: holds a number that is not finite"),
    ("10**400", reading("1" + "0" * 400), "values.t: holds a whole number of more than 64 bits"),
    ("an object as value", reading('{"a":1}'), "values.t: must be a finite number"),
    ("an array as value", reading("[1]"), "values.t: must be a finite number"),
    ("no values", '{"boot":1,"seq":1}', "values: must be an object"),
    ("values as array", '{"boot":1,"seq":1,"values":[1]}', "values: must be an object"),
    ("no metric", '{"boot":1,"seq":1,"values":{}}', "values: must hold 1 to 256"),
    ("257 metrics", record(values={f"m{n}": n for n in range(257)}), "values: must hold 1 to 256"),
    ("a name of 65", reading(1, '"' + "n" * 65 + '"'), "names have 1 to 64 characters"),
    ("an empty name", reading(1, '""'), "names have 1 to 64 characters"),
    ("half a surrogate pair", reading(r'"\ud800"'), "values.t: holds a text with NUL or half"),
    ("NUL in a text", reading(r'"\u0000"'), "values.t: holds a text with NUL or half"),
    ("a name with NUL", reading(1, r'"\u0000"'), "values: has a name"),
    ("a time as text", record(ts="now"), "ts: must be a whole number"),
    ("a time of 1.5", record(ts=1.5), "ts: must be a whole number"),
    ("first after seq", record(first=2), "first: must be from 1 to 1"),
    ("negative up", record(up=-1), "up: must be from 0"),
]  # fmt: skip


def bytes_of(payload):
    return payload if isinstance(payload, bytes) else payload.encode()


@pytest.mark.parametrize(("what", "payload", "reason"), UNREADABLE, ids=[row[0] for row in UNREADABLE])
async def test_what_cannot_be_read_is_refused_by_name_counted_and_kept(crowd, what, payload, reason):
    payload = bytes_of(payload)
    before = await asyncio.to_thread(status, crowd)
    async with crowd.device("dev-1") as device:
        await device.subscribe("fl/v1/d/dev-1/ack")
        await device.publish("fl/v1/d/dev-1/telemetry", payload)

        answer = (await hear(device, "ack")).message

    assert reason in answer["error"]
    assert answer["refused"] == fingerprint(payload)
    after = await asyncio.to_thread(status, crowd)
    assert after["ingest"]["unreadable"] == before["ingest"].get("unreadable", 0) + 1
    topic, kept, length, why = letters(crowd)[0]
    assert (topic, bytes(kept), length) == ("fl/v1/d/dev-1/telemetry", payload[: 4 * KIB], len(payload))
    assert reason in why
    assert (sent_up(crowd, "dev-1")[-1]["kind"], sent_up(crowd, "dev-1")[-1]["reason"]) == ("dead_letter", why)


@pytest.mark.parametrize(("what", "payload", "reason"), GUILTY, ids=[row[0] for row in GUILTY])
async def test_a_guilty_record_counts_as_received_and_is_kept(crowd, what, payload, reason):
    name = "guilty-" + str(GUILTY.index((what, payload, reason)))
    before = await asyncio.to_thread(status, crowd)
    async with crowd.device(name) as device:
        await device.subscribe(f"fl/v1/d/{name}/ack")
        await device.publish(f"fl/v1/d/{name}/telemetry", bytes_of(payload))

        assert (await hear(device, "ack")).message == {"boot": 1, "seq": 1}

    after = await asyncio.to_thread(status, crowd)
    assert after["ingest"]["faults"] == before["ingest"].get("faults", 0) + 1
    assert reason in letters(crowd)[0][3]
    assert [(one["kind"], one["seq"]) for one in sent_up(crowd, name)] == [("dead_letter", 1)]


@pytest.mark.parametrize(
    "ts", [0, 1, -1, 4_102_444_800_000, 10**400], ids=["1970", "1970 and 1 ms", "1969", "2100", "10**400"]
)
async def test_a_clock_that_cannot_be_is_dated_by_the_gateway(crowd, ts):
    name = f"clock-{abs(hash(ts)) % 10**8}"
    async with crowd.device(name) as device:
        await device.subscribe(f"fl/v1/d/{name}/ack")
        await device.publish(f"fl/v1/d/{name}/telemetry", record(ts=ts).encode())
        await hear(device, "ack")

    taken = sent_up(crowd, name)[-1]
    assert taken["clock"] == "gateway"
    assert abs(taken["ts"] - time.time() * 1000) < 60_000


async def test_an_age_of_the_universe_is_dated_by_the_gateway(crowd):
    async with crowd.device("old") as device:
        await device.subscribe("fl/v1/d/old/#")
        await device.publish("fl/v1/d/old/state", messages.state(True, 1, "s", {"up": 2**53 - 1}))
        await hear(device, "time")
        await device.publish("fl/v1/d/old/telemetry", record(up=5).encode())
        await hear(device, "ack")

    assert abs(sent_up(crowd, "old")[-1]["ts"] - time.time() * 1000) < 60_000


@pytest.mark.parametrize(
    ("verb", "payload", "reason"),
    [
        ("update/request", b"{}", "release: must be a text"),
        ("update/request", b'{"release":"a-1.0.0","file":"files/../key","offset":0,"length":1}', "file: has a path"),
        ("certificate/request", b"\xff", "payload: is not JSON"),
        ("certificate/request", b'{"csr":"YWJj"}', "csr: is not DER"),
        ("state", b'{"online":true,"boot":1,"session":"s","sleep":{"every":-1}}', "every: must be from 0"),
        ("state", b'{"online":1}', "online: must be true or false"),
        ("state", b'{"online":true,"boot":1,"session":"\\ud800"}', "session: holds a text"),
        (
            "state",
            b'{"online":true,"boot":1,"session":"s","deep":' + b"[" * 400 + b"]" * 400 + b"}",
            "state: is nested",
        ),
        ("discovery", b"[]", "payload: must be a JSON object"),
        ("event", b'{"boot":1,"seq":1,"type":"t","data":' + b'{"a":' * 400 + b"1" + b"}" * 401, "data: is nested"),
        ("command/result", b'{"boot":1,"seq":2,"id":"\\ud800","status":"succeeded"}', "id: holds a text"),
        ("twin/reported", b'{"boot":1,"seq":3,"version":1,"values":{"a":1e999}}', "values: holds a number"),
    ],
)
async def test_the_other_topics_too(crowd, verb, payload, reason):
    async with crowd.device("dev-2") as device:
        await device.subscribe("fl/v1/d/dev-2/ack")
        await device.publish(topics.device("dev-2", verb), payload)
        marker = f"marker after {verb}: {reason}".encode()
        await device.publish("fl/v1/d/dev-2/telemetry", marker)
        async with asyncio.timeout(30):
            while (await hear(device, "ack")).message.get("refused") != fingerprint(marker):
                continue

    kept = [(topic, why) for topic, _, _, why in letters(crowd)[:3]]
    assert [why for topic, why in kept if topic == topics.device("dev-2", verb) and reason in why]


async def test_one_message_makes_one_letter_however_many_records_it_holds(crowd):
    before = await status_count(crowd, "faults")
    payload = ("[" + record(boot=9) + "," + ",".join(["{}"] * 10_000) + "]").encode()
    async with crowd.device("many") as device:
        await device.subscribe("fl/v1/d/many/ack")
        await device.publish("fl/v1/d/many/telemetry", payload)

        answers = [(await hear(device, "ack")).message for _ in range(2)]

    assert answers[0] == {"boot": 9, "seq": 1}
    assert answers[1]["refused"] == fingerprint(payload)
    assert await status_count(crowd, "faults") == before + 10_000
    kept = [reason for topic, _, _, reason in letters(crowd) if topic == "fl/v1/d/many/telemetry"]
    assert kept == ["values: must be an object (and 9999 more of this message)"]
    assert sum(len(json.dumps(one)) for one in sent_up(crowd, "many")) < 64 * KIB


async def status_count(site, name):
    return (await asyncio.to_thread(status, site))["ingest"].get(name, 0)


async def test_a_device_cannot_fill_a_boot_with_gaps(crowd):
    async with crowd.device("gaps") as device:
        await device.subscribe("fl/v1/d/gaps/ack")
        for start in range(0, 20_000, 1000):
            gappy = [{"boot": 1, "seq": seq, "values": {"t": 1}} for seq in range(start + 1, start + 1000, 2)]
            await device.publish("fl/v1/d/gaps/telemetry", messages.dumps(gappy))
        await device.publish("fl/v1/d/gaps/telemetry", record(seq=2).encode())
        async with asyncio.timeout(20):
            while (await hear(device, "ack")).message != {"boot": 1, "seq": 3}:
                continue
        await device.publish("fl/v1/d/gaps/telemetry", record(seq=2**53 - 1, first=2**53 - 1).encode())
        async with asyncio.timeout(20):
            while (await hear(device, "ack")).message != {"boot": 1, "seq": 2**53 - 1}:
                continue

    spans = json.loads(rows(crowd, "SELECT spans FROM received WHERE device = 'gaps'")[0][0])
    assert spans == [[1, 2**53 - 1]], "what `first` settles is no gap"
    assert await status_count(crowd, "refused_gaps") > 9000


@pytest.mark.parametrize(
    "topic", [b"fl/v1/d/\xff/telemetry", b"fl/v1/d/dev-1/tele\x00metry", b"", b"fl/v1/d/+/telemetry"]
)
def test_a_topic_that_is_none_ends_the_connection(crowd, topic):
    cert, key = crowd.authority.issue("dev-1")
    context = raw_mqtt.context(crowd.authority.ca, cert, key)
    words = [raw_mqtt.connect("dev-1"), raw_mqtt.publish(topic, record().encode())]

    assert raw_mqtt.PONG not in raw_mqtt.say(crowd.ports["mqtt"], context, *words)


def test_a_packet_over_the_brokers_limit_ends_the_connection(crowd):
    cert, key = crowd.authority.issue("dev-1")
    context = raw_mqtt.context(crowd.authority.ca, cert, key)
    words = [raw_mqtt.connect("dev-1"), raw_mqtt.publish("fl/v1/d/dev-1/telemetry", b"x" * 257 * KIB)]

    assert raw_mqtt.PONG not in raw_mqtt.say(crowd.ports["mqtt"], context, *words)


def memory_mb(site):
    lines = Path(f"/proc/{site.gateway.popen.pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / KIB


async def flood(site, rng):
    """Thousands of bad messages as fast as they go: spoilt ones of every kind, and 200 KiB ones among them."""
    verbs = {"telemetry": "telemetry", "event": "event", "result": "command/result", "reported": "twin/reported"}
    cases = [case for case in corpus.cases(SEED, 3 * FLOOD) if case[0] in (*verbs, "state", "discovery")][:FLOOD]
    async with site.device("flood") as device:
        for kind, text in cases:
            payload = rng.randbytes(200 * KIB) if rng.random() < 0.1 else bytes.fromhex(text)
            await device.publish(topics.device("flood", verbs.get(kind, kind)), payload)


async def test_good_traffic_goes_on_through_a_flood_and_memory_is_bounded(site):
    rng = random.Random(SEED)
    before = memory_mb(site)
    async with site.device("good") as good:
        await good.subscribe("fl/v1/d/good/ack")
        flooding = asyncio.create_task(flood(site, rng))
        seq = acknowledged = 0
        async with asyncio.timeout(100):
            while not flooding.done() or acknowledged < seq or seq < READINGS:
                if not flooding.done() or seq < READINGS:
                    seq += 1
                    await good.publish("fl/v1/d/good/telemetry", record(seq, boot=3).encode())
                else:  # what was dropped before it was acknowledged is sent again, as a board does
                    for missing in range(acknowledged + 1, seq + 1):
                        await good.publish("fl/v1/d/good/telemetry", record(missing, boot=3).encode())
                with contextlib.suppress(TimeoutError):
                    acknowledged = max(acknowledged, (await hear(good, "ack", seconds=0.1)).message["seq"])
        await flooding

    assert [one["seq"] for one in sent_up(site, "good")] == list(range(1, seq + 1)), "lost, doubled or out of order"
    told = await asyncio.to_thread(status, site)
    assert told["ingest"]["unreadable"] > FLOOD / 20
    received = told["adapters"][0]["metrics"]["messages_received"]
    assert received >= FLOOD
    grown = memory_mb(site) - before
    assert grown < GROWTH_MB
    print(f"grown by {grown:.0f} MB over {received} messages")
    assert (site.data / "gateway.db").stat().st_size < 200 * KIB * KIB
    assert "Traceback" not in site.gateway.log.read_text()
