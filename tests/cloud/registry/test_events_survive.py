"""An event of the registry is passed on once, however often who does that is killed. (R2)

Its process is forked from this one, where all is imported: no test of this file starts a thread before.
"""

import asyncio
import multiprocessing
import sqlite3
import time
from contextlib import closing

from fieldloom_cloud.database import Database, migrate
from fieldloom_cloud.ingest.registry_events import Publisher
from fieldloom_cloud.outbox import service as outbox

COUNT = 300


def pass_on(path):
    outbox.AT_ONCE = 1
    asyncio.run(Publisher(Database(path)).run())


def test_each_event_is_there_once_however_often_who_passes_it_on_is_killed(tmp_path):
    path = tmp_path / "cloud.db"
    migrate(path)

    with closing(sqlite3.connect(path, timeout=20)) as sql:
        rows = [("device.updated", "dev-1", 1, f'{{"number": {number}}}') for number in range(COUNT)]
        with sql:
            sql.executemany("INSERT INTO outbox (type, device, ts, data) VALUES (?, ?, ?, ?)", rows)
        for left in (240, 180, 120, 60, 0):
            passing = multiprocessing.get_context("fork").Process(target=pass_on, args=(path,))
            passing.start()
            deadline = time.monotonic() + 60
            while sql.execute("SELECT count(*) FROM outbox").fetchone()[0] > left and time.monotonic() < deadline:
                time.sleep(0.001)
            passing.kill()
            passing.join()
        numbers = [row[0] for row in sql.execute("SELECT data ->> 'number' FROM event ORDER BY id")]

    assert numbers == list(range(COUNT))
