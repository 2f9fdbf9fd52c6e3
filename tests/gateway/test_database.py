"""The gateway's database: what an older version left goes on. (T4, V2)"""

import sqlite3
from pathlib import Path

from fieldloom_contract import batch, messages
from fieldloom_gateway.automation.firings import Firings
from fieldloom_gateway.ingest.database import FILE, VERSION, open_database
from fieldloom_gateway.ingest.express import AFTER
from fieldloom_gateway.ingest.letters import Asked
from fieldloom_gateway.ingest.outbox import Outbox, encode
from fieldloom_gateway.ingest.store import Arrival, Store
from fieldloom_runtime.compression import inflate
from fieldloom_runtime.records import Expired, Telemetry, decode

OLD = Path(__file__).parent / "old"
AT = 1_790_000_000_000


def test_what_waited_in_version_1_goes_up_under_its_numbers(tmp_path):
    old = sqlite3.connect(tmp_path / FILE)
    old.executescript((OLD / "version_1.sql").read_text())
    old.close()

    db = open_database(tmp_path)
    outbox = Outbox(db).live
    sent = batch.unpack(encode(outbox.peek(None, 10, 10_000), outbox.first(outbox.stream)), inflate)
    Store(db, 10_000).take([Arrival("dev-1", "telemetry", READING, "fl/v1/d/dev-1/telemetry")], 1_790_000_000_000)
    added = outbox.peek((outbox.stream, 5), 10, 10_000)
    db.close()

    assert outbox.stream == bytes(range(16))
    assert (sent.offset, sent.first, sent.covers) == (3, 3, [["dev-1", 7, 3, 4]])
    assert [type(decode(line)) for line in sent.records] == [Telemetry, Telemetry, Expired]
    assert [(segment.first, segment.seq, segment.covers) for segment in added] == [(6, 6, '[["dev-1", 7, 5, 5]]')]


READING = b'{"boot":7,"seq":5,"ts":1790000000000,"values":{"t":3}}'


def test_an_emptied_outbox_goes_on_after_its_last_number(tmp_path):
    db = open_database(tmp_path)
    store = Store(db, 10_000)
    store.take([Arrival("dev-1", "telemetry", READING, "fl/v1/d/dev-1/telemetry")], 1_790_000_000_000)
    store.trim(1)
    db.close()

    db = open_database(tmp_path)
    outbox = Outbox(db).live
    waiting = outbox.waiting()
    db.close()

    assert (outbox.acknowledged, waiting) == (1, 0)


def test_indices_that_cost_a_page_each_commit_are_gone_from_an_older_database(tmp_path):
    """Each is a page more that a firing writes. (E3, E10)"""
    old = open_database(tmp_path)
    old.executescript("""
        CREATE INDEX firing_of_rule ON firing (rule, number);
        CREATE INDEX effect_of_rule ON effect (rule, number);
        CREATE INDEX command_of_device ON command (device);""")
    old.close()

    db = open_database(tmp_path)
    query = "SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name IN ('firing', 'effect', 'command')"
    names = sorted(name for (name,) in db.execute(query) if not name.startswith("sqlite_"))
    db.close()

    assert names == ["command_by_expiry", "effect_due", "firing_by_name"]


def test_dead_letters_of_version_2_are_known_by_their_device(tmp_path):
    old = sqlite3.connect(tmp_path / FILE)
    old.executescript((OLD / "version_2.sql").read_text())
    old.close()

    db = open_database(tmp_path)
    letters = Store(db, 10_000).letters.page(Asked(), None, 10)
    version = db.execute("PRAGMA user_version").fetchone()[0]
    db.close()

    assert version == VERSION
    assert [(one.device, one.seq, one.length) for one in letters] == [("", None, 5000), ("dev-1", None, 1)]


def test_lanes_of_version_4_go_on_and_there_is_an_express_one(tmp_path):
    old = sqlite3.connect(tmp_path / FILE)
    old.executescript((OLD / "version_4.sql").read_text())
    old.close()

    db = open_database(tmp_path)
    first = Outbox(db)
    db.close()
    db = open_database(tmp_path)
    outbox = Outbox(db)
    db.close()

    assert [(lane.acknowledged, lane.last) for lane in (outbox.sealed[0], outbox.live)] == [(3, 4), (4, None)]
    assert outbox.express.acknowledged == AFTER
    assert outbox.express.stream[: batch.DISK_BYTES] == outbox.live.stream[: batch.DISK_BYTES]
    assert outbox.express.stream == first.express.stream not in (outbox.live.stream, outbox.sealed[0].stream)


def test_what_waited_in_version_3_is_sealed_like_any_other(tmp_path):
    old = sqlite3.connect(tmp_path / FILE)
    old.executescript((OLD / "version_3.sql").read_text())
    old.close()

    db = open_database(tmp_path)
    store = Store(db, 10_000)
    outbox = Outbox(db)
    before = outbox.live.stream
    store.seal(1, bytes(batch.LANE_BYTES))
    store.take([Arrival("dev-1", "telemetry", READING, "fl/v1/d/dev-1/telemetry")], 1_790_000_000_000)
    outbox.read()
    (sealed,) = outbox.sealed
    db.close()

    assert (before, sealed.stream, outbox.live.stream) == (
        bytes(range(16)),
        bytes(range(16)),
        bytes(range(8)) + bytes(8),
    )
    assert (sealed.acknowledged, sealed.last, outbox.live.acknowledged) == (2, 4, 4)


def test_firings_of_version_8_stay_and_have_no_name(tmp_path):
    """D4: only what an owner may find out again has one."""
    old = sqlite3.connect(tmp_path / FILE)
    old.executescript((OLD / "version_8.sql").read_text())
    old.close()

    db = open_database(tmp_path)
    firings = Firings(db)
    newest = firings.newest("knocks", 10)
    is_known = firings.is_known("knocks")
    db.close()

    assert newest == [{"taken": 1}]
    assert not is_known


def test_a_command_of_version_10_is_answered_without_who_has_asked(tmp_path):
    db = open_database(tmp_path)
    row = ("c1", "dev-1", messages.command("c1", "write", {"name": "relay", "value": 1}, AT + 60_000), AT + 60_000)
    db.execute("ALTER TABLE command DROP COLUMN source")
    db.execute("INSERT INTO command VALUES (?, ?, ?, ?)", row)
    db.execute("PRAGMA user_version = 10")
    db.close()

    db = open_database(tmp_path)
    store = Store(db, 10_000)
    word = b'{"boot":7,"seq":5,"ts":1790000000000,"id":"c1","status":"succeeded"}'
    store.take([Arrival("dev-1", "command/result", word, "fl/v1/d/dev-1/command/result")], AT)
    (sent,) = (line for segment in Outbox(db).live.peek(None, 10, 10_000) for line in segment.body.splitlines())
    waiting = store.down.commands("dev-1")
    db.close()

    assert (decode(sent).status, decode(sent).moved, waiting) == ("succeeded", None, [])
