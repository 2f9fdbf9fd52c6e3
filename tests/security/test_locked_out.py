"""Locked out: (identity, attempt) at the real brokers, and what the others saw of it: nothing. (P5, C7)

The broker says nothing about most refusals, so each row is watched from the other side: the victim hears nothing, the
gateway counts nothing, nothing is stored. Where MQTT 5 has a word for it, that is held too: 135, not authorized.
"""

import asyncio
import json
import os
import ssl

import aiomqtt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from fieldloom_contract import batch, messages, topics, update
from fieldloom_runtime.broker import PID_FILE
from fixtures import raw_mqtt
from security.ground import GATEWAY, STRANGER, until

NOT_AUTHORIZED = 135
V311 = aiomqtt.ProtocolVersion.V311
V5 = aiomqtt.ProtocolVersion.V5
LIE = messages.dumps({"boot": 66, "seq": 1, "ts": 1_790_000_000_666, "values": {"witness": 666}})

TLS_1_2 = {"newest": ssl.TLSVersion.TLSv1_2}
# Rows are (identity, listener, how weak), then (identity, listener, topic) and (identity, listener, filter).
HANDSHAKES = [
    *[
        (who, where, {})
        for who in (None, "another CA's dev-2", "expired dev-2")
        for where in ("devices", "local", "cloud")
    ],
    ("dev-2 of tomorrow", "devices", {}),
    ("dev-2 signed by dev-1", "devices", {}),
    ("dev-2 signed by dev-1", "cloud", {}),
    *[(who, "local", {}) for who in ("dev-1", GATEWAY, STRANGER, "svc.cloud")],
    ("svc.gateway", "devices", {}),
    ("svc.gateway", "cloud", {}),
    (STRANGER, "cloud", TLS_1_2),
    ("dev-1", "devices", {"newest": ssl.TLSVersion.TLSv1_1, "ciphers": "DEFAULT@SECLEVEL=0"}),
    ("dev-1", "devices", {**TLS_1_2, "ciphers": "ECDHE-ECDSA-AES128-SHA256"}),
    ("dev-1", "devices", {**TLS_1_2, "ciphers": "ECDHE-ECDSA-AES256-SHA"}),
    ("dev-1", "devices", {**TLS_1_2, "ciphers": "ECDHE-ECDSA-CHACHA20-POLY1305"}),
]


def told(value):
    return "none" if value is None else "-".join(map(str, value.values())) if isinstance(value, dict) else str(value)


@pytest.mark.parametrize(("identity", "listener", "weak"), HANDSHAKES, ids=told)
async def test_turned_away_at_the_handshake(ground, identity, listener, weak):
    context = ground.context(identity, **weak)
    if identity == "svc.gateway":
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # it trusts the server: so nearly in
    lie = raw_mqtt.publish(topics.device("dev-2", topics.TELEMETRY), LIE)

    async with ground.client("dev-2") as victim:
        await victim.subscribe("fl/v1/d/dev-2/#")
        await ground.witness(victim)
        before = ground.counts()
        # All in one breath: under TLS 1.3 a client speaks before the server has judged its certificate.
        heard = await asyncio.to_thread(
            raw_mqtt.say, ground.ports[listener], context, raw_mqtt.connect("dev-2"), lie, lie
        )

        assert raw_mqtt.ACCEPTED not in heard
        assert await ground.witness(victim) == [], "the victim was thrown off, or told something"
    assert ground.counts()["received"] == before["received"] + 1


def test_the_same_words_are_heard_from_whom_they_may_come(ground):
    """The rows above can fail: this is what they would look like."""
    for identity, listener, weak in (
        ("dev-1", "devices", {}),
        ("dev-1", "devices", TLS_1_2),
        ("svc.gateway", "local", {}),
        (STRANGER, "cloud", {}),
    ):
        heard = raw_mqtt.say(ground.ports[listener], ground.context(identity, **weak), raw_mqtt.connect("probe"))
        assert heard.startswith(raw_mqtt.ACCEPTED), (identity, listener, weak)


PUBLISHES = [
    *[("dev-1", "devices", topics.device("dev-2", verb)) for verb in (*topics.DEVICE_WRITES, *topics.DEVICE_READS)],
    *[("dev-1", "devices", topics.device("dev-1", verb)) for verb in topics.DEVICE_READS],
    *[("dev-1", "devices", topic) for topic in (topics.DISCOVERY_REQUEST, "$SYS/broker/uptime", "elsewhere")],
    ("dev-1", "devices", topics.up(GATEWAY)),
    ("dev-1", "devices", "fl/v1/d/dev-1/telemetry/more"),
    *[
        (who, "devices", topics.device("dev-2", verb))
        for who in (GATEWAY, STRANGER, "svc.cloud")
        for verb in (topics.TELEMETRY, topics.COMMAND, topics.ACK)
    ],
    *[
        (f"CN {name}", "devices", topics.device("dev-2", verb))
        for name in ("gw.evil", "dev-2/telemetry", "#", "+", "fl/v1/d/dev-2")
        for verb in (topics.TELEMETRY, topics.COMMAND)
    ],
    *[(who, "cloud", topics.up(GATEWAY)) for who in ("dev-1", STRANGER)],
    *[
        (who, "cloud", topics.gateway(GATEWAY, verb))
        for who in ("dev-1", STRANGER)
        for verb in ("ack", "down", "down/ack", topics.RELEASE_REQUEST, topics.RELEASE_PIECE)
    ],
    *[(STRANGER, "cloud", topics.gateway(STRANGER, verb)) for verb in ("down", topics.RELEASE_PIECE)],
]


@pytest.mark.parametrize(("identity", "listener", "topic"), PUBLISHES, ids=told)
async def test_may_not_publish(ground, identity, listener, topic):
    async with ground.client("dev-2") as victim:
        await victim.subscribe("fl/v1/d/dev-2/#")
        await ground.witness(victim)
        before = ground.counts()
        async with ground.client(identity, listener, "attacker") as attacker:
            await attacker.publish(topic, LIE, qos=0)
            codes = raw_mqtt.answers_of(attacker)
            await attacker.publish(topic, LIE, qos=1)
            heard = await ground.witness(victim)

        assert codes == [NOT_AUTHORIZED]
        assert heard == []
    assert ground.counts()["received"] == before["received"] + 1


SPIES = [
    *[
        ("dev-1", "devices", pattern)
        for pattern in (
            *("#", "+/#", "fl/v1/#", "fl/v1/d/#", "fl/v1/d/+/telemetry", "fl/v1/d/dev-2/#", "fl/v1/d/dev-2/ack"),
            *("fl/v1/d/+/ack", "fl/v1/d/+/command", "$SYS/#", "$share/spies/fl/v1/d/+/telemetry", "fl/v1/g/#"),
        )
    ],
    *[
        (who, "devices", pattern)
        for who in (GATEWAY, STRANGER, "svc.cloud", "CN gw.evil", "CN #", "CN +")
        for pattern in ("#",)
    ],
    *[
        (who, "cloud", pattern)
        for who in ("dev-1", STRANGER)
        for pattern in ("#", "fl/v1/g/+/up/+", f"fl/v1/g/{GATEWAY}/#", "$SYS/#")
    ],
]


@pytest.mark.parametrize(("identity", "listener", "pattern"), SPIES, ids=told)
async def test_hears_nothing_of_others(ground, identity, listener, pattern):
    async with ground.client("dev-2") as victim, ground.client(identity, listener, "spy") as spy:
        await victim.subscribe("fl/v1/d/dev-2/#")
        await spy.subscribe(pattern)

        await victim.publish("fl/v1/d/dev-2/state", messages.state(True, next(ground.boots), "s"))
        await ground.witness(victim)
        if listener == "cloud":
            await stored(ground)

        own = {topics.device("dev-1", topics.ACK), topics.DISCOVERY_REQUEST}
        heard = [str(message.topic) for message in await everything(spy)]
        assert set(heard) <= own


async def test_a_release_on_its_way_is_overheard_by_nobody(ground):
    wanted = ("esp32-generic-7.7.7", "manifest")
    async with (
        ground.client("dev-2") as victim,
        ground.client("dev-1") as neighbour,
        ground.client(STRANGER, "cloud") as stranger,
    ):
        await victim.subscribe(topics.device("dev-2", topics.UPDATE_CHUNK))
        await neighbour.subscribe("fl/v1/d/+/update/chunk")
        for pattern in ("fl/v1/g/+/release/piece", "fl/v1/g/+/release/request", f"fl/v1/g/{GATEWAY}/release/piece"):
            await stranger.subscribe(pattern)

        # Nobody has it, so the question goes up to the cloud, and the answer comes down all the way.
        await victim.publish(topics.device("dev-2", topics.UPDATE_REQUEST), update.request(*wanted, 0, 1))
        async with asyncio.timeout(30):
            chunk = update.unpack_chunk((await anext(aiter(victim.messages))).payload)

        assert bytes(chunk.data) == b"the cloud has no such release"
        assert await everything(neighbour) == await everything(stranger) == []


async def everything(client, quiet=0.3):
    """What a client heard; all of it came before what the victim has been told already."""
    found = []
    try:
        while True:
            async with asyncio.timeout(quiet):
                found.append(await anext(aiter(client.messages)))
    except TimeoutError:
        return found


async def stored(ground):
    """Wait until the cloud has acknowledged all that the gateway had, so that its answers have passed its broker."""
    await until(lambda: not ground.status()["outbox"]["records"])


TAKE_OVERS = [
    ("dev-1", "devices", "dev-2"),
    ("dev-1", "devices", "svc.gateway"),
    (GATEWAY, "devices", "dev-2"),
    ("dev-1", "cloud", "svc.cloud"),
    (STRANGER, "cloud", "svc.cloud"),
    (STRANGER, "cloud", GATEWAY),
]


@pytest.mark.parametrize(("identity", "listener", "client_id"), TAKE_OVERS, ids=told)
async def test_throws_nobody_off_by_its_client_id(ground, identity, listener, client_id):
    async with ground.client("dev-2") as victim:
        await victim.subscribe("fl/v1/d/dev-2/#")
        logs = [ground.folder / "gateway-1.log", ground.folder / "cloud.log"]
        lost = [log.read_text().count("_down") for log in logs]

        async with ground.client(identity, listener, client_id, V311):
            assert await ground.witness(victim) == []
            await stored(ground)

        assert [log.read_text().count("_down") for log in logs] == lost


@pytest.mark.parametrize(
    "topic", ["fl/v1/d/dev-2/telemetry", "fl/v1/d/dev-2/state", "fl/v1/d/dev-1/ack", "fl/v1/d/dev-2/command"]
)
async def test_a_last_will_reaches_no_topic_of_others(ground, topic):
    async with ground.client("dev-2") as victim:
        await victim.subscribe("fl/v1/d/dev-2/#")
        await ground.witness(victim)
        before = ground.counts()
        will = (topic, LIE)
        await asyncio.to_thread(
            raw_mqtt.say, ground.ports["devices"], ground.context("dev-1"), raw_mqtt.connect("dev-1", will)
        )

        assert await ground.witness(victim) == []
    assert ground.counts()["received"] == before["received"] + 1


@pytest.mark.parametrize("kind", ["published", "as a last will"])
async def test_what_is_retained_is_ignored_now_and_later(ground, kind):
    topic, payload = topics.device("dev-1", topics.TELEMETRY), messages.dumps({"values": {"retained": 1}})
    if kind == "published":
        words = [raw_mqtt.connect("dev-1"), raw_mqtt.publish(topic, payload, retain=True)]
    else:
        words = [raw_mqtt.connect("dev-1", (topic, payload), retain=True)]

    before = ground.counts()
    heard = await asyncio.to_thread(raw_mqtt.say, ground.ports["devices"], ground.context("dev-1"), *words)

    assert raw_mqtt.PONG in heard, "the connection did not go on"
    async with ground.client("dev-2") as victim:
        await victim.subscribe("fl/v1/d/dev-2/#")
        await ground.witness(victim)
        assert ground.counts()["retained"] == before["retained"] + 1
        await ground.restart_gateway()
        await ground.witness(victim)
    assert ground.counts()["retained"] == 0, "it was delivered again"
    assert "retained" not in ground.get("/devices/dev-1/latest")["metrics"]


def reading(seq, boot, device="dev-2"):
    record = {"kind": "telemetry", "device": device, "boot": boot, "seq": seq, "ts": 1_790_000_000_000 + seq}
    return {**record, "at": 1_790_000_000_000, "values": {"foreign": float(seq)}}


async def batch_up(ground, gateway, covers, *records):
    """Send a batch as a gateway and return the number that the cloud acknowledges."""
    stream = os.urandom(16)
    async with ground.client(gateway, "cloud") as client, asyncio.timeout(30):
        await client.subscribe(topics.gateway(gateway, "ack"))
        await client.publish(
            topics.up(gateway), batch.pack(stream, 1, 1, covers, [messages.dumps(one) for one in records])
        )
        async for message in client.messages:
            life, number = batch.unpack_ack(message.payload)
            if life == stream:
                return number
    raise AssertionError("the connection ended")


async def test_a_gateway_of_another_site_speaks_for_no_device_and_is_named(ground):
    boot = next(ground.boots)

    assert await batch_up(ground, STRANGER, [["dev-2", boot, 1, 1000]], reading(1, boot), reading(2, boot)) == 2

    letters = ground.get("/dead-letters", device="dev-2")["items"][:2]
    assert {letter["gateway"] for letter in letters} == {STRANGER}
    assert {letter["reason"] for letter in letters} == {"the device is not registered at the site of this gateway"}
    event = ground.get("/events", type="gateway.refused")["items"][0]
    assert (event["device"], event["gateway"], event["data"]["records"]) == ("dev-2", STRANGER, 2)
    assert "foreign" not in ground.get("/devices/dev-2/latest")["metrics"]
    assert ground.get("/telemetry", device="dev-2", metric="foreign", start="2026-01-01T00:00:00Z")["series"] == []


async def test_what_another_site_claims_to_have_hides_no_record(ground):
    boot = next(ground.boots)
    await batch_up(ground, STRANGER, [["dev-2", boot, 1, 1000]], reading(2, boot))
    record = {"boot": boot, "seq": 1, "ts": 1_790_000_000_000, "values": {"mine": 1}}

    async with ground.client("dev-2") as victim:
        await victim.publish("fl/v1/d/dev-2/telemetry", messages.dumps(record))
        await victim.subscribe("fl/v1/d/dev-2/ack")
        await ground.witness(victim)
        await stored(ground)

    assert ground.get("/devices/dev-2/latest")["metrics"]["mine"]["value"] == 1


@pytest.mark.parametrize("identity", ["dev-1", "CN gw.evil"])
async def test_a_batch_of_who_is_no_gateway_is_kept_and_not_stored(ground, identity):
    name = identity.removeprefix("CN ")
    payload = batch.pack(os.urandom(16), 1, 1, [], [messages.dumps(reading(1, next(ground.boots)))])
    async with ground.client(identity, "cloud", name) as attacker:
        await attacker.publish(topics.up(name), payload, qos=1)

    await until(lambda: [one for one in ground.get("/dead-letters")["items"] if one["gateway"] == name])
    assert "foreign" not in ground.get("/devices/dev-2/latest")["metrics"]


async def test_a_name_with_a_dot_at_the_device_listener_ends_in_the_dead_letters(ground):
    async with ground.client("CN gw.evil", client_id="gw.evil") as attacker, ground.client("dev-2") as victim:
        await victim.subscribe("fl/v1/d/dev-2/#")
        await attacker.publish(topics.device("gw.evil", topics.TELEMETRY), LIE, qos=1)
        assert await ground.witness(victim) == []

    topic, payload, length, reason = ground.letters()[0]
    assert (topic, bytes(payload), length) == ("fl/v1/d/gw.evil/telemetry", LIE, len(LIE))
    assert reason == "topic: is not known to this gateway"


@pytest.mark.parametrize(
    "name", ["gw.x", ".", "a.b", "svc.cloud", "svc.gateway", "Dev", "d/e", "#", "+", "dev-2\n", ""]
)
def test_no_device_is_named_like_something_else(ground, name):
    with ground.api() as api:
        answer = api.post("/api/v1/devices", json={"id": name})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["path"] == "id"


@pytest.mark.parametrize("name", ["svc.cloud", "svc.gateway", "gw.nobody", "dev-nobody", ""])
def test_no_certificate_for_a_name_that_is_not_known(ground, name):
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)] if name else [])
    request = x509.CertificateSigningRequestBuilder(subject).sign(ec.generate_private_key(ec.SECP256R1()), SHA256())
    csr = request.public_bytes(Encoding.PEM).decode()
    with ground.api() as api:
        answer = api.post("/api/v1/certificates", json={"csr": csr})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["path"] == "csr"


def test_what_is_secret_is_its_owners_alone(ground):
    loose = []
    for root in (ground.cloud.data, ground.folder / "gateway-1"):
        for path in (root, *root.rglob("*")):
            if path.name == PID_FILE:  # mosquitto's own writing: a number, in a folder that is its owner's alone
                continue
            wanted = 0o700 if path.is_dir() else 0o600
            if path.stat().st_mode & 0o777 != wanted:
                loose.append((str(path.relative_to(ground.folder)), oct(path.stat().st_mode & 0o777)))

    names = {path.name for root in (ground.cloud.data, ground.folder / "gateway-1") for path in root.rglob("*")}
    assert names >= {"cloud.db-wal", "gateway.db-wal", "telemetry.duckdb.wal", "root.key", "local.key", "admin.token"}
    assert loose == []


def test_no_token_stands_in_any_file_but_the_admins(ground):
    with ground.api() as api:
        secret = api.post("/api/v1/tokens", json={"name": "x", "role": "viewer"}).json()["token"]

    holders = [
        path.name
        for path in ground.cloud.data.rglob("*")
        if path.is_file() and any(token.encode() in path.read_bytes() for token in (secret, ground.cloud.token))
    ]
    assert holders == ["admin.token"]
    assert json.dumps(ground.get("/tokens")).count(secret) == 0
