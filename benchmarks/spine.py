"""From devices to the store through one gateway: `spine.py [--seconds N] [--devices N] [--json]`.

The whole system as `fieldloom demo` runs it (mutual TLS, every record on two disks before it is acknowledged twice), on
one machine together with the devices that load it. A rate counts from the first publish until the cloud has every
record. Latency is from a publish until the cloud tells of the row, at 1,000 readings/s beside it. The peer: mosquitto
alone, the same payloads, the same window, to one subscriber that only counts.
"""

import argparse
import asyncio
import json
import os
import platform
import shutil
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx2
import load

from fieldloom_cloud import census
from fieldloom_contract import topics
from fieldloom_gateway.deploy import identity
from fieldloom_runtime.tls import client_context
from fieldloom_sim.demo.identities import Identities
from fieldloom_sim.demo.ports import Ports
from fieldloom_sim.demo.system import DemoSystem

ROUNDS = 3
BATCHES = (1, 10)
LATENCY_LOAD = 1000  # readings/s beside the probe
PROBE_EVERY_S = 0.02
TICKS = os.sysconf("SC_CLK_TCK")
PROCESSES = ("cloud", "cloud-broker", "gateway-1", "gateway-1-broker")


class Bench:
    """The system under load, with its devices."""

    def __init__(self, folder: Path, devices: int) -> None:
        self.data = folder / "data"
        port = Ports(folder / "ports.json").get("api")
        self.system = DemoSystem(self.data, port, lambda line: print(line, file=sys.stderr))
        self.system.start(0, 1)
        told = json.loads((self.data / "demo.json").read_text())
        self.processes = {name: told["processes"][name] for name in PROCESSES}
        self.gateway = told["gateways"][0]
        self.address = (self.gateway["mqtt"]["host"], self.gateway["mqtt"]["port"])
        identities = Identities(self.data, self.system.client)
        names = [f"load-{number}" for number in range(1, devices + 1)]
        self.identities = {name: identities.device(name) for name in [*names, "probe"]}
        self.devices = [load.Device(name) for name in names]
        self.probe = load.Device("probe")

    def tls(self, name: str) -> ssl.SSLContext:
        identity = self.identities[name]
        return client_context(identity.ca, identity.cert, identity.key, ssl.TLSVersion.TLSv1_2)

    async def connect(self) -> None:
        for device in [*self.devices, self.probe]:
            await device.connect(self.address, self.tls(device.name))

    def stored(self) -> int:
        """How many records the cloud has taken since its start."""
        lines = httpx2.get(f"{self.system.url}/metrics", timeout=30).text.splitlines()
        return sum(int(float(line.split()[1])) for line in lines if 'ingest_total{outcome="records"}' in line)

    async def rate(self, batch: int, seconds: float) -> float:
        """Readings/s, all of them stored."""
        for device in self.devices:
            device.batch = batch
        before, begun = self.sent(), time.monotonic()
        await load.run(self.devices, seconds)
        await self.settle(self.sent())
        return (self.sent() - before) / (time.monotonic() - begun)

    def sent(self) -> int:
        return sum(device.sent for device in [*self.devices, self.probe])

    async def settle(self, records: int) -> None:
        """Wait until the cloud has that many."""
        async with asyncio.timeout(60):
            while await asyncio.to_thread(self.stored) < records:
                await asyncio.sleep(0.01)

    async def latencies(self, seconds: float) -> list[float]:
        """Milliseconds from publishes of one device to the live stream, which tells a row after its commit."""
        found: list[float] = []
        loading = asyncio.create_task(self._steady_load())
        told: asyncio.Queue[None] = asyncio.Queue()
        watching = asyncio.create_task(self._watch(told))
        await told.get()  # ready
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            published = time.monotonic()
            self.probe.send(self.probe.sent + 1)
            await told.get()
            found.append((time.monotonic() - published) * 1000)
            await asyncio.sleep(PROBE_EVERY_S)
        for task in (loading, watching):
            task.cancel()
        await load.run(self.devices, 0)
        return sorted(found)

    async def _watch(self, told: asyncio.Queue[None]) -> None:
        url = f"{self.system.url}/api/v1/stream"
        async with (
            httpx2.AsyncClient(headers=self.system.client.headers, timeout=30) as api,
            api.stream("GET", url, params={"device": "probe"}) as answer,
        ):
            async for line in answer.aiter_lines():
                if line.startswith("data:"):
                    told.put_nowait(None)

    async def _steady_load(self) -> None:
        begun, done = time.monotonic(), 0
        for device in self.devices:
            device.batch = 1
        while True:
            due = int((time.monotonic() - begun) * LATENCY_LOAD)
            for number in range(done, due):
                device = self.devices[number % len(self.devices)]
                device.send(device.sent + 1)
            done = due
            await asyncio.sleep(0.005)

    def costs(self) -> dict[str, tuple[float, int]]:
        """(CPU seconds so far, RSS in KiB) of each process."""
        return {name: cost(pid) for name, pid in self.processes.items()}

    def verdict(self) -> str:
        """Stop the system, and say whether every acknowledged record is stored once."""
        self.system.stop()
        counted = census.take(self.data / "cloud")
        lost = sum(len(counted.lost((one.name, load.BOOT), one.acknowledged)) for one in [*self.devices, self.probe])
        return f"lost={lost} duplicated={counted.duplicated}"


async def alone(bench: Bench, batch: int, seconds: float) -> float:
    """Readings/s through the gateway's broker alone, to one subscriber that counts; the system has to be stopped."""
    devices = {name: load.Device(name) for name in [device.name for device in bench.devices]}
    count = 0

    def heard(topic: bytes, _: bytes) -> None:
        nonlocal count
        devices[topic.split(b"/")[3].decode()].take(batch)
        count += batch

    local = json.loads((bench.data / "ports.json").read_text())["gateway-1-local"]
    own = identity.of(bench.data / "gateway-1")
    tls = client_context(own.cert, own.cert, own.key)
    reads = [topics.device("+", topics.TELEMETRY)]
    reader = await load.connect(identity.NAME, ("127.0.0.1", local), tls, reads, heard)
    for device in devices.values():
        device.batch = batch
        await device.connect(bench.address, bench.tls(device.name))
    begun = time.monotonic()
    await load.run(list(devices.values()), seconds)
    taken = count / (time.monotonic() - begun)
    for device in devices.values():
        device.close()
    reader.transport.close()
    return taken


async def peer(bench: Bench, share: float) -> dict[int, float]:
    """Run the gateway's broker alone, and return its median readings/s by size of message."""
    program = shutil.which("mosquitto", path=os.environ["PATH"] + ":/usr/sbin")
    broker = subprocess.Popen([program, "-c", str(bench.data / "gateway-1" / "broker" / "mosquitto.conf")])
    try:
        await asyncio.sleep(1)
        rates = {batch: [await alone(bench, batch, share) for _ in range(ROUNDS)] for batch in BATCHES}
    finally:
        broker.terminate()
        broker.wait()
    return {batch: statistics.median(found) for batch, found in rates.items()}


async def measure(bench: Bench, seconds: float) -> dict[str, Any]:
    share = seconds / (ROUNDS * len(BATCHES) * 2 + 4)
    await bench.connect()
    rates: dict[int, list[float]] = {batch: [] for batch in BATCHES}
    await bench.rate(1, 1.0)
    figures: dict[str, Any] = {}
    for batch in BATCHES * ROUNDS:
        before, begun = bench.costs(), time.monotonic()
        rates[batch].append(await bench.rate(batch, share))
        took = time.monotonic() - begun
        for process, (cpu, rss) in bench.costs().items():
            name = process.replace("-", "_")
            figures[f"cpu_percent_{name}_batch_{batch}"] = round((cpu - before[process][0]) / took * 100)
            figures[f"rss_mb_{name}"] = round(rss / 1024)
    latencies = await bench.latencies(share * 4)
    await bench.settle(bench.sent())
    verdict = await asyncio.to_thread(bench.verdict)
    alone = await peer(bench, share)
    single, batched = (statistics.median(rates[batch]) for batch in BATCHES)
    main = {
        "readings_per_s": round(single),
        "readings_per_s_batched": round(batched),
        "latency_ms_p50": round(latencies[len(latencies) // 2], 1),
        "latency_ms_p99": round(latencies[int(len(latencies) * 0.99)], 1),
    }
    return {
        "name": "spine",
        "figures": {**main, "latency_samples": len(latencies), "verdict": verdict, **figures},
        "peers": {"mosquitto": {"readings_per_s": round(alone[1]), "readings_per_s_batched": round(alone[10])}},
        "ratios": {
            "readings_per_s_vs_mosquitto": round(single / alone[1], 3),
            "readings_per_s_batched_vs_mosquitto": round(batched / alone[10], 3),
        },
        "machine": f"{platform.machine()} {os.cpu_count()} cores Python {platform.python_version()}",
    }


def cost(pid: int) -> tuple[float, int]:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    rss = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return (int(fields[11]) + int(fields[12])) / TICKS, int(rss.split()[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="for all rounds together")
    parser.add_argument("--devices", type=int, default=20, help="how many devices send")
    parser.add_argument("--json", action="store_true", help="print the JSON line alone")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), arguments.devices)
        try:
            result = asyncio.run(measure(bench, arguments.seconds))
        finally:
            bench.system.stop()
    if not arguments.json:
        for name, figure in result["figures"].items():
            print(f"{name:24}{figure}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
