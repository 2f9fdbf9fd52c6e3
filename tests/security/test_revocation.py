"""A stolen device and a stolen gateway are cut off at once and stay out; their neighbours notice nothing. (P3)

The real cloud, gateways and brokers; what is measured is what the thief's own client sees.
"""

import asyncio
import contextlib
import json
import os
import socket
import ssl
import subprocess
import time
import zlib
from urllib.request import urlopen

import aiomqtt
import httpx2
import pytest

from e2e.system import System
from fieldloom_contract import messages, topics
from fixtures import raw_mqtt
from fixtures.processes import FIELDLOOM, wait_for_port

IN_TIME_S = 5.0


class Fleet(System):
    def client(self, name, gateway=0):
        return aiomqtt.Client(
            "127.0.0.1", self.gateways[gateway].port, identifier=name, tls_context=self.tls(name), timeout=20
        )

    def certificates(self, name):
        with self.api() as api:
            return api.get("/api/v1/certificates", params={"subject": name}).json()["items"]

    def revoke(self, name, reason="key_compromise"):
        with self.api() as api:
            for one in self.certificates(name):
                answer = api.post(f"/api/v1/certificates/{one['serial']}/revoke", json={"reason": reason})
                assert (answer.status_code, answer.json()["reason"]) == (200, reason)

    def remove(self, name):
        with self.api() as api:
            api.delete(f"/api/v1/devices/{name}").raise_for_status()

    def is_linked(self, number):
        """Whether a gateway runs and has its link to the cloud."""
        with contextlib.suppress(OSError), urlopen(self.status_pages[number], timeout=20) as answer:
            return json.load(answer)["cloud_connected"]
        return False

    def knock(self, name, gateway=0, session=None):
        """Whether the broker lets a certificate in; otherwise the alert or the silence with which it ends."""
        return knock(self.gateways[gateway].port, self.tls(name), name, session)

    async def shut(self, name, gateway=0):
        """Wait until a certificate is turned away."""
        await until(lambda: self.knock(name, gateway) == b"", IN_TIME_S)


def opened(port, context, session=None):
    plain = socket.create_connection(("127.0.0.1", port), 5)
    try:
        return context.wrap_socket(plain, server_hostname="127.0.0.1", session=session)
    except OSError:
        plain.close()
        raise


def knock(port, context, name, session=None):
    with contextlib.suppress(ssl.SSLError, ConnectionError), opened(port, context, session) as tls:
        tls.sendall(raw_mqtt.connect(name))
        return tls.recv(4)
    return b""


async def cut_after(client, revoke):
    """Return how many seconds after a revocation a live connection ends, as its client sees it."""
    begun = time.monotonic()
    async with asyncio.timeout(30):
        await asyncio.to_thread(revoke)
        with pytest.raises(aiomqtt.MqttError):
            async for _ in client.messages:
                pass
    return time.monotonic() - begun


async def is_heard(client, name, boot):
    """Whether a gateway acknowledges a reading of a client that is connected."""
    await client.subscribe(topics.device(name, topics.ACK))
    reading = {"boot": boot, "seq": 1, "ts": time.time_ns() // 1_000_000, "values": {"reading": boot}}
    await client.publish(topics.device(name, topics.TELEMETRY), messages.dumps(reading))
    async with asyncio.timeout(30):
        async for message in client.messages:
            ack = messages.parse_ack(message.payload)
            if (ack["boot"], ack["seq"]) == (boot, 1):
                return True
    return False


def post(fleet, device, token):
    """Return the status of a reading that a device sends over HTTP."""
    trust = ssl.create_default_context(cafile=fleet.folder / "gw.site1" / "ca.pem")
    with httpx2.Client(verify=trust, headers={"Authorization": f"Bearer {token}"}, timeout=20) as client:
        return client.post(
            f"https://127.0.0.1:{fleet.http_ports[0]}/ingest/{device}", json={"values": {"t": 1}}
        ).status_code


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    fleet = Fleet(tmp_path_factory.mktemp("fleet"), gateways=2)
    yield fleet
    fleet.stop()


@pytest.fixture
def thief(fleet, request):
    name = f"stolen-{zlib.crc32(request.node.name.encode()):08x}"
    fleet.enrol_device(name)
    return name


@pytest.fixture(scope="module")
def neighbour(fleet):
    fleet.enrol_device("neighbour")
    return "neighbour"


async def test_a_live_device_is_cut_off_in_time_everywhere_and_its_neighbour_is_not(fleet, thief, neighbour):
    async with fleet.client(neighbour) as beside:
        async with fleet.client(thief) as stolen:
            assert await is_heard(stolen, thief, 1)

            seconds = await cut_after(stolen, lambda: fleet.revoke(thief))

        assert seconds < IN_TIME_S, seconds
        await fleet.shut(thief, gateway=0)
        await fleet.shut(thief, gateway=1)
        assert await is_heard(beside, neighbour, 1)


async def test_a_removed_device_is_cut_off_in_time_with_all_that_it_has(fleet, thief):
    with fleet.api() as api:
        token = api.post("/api/v1/credentials", json={"device": thief, "kind": "http"}).json()["secret"]
    await until(lambda: post(fleet, thief, token) == 202)

    async with fleet.client(thief) as stolen:
        assert await is_heard(stolen, thief, 1)
        seconds = await cut_after(stolen, lambda: fleet.remove(thief))

    assert seconds < IN_TIME_S, seconds
    await until(lambda: post(fleet, thief, token) == 401, IN_TIME_S)
    for gateway in (0, 1):
        await fleet.shut(thief, gateway)


async def test_neither_a_resumed_session_nor_a_connection_that_kept_silent_is_a_way_in(fleet, thief):
    context = fleet.tls(thief)
    port = fleet.gateways[0].port
    with opened(port, context) as tls:
        tls.sendall(raw_mqtt.connect(thief))
        assert tls.recv(4) == raw_mqtt.ACCEPTED
        session = tls.session
    with opened(port, context, session) as tls:
        assert tls.session_reused, "the broker takes sessions up again while nothing is revoked"
    silent = [opened(port, context) for _ in range(3)]

    await asyncio.to_thread(fleet.revoke, thief)
    await fleet.shut(thief)

    assert knock(port, context, thief, session) == b""
    for tls in silent:  # its handshake was before the revocation, so it gets in, and out again at once
        tls.settimeout(20)
        tls.sendall(raw_mqtt.connect(thief))
        assert tls.recv(4) == raw_mqtt.ACCEPTED
        assert await asyncio.to_thread(tls.recv, 4) == b""
        tls.close()


async def test_a_site_without_a_link_goes_on_and_cuts_off_when_the_link_is_back(fleet, thief, neighbour):
    broker = fleet.processes["cloud-broker"]
    async with fleet.client(thief) as stolen, fleet.client(neighbour) as beside:
        broker.kill()
        await until(lambda: not fleet.is_linked(0))
        await asyncio.to_thread(fleet.revoke, thief)
        assert await is_heard(stolen, thief, 1), "nobody can know yet"

        broker.start()
        wait_for_port(fleet.cloud.mqtt_port)
        seconds = await cut_after(stolen, lambda: wait_until(lambda: fleet.is_linked(0)))

        assert seconds < IN_TIME_S + 7.5, "five seconds, and the longest pause before the link is tried again"
        await fleet.shut(thief)
        assert await is_heard(beside, neighbour, 2)


async def test_what_was_revoked_stays_out_when_gateway_and_broker_start_again(fleet, thief, neighbour):
    gateway, broker = fleet.processes["gateway-1"], fleet.processes["gateway-1-broker"]
    gateway.kill()
    await asyncio.to_thread(fleet.revoke, thief)
    assert fleet.knock(thief) == raw_mqtt.ACCEPTED, "the list is not there yet"

    gateway.start()
    await until(lambda: fleet.is_linked(0))  # the time to take what the cloud has begins with the link
    await fleet.shut(thief)
    for process in (gateway, broker):
        process.kill()
    broker.start()
    wait_for_port(fleet.gateways[0].port)

    assert fleet.knock(thief) == b""
    assert fleet.knock(neighbour) == raw_mqtt.ACCEPTED
    gateway.start()
    await until(lambda: fleet.is_linked(0))


async def test_a_stolen_gateway_is_cut_off_from_the_cloud_and_the_other_is_not(fleet, neighbour):
    await until(lambda: fleet.is_linked(0) and fleet.is_linked(1))
    begun = time.monotonic()

    done = fieldloom(fleet, "certificate", "revoke", "gw.site2", "--reason", "cessation_of_operation", "--json")

    assert [one["reason"] for one in json.loads(done)["items"]] == ["cessation_of_operation"]
    await until(lambda: not fleet.is_linked(1))
    assert time.monotonic() - begun < IN_TIME_S
    assert knock(fleet.cloud.mqtt_port, fleet.tls("gw.site2"), "gw.site2") == b""
    assert fleet.is_linked(0)
    async with fleet.client(neighbour) as beside:
        assert await is_heard(beside, neighbour, 3)


async def test_with_another_certificate_an_identity_is_back_at_once_and_never_with_the_revoked_key(fleet, thief):
    old = fleet.tls(thief)
    first = fleet.certificates(thief)[0]["serial"]
    with fleet.api() as api:
        fleet._enrol(api, thief)
        api.post(f"/api/v1/certificates/{first}/revoke", json={"reason": "superseded"}).raise_for_status()

    await until(lambda: knock(fleet.gateways[0].port, old, thief) == b"", IN_TIME_S)
    assert fleet.knock(thief) == raw_mqtt.ACCEPTED


def wait_until(holds, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.05)


async def until(holds, seconds=20.0):
    await asyncio.to_thread(wait_until, holds, seconds)


def fieldloom(fleet, *arguments):
    told = {"FIELDLOOM_API": f"http://127.0.0.1:{fleet.cloud.port}", "FIELDLOOM_TOKEN": fleet.cloud.token}
    command = [FIELDLOOM, *arguments]
    return subprocess.run(command, env=os.environ | told, check=True, capture_output=True, text=True, timeout=60).stdout
