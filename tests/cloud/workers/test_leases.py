"""Leases of slots in a real PostgreSQL: a worker that was paused stores nothing under an old one. (A7, T5)"""

import asyncio
import contextlib
import itertools
import json

import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from typer.testing import CliRunner

from cloud.conftest import TEMPLATE
from fieldloom_cloud import commands
from fieldloom_cloud import database as databases
from fieldloom_cloud.automation import service as rules
from fieldloom_cloud.automation.checking import checked
from fieldloom_cloud.automation.inbox import Inbox, Judging
from fieldloom_cloud.automation.runtime import Runtime
from fieldloom_cloud.changes import Change
from fieldloom_cloud.database import Database
from fieldloom_cloud.guard import Incoming
from fieldloom_cloud.ingest.judge import Came
from fieldloom_cloud.ingest.service import Records
from fieldloom_cloud.live.hub import Hub
from fieldloom_cloud.live.neighbours import Neighbours
from fieldloom_cloud.registry import service as registry
from fieldloom_cloud.settings import Settings
from fieldloom_cloud.workers import leases, service
from fieldloom_cloud.workers.leases import Leases
from fieldloom_cloud.workers.service import Candidate, NotHeld
from fieldloom_contract.topics import SLOTS
from fieldloom_engine.rules import Event as RuleEvent
from fieldloom_runtime.errors import StartFailed
from fieldloom_runtime.records import Event
from security.ground import until

numbers = itertools.count(1)


@pytest.fixture
async def database(postgresql, monkeypatch):
    """A database of two processes, which look often."""
    monkeypatch.setattr(leases, "RENEW_EVERY_S", 0.1)
    database = Database(postgresql.create(f"leases_{next(numbers)}", TEMPLATE))
    yield database
    await database.close()


@pytest.fixture
def short(monkeypatch):
    """Leases run out soon."""
    monkeypatch.setattr(service, "LEASE_MS", 3000)
    monkeypatch.setattr(leases, "LEASE_MS", 3000)
    monkeypatch.setattr(service, "PAUSE_MS", 1000)


def leases_of(database, number, cloud="ours"):
    return Leases(database, Candidate(number, cloud, "host", "http://api", is_at_broker=number < 3), lambda: 0)


@contextlib.asynccontextmanager
async def shared(leader, other):
    """Have two processes with their shares, of which the first leads."""
    async with leader.running():
        await until(lambda: leader.leads)
        async with other.running():
            await until(lambda: len(other.held) == SLOTS // 2)
            yield


def address(database):
    return database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)


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
        await until(lambda: len(first.held) == SLOTS)
        assert (first.leads, first.keeps_broker) == (True, True)
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


async def test_the_command_shows_who_has_what(database, tmp_path):
    def shown(*options):
        done = CliRunner().invoke(commands.app, ["workers", "--data", str(tmp_path), *options])
        assert done.exit_code == 0, done.output
        return done.stdout

    settings = Settings(database=address(database), series={"backend": "influxdb", "url": "http://127.0.0.1:1"})
    (tmp_path / "cloud.json").write_text(settings.model_dump_json())
    worker = leases_of(database, 2)
    async with worker.running():
        await until(lambda: len(worker.held) == SLOTS)
        text_, told = await asyncio.to_thread(shown), await asyncio.to_thread(shown, "--json")
    assert "worker 2 at host (http://api) since" in text_
    assert "leads: 256 slots (0-255)" in text_
    assert [(one["number"], len(one["slots"])) for one in json.loads(told)["items"]] == [(2, SLOTS)]
    assert "No process has leased a slot" in await asyncio.to_thread(shown)


async def test_who_does_not_lead_explains_by_what_the_leader_has_written(database):
    document = {"id": "hot", "placement": "cloud", "when": {"event_type": "tick"}, "do": [{"log": {"message": "x"}}]}
    async with database.transaction() as session:
        await rules.deploy(session, checked(document), rules.Wish("active", None, "test"))
    leader, other = leases_of(database, 1), leases_of(database, 2)
    async with shared(leader, other):
        asked = RuleEvent("asked", "tick", "dev-1", 1, {})
        explained = [await Runtime(database, one).explain("hot", asked) for one in (leader, other)]
    assert explained[0] is not None
    assert explained[0].as_json() == explained[1].as_json()


async def test_what_is_left_is_judged_once_and_what_nobody_foresaw_holds_up_nothing(database):
    document = {"id": "tick", "placement": "cloud", "when": {"event_type": "tick"}, "do": [{"log": {"message": "x"}}]}
    leader, other = leases_of(database, 1), leases_of(database, 2)
    told = []
    inbox = Inbox(lambda: told.append(True))
    async with shared(leader, other):
        async with inbox.turn(), database.transaction() as session:
            await inbox.judge(session, Came("gw.one", [event(1)], {}))
        assert not told, "nothing is left while there is no rule"
        async with database.transaction() as session:
            await rules.deploy(session, checked(document), rules.Wish("active", None, "test"))
            await session.execute(text("INSERT INTO rule_inbox (gateway, came) VALUES ('gw.one', 'no entry')"))
        async with inbox.turn(), database.transaction() as session:
            await inbox.judge(session, Came("gw.one", [event(1), event(2)], {}))
        runtimes = [Runtime(database, one) for one in (leader, other)]
        judging = [Judging(database, runtime) for runtime in runtimes]

        with pytest.raises(NotHeld):
            await judging[1].judge_some()
        counted = [await judging[0].judge_some() for _ in range(3)]

    assert (told, counted, runtimes[0].counts["unforeseen"], runtimes[0].counts["firings"]) == ([True], [1, 1, 0], 1, 2)
    async with database.transaction() as session:
        fired = await session.scalars(text("SELECT data -> 'event' ->> 'id' FROM event WHERE type = 'rule.fired'"))
        assert sorted(fired) == ["dev-1/1/1", "dev-1/1/2"]


async def test_processes_ring_each_other_and_tell_what_has_changed(database, monkeypatch):
    heard, hubs = {1: [], 2: []}, {1: Hub(), 2: Hub()}
    both = {
        number: Neighbours(database, hubs[number], {"downlink": lambda n=number: heard[n].append(n)}, lambda: True)
        for number in (1, 2)
    }
    tasks = [asyncio.create_task(one.run()) for one in both.values()]
    with hubs[2].watch(None) as watcher:
        await until(lambda: heard[1] and heard[2])  # they listen
        heard[2].clear()
        both[1].ring("downlink")
        both[1].tell([Change("event", "dev-1", {"n": 1}), Change("event", "dev-1", {"text": "x" * 9000})])
        await until(lambda: heard[2])
        async with asyncio.timeout(20):
            assert await watcher.get() == Change("event", "dev-1", {"n": 1})
            await until(lambda: watcher.missed)
            assert await watcher.get() == Change("lagged", "", {"missed": 1})
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_number_belongs_to_one_process_and_a_cloud_of_one_process_shares_with_nobody(database, monkeypatch):
    monkeypatch.setattr(databases, "LOCK_PAUSE_S", 0.01)
    where = address(database)
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
    worker = leases_of(database, 1)
    async with worker.running():
        await until(lambda: len(worker.held) == SLOTS)
        with pytest.raises(StartFailed, match="another cloud runs on this database, with worker 1"):
            async with leases_of(database, 2, "theirs").running():
                pass


async def test_one_who_was_paused_stores_nothing_under_its_old_lease(database, short, monkeypatch):
    async with database.transaction() as session:
        await registry.add_site(session, "s", "s")
        await registry.add_gateway(session, "gw.one", "s")
        await registry.add_device(session, {"id": "dev-1"})
    paused, other = leases_of(database, 1), leases_of(database, 2)
    records = {one: Records(database, None, one, Inbox(lambda: None), lambda: None) for one in (paused, other)}
    await paused._turn()  # and never renews
    assert await records[paused].write([sent(1, event(1))]) == [1]

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


async def test_one_who_was_paused_in_a_transaction_holds_up_nobody(database, short):
    paused, other = leases_of(database, 1), leases_of(database, 2)
    await paused._turn()

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

    async with contextlib.AsyncExitStack() as stack:
        async with first.running():
            await until(lambda: first.leads)
            await stack.enter_async_context(second.running())
            tasks = [asyncio.create_task(one.while_leading(lambda name=name: work(name)))
                     for name, one in (("first", first), ("second", second))]  # fmt: skip
            await until(lambda: at_work == ["first"])
        await until(lambda: at_work == ["second"])
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert at_work == []
