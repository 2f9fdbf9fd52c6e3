"""Points on their way to a server: acknowledged when SQL has them, brought until they are durable there. (S1, T5)"""

import asyncio
import contextlib
import sqlite3
import time

import httpx2
import pytest

from cloud.conftest import new_file
from cloud.test_ingest import GATEWAY, packed, reading
from fieldloom_cloud.automation.runtime import Runtime
from fieldloom_cloud.database import Database
from fieldloom_cloud.ingest import service
from fieldloom_cloud.ingest.service import Records
from fieldloom_cloud.ingest.worker import Broker, Worker
from fieldloom_cloud.pages import Asked
from fieldloom_cloud.registry import service as registry
from fieldloom_cloud.timeseries import relay as relaying
from fieldloom_cloud.timeseries import service as series
from fieldloom_cloud.timeseries import victoriametrics
from fieldloom_cloud.timeseries.influxdb import InfluxDb
from fieldloom_cloud.timeseries.influxdb2 import InfluxDb2
from fieldloom_cloud.timeseries.opening import open_series
from fieldloom_cloud.timeseries.ports import Point, Query, Receipt, Refused, Standing, Tier, Unreachable
from fieldloom_cloud.timeseries.relay import Relay
from fieldloom_cloud.workers.leases import AllSlots
from fieldloom_contract import topics
from fieldloom_runtime.errors import StartFailed
from fieldloom_runtime.tls import client_context
from fixtures.certificates import TestAuthority
from fixtures.series_servers import InfluxServer, VictoriaServer
from security.ground import until

NOW = time.time_ns() // 1_000_000
STREAM = b"s" * 16


class Cloud:
    """The ingest of a cloud with a server of time series: real SQL, real relay, and what it acknowledges."""

    def __init__(self, folder, server):
        self.path = folder / "cloud.db"
        self.server = server
        self.database = Database(self.path)
        self.relay = Relay(self.database, server, service.refuse)
        slots = AllSlots()
        runtime = Runtime(self.database, slots)
        broker = Broker("127.0.0.1", 1, "svc.cloud", None)
        self.worker = Worker(broker, self.database, self.relay, None, runtime, slots)
        self.records = Records(self.database, None, slots, runtime, lambda: None, self.relay)
        self.acknowledged = []
        self.worker._acknowledge = self._hear

    async def _hear(self, group, positions):
        self.acknowledged += positions

    async def prepare(self):
        async with self.database.transaction() as session:
            await registry.add_site(session, "s", "s")
            await registry.add_gateway(session, GATEWAY, "s")
            await registry.add_device(session, {"id": "dev-1"})

    @contextlib.asynccontextmanager
    async def running(self):
        tasks = [asyncio.create_task(self.worker._write(self.records)), asyncio.create_task(self.relay.run())]
        try:
            yield self
        finally:
            stumbled = [task.exception() for task in tasks if task.done()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert stumbled == []

    async def send(self, first, count):
        """Send readings as a gateway would, and wait for their acknowledgement."""
        records = [{**reading(first + n, t=float(first + n)), "ts": NOW - 60_000 + first + n} for n in range(count)]
        await self.worker._hear(topics.up(GATEWAY), packed(STREAM, first, *records, first=1))
        await until(lambda: first + count - 1 in self.acknowledged)

    def waiting(self):
        with contextlib.closing(sqlite3.connect(self.path, timeout=20)) as sql:
            return sql.execute("SELECT count(*), coalesce(sum(points), 0) FROM series_pending").fetchone()

    def stored(self):
        found = self.server.query(Query(["dev-1"], ["t"], NOW - 3_600_000, NOW + 3_600_000, limit=100_000))
        return [value for one in found for _, value in one.points]


@pytest.fixture
def victoria(tmp_path, monkeypatch):
    monkeypatch.setattr(relaying, "RETRY_S", (0.1, 0.5))
    monkeypatch.setattr(relaying, "LOOK_S", 0.2)
    server = VictoriaServer(tmp_path / "victoria").start()
    yield server
    server.stop()


@pytest.fixture
async def cloud(tmp_path, victoria):
    new_file(tmp_path / "cloud.db")
    cloud = Cloud(tmp_path, open_series(tmp_path, victoria.settings()))
    await cloud.prepare()
    yield cloud
    cloud.server.close()
    await cloud.database.close()


async def test_what_a_killed_server_had_not_flushed_is_brought_again(cloud, victoria, tmp_path, monkeypatch):
    async with cloud.running():
        await cloud.send(1, 300)
        await until(lambda: cloud.relay.counts["points"] == 300)
        victoria.kill()  # it has answered, and has flushed nothing
        await cloud.send(301, 200)
        await until(lambda: cloud.relay.trouble is not None)
        victoria.start()

        def stored():
            victoria.show()
            return cloud.stored()

        await until(lambda: stored() == [float(n) for n in range(1, 501)], 60.0)
        assert cloud.waiting()[1] >= 200, "what was sent last is not known to be durable yet"
        monkeypatch.setattr(victoriametrics, "FLUSH_S", 1.0)
        await until(lambda: cloud.waiting() == (0, 0))
        assert cloud.relay.trouble is None


async def test_a_cloud_that_is_started_again_brings_what_waited(cloud, victoria, tmp_path):
    async with cloud.running():
        await cloud.send(1, 10)
        await until(lambda: cloud.relay.counts["points"] == 10)
    again = Cloud(tmp_path, cloud.server)
    async with again.running():
        await again.send(1, 10)  # and its gateway has not heard the acknowledgement
        await until(lambda: again.relay.counts["points"] == 10)

    victoria.show()
    assert await asyncio.to_thread(cloud.stored) == [float(n) for n in range(1, 11)]
    assert cloud.waiting()[1] == 10
    await again.database.close()


async def test_when_too_much_waits_batches_stay_at_their_gateways(cloud, monkeypatch):
    monkeypatch.setattr(relaying, "MOST_WAITING_BYTES", 1)
    async with cloud.running():
        await cloud.send(1, 2)
        await until(lambda: cloud.relay.is_full)
        await cloud.worker._hear(topics.up(GATEWAY), packed(STREAM, 3, reading(3), first=1))
        await until(lambda: cloud.worker.counts["held_back"])

    assert cloud.acknowledged == [2]


class Choosy:
    """A server that takes no value of 3."""

    def __init__(self):
        self.lines = []

    def send(self, text, tier):
        if b"value=3.0 " in text:
            raise Refused("three is none of ours")
        self.lines += text.split(b"\n")
        return Receipt("", 0, expired=1)

    def standing(self, receipt):
        return Standing.DURABLE


async def test_a_line_that_is_refused_becomes_a_dead_letter_and_holds_up_no_other(tmp_path):
    new_file(tmp_path / "cloud.db")
    cloud = Cloud(tmp_path, Choosy())
    await cloud.prepare()
    async with cloud.running():
        await cloud.send(1, 5)
        await until(lambda: cloud.waiting() == (0, 0))

    assert sorted(line.split(b" ")[1] for line in cloud.server.lines if b"value" in line) == [
        b"value=1.0", b"value=2.0", b"value=4.0", b"value=5.0",
    ]  # fmt: skip
    async with cloud.database.transaction() as session:
        (letter,), _ = await service.dead_letters(session, None, Asked(limit=9))
    assert letter["reason"] == "the store of time series refuses it: three is none of ours"
    assert cloud.relay.counts["refused"] == 1
    await cloud.database.close()


async def test_what_is_durable_is_forgotten_while_more_is_sent(tmp_path, monkeypatch):
    monkeypatch.setattr(relaying, "LOOK_S", 0.0)
    monkeypatch.setattr(relaying, "SEND_BYTES", 1)  # a request a row
    new_file(tmp_path / "cloud.db")
    cloud = Cloud(tmp_path, Choosy())
    waiting = []
    monkeypatch.setattr(cloud.server, "send", lambda *_: waiting.append(cloud.waiting()[0]) or Receipt("", 0))
    async with cloud.database.transaction() as session:
        for number in range(5):
            await series.leave(session, b"line %d" % number, 1)
    task = asyncio.create_task(cloud.relay.run())
    await until(lambda: cloud.waiting() == (0, 0))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert waiting == [5, 4, 3, 2, 1]
    await cloud.database.close()


def test_influxdb_keeps_what_it_has_answered_over_kill_9_and_lets_nobody_else_in(tmp_path):
    ours = TestAuthority(tmp_path / "pki")
    server = InfluxServer(tmp_path / "influx", ours).start()
    secret = tmp_path / "password"
    secret.touch(0o600)
    secret.write_text("word\n")
    make = {"q": "CREATE USER me WITH PASSWORD 'word' WITH ALL PRIVILEGES"}
    tls = client_context(ours.ca, is_ours=False)
    httpx2.post(f"{server.url}/query", data=make, timeout=20, verify=tls).raise_for_status()
    points = [Point("dev-1", "t", NOW + n, n) for n in range(500)]

    with contextlib.closing(
        open_series(tmp_path, server.settings(user="me", token_file=secret, ca=ours.ca))
    ) as backend:
        receipt = backend.write(points, Tier.RAW)
        assert backend.standing(receipt) is Standing.DURABLE
        server.kill()
        with pytest.raises(Unreachable):
            backend.write(points, Tier.RAW)
        server.start()
        backend._database = "gone"  # as after DROP DATABASE: no fault of the points
        with pytest.raises(Unreachable, match="404"):
            backend.write(points, Tier.RAW)
        backend._database = "fieldloom"
        (series,) = backend.query(Query([], [], NOW, NOW + 1000))
    assert series.points == [(one.ts, one.value) for one in points]
    with contextlib.closing(InfluxDb(server.settings(ca=ours.ca))) as stranger, pytest.raises(Unreachable, match="401"):
        stranger.query(Query([], [], NOW, NOW + 1000))
    with pytest.raises(StartFailed, match="CERTIFICATE_VERIFY_FAILED"):
        open_series(tmp_path, server.settings())
    server.stop()


def test_influxdbs_own_client_writes_what_the_line_protocol_says(victoria, tmp_path):
    settings = {"backend": "influxdb2", "organisation": "ours"}
    with contextlib.closing(InfluxDb2(victoria.settings().model_copy(update=settings))) as writer:
        writer.write([Point("dev-1", "t", NOW + n, n, (("area", "a b"),)) for n in range(5)], Tier.RAW)
        victoria.show()
        with contextlib.closing(open_series(tmp_path, victoria.settings())) as reader:
            (series,) = reader.query(Query([], [], NOW, NOW + 1000))
        victoria.stop()
        with pytest.raises(Unreachable):
            writer.write([Point("d", "t", NOW, 1)], Tier.RAW)

    assert (series.tags, len(series.points)) == ((("area", "a b"),), 5)
