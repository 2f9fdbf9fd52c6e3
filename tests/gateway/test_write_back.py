"""SQLite's log is written back between groups, and not within the commit of one that waits to be answered. (T4, T5)"""

import asyncio
import shutil
import sqlite3
import threading

import pytest

from fieldloom_gateway.ingest import store
from fieldloom_gateway.ingest.database import FILE
from gateway.bench import NOW, Bench, until

AFTER = 3


@pytest.fixture
def bench(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "WRITE_BACK_AFTER", AFTER)
    return Bench(tmp_path)


def written_back(folder):
    """How many segments of the outbox the database's file has without its log."""
    alone = shutil.copy(folder / FILE, folder / "alone.db")
    db = sqlite3.connect(alone)
    try:
        return db.execute("SELECT count(*) FROM outbox").fetchone()[0]
    except sqlite3.OperationalError:  # not even the tables
        return 0
    finally:
        db.close()


def reading(seq):
    return b'{"boot":7,"seq":%d,"ts":%d,"values":{"t":1}}' % (seq, NOW)


async def test_so_many_groups_are_written_back_when_the_last_of_them_is_committed(bench, tmp_path):
    async with bench.running():
        for seq in range(1, AFTER):
            await bench.broker.say(reading(seq))
        before = written_back(tmp_path)
        await bench.broker.say(reading(AFTER))
        await until(lambda: written_back(tmp_path) >= AFTER)
        has_more = bench.store.has_to_write_back

    assert before == 0
    assert not has_more


async def test_a_group_is_answered_while_the_log_is_yet_to_be_written_back(bench, tmp_path):
    """What is written back then is not even begun when the group is committed: its commit has not done it."""
    async with bench.running():
        for seq in range(1, AFTER):
            await bench.broker.say(reading(seq))
        answered = []
        bench.store.write_back = lambda: answered.append(written_back(tmp_path))
        outcome = await bench.broker.say(reading(AFTER))
        await until(lambda: answered)

    assert outcome.faults == ()
    assert answered == [0]


async def test_a_group_that_waits_goes_before_the_log_is_written_back(bench):
    done, begun, go = [], threading.Event(), threading.Event()
    take = bench.store.take

    def noted(group, now):
        done.append("taken")
        if len(done) == AFTER:
            begun.set()
            go.wait(5)
        return take(group, now)

    async with bench.running():
        bench.store.take, bench.store.write_back = noted, lambda: done.append("written back")
        for seq in range(1, AFTER):
            await bench.broker.say(reading(seq))
        last = asyncio.create_task(bench.broker.say(reading(AFTER)))
        await until(begun.is_set)
        waiting = asyncio.create_task(bench.broker.say(reading(AFTER + 1)))
        await asyncio.sleep(0.05)  # it is in the inbox
        go.set()
        await asyncio.gather(last, waiting)
        await until(lambda: "written back" in done)

    assert done[: AFTER + 2] == [*["taken"] * (AFTER + 1), "written back"]


async def test_what_keeps_the_log_from_being_written_back_keeps_nothing_else(bench, tmp_path):
    async with bench.running():
        reader = sqlite3.connect(tmp_path / FILE)
        reader.execute("BEGIN").execute("SELECT count(*) FROM outbox").fetchone()  # the log has to stay for it
        for seq in range(1, 3 * AFTER):
            await bench.broker.say(reading(seq))
        reader.close()

        assert len(bench.records()) == 3 * AFTER - 1
