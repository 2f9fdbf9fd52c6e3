"""Instances go on over kill -9 of whoever works on them, and no two workers have one at once. (W6, W8)

Workers are forked from this process, where all is imported: no test of this file starts a thread before.
"""

import asyncio
import multiprocessing
import time
from collections import Counter

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from cloud.conftest import in_database, made
from fieldloom_cloud.database import Database
from fieldloom_cloud.ingest.models import Event
from fieldloom_cloud.workflows import service, starts, stepping
from fieldloom_cloud.workflows.kinds import CLOUD_KINDS
from fieldloom_cloud.workflows.models import HistoryRow, InstanceRow
from fieldloom_cloud.workflows.starts import Wish
from fieldloom_cloud.workflows.worker import WorkflowWorker, clock
from fieldloom_engine.workflows import Answered, parse
from fieldloom_engine.workflows.model import OnApi, Trigger
from fieldloom_engine.workflows.triggers import Start

ALARM = {"raise_alarm": {"alarm": "{{ instance.id }}", "device_id": "pump-1"}}
FLOW = parse(
    {
        "id": "flow",
        "initial_state": "before",
        "states": {
            "before": {"type": "task", "actions": [ALARM], "transitions": [{"target": "rest"}]},
            "rest": {"type": "wait", "for": "400ms", "transitions": [{"target": "after"}]},
            "after": {"type": "task", "actions": [ALARM]},
        },
    },
    CLOUD_KINDS,
)
RECORDS = 5  # started, three states, ended


def work(where):
    asyncio.run(WorkflowWorker(Database(where), {}).run())


def begin(where, count):
    """Let so many instances wait for a worker."""

    async def start():
        database = Database(where)
        async with database.transaction() as session:
            await service.deploy(session, FLOW, None)
            wishes = [Wish(Start(f"i-{each}", FLOW, Trigger(on=OnApi()), {}, None)) for each in range(count)]
            await starts.begin(session, wishes, clock())
        await database.close()

    asyncio.run(start())


def steps(where):
    """Return how often instances have gone on."""
    with in_database(where) as sql:
        return sql.scalar(select(func.sum(InstanceRow.revision)))


def kill_workers_until_all_is_over(where, count, at_once):
    for wanted in (0.25, 0.8, 1.3, 2.0):
        workers = [multiprocessing.get_context("fork").Process(target=work, args=(where,)) for _ in range(at_once)]
        for one in workers:
            one.start()
        deadline = time.monotonic() + 60
        while steps(where) < wanted * count and time.monotonic() < deadline:
            time.sleep(0.01)
        for one in workers:
            one.kill()
            one.join(20)

    with in_database(where) as sql:
        statuses = Counter(sql.scalars(select(InstanceRow.status)))
        records = sql.scalar(select(func.count()).select_from(HistoryRow))
        raised = Counter(data["alarm"] for data in sql.scalars(select(Event.data).where(Event.type == "alarm.raised")))
    assert statuses == {"succeeded": count}
    assert records == RECORDS * count
    assert raised == {f"i-{each}": 2 for each in range(count)}


@pytest.mark.parametrize("count", [60, pytest.param(1000, marks=pytest.mark.chaos)])
def test_all_instances_finish_and_ask_once_though_all_workers_are_killed(tmp_path, new_database, monkeypatch, count):
    monkeypatch.setattr(stepping, "AT_ONCE", count // 10)
    where = made(new_database, tmp_path)
    begin(where, count)

    kill_workers_until_all_is_over(where, count, at_once=2 if isinstance(where, str) else 1)


@pytest.mark.parametrize("new_database", ["postgresql"], indirect=True)
async def test_what_a_worker_holds_no_other_takes_and_who_stands_still_is_cut_off(tmp_path, new_database, monkeypatch):
    monkeypatch.setattr(stepping, "HOLD_MS", 1000)
    where = made(new_database, tmp_path)
    database, other_database = Database(where), Database(where)
    async with database.transaction() as session:
        await service.deploy(session, FLOW, None)
        wish = Wish(Start("i-1", FLOW, Trigger(on=OnApi()), {}, None))
        await starts.begin(session, [wish], clock())
    holds, goes_on = asyncio.Event(), asyncio.Event()

    async def stand_still(_session, wanted, _now):
        holds.set()
        await goes_on.wait()
        return Answered(wanted.id, True)

    still = WorkflowWorker(database, {}, perform=stand_still)
    other = WorkflowWorker(other_database, {})
    standing = asyncio.create_task(still.step(), name="still")
    await asyncio.wait_for(holds.wait(), 20)

    assert (await other.step())["instances"] == 0
    async with asyncio.timeout(30):
        while not (await other.step())["instances"]:
            pass
    goes_on.set()
    with pytest.raises(SQLAlchemyError):
        await standing

    async with other_database.transaction() as session:
        row = await session.get(InstanceRow, "i-1")
        assert (row.status, row.revision) == ("waiting", 1)
    await database.close()
    await other_database.close()
