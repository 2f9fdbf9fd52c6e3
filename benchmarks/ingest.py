"""Messages through a gateway, beside Node-RED and paho: `ingest.py [--seconds N] [--json]`, or `--setup` alone.

Devices publish single records over TLS to one mosquitto, the gateway's own, and each of the three takes them from
there over TLS, converts the temperature and answers the device. Ours is durable: it checks and numbers the record,
writes it with fsync (group commit), and the answer is the acknowledgement. Node-RED (MQTT in, function, MQTT out) and
the script answer with the record itself and keep nothing. Each has devices of its own, with a window of 64 records;
they take turns. Latency is from publish to answer at 1,000 messages/s. The cloud is away, so the outbox grows.
`generator` is the limit of the devices here: the broker alone brings their records back to them.
"""

import argparse
import asyncio
import json
import os
import platform
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import load
import msgspec
import peers
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from fieldloom_cloud.pki.authority import Authority, write_key
from fieldloom_contract import topics
from fieldloom_engine.transformers.reading import Device
from fieldloom_engine.transformers.window import Windows
from fieldloom_gateway.deploy import identity
from fieldloom_gateway.ingest import readings
from fieldloom_gateway.transformers import compile_text
from fieldloom_runtime.tls import client_context
from fieldloom_sim.demo.ports import Ports

ROUNDS = 5
DEVICES = 20  # of each
LATENCY_LOAD = 1000  # messages/s
READY_S = 60
TICKS = os.sysconf("SC_CLK_TCK")
FIELDLOOM = Path(sys.executable).with_name("fieldloom")
OURS, NODE_RED, PAHO, GENERATOR = "ours", "node-red", "paho", "echo"
LANES = (OURS, NODE_RED, PAHO, GENERATOR)
CHAIN = "chains: [{id: celsius, match: {metric: temperature}, stages: [{convert: {scale: 1.8, offset: 32}}]}]\n"


class Answer(msgspec.Struct):
    """What all answers tell."""

    boot: int | None
    seq: int | None


decode = msgspec.json.Decoder(Answer).decode


class Publisher(load.Device):
    """A device of one lane, which notes how long its records are on their way."""

    def __init__(self, name: str, verb: str) -> None:
        super().__init__(name)
        self._topic = load.text(topics.device(name, verb))
        self._verb = verb
        self._published: dict[int, float] = {}
        self.took_ms: list[float] = []

    async def connect(self, address: tuple[str, int], tls: ssl.SSLContext) -> None:
        reads = [topics.device(self.name, GENERATOR if self._verb == GENERATOR else topics.ACK)]
        self._client = await load.connect(self.name, address, tls, reads, self._hear)

    def send_timed(self) -> None:
        """Send one record, if the window has room."""
        before = self.sent
        self.send(self.sent + 1)
        if self.sent > before:
            self._published[self.sent] = time.perf_counter()

    def _hear(self, _: bytes, payload: bytes) -> None:
        answer = decode(payload)
        if answer.boot != load.BOOT or answer.seq is None or answer.seq <= self.acknowledged:
            return
        if self._published:
            now = time.perf_counter()
            for seq in range(self.acknowledged + 1, answer.seq + 1):
                if (published := self._published.pop(seq, None)) is not None:
                    self.took_ms.append((now - published) * 1000)
        self.take(answer.seq - self.acknowledged)
        self.sent = max(self.sent, self.acknowledged)


@dataclass
class Lane:
    """One of those that take turns: its devices, its process, and what was measured."""

    devices: list[Publisher]
    process: subprocess.Popen[bytes] | None
    rates: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    """99th percentiles, ms."""
    medians: list[float] = field(default_factory=list)
    """Of the same messages, ms."""
    costs: list[dict[str, float]] = field(default_factory=list)
    """CPU a message in µs, by who spent it."""


class Bench:
    """One broker and all that is connected to it."""

    names: tuple[str, ...] = LANES

    def __init__(self, folder: Path, running: ExitStack) -> None:
        self._folder = folder
        self._data = folder / "gateway"
        self._running = running
        self._authority = Authority.create(folder / "pki")
        ports = Ports(folder / "ports.json")
        self._ports = {name: ports.get(name) for name in ("mqtt", "local", "http", "cloud")}
        self._prepare()
        program = shutil.which("mosquitto", path=os.environ["PATH"] + ":/usr/sbin") or "mosquitto"
        self.broker = self._run([program, "-c", self._data / "broker" / "mosquitto.conf"])
        wait_for_port(self._ports["local"])
        own = identity.of(self._data)
        local = peers.Broker("127.0.0.1", self._ports["local"], own.cert, own.cert, own.key)
        processes = {
            OURS: self._run([FIELDLOOM, "gateway", "run", "--data", self._data]),
            **{name: self._ended(process) for name, process in self.start_peers(folder, local).items()},
        }
        self.lanes = {verb: Lane(self.publishers(verb), processes.get(verb)) for verb in self.names}

    def start_peers(self, folder: Path, local: peers.Broker) -> dict[str, subprocess.Popen[bytes]]:
        return {
            NODE_RED: peers.start_node_red(folder / "node-red", local, peers.FLOW),
            PAHO: peers.start_script(folder / "paho", local, peers.SCRIPT),
        }

    def configure(self, data: Path) -> None:
        """Write what the gateway does with a record."""
        (data / "transformers.yaml").write_text(CHAIN)

    async def connect(self) -> None:
        address = ("127.0.0.1", self._ports["mqtt"])
        for lane in self.lanes.values():
            for device in lane.devices:
                await device.connect(address, self._tls(device.name))
            await ready(lane.devices[0])

    async def turn(self, lane: Lane, seconds: float) -> None:
        """Measure the rate, and then the latency at a steady load."""
        await self.rate(lane, seconds)
        await self.latency(lane, seconds)

    async def rate(self, lane: Lane, seconds: float) -> None:
        """Measure messages/s as fast as they are answered, and what each costs."""
        before, mine, begun = self._spent(lane), time.process_time(), time.monotonic()
        had = answered(lane)
        await load.run(lane.devices, seconds)
        count, took = answered(lane) - had, time.monotonic() - begun
        lane.rates.append(count / took)
        spent = {name: (now - before.get(name, 0)) / count * 1e6 for name, now in self._spent(lane).items()}
        lane.costs.append({**spent, "generator": (time.process_time() - mine) / count * 1e6})

    async def latency(self, lane: Lane, seconds: float) -> None:
        """Measure the 99th percentile and the median of ms from publish to answer at a steady load."""
        await steady(lane, seconds)
        took_ms = sorted(one for device in lane.devices for one in device.took_ms)
        lane.latencies.append(took_ms[len(took_ms) * 99 // 100])
        lane.medians.append(took_ms[len(took_ms) // 2])
        for device in lane.devices:
            device.took_ms.clear()

    def _spent(self, lane: Lane) -> dict[str, float]:
        """CPU seconds of the broker, and of the first thread and the others of whoever answers."""
        told = {"broker": sum(threads(self.broker.pid).values())}
        if lane.process is not None:
            pid = lane.process.pid
            by_thread = threads(pid)
            told["first_thread"] = by_thread.pop(pid)
            told["other_threads"] = sum(by_thread.values())
        return told

    def _prepare(self) -> None:
        pki = self._folder / "pki"
        (pki / "crl.pem").write_text(self._authority.sign_list(1, []))
        cert, key = self._issue("gw.bench", ("127.0.0.1",))
        options = [f"--{name}-port={port}" for name, port in self._ports.items()]
        files = ["--ca", self._authority.ca, "--cert", cert, "--key", key, "--crl", pki / "crl.pem"]
        command = [FIELDLOOM, "gateway", "init", "--data", self._data, "--id", "gw.bench", *files, *options]
        subprocess.run(command, check=True, stdout=sys.stderr)
        settings = json.loads((self._data / "gateway.json").read_text())
        (self._data / "gateway.json").write_text(json.dumps({**settings, "outbox_bytes": 2**34}))
        self.configure(self._data)
        rights = self._data / "broker" / "rights.acl"
        more = [f"pattern write fl/v1/d/%u/{verb}" for verb in self.names[1:]] + [
            f"pattern read fl/v1/d/%u/{GENERATOR}"
        ]
        rights.write_text("\n".join(more) + "\n" + rights.read_text())

    def publishers(self, lane: str) -> list[Publisher]:
        verb = topics.TELEMETRY if lane == OURS else lane
        return [Publisher(f"{lane}-{number}", verb) for number in range(1, DEVICES + 1)]

    def _tls(self, name: str) -> ssl.SSLContext:
        cert, key = self._issue(name)
        return client_context(self._authority.ca, cert, key, ssl.TLSVersion.TLSv1_2)

    def _issue(self, name: str, hosts: tuple[str, ...] = ()) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, name)])
        request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
        cert_path, key_path = self._folder / "pki" / f"{name}.pem", self._folder / "pki" / f"{name}.key"
        cert_path.write_text(self._authority.issue(request.public_bytes(Encoding.PEM).decode(), name, hosts).pem)
        write_key(key_path, key)
        return cert_path, key_path

    def _run(self, command: list[Any]) -> subprocess.Popen[bytes]:
        return self._ended(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))

    def _ended(self, process: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
        """Have a process ended with the benchmark."""
        self._running.callback(process.wait)
        self._running.callback(process.terminate)
        return process


def answered(lane: Lane) -> int:
    return sum(device.acknowledged for device in lane.devices)


def wait_for_port(port: int) -> None:
    ends = time.monotonic() + READY_S
    while time.monotonic() < ends:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit(f"nothing listens on port {port} after {READY_S} s")


async def ready(device: Publisher) -> None:
    """Wait until a record is answered."""
    async with asyncio.timeout(READY_S):
        while not device.acknowledged:
            device.sent = 0
            device.send(1)
            await asyncio.sleep(0.2)


async def steady(lane: Lane, seconds: float) -> None:
    begun, done = time.monotonic(), 0
    while (passed := time.monotonic() - begun) < seconds:
        due = int(passed * LATENCY_LOAD)
        for number in range(done, due):
            lane.devices[number % len(lane.devices)].send_timed()
        done = due
        await asyncio.sleep(0.002)
    await load.run(lane.devices, 0)


def threads(pid: int) -> dict[int, float]:
    """CPU seconds of each thread of a process."""
    found = {}
    for path in Path(f"/proc/{pid}/task").iterdir():
        fields = (path / "stat").read_text().rpartition(")")[2].split()
        found[int(path.name)] = (int(fields[11]) + int(fields[12])) / TICKS
    return found


def cpu_us(work: Callable[[], object], times: int = 5000) -> float:
    """CPU of a call in µs, the median of some rounds."""
    found = []
    for _ in range(ROUNDS):
        begun = time.thread_time()
        for _ in range(times):
            work()
        found.append((time.thread_time() - begun) / times * 1e6)
    return statistics.median(found)


def alone() -> dict[str, float]:
    """CPU of what the gateway's disk thread does before it writes, µs a record, measured by itself."""
    payload = load.RECORD % (1, b'"first":1,', 1_790_000_000_000)
    chains, device, windows = compile_text(CHAIN), Device("dev-1"), Windows()
    values = {"temperature": 21.5, "humidity": 40.25}
    return {
        "decode": cpu_us(lambda: readings.decode(payload)),
        "transform": cpu_us(lambda: chains.transform(device, 1, dict(values), windows, now=1, in_order=True)),
    }


def medians(lane: Lane) -> dict[str, float]:
    costs = {name: statistics.median(one[name] for one in lane.costs) for name in lane.costs[0]}
    return {
        "messages_per_s": round(statistics.median(lane.rates)),
        "latency_ms_p99": round(statistics.median(lane.latencies), 2),
        **{f"cpu_us_{name}": round(cost, 1) for name, cost in costs.items()},
    }


def stages(measured: dict[str, float]) -> dict[str, float]:
    """CPU a message at each stage of ours: the first thread is the adapter with the answers, the others the disk's."""
    before = alone()
    written = measured["cpu_us_other_threads"] - sum(before.values())
    return {
        "cpu_us_broker": measured["cpu_us_broker"],
        "cpu_us_adapter": measured["cpu_us_first_thread"],
        **{f"cpu_us_{name}": round(cost, 1) for name, cost in before.items()},
        "cpu_us_commit": round(written, 1),
        "cpu_us_generator": measured["cpu_us_generator"],
    }


async def measure(bench: Bench, seconds: float) -> dict[str, Any]:
    share = seconds / ROUNDS / len(LANES) / 2
    await bench.connect()
    for _ in range(ROUNDS):
        for name, lane in bench.lanes.items():
            await bench.turn(lane, share)
            print(f"{name:10}{lane.rates[-1]:>10,.0f} messages/s  p99 {lane.latencies[-1]:.2f} ms", file=sys.stderr)
    ours, node_red, paho, generator = (medians(lane) for lane in bench.lanes.values())
    main = {name: ours[name] for name in ("messages_per_s", "latency_ms_p99")}
    against = {"node_red": node_red, "paho": paho}
    return {
        "name": "ingest",
        "figures": {**main, **stages(ours), "load_average": round(os.getloadavg()[0], 1)},
        "peers": {**against, "generator": generator},
        "ratios": {
            f"{figure}_vs_{name}": round(told / peer[figure], 2)
            for name, peer in against.items()
            for figure, told in main.items()
        },
        "machine": f"{platform.machine()} Python {platform.python_version()} {os.cpu_count()} cores",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0, help="for all rounds together")
    parser.add_argument("--json", action="store_true", help="print the JSON line alone")
    parser.add_argument("--setup", action="store_true", help="install Node-RED, and end")
    arguments = parser.parse_args()
    peers.install()
    if arguments.setup:
        return
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        result = asyncio.run(measure(Bench(Path(folder), running), arguments.seconds))
    if not arguments.json:
        for name, figure in result["figures"].items():
            print(f"{name:24}{figure}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
