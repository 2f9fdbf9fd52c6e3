"""Several processes of one cloud with their servers, gateways that send all the time, and what has to be true after."""

import asyncio
import contextlib
import itertools
import json
import ssl
import threading
import time
from collections import Counter

import httpx2
from sqlalchemy import create_engine, text

from cloud.conftest import url
from cloud.test_ingest import Fleet
from cloud.workers.streams import Stream, running
from fieldloom_cli.identity import new_key_and_request, write
from fieldloom_contract import topics
from fieldloom_runtime.tls import client_context
from fixtures.processes import FIELDLOOM, Process, free_port, wait_until_ready

GATEWAYS = ("gw.w0", "gw.w1", "gw.w3")
HOT = {"property_range": {"property": "temperature", "min": 80}}
RULES = (
    {"id": "tenth", "placement": "cloud", "when": {"event_type": "tenth"}, "do": [{"log": {"message": "tenth"}}]},
    {"id": "hot", "placement": "cloud", "fire": "on_change", "when": HOT, "do": [{"raise_alarm": {"alarm": "hot"}}]},
)
READING, TICKING = ([f"{kind}-{name[3:]}" for name in GATEWAYS] for kind in ("dev", "tick"))
"""The devices of the gateways that send readings, and those that send events."""
LOOK_EVERY_S = 0.3
ROAMING = "roams"
"""A device that is heard over two gateways, each of which tells the same of it."""


class Scene(Fleet):
    """A data folder, a broker, and as many processes as are started; each gateway takes records every so often."""

    def __init__(self, folder, victoria, database, every_s):
        super().__init__(folder, "--series", "victoriametrics", "--series-url", victoria.url, database=database)
        self.victoria, self.every_s = victoria, every_s
        self.engine = create_engine(url(database))
        self.processes, self.ports = {1: self.cloud.process}, {1: self.cloud.port}
        self.streams = [Stream(self, name) for name in GATEWAYS]
        self.numbers = itertools.count(1)
        self.seq = 0
        self.has_ended = False
        self.sent, self.rises = [], 0
        with self.cloud.client(self.cloud.token) as api:
            for device in (*READING, *TICKING, ROAMING):
                api.post("/api/v1/devices", json={"id": device, "site": "default"}).raise_for_status()
            for name in GATEWAYS:
                self._enrol(api, folder, name)

    def _enrol(self, api, folder, name):
        api.post("/api/v1/gateways", json={"id": name, "site": "default"}).raise_for_status()
        key, csr = new_key_and_request(name)
        issued = api.post("/api/v1/certificates", json={"csr": csr.decode()}).json()
        files = write(folder / name, key, issued["certificate"], issued["ca"])
        self.tls[name] = client_context(files["ca"], files["cert"], files["key"], ssl.TLSVersion.TLSv1_3)

    def start(self, number):
        """Start a process, or start it again, and return it."""
        if number not in self.processes:
            port = free_port()
            own = ("--worker", number, "--port", port, "--est-port", 0)
            command = [FIELDLOOM, "cloud", "serve", "--data", self.cloud.data, *own]
            self.processes[number] = Process(command, self.cloud.folder / f"cloud-{number}.log")
            self.ports[number] = port
        process = self.processes[number]
        if process.popen is None or process.popen.poll() is not None:
            process.start()
            wait_until_ready(self.ports[number])
        return process

    def stop(self):
        self.engine.dispose()
        for process in self.processes.values():
            process.stop()
        self.broker.stop()

    def api(self, number):
        headers = {"Authorization": f"Bearer {self.cloud.token}"}
        return httpx2.Client(base_url=f"http://127.0.0.1:{self.ports[number]}/api/v1", headers=headers, timeout=20)

    def deploy(self):
        """Deploy the rules, by a process that need not be the one that judges."""
        with self.api(max(self.processes)) as api:
            for rule in RULES:
                api.put(f"/rules/{rule['id']}", json={"document": rule}).raise_for_status()

    def command(self, number):
        """Send a command to a device of the site, which all of its gateways are told."""
        with self.api(number) as api:
            told = api.post(f"/devices/{ROAMING}/commands", json={"type": "read"})
            self.sent.append(told.raise_for_status().json()["id"])

    def read(self, query):
        with self.engine.connect() as connection:
            return connection.execute(text(query)).all()

    async def until(self, holds, seconds):
        """Wait until something holds that only asking shows."""
        async with asyncio.timeout(seconds):
            while True:
                if await asyncio.to_thread(holds):
                    return
                await asyncio.sleep(LOOK_EVERY_S)

    def stored(self):
        """Return how many events of devices are stored."""
        return self.read("SELECT count(*) FROM event WHERE seq IS NOT NULL")[0][0]

    def shares(self):
        """Return by worker that lives how many slots it has."""
        return dict(
            self.read(
                "SELECT w.number, count(*) FROM worker w JOIN slot s ON s.owner = w.id "
                "WHERE w.expires > extract(epoch FROM clock_timestamp()) * 1000 GROUP BY 1"
            )
        )

    @contextlib.contextmanager
    def watching(self, number):
        """Give the devices that a process's live stream tells of."""
        seen, ends = set(), threading.Event()

        def watch():
            with self.api(number) as api, api.stream("GET", "/stream") as answer:
                for line in answer.iter_lines():
                    if line.startswith("data:"):
                        seen.add(json.loads(line[5:]).get("device") or "")
                    if ends.is_set():
                        return

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        yield seen
        ends.set()

    def slot_of(self, device):
        """Return the slot of the gateway of a device."""
        return topics.slot(f"gw.{device.partition('-')[2]}")

    @contextlib.asynccontextmanager
    async def running(self):
        """Have gateways take records and send them."""
        async with running(self.streams):
            taking = asyncio.create_task(self._take())
            try:
                yield
            finally:
                taking.cancel()
                await asyncio.gather(taking, return_exceptions=True)

    def end(self):
        """Take no more records."""
        self.has_ended = True

    async def _take(self):
        while not self.has_ended:
            self.seq += 1
            now = time.time_ns() // 1_000_000
            is_hot = self.seq % 8 in (5, 6)
            self.rises += self.seq % 8 == 5
            numbered = {"boot": 1, "seq": self.seq, "ts": now, "at": now}
            values = {"temperature": 90.0 if is_hot else 20.0, "n": float(self.seq)}
            for stream, reading, ticking in zip(self.streams, READING, TICKING, strict=True):
                stream.add(kind="telemetry", device=reading, values=values, **numbered)
                kind = "tick" if self.seq % 10 else "tenth"
                stream.add(kind="event", device=ticking, type=kind, data={"n": self.seq}, **numbered)
            for stream in self.streams[:2]:
                stream.add(kind="event", device=ROAMING, type="roams", data={}, **numbered)
            await asyncio.sleep(self.every_s)

    def is_through(self):
        """Whether all is acknowledged, judged and brought to the series, and all commands are at the gateways."""
        waiting = self.read(
            "SELECT (SELECT count(*) FROM rule_inbox) + (SELECT count(*) FROM down_record WHERE gateway LIKE 'gw.w%') "
            "+ (SELECT count(*) FROM rule_effect WHERE status = 'waiting')"
        )[0][0]
        if waiting or any(stream.items for stream in self.streams):
            return False
        return self._readings() == {device: [float(n) for n in range(1, self.seq + 1)] for device in READING}

    def check(self):
        """Hold what is stored against what was sent."""
        rows = self.read("SELECT device, gateway, seq FROM event WHERE seq IS NOT NULL ORDER BY id")
        counted = Counter((row.device, row.seq) for row in rows)
        assert set(counted.values()) == {1}, [one for one, count in counted.items() if count > 1]
        for stream, device in zip(self.streams, TICKING, strict=True):
            found = [row.seq for row in rows if row.device == device]
            assert found == list(range(1, self.seq + 1)), f"{device}: out of order, or some are missing"
            assert stream.commands == self.sent, f"{stream.name}: commands came otherwise than they were sent"
        assert {row.seq for row in rows if row.device == ROAMING} == set(range(1, self.seq + 1))
        self._check_firings()

    def _readings(self):
        self.victoria.show()
        readings = {}
        with self.api(max(self.processes)) as api:
            for device in READING:
                asked = {"device": device, "metric": "n", "limit": 10_000}
                for series in api.get("/telemetry", params=asked).json()["series"]:
                    readings[device] = [value for _, value in series["points"]]
        return readings

    def _check_firings(self):
        rows = self.read("SELECT device, data FROM event WHERE type = 'rule.fired'")
        fired = Counter((row.device, row.data["rule"], row.data["event"]["id"]) for row in rows)
        assert set(fired.values()) <= {1}
        by_rule = Counter((device, rule) for device, rule, _ in fired)
        expected = {(device, "tenth"): self.seq // 10 for device in TICKING}
        expected |= {(device, "hot"): self.rises for device in READING}
        assert dict(by_rule) == expected
        alarms = self.read("SELECT count FROM alarm")
        assert [row[0] for row in alarms] == [self.rises] * len(GATEWAYS)
