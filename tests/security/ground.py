"""The ground that attackers and victims share: one real system with its brokers, and certificates good and forged."""

import asyncio
import contextlib
import datetime
import itertools
import json
import sqlite3
import warnings
from urllib.request import urlopen

import aiomqtt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from e2e.system import System
from fieldloom_contract import messages, topics
from fixtures import raw_mqtt
from fixtures.certificates import TestAuthority
from fixtures.processes import wait_until_ready

GATEWAY = "gw.site1"
STRANGER = "gw.else"  # a gateway of another site
PEM = serialization.Encoding.PEM
NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


class Ground(System):
    """`dev-1` attacks, `dev-2` is the victim; both belong to the site of `gw.site1`."""

    def __init__(self, folder):
        super().__init__(folder)
        self.boots = itertools.count(1)
        gateway = json.loads((folder / "gateway-1" / "gateway.json").read_text())
        self.ports = {"devices": gateway["mqtt_port"], "local": gateway["local_port"], "cloud": self.cloud.mqtt_port}
        self.files = {name: (folder / name / "cert.pem", folder / name / "key.pem") for name in ("dev-1", "dev-2")}
        self.enrol_device("dev-1")
        self.enrol_device("dev-2")
        with self.api() as api:
            api.post("/api/v1/sites", json={"id": "elsewhere"}).raise_for_status()
            api.post("/api/v1/gateways", json={"id": STRANGER, "site": "elsewhere"}).raise_for_status()
            for name in (GATEWAY, STRANGER):
                if name == STRANGER:
                    self._enrol(api, name)
                self.files[name] = (folder / name / "cert.pem", folder / name / "key.pem")
        pki = self.cloud.data / "pki"
        self.ca = pki / "ca.pem"
        self.files["svc.cloud"] = (pki / "svc.cloud.pem", pki / "svc.cloud.key")
        self.files["svc.gateway"] = tuple(folder / "gateway-1" / "broker" / f"local.{end}" for end in ("pem", "key"))
        self._forge(folder / "forged")

    def _forge(self, folder):
        """Certificates that the cloud's API never gives: signed by its CA's own key, by another's, by a device's."""
        folder.mkdir()
        pki = self.cloud.data / "pki"
        issuer = (pki / "intermediate.pem", pki / "intermediate.key")
        self.files["another CA's dev-2"] = TestAuthority(folder / "another", "Fieldloom root").issue("dev-2")
        self.files["expired dev-2"] = forge(folder, "dev-2", issuer, NOW - 9 * DAY, NOW - DAY)
        self.files["dev-2 of tomorrow"] = forge(folder, "dev-2", issuer, NOW + DAY, NOW + 9 * DAY)
        self.files["dev-2 signed by dev-1"] = forge(folder, "dev-2", self.files["dev-1"])
        for name in ("gw.evil", "dev-2/telemetry", "#", "+", "fl/v1/d/dev-2", ""):
            self.files[f"CN {name}"] = forge(folder, name, issuer)

    def context(self, identity, **weak):
        """The TLS context of an identity, None for no certificate."""
        if identity == "svc.gateway":
            return raw_mqtt.context(self.files[identity][0], *self.files[identity])
        with warnings.catch_warnings():  # of versions that nobody should speak any more
            warnings.simplefilter("ignore", DeprecationWarning)
            return raw_mqtt.context(self.ca, *self.files.get(identity, ()), **weak)

    def client(self, identity, listener="devices", client_id=None, version=aiomqtt.ProtocolVersion.V5, **options):
        return aiomqtt.Client(
            "127.0.0.1",
            self.ports[listener],
            identifier=client_id or identity,
            tls_context=self.context(identity),
            protocol=version,
            timeout=20,
            **options,
        )

    def status(self):
        with urlopen(self.status_pages[0], timeout=20) as answer:
            return json.load(answer)

    async def restart_gateway(self):
        """Have the gateway subscribe anew, its counts at nothing."""
        gateway = self.processes["gateway-1"]
        gateway.kill()
        gateway.start()
        await asyncio.to_thread(wait_until_ready, int(self.status_pages[0].split(":")[2].split("/")[0]))

    def counts(self):
        """What the gateway has counted; messages that only a full disk or a program's fault could hide are in it."""
        told = self.status()
        broker = told["adapters"][0]["metrics"]
        mqtt = {"received": broker["messages_received"], "retained": broker["retained"]}
        return {**mqtt, **told["ingest"], "letters": told["dead_letters"]}

    def letters(self):
        """The gateway's dead letters, the newest first: topic, payload, length, reason."""
        path = self.folder / "gateway-1" / "gateway.db"
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            found = connection.execute("SELECT topic, payload, length, reason FROM dead_letter ORDER BY number DESC")
            return found.fetchall()

    def get(self, path, **params):
        with self.api() as api:
            answer = api.get(f"/api/v1{path}", params=params)
            assert answer.status_code == 200, answer.text
            return answer.json()

    async def witness(self, client, name="dev-2"):
        """Report one good record and wait for its acknowledgement: what was sent before has arrived, or never will.

        Returns what else the client heard meanwhile.
        """
        boot, heard = next(self.boots), []
        record = {"boot": boot, "seq": 1, "ts": 1_790_000_000_000 + boot, "values": {"witness": boot}}
        await client.publish(topics.device(name, topics.TELEMETRY), messages.dumps(record))
        async with asyncio.timeout(30):
            async for message in client.messages:
                if str(message.topic) == topics.device(name, topics.ACK):
                    ack = json.loads(message.payload)
                    if ack["boot"] == boot:
                        assert ack == {"boot": boot, "seq": 1}
                        return heard
                heard.append((str(message.topic), message.payload))
        raise AssertionError("the victim's connection ended")


async def until(holds, seconds=20.0):
    """Wait until something holds that only asking shows."""
    async with asyncio.timeout(seconds):
        while True:
            if await asyncio.to_thread(holds):
                return
            await asyncio.sleep(0.05)


def forge(folder, name, issuer, born=NOW - DAY, dies=NOW + DAY):
    """Return (certificate, key) files of a CN, signed by the key of `issuer`, whoever that is."""
    signer = serialization.load_pem_private_key(issuer[1].read_bytes(), None)
    above = x509.load_pem_x509_certificates(issuer[0].read_bytes())
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)] if name else [])
    builder = x509.CertificateBuilder(above[0].subject, subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(born).not_valid_after(dies)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    paths = [folder / f"{len(list(folder.iterdir()))}.{end}" for end in ("pem", "key")]
    chain = [builder.sign(signer, hashes.SHA256()), *above]
    paths[0].write_bytes(b"".join(one.public_bytes(PEM) for one in chain))
    paths[1].write_bytes(
        key.private_bytes(PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
    )
    return tuple(paths)
