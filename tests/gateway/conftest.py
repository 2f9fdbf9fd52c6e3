"""A gateway with its real broker, and devices that are MQTT clients with certificates."""

import asyncio
import json
import ssl
import tempfile
from collections import namedtuple
from pathlib import Path

import aiomqtt
import pytest

from fieldloom_contract import topics
from fieldloom_runtime.tls import client_context
from fixtures.certificates import TestAuthority
from fixtures.commands import fieldloom
from fixtures.processes import FIELDLOOM, Process, free_port, mosquitto, wait_for_port, wait_until_ready

GATEWAY = "gw.test"


class Site:
    """One gateway process and its broker; the cloud's broker is where a test listens for the uplink."""

    def __init__(self, folder, authority, name=GATEWAY):
        self.folder = folder
        self.name = name
        self.data = folder / "gateway"
        self.authority = authority
        self.ports = {name: free_port() for name in ("mqtt", "local", "http", "cloud")}
        cert, key = authority.issue(name)
        command = ["gateway", "init", "--data", self.data, "--id", name, "--ca", authority.ca]
        command += ["--cert", cert, "--key", key, "--cloud-port", self.ports["cloud"]]
        command += ["--mqtt-port", self.ports["mqtt"], "--local-port", self.ports["local"]]
        command += ["--http-port", self.ports["http"], "--crl", authority.crl]
        fieldloom(*command)
        self.broker = mosquitto(self.data / "broker" / "mosquitto.conf", folder / "broker.log")
        self.gateway = Process([FIELDLOOM, "gateway", "run", "--data", self.data], folder / "gateway.log")

    def start(self):
        self.broker.start()
        wait_for_port(self.ports["mqtt"])
        self.gateway.start()
        wait_until_ready(self.ports["http"])
        return self

    def stop(self):
        self.gateway.stop()
        self.broker.stop()

    def device(self, name, **options):
        """An MQTT client with the device's own certificate, by default at the device listener."""
        cert, key = self.authority.issue(options.pop("cn", name))
        tls = client_context(self.authority.ca, cert, key, ssl.TLSVersion.TLSv1_2)
        options = {"protocol": aiomqtt.ProtocolVersion.V311, "port": self.ports["mqtt"], **options}
        return aiomqtt.Client("127.0.0.1", identifier=name, tls_context=tls, **options)


@pytest.fixture(scope="module")
def disk():
    """A folder in memory, where a commit takes no time."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


@pytest.fixture
def authority(tmp_path):
    return TestAuthority(tmp_path / "pki")


@pytest.fixture
def site(tmp_path, authority):
    site = Site(tmp_path, authority).start()
    yield site
    site.stop()


Heard = namedtuple("Heard", ("verb", "message"))


async def hear(client, *verbs, seconds=30.0):
    """Return the next message of one of these verbs."""
    async with asyncio.timeout(seconds):
        async for message in client.messages:
            _, verb = topics.parse_device(str(message.topic))
            if verb in verbs:
                return Heard(verb, json.loads(message.payload))
    raise AssertionError("the connection ended")
