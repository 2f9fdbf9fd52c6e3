"""A whole cloud on a server of time series: what is acknowledged is there once, whoever is killed. (S1, S4, T5)"""

import asyncio
import os
import time

import pytest

from cloud.test_ingest import Fleet, packed, reading, send
from fixtures.series_servers import VictoriaServer
from security.ground import until

NOW = time.time_ns() // 1_000_000


def recent(seq, **fields):
    return {**reading(seq, **fields), "ts": NOW - 60_000 + seq * 1000}


@pytest.fixture
def victoria(tmp_path):
    server = VictoriaServer(tmp_path / "victoria").start()
    yield server
    server.stop()


@pytest.fixture
def fleet(tmp_path, victoria):
    fleet = Fleet(tmp_path, "--series", "victoriametrics", "--series-url", victoria.url)
    yield fleet
    fleet.cloud.process.stop()
    fleet.broker.stop()


@pytest.mark.chaos
async def test_what_is_acknowledged_is_there_once_over_kill_9_of_the_server_and_of_the_cloud(fleet, victoria):
    stream = os.urandom(16)
    tagged = {**recent(1, temperature=1.0), "tags": {"temperature": {"unit": "°C"}}}

    def asked(path):
        with fleet.cloud.client() as client:
            return client.get(path)

    def figures():
        return asked("/metrics").text

    async with fleet.gateway() as gateway:
        await send(gateway, packed(stream, 1, tagged, recent(2)))
        await until(lambda: 'fieldloom_cloud_series_points_total{outcome="sent"} 2.0' in figures())
        victoria.kill()
        await send(gateway, packed(stream, 3, recent(3)))
        await until(lambda: asked("/readyz").status_code == 503)
        fleet.cloud.process.kill()
        victoria.start()
        fleet.cloud.start()
        assert await send(gateway, packed(stream, 2, recent(2), recent(3), recent(4))) == (stream, 4)

    def stored():
        victoria.show()
        wanted = {"device": "dev-1", "start": "2026-01-01T00:00:00Z", "limit": 100}
        return {tuple(one["tags"].items()): [value for _, value in one["points"]]
                for one in fleet.get("/telemetry", **wanted)["series"]}  # fmt: skip

    await until(lambda: stored() == {(("unit", "°C"),): [1.0], (): [2.0, 3.0, 4.0]})
    told = await asyncio.to_thread(figures)
    assert 'fieldloom_cloud_series_seconds_count{backend="victoriametrics",operation="write"}' in told
    assert "fieldloom_cloud_series_waiting_bytes" in told
