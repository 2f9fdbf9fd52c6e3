"""A cluster of three members beside etcd and bare PySyncObj: `cluster.py [--seconds N] [--json]`, or `--setup` alone.

Each has three processes on loopback with their data on one disk. Ours and etcd sync to the disk before they answer;
PySyncObj never does. A command is 64 bytes. `writes_per_s_pipelined` is with 1,000 callers at the leader (etcd: 64
connections to its JSON gateway, more make it no faster), `commit_ms` one after the other at the leader, once the files
have grown by that, `failover_s` from the kill of the leader to the next commit at a follower. What the map weighs
and what moves: `cluster_map.py`.
"""

import argparse
import asyncio
import base64
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from statistics import mean, median

import cluster_map
import structlog
from pysyncobj import SyncObj, SyncObjConf, replicated

from fieldloom_gateway.cluster.consensus.member import Member
from fieldloom_gateway.cluster.consensus.membership import Membership
from fieldloom_gateway.cluster.consensus.port import ConsensusFailed

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from fixtures.processes import free_port  # the ports of tests are those of benchmarks

CACHE = Path(__file__).parents[1] / ".cache"
FOLDER = CACHE / "etcd"
ETCD = FOLDER / "usr" / "bin" / "etcd"
SECRET = "a secret of the benchmark, long enough"
COMMAND = b"x" * 64
CALLERS, CONNECTIONS = 1000, 64
NAMES = "abc"
TURNS = 4
"""How often ours and etcd take turns in a round, so that both see the machine alike."""


def install() -> None:
    """Have Debian's etcd in a folder of its own: no service, no root."""
    if ETCD.exists():
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    subprocess.run(["apt-get", "-qq", "download", "etcd-server"], cwd=FOLDER, check=True, stdout=sys.stderr)
    package = next(FOLDER.glob("etcd-server_*.deb"))
    subprocess.run(["dpkg", "-x", package, FOLDER], check=True)


def quantiles(took: list[float]) -> dict[str, float]:
    took.sort()
    return {"commit_ms_p50": took[len(took) // 2] * 1000, "commit_ms_p99": took[len(took) * 99 // 100] * 1000}


class Nothing:
    """A state machine without a state: what is measured is the consensus."""

    def apply(self, index: int, command: bytes) -> bytes:
        return b""

    def query(self, question: bytes) -> bytes:
        return b""

    def snapshot(self) -> bytes:
        return b""

    def restore(self, snapshot: bytes) -> None: ...


# Each member is this program again: it takes a line and answers one.


async def one_by_one(submit, seconds: float) -> dict[str, float]:
    end, took = time.perf_counter() + seconds, []
    while (begun := time.perf_counter()) < end:
        await submit()
        took.append(time.perf_counter() - begun)
    return quantiles(took)


async def at_once(submit, seconds: float, callers: int) -> dict[str, float]:
    end, done = time.perf_counter() + seconds, 0

    async def call() -> None:
        nonlocal done
        while time.perf_counter() < end:
            await submit()
            done += 1

    begun = time.perf_counter()
    await asyncio.gather(*(call() for _ in range(callers)))
    return {"writes_per_s_pipelined": done / (time.perf_counter() - begun)}


async def ours(name: str, folder: str, told: list[str]) -> None:
    members = dict(one.split("=") for one in told)
    async with Member(Membership(name, members[name], members, SECRET.encode(), Path(folder)), Nothing()) as member:

        async def watch(seconds: float) -> list[float]:
            end, acknowledged = time.monotonic() + seconds, []
            while time.monotonic() < end:
                with suppress(ConsensusFailed):
                    await member.submit(COMMAND, 1.0)
                    acknowledged.append(time.monotonic())
                await asyncio.sleep(0.005)
            return acknowledged

        lines = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        while line := await lines.readline():
            word, seconds = line.split()
            submit = lambda: member.submit(COMMAND, 30.0)  # noqa: E731 - shorter than a function
            match word:
                case b"leader":
                    answer = member.leader
                case b"one_by_one":
                    answer = await one_by_one(submit, float(seconds))
                case b"at_once":
                    answer = await at_once(submit, float(seconds), CALLERS)
                case b"watch":
                    answer = await watch(float(seconds))
            print(json.dumps(answer), flush=True)


class Bare(SyncObj):
    def __init__(self, name: str, folder: str, told: list[str]) -> None:
        addresses = dict(one.split("=") for one in told)
        conf = SyncObjConf(autoTickPeriod=0.002, appendEntriesPeriod=0.002, password=SECRET)
        conf.journalFile, conf.fullDumpFile = f"{folder}-journal", f"{folder}-dump"
        conf.commandsQueueSize = 2 * CALLERS
        super().__init__(addresses[name], [one for other, one in addresses.items() if other != name], conf)

    @replicated
    def put(self, command: bytes) -> bytes:
        return b""


def bare(name: str, folder: str, told: list[str]) -> None:
    member = Bare(name, folder, told)
    for line in sys.stdin:
        word, seconds = line.split()
        end = time.perf_counter() + float(seconds)
        if word == "leader":
            leader = member.getStatus()["leader"]
            answer = next((one.split("=")[0] for one in told if leader and one.endswith(f"={leader.id}")), None)
        elif word == "one_by_one":
            took = []
            while (begun := time.perf_counter()) < end:
                member.put(COMMAND, sync=True, timeout=10)
                took.append(time.perf_counter() - begun)
            answer = quantiles(took)
        else:
            answer = _bare_at_once(member, float(seconds))
        print(json.dumps(answer), flush=True)
    os._exit(0)  # its thread does not end by itself


def _bare_at_once(member: Bare, seconds: float) -> dict[str, float]:
    room, done = threading.Semaphore(CALLERS), [0]

    def answered(_, __) -> None:
        done[0] += 1
        room.release()

    begun = time.perf_counter()
    while time.perf_counter() < begun + seconds:
        room.acquire()
        member.put(COMMAND, callback=answered)
    return {"writes_per_s_pipelined": done[0] / (time.perf_counter() - begun)}


class Site:
    """Three members of one kind as processes."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind, self.folder = kind, folder
        self.addresses = {name: f"127.0.0.1:{free_port()}" for name in NAMES}
        self.processes: dict[str, subprocess.Popen[str]] = {}
        for name in NAMES:
            self.start(name)

    def start(self, name: str) -> None:
        told = [f"{one}={address}" for one, address in self.addresses.items()]
        self.processes[name] = subprocess.Popen(
            [sys.executable, __file__, f"--{self.kind}", name, self.folder / f"{self.kind}-{name}", *told],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip

    def tell(self, name: str, word: str, seconds: float = 0) -> None:
        process = self.processes[name]
        process.stdin.write(f"{word} {seconds}\n")
        process.stdin.flush()

    def hear(self, name: str):
        return json.loads(self.processes[name].stdout.readline())

    def ask(self, name: str, word: str, seconds: float = 0):
        self.tell(name, word, seconds)
        return self.hear(name)

    def leader(self) -> str:
        for _ in range(600):
            said = {self.ask(name, "leader") for name in NAMES}
            if len(said) == 1 and None not in said:
                return said.pop()
            time.sleep(0.1)
        raise TimeoutError("no leader")

    def fail_over(self) -> float:
        """Kill the leader while another member writes; return the seconds to its next commit."""
        leader = self.leader()
        follower = next(name for name in NAMES if name != leader)
        self.tell(follower, "watch", 4)
        time.sleep(1.5)
        self.processes[leader].kill()
        killed = time.monotonic()
        first = min(at for at in self.hear(follower) if at > killed + 0.02)
        self.processes[leader].wait()
        self.start(leader)
        return first - killed

    def measure(self, seconds: float) -> dict[str, float]:
        leader = self.leader()
        return self.ask(leader, "at_once", seconds) | self.ask(leader, "one_by_one", seconds)

    def close(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.communicate()


@contextmanager
def etcd(folder: Path):
    """Three members of etcd; gives the client port of the leader, and the ids of all processes."""
    peers = {name: f"http://127.0.0.1:{free_port()}" for name in NAMES}
    ports = {name: free_port() for name in NAMES}
    told = ",".join(f"{name}={url}" for name, url in peers.items())
    processes = []
    for name in NAMES:
        client = f"http://127.0.0.1:{ports[name]}"
        options = {"name": name, "data-dir": folder / f"etcd-{name}", "initial-cluster": told, "log-level": "error"}
        options |= {"listen-peer-urls": peers[name], "initial-advertise-peer-urls": peers[name]}
        options |= {"listen-client-urls": client, "advertise-client-urls": client}
        arguments = [f"--{key}={value}" for key, value in options.items()]
        processes.append(subprocess.Popen([ETCD, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    try:
        yield asyncio.run(_etcd_leader(ports)), [process.pid for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()


async def _etcd_leader(ports: dict[str, int]) -> int:
    for _ in range(300):
        for port in ports.values():
            with suppress(OSError, KeyError, asyncio.IncompleteReadError):
                client = await Etcd.connect(port)
                status = await client.post("/v3/maintenance/status", b"{}")
                client.writer.close()
                if status.get("leader", "0") == status["header"]["member_id"]:
                    return port
        await asyncio.sleep(0.1)
    raise TimeoutError("etcd has no leader")


class Etcd:
    """One connection to etcd's JSON gateway, as light as it gets."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(cls, port: int) -> "Etcd":
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def post(self, path: str, body: bytes):
        self.writer.write(
            b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (path.encode(), len(body)) + body
        )
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        return json.loads(await self.reader.readexactly(length))

    async def put(self, body: bytes) -> None:
        assert "header" in await self.post("/v3/kv/put", body)


def put_body(key: str) -> bytes:
    """Return what puts a command's bytes under a key."""
    pair = {"key": key.encode(), "value": COMMAND}
    return json.dumps({name: base64.b64encode(one).decode() for name, one in pair.items()}).encode()


async def connections(port: int):
    """Return a call that sends a body by one of CONNECTIONS, once one is free."""
    free = asyncio.Queue()
    for _ in range(CONNECTIONS):
        free.put_nowait(await Etcd.connect(port))

    async def put(body: bytes) -> None:
        client = await free.get()
        await client.put(body)
        free.put_nowait(client)

    return put


async def measure_etcd(port: int, seconds: float) -> dict[str, float]:
    body, client = put_body("key"), await Etcd.connect(port)
    put = await connections(port)
    figures = await at_once(lambda: put(body), seconds, CONNECTIONS)
    return figures | await one_by_one(lambda: client.put(body), seconds)


def weigh_etcd() -> float:
    """Return by how many MiB a member of etcd grows with all keys of `cluster_map`, on average."""

    async def fill(port: int) -> None:
        put = await connections(port)
        await cluster_map.fill(lambda key: put(put_body(key)))

    with tempfile.TemporaryDirectory(dir=CACHE) as folder, etcd(Path(folder)) as (port, processes):
        before = mean(map(cluster_map.resident_mib, processes))
        asyncio.run(fill(port))
        return mean(map(cluster_map.resident_mib, processes)) - before


def measure(seconds: float, rounds: int) -> dict[str, list[dict[str, float]]]:
    found: dict[str, list[dict[str, float]]] = {"ours": [], "etcd": [], "pysyncobj": []}
    share = seconds / rounds / 6
    for number in range(rounds):
        with tempfile.TemporaryDirectory(dir=CACHE) as text:
            folder = Path(text)
            with closing(Site("ours", folder)) as site, etcd(folder) as (port, _):
                for _ in range(TURNS):
                    found["ours"].append(site.measure(share / TURNS))
                    found["etcd"].append(asyncio.run(measure_etcd(port, share / TURNS)))
                found["ours"][-1]["failover_s"] = site.fail_over()
            with closing(Site("bare", folder)) as site:
                found["pysyncobj"].append(site.measure(share))
        print(f"round {number + 1}:", {kind: figures[-1] for kind, figures in found.items()}, file=sys.stderr)
    return found


def medians_of(measured: list[dict[str, float]]) -> dict[str, float]:
    return {key: median(one[key] for one in measured if key in one) for key in measured[-1]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print the JSON line alone")
    parser.add_argument("--setup", action="store_true", help="fetch etcd, and end")
    parser.add_argument("--ours", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--bare", nargs="+", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    if asked.ours:
        asyncio.run(ours(*asked.ours[:2], asked.ours[2:]))
        return
    if asked.bare:
        bare(*asked.bare[:2], asked.bare[2:])
        return
    install()
    if asked.setup:
        return
    found = measure(asked.seconds, asked.rounds)
    peers = {kind: medians_of(measured) for kind, measured in found.items()}
    figures = peers.pop("ours")
    ratios = {
        f"{key}_vs_{peer}": round(figures[key] / peers[peer][key], 3)
        for peer in peers
        for key in ("commit_ms_p50", "commit_ms_p99", "writes_per_s_pipelined")
    }
    figures |= cluster_map.weigh()
    peers["etcd"]["map_mib_100k_keys"] = weigh_etcd()
    ratios["map_mib_vs_etcd"] = round(figures["map_mib_100k_keys"] / peers["etcd"]["map_mib_100k_keys"], 3)
    for strategy in ("balanced", "consistent_hash"):
        figures |= asyncio.run(cluster_map.count_moves(strategy))
    rounded = {key: round(value, 3) for key, value in figures.items()}
    peers = {peer: {key: round(value, 3) for key, value in one.items()} for peer, one in peers.items()}
    machine = f"{platform.machine()} {os.cpu_count()} cores Python {platform.python_version()}"
    print(json.dumps({"name": "cluster", "figures": rounded, "peers": peers, "ratios": ratios, "machine": machine}))


if __name__ == "__main__":
    main()
