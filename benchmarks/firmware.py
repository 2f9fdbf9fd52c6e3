"""The firmware on virtual boards: `firmware.py [--boards N] [--json]`.

- `heap_kb_min_tls`: the smallest heap (`-X heapsize`, words of 64 bits) in which a board reports over mutual TLS, takes
  a command of 4 KiB, loses its gateway, buffers and catches up. The peer: umqtt.simple alone over the same TLS.
- `heap_kb_min_tls_in_rom`: the same for a board whose release is in ROM.
- `board_pss_kb`, `board_cpu_ms_per_s`: what one of a hundred boards costs, at a reading a second.
- `boards_max`: boards are added by the hundred until a tenth of their readings is not acknowledged in its second, or
  `--boards` is reached.
- `boot_to_ack_ms`: from power-on to the first acknowledged reading, over TLS, the median of twenty.
- `update_s`: from the command to its result, a board over TLS to a gateway's broker: 40 KB fetched, 52 files copied,
  all verified, restart and trial; the median of three.
- `flash_bytes_per_1000`: bytes programmed for a thousand buffered readings. The limit: the readings' own bytes; the
  peer: a file to which each reading is appended and synced.
"""

import argparse
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from fieldloom_build.personal import Identity, certificates
from fieldloom_sim.demo.identities import Identities
from fieldloom_sim.demo.ports import Ports
from fieldloom_sim.demo.system import BOARD_EVERY_S, DemoSystem
from fieldloom_sim.fleet import Gateway

ROOT = Path(__file__).parent.parent
MICROPYTHON = Path(sys.executable).with_name("micropython")
STARTS = 20
UPDATES = 3
STEP = 100
SAMPLE_S = 10.0
HEAPS_KB = range(16, 132, 2)
TICKS = os.sysconf("SC_CLK_TCK")

FLASH_SCRIPT = """
import sys
sys.path[:0] = [{firmware!r}, {shared!r}]
import json, os, vfs
from fieldloom_agent import drops
from fieldloom_agent.buffer import Buffer
from fieldloom_contract.topics import TELEMETRY
class Flash:
    written = 0
    def __init__(self):
        self.memory = bytearray(b"\\xff" * 4096 * 256)
    def readblocks(self, block, buffer, offset=0):
        start = block * 4096 + offset
        buffer[:] = self.memory[start:start + len(buffer)]
    def writeblocks(self, block, buffer, offset=0):
        Flash.written += len(buffer)
        start = block * 4096 + offset
        self.memory[start:start + len(buffer)] = buffer
    def ioctl(self, operation, argument):
        return {{4: 256, 5: 4096}}.get(operation, 0)
flash = Flash()
vfs.VfsLfs2.mkfs(flash, progsize=32, readsize=32)
vfs.umount("/")
vfs.mount(vfs.VfsLfs2(flash, progsize=32, readsize=32), "/")
def reading(number):
    return {{"ts": 1795651200000 + number * 1000, "values": {{"temperature": 21.5, "humidity": 47.25}}}}
buffer = Buffer(7, 100)
before = Flash.written
for number in range(1000):
    buffer.append(TELEMETRY, reading(number))
buffer.flush()
ours = Flash.written - before
before = Flash.written
payload = 0
for number in range(1000):
    with open("/plain", "a") as file:
        payload += file.write(json.dumps(dict(reading(number), boot=7, seq=number)) + "\\n")
print(json.dumps([ours, Flash.written - before, payload]))
"""

UMQTT_SCRIPT = """
import sys
sys.path.insert(0, {lib!r})
import ssl
from umqtt.simple import MQTTClient
def content(name):
    with open({folder!r} + "/" + name, "rb") as file:
        return file.read()
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.load_cert_chain(content("cert.der"), content("key.der"))
context.load_verify_locations(cadata=content("ca.der"))
class ussl:  # what this umqtt asks for, and MicroPython has no more
    def wrap_socket(plain):
        return context.wrap_socket(plain, server_hostname="127.0.0.1")
sys.modules["ussl"] = ussl
client = MQTTClient({device!r}, "127.0.0.1", {port}, ssl=True, keepalive=30)
client.connect()
for number in range(100):
    client.publish("fl/v1/d/{device}/telemetry", '{{"ts": 1795651200000, "values": {{"temperature": 21.5}}}}')
client.disconnect()
print("done")
"""


class Bench:
    """A system without boards, to which boards are added."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        port = Ports(folder / "ports.json").get("api")
        self.system = DemoSystem(folder / "data", port, lambda line: print(line, file=sys.stderr))
        self.system.start(0, 1)
        told = json.loads((folder / "data" / "demo.json").read_text())
        gateway = told["gateways"][0]
        self.gateway = Gateway(gateway["id"], gateway["mqtt"]["host"], gateway["mqtt"]["port"])
        self.broker = told["processes"]["gateway-1-broker"]
        self._identities = Identities(folder / "data", self.system.client)

    def identity(self, name: str) -> Identity:
        return self._identities.device(name)

    def add(self, name: str, **settings: Any) -> None:
        self.system.fleet.add(self.identity(name), [self.gateway], **settings)

    def acknowledged(self, name: str) -> int:
        return sum(self.system.fleet.acknowledged(name).values())

    def reaches(self, name: str, count: int, seconds: float) -> bool:
        return until(lambda: self.acknowledged(name) >= count, seconds)

    def execute(self, board: str, kind: str, /, **parameters: Any) -> str:
        """Return the status in which a command has ended."""
        body = {"type": kind, "parameters": parameters}
        sent = self.system.client.post(f"/api/v1/devices/{board}/commands", json=body).raise_for_status().json()
        status = ""

        def ended() -> bool:
            nonlocal status
            status = self.system.client.get(f"/api/v1/commands/{sent['id']}").json()["status"]
            return status in ("succeeded", "failed", "rejected", "expired")

        until(ended, 20)
        return status

    def lose_gateway(self) -> None:
        """Kill the gateway's broker and have it started again after two seconds."""
        told = json.loads((self.folder / "data" / "demo.json").read_text())
        os.kill(told["processes"]["gateway-1-broker"], signal.SIGKILL)
        time.sleep(2)
        self.system.keep_alive()


def until(is_so: Callable[[], bool], seconds: float) -> bool:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if is_so():
            return True
        time.sleep(0.05)
    return False


def lives(bench: Bench, heap_kb: int, in_rom: bool) -> bool:
    """Whether a board lives in such a heap, without a restart."""
    name, fleet = f"heap-{heap_kb}{'-rom' if in_rom else ''}", bench.system.fleet
    bench.add(name, heap=f"{heap_kb}k", in_rom=in_rom, interval=100)
    try:
        if not bench.reaches(name, 20, 12):
            return False
        if bench.execute(name, "write", name="relay", value="x" * 3900) != "rejected":
            return False
        bench.lose_gateway()
        has_caught_up = bench.reaches(name, bench.acknowledged(name) + 60, 30)
        return has_caught_up and fleet.status()[name]["starts"] == 1 and "MemoryError" not in fleet.console(name)
    finally:
        fleet.off(name)


def umqtt_lives(bench: Bench, heap_kb: int) -> bool:
    """Whether umqtt.simple alone connects and publishes in such a heap."""
    folder = bench.folder / "umqtt"
    folder.mkdir(exist_ok=True)
    for path, content in certificates(bench.identity("umqtt")).items():
        (folder / Path(path).name.replace("ca0", "ca")).write_bytes(content)
    lib, port = str(ROOT / "firmware" / "lib"), bench.gateway.port
    script = UMQTT_SCRIPT.format(lib=lib, folder=str(folder), device="umqtt", port=port)
    command = [MICROPYTHON, "-X", f"heapsize={heap_kb}k", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    return done.stdout == "done\n"


def smallest(is_enough: Callable[[int], bool]) -> int:
    """Return the smallest of HEAPS_KB that is enough, by halving."""
    low, high = 0, len(HEAPS_KB) - 1
    while low < high:
        middle = (low + high) // 2
        print(f"heap of {HEAPS_KB[middle]} KB", file=sys.stderr)
        low, high = (low, middle) if is_enough(HEAPS_KB[middle]) else (middle + 1, high)
    return HEAPS_KB[low]


def boot_to_ack_ms(bench: Bench) -> float:
    fleet, name = bench.system.fleet, "booting"
    bench.add(name, interval=100)
    bench.reaches(name, 5, 20)
    found = []
    for _ in range(STARTS):
        fleet.off(name)
        before, begun = fleet.acknowledged(name), time.monotonic()
        fleet.on(name)
        while fleet.acknowledged(name) == before:
            time.sleep(0.001)
        found.append((time.monotonic() - begun) * 1000)
        time.sleep(0.3)
    fleet.off(name)
    return statistics.median(found)


def crowd(bench: Bench, most: int) -> tuple[int, dict[str, float]]:
    """Return how many boards keep up, and what each of the first hundred costs."""
    names: list[str] = []
    costs: dict[str, float] = {}
    while len(names) < most:
        for number in range(len(names), len(names) + STEP):
            names.append(f"crowd-{number}")
            bench.add(names[-1])
            time.sleep(BOARD_EVERY_S)
        until(lambda: all(bench.acknowledged(name) for name in names), 60)
        time.sleep(5)
        before, cpu, begun = total(bench, names), cpu_s(bench, names), time.monotonic()
        time.sleep(SAMPLE_S)
        took = time.monotonic() - begun
        share = (total(bench, names) - before) / took / len(names)
        print(f"{len(names)} boards: {share:.2f} readings/s each are acknowledged", file=sys.stderr)
        if not costs:
            pss = statistics.mean(pss_kb(pid) for pid in pids(bench, names))
            cpu_ms = (cpu_s(bench, names) - cpu) / took / len(names) * 1000
            costs = {"board_pss_kb": round(pss), "board_cpu_ms_per_s": round(cpu_ms, 2)}
        if share < 0.9:
            return len(names) - STEP, costs
    return len(names), costs


def total(bench: Bench, names: list[str]) -> int:
    return sum(bench.acknowledged(name) for name in names)


def pids(bench: Bench, names: list[str]) -> list[int]:
    status = bench.system.fleet.status()
    return [status[name]["pid"] for name in names if status[name]["pid"]]


def cpu_s(bench: Bench, names: list[str]) -> float:
    spent = 0.0
    for pid in pids(bench, names):
        with suppress(FileNotFoundError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            spent += (int(fields[11]) + int(fields[12])) / TICKS
    return spent


def pss_kb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("Pss:")).split()[1])


def flash_bytes() -> tuple[int, int, int]:
    """(ours, appended and synced, the readings' own) for a thousand readings."""
    script = FLASH_SCRIPT.format(firmware=str(ROOT / "firmware"), shared=str(ROOT / "shared"))
    command = [MICROPYTHON, "-X", "heapsize=8m", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    ours, plain, payload = json.loads(done.stdout)
    return ours, plain, payload


def update_s() -> float:
    command = [sys.executable, ROOT / "tests/e2e/updates.py"]
    runs = [subprocess.run(command, capture_output=True, text=True, timeout=300, check=True) for _ in range(UPDATES)]
    return statistics.median(json.loads(run.stdout.splitlines()[-1])["update_s"] for run in runs)


def measure(bench: Bench, most: int) -> dict[str, Any]:
    ours, plain, payload = flash_bytes()
    boot = boot_to_ack_ms(bench)
    heap = smallest(lambda kb: lives(bench, kb, in_rom=False))
    in_rom = smallest(lambda kb: lives(bench, kb, in_rom=True))
    bare = smallest(lambda kb: umqtt_lives(bench, kb))
    boards, costs = crowd(bench, most)
    return {
        "name": "firmware",
        "figures": {
            "heap_kb_min_tls": heap,
            "heap_kb_min_tls_in_rom": in_rom,
            **costs,
            "boards_max": boards,
            "boards_tried": most,
            "boot_to_ack_ms": round(boot, 1),
            "update_s": update_s(),
            "flash_bytes_per_1000": ours,
        },
        "peers": {
            "umqtt_alone": {"heap_kb_min_tls": bare},
            "append_and_sync": {"flash_bytes_per_1000": plain},
            "payload": {"flash_bytes_per_1000": payload},
        },
        "ratios": {
            "heap_kb_min_tls_vs_umqtt_alone": round(heap / bare, 2),
            "flash_bytes_per_1000_vs_append_and_sync": round(ours / plain, 3),
            "flash_bytes_per_1000_vs_payload": round(ours / payload, 2),
        },
        "machine": f"{platform.machine()} {os.cpu_count()} cores Python {platform.python_version()}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--boards", type=int, default=1000, help="how many boards are tried at the most")
    parser.add_argument("--json", action="store_true", help="print the JSON line alone")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    bench = Bench(folder)
    try:
        result = measure(bench, arguments.boards)
    finally:
        bench.system.stop()
        shutil.rmtree(folder)
    if not arguments.json:
        for name, figure in result["figures"].items():
            print(f"{name:24}{figure}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
