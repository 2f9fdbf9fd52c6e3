"""An event of the registry is passed on once, however often who does that is killed. (R2)

Its process is forked from this one, where all is imported: no test of this file starts a thread before.
"""

import asyncio
import multiprocessing
import time

from sqlalchemy import func, insert, select

from cloud.conftest import in_database, made
from fieldloom_cloud.database import Database
from fieldloom_cloud.ingest.models import Event
from fieldloom_cloud.ingest.registry_events import Publisher
from fieldloom_cloud.outbox import service as outbox
from fieldloom_cloud.outbox.models import Outgoing

COUNT = 300


def pass_on(where):
    outbox.AT_ONCE = 1
    asyncio.run(Publisher(Database(where)).run())


def left(where):
    with in_database(where) as sql:
        return sql.scalar(select(func.count()).select_from(Outgoing))


def test_each_event_is_there_once_however_often_who_passes_it_on_is_killed(tmp_path, new_database):
    where = made(new_database, tmp_path)
    rows = [{"type": "device.updated", "device": "dev-1", "ts": 1, "data": {"number": each}} for each in range(COUNT)]
    with in_database(where) as sql:
        sql.execute(insert(Outgoing), rows)

    for wanted in (240, 180, 120, 60, 0):
        passing = multiprocessing.get_context("fork").Process(target=pass_on, args=(where,))
        passing.start()
        deadline = time.monotonic() + 60
        while left(where) > wanted and time.monotonic() < deadline:
            time.sleep(0.001)
        passing.kill()
        passing.join()

    with in_database(where) as sql:
        numbers = [data["number"] for data in sql.scalars(select(Event.data).order_by(Event.id))]
    assert numbers == list(range(COUNT))
