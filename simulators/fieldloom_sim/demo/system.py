"""Builds the demo's system in a data folder and keeps it running: CA, brokers, cloud, gateways, boards."""

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx2
import yaml

from fieldloom_build.personal import Identity
from fieldloom_cloud import setup
from fieldloom_cloud.settings import FILE as CLOUD_FILE
from fieldloom_cloud.settings import Settings as CloudSettings
from fieldloom_gateway.deploy.folder import prepare
from fieldloom_gateway.settings import ClusterSettings
from fieldloom_gateway.settings import Settings as GatewaySettings
from fieldloom_runtime.errors import StartFailed
from fieldloom_sim.demo.cluster import Cluster
from fieldloom_sim.demo.identities import Identities
from fieldloom_sim.demo.ports import Ports, is_free
from fieldloom_sim.demo.supervisor import Child, Supervisor
from fieldloom_sim.fleet import Fleet, Gateway
from fieldloom_sim.lines import ServantFailed

READY_S = 60.0
READY_EACH_BOARD_S = 0.15
BOARD_EVERY_S = 0.025  # boards that start at once would pay for each other's handshakes
POLL_S = 0.1
SITE = "default"
HAS_COAP = find_spec("DTLSSocket") is not None  # an extra, which is compiled

Say = Callable[[str], None]
Outfit = Callable[[str, list[Gateway]], dict[str, Any]]
"""Which arguments of `Fleet.add` a board gets, of its name and its gateways in order."""


def plain(_: str, gateways: list[Gateway]) -> dict[str, Any]:
    """Return the outfit of the demo's boards: the gateways, and what `Fleet.add` has by itself."""
    return {"gateways": gateways}


class DemoSystem:
    """The whole system of a demo. `say(line)` tells the user how far it is."""

    def __init__(self, data: Path, port: int, say: Say) -> None:
        self.data = data.resolve()
        self.boards: dict[str, Identity] = {}
        self._port = port
        self._cloud_mqtt_port = 0
        self._token = ""
        self.client = httpx2.Client()
        self._say = say
        self._supervisor = Supervisor(self.data / "logs")
        self._ports = Ports(self.data / "ports.json")
        self._fleet = Fleet(self.data / "boards")
        self._gateways: dict[str, tuple[Gateway, int, int | None]] = {}
        self._children: dict[str, Child] = {}
        self._told: dict[str, Any] = {}

    @property
    def fleet(self) -> Fleet:
        """The boards."""
        return self._fleet

    @property
    def url(self) -> str:
        """The cloud's address."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def status_pages(self) -> list[str]:
        """The gateways' own addresses of their status."""
        return [f"http://127.0.0.1:{http}/api/v1/status" for _, http, _ in self._gateways.values()]

    def start(self, devices: int, gateways: int, outfit: Outfit = plain) -> None:
        """Start all of it, and wait until every board has an acknowledgement. Raises StartFailed."""
        if not is_free(self._port):
            raise StartFailed(f"port {self._port} is in use", "choose another one by --port")
        self._start_cloud()
        identities = Identities(self.data, self.client)
        site = {f"gateway-{number}": f"gw.demo-{number}" for number in range(1, gateways + 1)}
        cluster = Cluster(self.data, self._ports, site)
        for name, gateway_id in site.items():
            self._start_gateway(name, identities.gateway(gateway_id), cluster.settings(name))
        for name in site if gateways > 1 else ():
            self._await_leader(name)
        names = [f"board-{number}" for number in range(1, devices + 1)]
        for name in names:
            self._say(f"identities: {len(self.boards)} of {devices}")
            self.boards[name] = identities.device(name)
        self._start_boards(outfit)
        self.publish()

    def login_link(self) -> str:
        """Return a link that opens the console once, as admin."""
        made = self.client.post("/api/v1/login-links", json={"role": "admin"}).raise_for_status()
        return str(made.json()["link"])

    def keep_alive(self) -> None:
        """Start again what has died, and tell its new process in demo.json."""
        for name in self._supervisor.revive():
            self._say(f"{name} has died and was started again")
        try:
            self._fleet.status()
        except ServantFailed:
            self._say("the loader of the boards has died and was started again")
            self._fleet.stop()
            self._fleet.start()
        self.publish()

    def publish(self) -> None:
        """Write demo.json if anything in it has changed."""
        boards = self._fleet.status()
        told = {
            "api": self.url,
            "token": self._token,
            "ca": str(self.data / "cloud" / "pki" / "ca.pem"),
            "gateways": [
                {
                    "id": gateway.id,
                    "mqtt": {"host": gateway.host, "port": gateway.port},
                    "coap": {"host": gateway.host, "port": coap} if coap else None,
                    "http": f"http://127.0.0.1:{http}",
                }
                for gateway, http, coap in self._gateways.values()
            ],
            "devices": [
                {"id": name, "cert": str(board.cert), "key": str(board.key), "serial": boards[name]["serial"]}
                for name, board in self.boards.items()
            ],
            "processes": self._supervisor.pids() | {name: one["pid"] for name, one in boards.items()},
        }
        if told == self._told:
            return
        fresh = self.data / "demo.json.new"
        fresh.touch(mode=0o600)  # it holds the admin's token
        fresh.write_text(json.dumps(told, indent=2) + "\n")
        fresh.replace(self.data / "demo.json")
        self._told = told

    def stop(self) -> None:
        """Stop all of it, in reverse order."""
        self._fleet.stop()
        self._supervisor.stop()
        self.client.close()
        (self.data / "demo.json").unlink(missing_ok=True)

    def _start_cloud(self) -> None:
        folder = self.data / "cloud"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._cloud_mqtt_port = self._ports.get("cloud-mqtt")
        settings = CloudSettings(
            port=self._port,
            mqtt_port=self._cloud_mqtt_port,
            local_port=self._ports.get("cloud-local"),
            est_port=self._ports.get("cloud-est"),
        )
        (folder / CLOUD_FILE).write_text(settings.model_dump_json(indent=2) + "\n")
        prepared = setup.init(folder, settings, SITE)
        self._token = prepared.token_file.read_text().strip()
        self.client = httpx2.Client(base_url=self.url, headers={"Authorization": f"Bearer {self._token}"}, timeout=20)
        self._supervisor.start("cloud-broker", _mosquitto(prepared.broker))
        cloud = self._supervisor.start("cloud", _fieldloom("cloud", "serve", "--data", str(folder)))
        self._wait("the cloud", cloud, lambda: httpx2.get(f"{self.url}/readyz", timeout=5).is_success)

    def _start_gateway(self, name: str, identity: Identity, cluster: ClusterSettings | None) -> None:
        data = self.data / name
        gateway = Gateway(identity.device, "127.0.0.1", self._ports.get(f"{name}-mqtt"))
        http = self._ports.get(f"{name}-http")
        settings = GatewaySettings(
            id=gateway.id,
            ca=identity.ca,
            cert=identity.cert,
            key=identity.key,
            cloud_port=self._cloud_mqtt_port,
            mqtt_port=gateway.port,
            local_port=self._ports.get(f"{name}-local"),
            http_port=http,
            cluster=cluster,
        )
        crl = identity.cert.with_name("crl.pem")
        crl.write_text(self.client.get("/crl.pem").raise_for_status().text)
        broker = prepare(settings, data, crl)
        coap = self._configure_adapters(name)
        self._supervisor.start(f"{name}-broker", _mosquitto(broker))
        child = self._supervisor.start(name, _fieldloom("gateway", "run", "--data", str(data)))
        status = f"http://127.0.0.1:{http}/api/v1/status"
        self._wait(name, child, lambda: bool(httpx2.get(status, timeout=5).json()["broker_connected"]))
        self._gateways[name] = (gateway, http, coap)
        self._children[name] = child

    def _await_leader(self, name: str) -> None:
        """Wait until a gateway and its cluster agree."""
        status = f"http://127.0.0.1:{self._gateways[name][1]}/api/v1/status"
        child = self._children[name]
        self._wait(
            f"the cluster at {name}", child, lambda: bool(httpx2.get(status, timeout=5).json()["cluster"]["writable"])
        )

    def _configure_adapters(self, name: str) -> int | None:
        """Have a gateway take HTTP and CoAP; return the port of CoAP over DTLS, None where its library is missing."""
        adapters: list[dict[str, Any]] = [{"protocol": "http", "port": self._ports.get(f"{name}-ingest")}]
        coap = self._ports.get(f"{name}-coap") if HAS_COAP else None
        if coap:
            oscore = self._ports.get(f"{name}-oscore")
            adapters.append({"protocol": "coap", "dtls_port": coap, "oscore_port": oscore})
        file = self.data / name / "adapters.yaml"
        file.touch(mode=0o600)
        file.write_text(yaml.safe_dump({"adapters": adapters}))
        return coap

    def _start_boards(self, outfit: Outfit) -> None:
        self._fleet.start()
        gateways = [gateway for gateway, _, _ in self._gateways.values()]
        before = {name: self._fleet.acknowledged(name) for name in self.boards}
        for number, identity in enumerate(self.boards.values()):
            # Each board has its own first gateway, and the others to go to.
            first = number % len(gateways)
            self._fleet.add(identity, **outfit(identity.device, gateways[first:] + gateways[:first]))
            self._say(f"boards: {number + 1} of {len(self.boards)} switched on")
            time.sleep(BOARD_EVERY_S)
        waiting = set(self.boards)
        deadline = time.monotonic() + READY_S + READY_EACH_BOARD_S * len(waiting)
        while waiting and time.monotonic() < deadline:
            waiting = {name for name in waiting if self._fleet.acknowledged(name) == before[name]}
            self._say(f"boards: {len(self.boards) - len(waiting)} of {len(self.boards)} report")
            time.sleep(POLL_S if waiting else 0)
        if waiting:
            board = min(waiting)
            console = self._fleet.path(board) / "console.log"
            raise StartFailed(f"{len(waiting)} boards, {board} among them, do not report", f"see {console}")

    def _wait(self, name: str, child: Child, is_ready: Callable[[], bool]) -> None:
        self._say(f"{name} is starting")
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline:
            if not child.is_alive:
                raise StartFailed(f"{name} has ended: {child.last_words()}", f"see {child.log}")
            with suppress(httpx2.TransportError):
                if is_ready():
                    self._say(f"{name} is ready")
                    return
            time.sleep(POLL_S)
        raise StartFailed(f"{name} is not ready after {READY_S:.0f} s", f"see {child.log}")


def _fieldloom(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from fieldloom_cli.main import main; main()", *arguments]


def _mosquitto(configuration: Path) -> list[str]:
    # Debian puts it where a user's PATH does not look.
    program = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if program is None:
        raise StartFailed("mosquitto is not installed", "run `make setup`, or install it by your package manager")
    return [program, "-c", str(configuration)]
