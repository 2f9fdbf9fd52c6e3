"""Adapters beside each other: one that fails comes back and holds up no other; outcomes follow the commit. (C1, T4)"""

import asyncio
import sqlite3

import pytest
from structlog.testing import capture_logs

from fieldloom_contract import messages
from fieldloom_gateway.adapters import kept
from fieldloom_gateway.adapters.base import BUSY, TAKEN, Fault, Message, Outcome, Verdict, key_of
from gateway.bench import BROKEN, WAIT_S, Bench, Loopback

GOOD = messages.dumps({"values": {"t": 1}})


@pytest.fixture
async def bench(tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "BACK_OFF_S", 0.01)
    bench = Bench(tmp_path)
    bench.other = Loopback()
    bench.add("other", "test", bench.other)
    async with bench.running():
        yield bench


async def test_a_message_is_settled_after_the_commit_with_what_became_of_it(bench):
    assert await bench.other.say(GOOD) == TAKEN
    assert len(bench.records()) == 1

    refused = await bench.other.say(messages.dumps([{"values": {"t": 1}}, {"values": {"t": [1]}}]))

    reason = "must be a finite number, a boolean, a text or null"
    assert refused == Outcome(Verdict.REFUSED, (Fault("values.t", reason),))
    assert bench.letters()[-1][2] == f"values.t: {reason}"
    assert bench.ingest.counts["records"] == 2


async def test_what_an_adapter_finds_wrong_goes_to_the_dead_letters(bench):
    fault = Fault("user_id", "is missing")

    assert await bench.other.say(b"what", fault=fault) == Outcome(Verdict.REFUSED, (fault,))

    assert bench.letters() == [("fl/v1/d/dev-1/telemetry", b"what", "user_id: is missing")]


async def test_a_full_outbox_and_a_failing_disk_are_busy(bench, monkeypatch):
    monkeypatch.setattr(bench.store.room, "limit", 0)
    assert await bench.other.say(GOOD) == BUSY
    monkeypatch.undo()

    def fail(*_):
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(bench.store, "take", fail)
    assert await bench.other.say(GOOD) == BUSY
    assert bench.records() == []


async def test_a_message_with_a_mark_is_taken_once_and_answered_as_before(bench):
    half_bad = messages.dumps([{"values": {"t": 1}}, {"values": {}}])
    assert await bench.other.say(GOOD, key="a") == await bench.other.say(GOOD, key="a") == TAKEN
    first, again = await bench.other.say(half_bad, key="b"), await bench.other.say(half_bad, key="b")

    assert first == again
    assert first.faults[0].path == "values"
    assert bench.ingest.counts["records"] == 2
    assert key_of("a", GOOD) != key_of("a", half_bad)


async def test_a_failing_adapter_is_started_again_says_so_and_holds_up_no_other(bench):
    bench.other.faults = [OSError("the port is taken")] * 3
    bench.other.inbox.put(Message("fl/v1/d/dev-1/telemetry", BROKEN))

    with capture_logs() as logged:
        async with asyncio.timeout(WAIT_S):
            while bench.kept[1].shown()["restarts"] < 4:
                assert await bench.broker.say(GOOD) == TAKEN
        assert await bench.other.say(GOOD) == TAKEN

    assert [one["error"] for one in logged] == ["it broke", *["the port is taken"] * 3]
    assert bench.other.metrics.errors == 4
    assert (bench.kept[0].error, bench.kept[1].error) == (None, None)


async def test_a_device_is_answered_where_it_was_heard_last(bench):
    await bench.other.say(GOOD)
    await bench.ingest.send("dev-1", "command", b"1")
    await bench.ingest.send("dev-2", "command", b"2")
    await bench.broker.say(GOOD)
    await bench.ingest.send("dev-1", "command", b"3")

    assert bench.other.heard.get_nowait() == ("fl/v1/d/dev-1/command", b"1")
    assert [bench.broker.heard.get_nowait()[1] for _ in range(2)] == [b"2", b"3"]


async def test_what_cannot_be_sent_ends_nothing(bench):
    await bench.ingest.send("dev-2", "broken", b"")

    assert await bench.broker.say(GOOD) == TAKEN
    assert bench.broker.metrics.errors == 1
