"""Leases of slots in a real PostgreSQL: a worker that was paused stores nothing under an old one. (A7, T5)"""

import asyncio
import contextlib
import itertools

import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from cloud.conftest import TEMPLATE
from fieldloom_cloud import database as databases
from fieldloom_cloud.automation.inbox import Inbox
from fieldloom_cloud.database import Database
from fieldloom_cloud.guard import Incoming
from fieldloom_cloud.ingest.service import Records
from fieldloom_cloud.registry import service as registry
from fieldloom_cloud.workers import leases, service
from fieldloom_cloud.workers.leases import Leases
from fieldloom_cloud.workers.service import Candidate, NotHeld
from fieldloom_contract.topics import SLOTS
from fieldloom_runtime.errors import StartFailed
from fieldloom_runtime.records import Event
from security.ground import until

numbers = itertools.count(1)


@pytest.fixture
async def database(postgresql, monkeypatch):
    """A database of two processes, whose leases are short."""
    monkeypatch.setattr(service, "LEASE_MS", 1500)
    monkeypatch.setattr(leases, "LEASE_MS", 1500)
    monkeypatch.setattr(service, "PAUSE_MS", 700)
    monkeypatch.setattr(leases, "RENEW_EVERY_S", 0.1)
    database = Database(postgresql.create(f"leases_{next(numbers)}", TEMPLATE))
    yield database
    await database.close()


def leases_of(database, number, cloud="ours"):
    return Leases(database, Candidate(number, cloud, "host", "http://api", is_at_broker=number < 3), lambda: 0)


def event(seq):
    return Event(device="dev-1", ts=seq, at=seq, boot=1, seq=seq, type="tick", data={})


def sent(number, *events):
    return Incoming("gw.one", b"s" * 16, number, 1, [], list(events))


async def stored(database):
    async with database.transaction() as session:
        return list(await session.scalars(text("SELECT seq FROM event ORDER BY id")))


async def test_two_share_all_slots_and_one_takes_over_what_the_other_leaves(database):
    first, second = leases_of(database, 1), leases_of(database, 2)
    async with first.running():
        assert (len(first.held), first.leads, first.keeps_broker) == (SLOTS, True, True)
        async with second.running():
            await until(lambda: len(first.held) == len(second.held) == SLOTS // 2)
            assert first.held | second.held == frozenset(range(SLOTS))
            assert (first.leads, second.leads) == (True, False), "the leader stays"
            assert (first.keeps_broker, second.keeps_broker) == (True, False)
            async with database.transaction() as session:
                listed = await service.listed(session)
            assert [(one["number"], one["leads"], len(one["slots"])) for one in listed] == [
                (1, True, SLOTS // 2),
                (2, False, SLOTS // 2),
            ]
        await until(lambda: len(first.held) == SLOTS)
    assert first.counts["taken"] == SLOTS + SLOTS // 2
    assert (first.counts["given"], first.counts["lost"], first.held) == (SLOTS // 2, 0, frozenset())


async def test_a_number_belongs_to_one_process_and_a_cloud_of_one_process_shares_with_nobody(database, monkeypatch):
    monkeypatch.setattr(databases, "LOCK_PAUSE_S", 0.01)
    where = database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    first, second = Database(where), Database(where)
    try:
        await first.lock(1)
        with pytest.raises(StartFailed, match=r"worker 1 of this cloud runs already.*--worker"):
            await second.lock(1)
        with pytest.raises(StartFailed, match="another cloud runs on this database"):
            await database.lock(None)
    finally:
        await first.close()
        await second.close()


async def test_another_ca_or_another_series_is_another_cloud(database):
    async with leases_of(database, 1).running():
        with pytest.raises(StartFailed, match="another cloud runs on this database, with worker 1"):
            async with leases_of(database, 2, "theirs").running():
                pass


async def test_one_who_was_paused_stores_nothing_under_its_old_lease(database, monkeypatch):
    async with database.transaction() as session:
        await registry.add_site(session, "s", "s")
        await registry.add_gateway(session, "gw.one", "s")
        await registry.add_device(session, {"id": "dev-1"})
    paused, other = leases_of(database, 1), leases_of(database, 2)
    records = {one: Records(database, None, one, Inbox(lambda: None), lambda: None) for one in (paused, other)}
    await paused._join()  # and never renews
    assert await records[paused].write([sent(1, event(1))]) == [1]
    await asyncio.sleep(0)

    async with other.running():
        await until(lambda: len(other.held) == SLOTS)
        assert await records[other].write([sent(1, event(1), event(2))]) == [2]
        assert paused.held == frozenset(), "by its own clock its lease has run out"
        monkeypatch.setattr(paused, "_valid_until", float("inf"))  # its clock stood still
        with pytest.raises(NotHeld):
            await records[paused].write([sent(2, event(2), event(3))])
        old, found = paused._id, dict(paused._fences)
        await paused._turn()
        assert paused._id != old, "who comes back begins another lease"
        assert not found.items() & paused._fences.items(), "a fencing number has one owner"

    assert await stored(database) == [1, 2]


async def test_one_who_was_paused_in_a_transaction_holds_up_nobody(database):
    paused, other = leases_of(database, 1), leases_of(database, 2)
    await paused._join()

    with contextlib.suppress(SQLAlchemyError):
        async with database.transaction() as session:
            await paused.hold(session, ["gw.one"])
            async with other.running():
                await until(lambda: len(other.held) == SLOTS)
            with pytest.raises(SQLAlchemyError):
                await session.execute(
                    text("INSERT INTO event (device, type, ts, gateway, data) VALUES ('d','t',1,'','{}')")
                )
            raise SQLAlchemyError
    assert await stored(database) == []


async def test_work_of_the_leader_ends_with_its_lease_and_goes_on_at_another(database):
    first, second = leases_of(database, 1), leases_of(database, 2)
    at_work = []

    async def work(name):
        at_work.append(name)
        try:
            await asyncio.Event().wait()
        finally:
            at_work.remove(name)

    async with second.running():
        async with first.running():
            tasks = [asyncio.create_task(one.while_leading(lambda name=name: work(name)))
                     for name, one in (("first", first), ("second", second))]  # fmt: skip
            await until(lambda: at_work == ["second"])
        first._fences, second._fences = second._fences, {}
        first._valid_until = float("inf")
        for one in (first, second):
            await one._tell()
        await until(lambda: at_work == ["first"])
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert at_work == []
