"""A cloud, gateways and their brokers, set up by the commands of the README, with the devices of a test."""

import json
import ssl

from cloud.conftest import Cloud
from fieldloom_build.personal import Identity
from fieldloom_cli.identity import new_key_and_request, write
from fieldloom_runtime.tls import client_context
from fieldloom_sim.fleet import Gateway
from fixtures.commands import fieldloom
from fixtures.processes import FIELDLOOM, Process, free_port, mosquitto, wait_for_port, wait_until_ready


class System:
    """`processes` holds all of it by name: cloud, cloud-broker, gateway-1, gateway-1-broker, ..."""

    def __init__(self, folder, gateways=1, cloud_options=()):
        self.folder = folder
        self.cloud = Cloud(folder, *cloud_options)
        cloud_broker = mosquitto(self.cloud.data / "broker" / "mosquitto.conf", folder / "cloud-broker.log")
        self.processes = {"cloud": self.cloud.process, "cloud-broker": cloud_broker}
        self.status_pages = []
        self.http_ports = []
        self.coap_ports = []
        try:
            cloud_broker.start()
            wait_for_port(self.cloud.mqtt_port)
            self.cloud.start()
            self.gateways = [self._add_gateway(number) for number in range(1, gateways + 1)]
        except BaseException:
            self.stop()
            raise
        self.mqtt_port = self.gateways[0].port

    def _add_gateway(self, number):
        name, data = f"gw.site{number}", self.folder / f"gateway-{number}"
        ports = {"--mqtt-port": free_port(), "--local-port": free_port(), "--http-port": free_port()}
        with self.api() as api:
            api.post("/api/v1/gateways", json={"id": name}).raise_for_status()
            files = self._enrol(api, name, hosts=["127.0.0.1"])
            files["crl"] = self.folder / name / "crl.pem"
            files["crl"].write_text(api.get("/crl.pem").text)
        command = ["gateway", "init", "--data", data, "--id", name, "--cloud-port", self.cloud.mqtt_port]
        for option, value in (*((f"--{part}", path) for part, path in files.items()), *ports.items()):
            command += [option, value]
        fieldloom(*command)
        self.http_ports.append(free_port())
        self.coap_ports.append(free_port())
        coap = {"protocol": "coap", "dtls_port": self.coap_ports[-1], "oscore_port": free_port()}
        adapters = [{"protocol": "http", "port": self.http_ports[-1]}, coap]
        (data / "adapters.yaml").write_text(json.dumps({"adapters": adapters}))
        (data / "adapters.yaml").chmod(0o600)
        log = self.folder / f"gateway-{number}"
        broker = mosquitto(data / "broker" / "mosquitto.conf", log.with_suffix(".broker.log"))
        gateway = Process([FIELDLOOM, "gateway", "run", "--data", data], log.with_suffix(".log"))
        self.processes |= {f"gateway-{number}": gateway, f"gateway-{number}-broker": broker}
        broker.start()
        wait_for_port(ports["--mqtt-port"])
        gateway.start()
        wait_until_ready(ports["--http-port"])
        self.status_pages.append(f"http://127.0.0.1:{ports['--http-port']}/api/v1/status")
        return Gateway(name, "127.0.0.1", ports["--mqtt-port"])

    def api(self):
        return self.cloud.client(self.cloud.token)

    def enrol_device(self, name):
        with self.api() as api:
            api.post("/api/v1/devices", json={"id": name}).raise_for_status()
            return Identity(name, **self._enrol(api, name))

    def tls(self, device):
        """A TLS context for an MQTT client that is this device."""
        files = [self.folder / device / f"{part}.pem" for part in ("ca", "cert", "key")]
        return client_context(*files, ssl.TLSVersion.TLSv1_2)

    def _enrol(self, api, name, **server):
        key, csr = new_key_and_request(name)
        answer = api.post("/api/v1/certificates", json={"csr": csr.decode(), **server})
        assert answer.status_code == 201, answer.text
        return write(self.folder / name, key, answer.json()["certificate"], answer.json()["ca"])

    def stop(self):
        for process in reversed(self.processes.values()):
            process.stop()

    def stored(self, device):
        with self.api() as api:
            answer = api.get("/api/v1/telemetry", params={"device": device, "limit": 10_000})
        return [value for one in answer.json()["series"] for _, value in one["points"]]
