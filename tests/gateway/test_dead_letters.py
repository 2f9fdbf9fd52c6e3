"""Dead letters of a gateway: found, replayed in one transaction, dropped, bounded. (T1)"""

import json
import sqlite3

import pytest

from fieldloom_contract import messages
from fieldloom_gateway.ingest import letters
from fieldloom_gateway.ingest.burying import NotReplayed
from fieldloom_gateway.ingest.database import open_database
from fieldloom_gateway.ingest.letters import Asked
from fieldloom_gateway.ingest.store import Arrival, Store

NOW = 1_790_000_000_000
TOPIC = "fl/v1/d/dev-1/telemetry"


@pytest.fixture
def store(tmp_path):
    db = open_database(tmp_path)
    yield Store(db, 100_000)
    db.close()


def take(store, payload, topic=TOPIC, device="dev-1", verb="telemetry"):
    body = payload if isinstance(payload, bytes) else messages.dumps(payload)
    return store.take([Arrival(device, verb, body, topic)], NOW)


def kept(store, **asked):
    return store.letters.page(Asked(**asked), None, 100)


def sent(store, device="dev-1"):
    rows = store._db.execute("SELECT body FROM outbox ORDER BY last").fetchall()
    records = [json.loads(line) for (body,) in rows for line in body.split(b"\n")]
    return [one for one in records if one["kind"] != "dead_letter" and one["device"] == device]


def test_they_are_found_by_device_reason_and_time(store):
    take(store, b"{")
    take(store, [{"boot": 1, "seq": 1, "values": {"t": [1]}}])
    store.take([Arrival("dev-2", "telemetry", b"[]", "fl/v1/d/dev-2/telemetry")], NOW + 5)

    assert [one.device for one in kept(store)] == ["dev-2", "dev-1", "dev-1"]
    assert [(one.boot, one.seq) for one in kept(store, device="dev-1")] == [(1, 1), (None, None)]
    assert [one.number for one in kept(store, reason="is not JSON")] == [1]
    assert [one.device for one in kept(store, since=NOW + 5)] == ["dev-2"]
    assert [one.number for one in store.letters.page(Asked(), 3, 1)] == [2]


def test_a_message_that_is_still_bad_stays_with_its_new_reason(store):
    take(store, b"{")
    store.letters.renew(1, "an old reason")

    with pytest.raises(NotReplayed, match="is not JSON"):
        store.replay(1, NOW)

    assert [(one.number, "is not JSON" in one.reason) for one in kept(store)] == [(1, True)]
    assert store.letters.count == 1


def test_a_replay_takes_what_is_new_and_nothing_twice(store):
    """The good records of a message that was bad in part are here already; a repaired one has no number any more."""
    take(store, {"boot": 1, "seq": 1, "values": {"t": 1}})
    whole = messages.dumps([{"boot": 1, "seq": 1, "values": {"t": 1}}, {"boot": 1, "seq": 2, "values": {"t": 2}}])
    put(store, whole, None)
    put(store, messages.dumps({"boot": 1, "seq": 1, "ts": NOW - 60_000, "values": {"t": 9}}), 1)

    for letter in kept(store):
        store.replay(letter.number, NOW)

    assert [(one.get("seq"), one["values"]["t"]) for one in sent(store)] == [(1, 1), (None, 9), (2, 2)]
    assert sent(store)[1]["ts"] == NOW - 60_000
    assert store.letters.count == store.letters.bytes == 0


def put(store, payload, seq, length=None, topic=TOPIC):
    """Put a letter there that was refused for a reason which is gone by now."""
    boot = None if seq is None else 1
    row = (NOW, TOPIC if topic is None else topic, payload, length or len(payload), "old", "dev-1", boot, seq)
    query = "INSERT INTO dead_letter (at, topic, payload, length, reason, device, boot, seq) VALUES (?,?,?,?,?,?,?,?)"
    store._db.execute(query, row)
    store.letters.forget()


@pytest.mark.parametrize(
    ("payload", "length", "topic", "reason"),
    [
        (b"{}", 5000, TOPIC, "only the first 2 of its 5000 bytes"),
        (b"{}", None, "fl/v1/d/dev-1/twin/reported", "only telemetry, events and results"),
        (b"{}", None, "another/topic", "only telemetry, events and results"),
    ],
)
def test_what_can_not_be_replayed_says_why(store, payload, length, topic, reason):
    put(store, payload, None, length, topic)

    with pytest.raises(NotReplayed, match=reason):
        store.replay(1, NOW)

    assert reason in kept(store)[0].reason


def test_a_replay_that_the_disk_or_the_outbox_refuses_leaves_the_letter(store):
    put(store, messages.dumps({"boot": 1, "seq": 5, "values": {"t": 1}}), None)
    store._db.execute("CREATE TRIGGER full BEFORE INSERT ON outbox BEGIN SELECT RAISE(FAIL, 'full'); END")
    with pytest.raises(sqlite3.Error):
        store.replay(1, NOW)
    store._db.execute("DROP TRIGGER full")
    store.room.limit = 1
    with pytest.raises(NotReplayed, match="the outbox is full"):
        store.replay(1, NOW)
    store.room.limit = 100_000

    store.replay(1, NOW)

    assert [one["seq"] for one in sent(store)] == [5]


def test_they_are_bounded_by_count_and_bytes_and_what_goes_is_counted(store, monkeypatch):
    monkeypatch.setattr(letters, "KEPT", 3)
    for number in range(5):
        take(store, b"{" + str(number).encode())
    assert [bytes(one.payload) for one in kept(store)] == [b"{4", b"{3", b"{2"]

    monkeypatch.setattr(letters, "KEPT_BYTES", 10)
    take(store, b"{" * 8)

    assert [len(one.payload) for one in kept(store)] == [8, 2]
    assert (store.letters.count, store.letters.bytes, store.letters.thrown_away) == (2, 10, 4)
    store.letters.forget()
    assert (store.letters.count, store.letters.bytes, store.letters.thrown_away) == (2, 10, 4)
