"""Opens what a power cut left of a cloud by the real code, and holds it against what the cloud had acknowledged."""

import asyncio
import contextlib
import sqlite3
from pathlib import Path

import duckdb

from fieldloom_cloud import census
from fieldloom_cloud.ingest import worker
from fieldloom_cloud.settings import DATABASE
from fieldloom_cloud.timeseries.ports import Query
from fieldloom_cloud.timeseries.store import TimeSeries
from fieldloom_runtime.errors import StartFailed
from powercut import script
from powercut.cloud_run import Gateway, batch_of, feed
from powercut.disk import State

LIFE = (script.DEVICE, script.BOOT)


def acknowledged(state: State) -> int:
    return max((int(mark.words[1]) for mark in state.said), default=0)


def violations(folder: Path, state: State) -> list[str]:
    """Return what is wrong with a cloud that starts on this folder; nothing, if it kept its word."""
    real, worker.MqttLink = worker.MqttLink, Gateway
    try:
        return list(_check(folder, acknowledged(state)))
    except (StartFailed, duckdb.Error, sqlite3.Error) as error:
        return [f"does not open: {error}"]
    except TimeoutError:
        return ["does not acknowledge what is sent again"]
    finally:
        worker.MqttLink = real


def _check(folder: Path, heard: int):
    resends = [batch_of(first, script.LAST) for first in (heard + 1, 1) if first <= script.LAST]
    found: set[int] = set()
    asyncio.run(feed(folder, resends, lambda series: found.update(_stored(folder, series))))
    if lost := set(range(1, heard + 1)) - found:
        yield f"acknowledged and lost: {sorted(lost)}"
    if Gateway.heard != script.LAST:
        yield f"acknowledges {Gateway.heard} after all was sent again"

    with contextlib.closing(sqlite3.connect(folder / DATABASE)) as sql:
        intact = sql.execute("PRAGMA integrity_check").fetchall()
    if intact != [("ok",)]:
        yield f"not intact: {intact}"
    after = census.take(folder)
    if after.duplicated:
        yield f"stored twice: {after.duplicated} rows"
    if missing := after.lost(LIFE, script.LAST):
        yield f"sent again and not stored: {missing}"


def _stored(folder: Path, series: TimeSeries) -> set[int]:
    """Return the seqs that both stores hold when the cloud has just been opened; here a point's value is its seq."""
    asked = Query([script.DEVICE], [], 0, 2**60)
    points = {int(value) for one in series.query(asked) for _, value in one.points}
    with contextlib.closing(sqlite3.connect(folder / DATABASE)) as sql:
        return points | {seq for (seq,) in sql.execute("SELECT seq FROM event")}
