"""Chains in the gateway's store: what is acknowledged is in an open window or goes up, over any kill. (T1, T2, T5)"""

import itertools
import json
import sqlite3
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldloom_contract import batch, messages, topics
from fieldloom_gateway.ingest.database import open_database
from fieldloom_gateway.ingest.letters import Asked
from fieldloom_gateway.ingest.outbox import Outbox, encode
from fieldloom_gateway.ingest.store import Arrival, Store
from fieldloom_gateway.transformers import FILE, BadChains, Transformers, compile_text
from fieldloom_runtime.compression import inflate
from fieldloom_runtime.errors import StartFailed
from fieldloom_runtime.records import Telemetry, decode

NOW = 1_790_000_040_000  # a whole minute
numbers = itertools.count()

WINDOW = """
chains:
  - id: mean
    match: {metric: t}
    stages:
      - window: {every: 1m, aggregates: [mean, count]}
"""
FAILING = """
chains:
  - id: scaled
    match: {metric: t}
    stages:
      - convert: {scale: 2}
"""


class Gateway:
    """A gateway's store on a disk; it can be killed and started again."""

    def __init__(self, folder, text=WINDOW):
        self.folder = folder / str(next(numbers))
        self.folder.mkdir()
        self.text = text
        self.start()

    def start(self):
        self.db = open_database(self.folder)
        self.db.execute("PRAGMA synchronous = OFF")  # kills are tried here; power cuts in tests/powercut
        self.store = Store(self.db, 10**7)
        self.store.use_chains(compile_text(self.text), self.text, NOW)
        return self

    def kill(self):
        """End as `kill -9` would: what is not committed is gone."""
        self.db.close()
        return self.start()

    def take(self, *records, device="dev-1"):
        payload = messages.dumps([{"boot": 7, **record} for record in records])
        return self.store.take([Arrival(device, "telemetry", payload, f"fl/v1/d/{device}/telemetry")], NOW)

    @property
    def sent(self):
        rows = self.db.execute("SELECT body FROM outbox ORDER BY last").fetchall()
        return [decode(line) for (body,) in rows for line in body.split(b"\n")]

    @property
    def covered(self):
        rows = self.db.execute("SELECT covers FROM outbox ORDER BY last").fetchall()
        return [cover for (covers,) in rows for cover in json.loads(covers)]


def reading(seq, at_s, **values):
    return {"seq": seq, "ts": NOW + at_s * 1000, "values": values or {"t": seq}}


@pytest.fixture
def gateway(tmp_path):
    gateway = Gateway(tmp_path)
    yield gateway
    gateway.db.close()


def test_an_acknowledged_reading_in_an_open_window_survives_a_kill(gateway):
    taken = gateway.take(reading(1, 0), reading(2, 10))
    assert [(ack.boot, ack.seq) for ack in taken.acks] == [(7, 2)]
    assert gateway.sent == []
    gateway.kill()

    gateway.take(reading(2, 10), reading(3, 20), reading(4, 60))

    (record,) = gateway.sent
    assert (record.ts, record.seq, record.values) == (NOW, None, {"t.mean": 2.0, "t.count": 3})
    assert gateway.covered == [["dev-1", 7, 1, 4]], "what went into windows counts as received"


def test_a_group_that_the_disk_refused_is_in_no_window(gateway):
    gateway.take(reading(1, 0))
    gateway.db.execute("CREATE TRIGGER full BEFORE INSERT ON received BEGIN SELECT RAISE(FAIL, 'disk is full'); END")
    with pytest.raises(sqlite3.Error):
        gateway.take(reading(2, 10))
    gateway.db.execute("DROP TRIGGER full")

    gateway.take(reading(2, 10), reading(3, 60))

    assert [record.values["t.count"] for record in gateway.sent] == [2]


def test_what_a_gap_holds_back_counts_in_its_own_window(gateway):
    gateway.take(reading(1, 0), reading(3, 61))
    assert gateway.sent == []
    gateway.take(reading(2, 30))
    gateway.take(reading(4, 70))

    assert [record.values for record in gateway.sent] == [{"t.mean": 1.5, "t.count": 2}]


def test_the_window_of_a_silent_device_goes_up_by_the_clock(gateway):
    gateway.take(reading(1, 0))

    assert gateway.store.close_idle_windows(NOW + 59_999) == 0
    assert gateway.store.close_idle_windows(NOW + 60_000) == 1
    assert gateway.kill().store.close_idle_windows(NOW + 120_000) == 0


def test_other_metrics_go_on_and_carry_what_was_folded(gateway):
    gateway.take(reading(1, 0, t=1))
    gateway.take(reading(2, 1, t=2, humidity=40))

    assert [(record.seq, record.values) for record in gateway.sent] == [(2, {"humidity": 40})]
    assert gateway.covered == [["dev-1", 7, 1, 2]]
    assert gateway.db.execute("SELECT * FROM uncarried").fetchall() == []


STEPS = st.lists(
    st.tuples(st.integers(0, 40), st.sampled_from(["dev-1", "dev-2"]), st.sampled_from(["", "", "", "kill", "fail"])),
    min_size=1,
    max_size=12,
)


@settings(max_examples=15, deadline=None)
@given(STEPS)
def test_kills_and_full_disks_at_any_point_change_nothing(tmp_path_factory, steps):
    folder = tmp_path_factory.mktemp("kills")
    whole, hit = Gateway(folder), Gateway(folder)
    at, seqs = 0, Counter()
    for step, device, fate in steps:
        at += step
        seqs[device] += 1
        record = reading(seqs[device], at)
        whole.take(record, device=device)
        if fate == "fail":
            hit.db.execute("CREATE TRIGGER full BEFORE INSERT ON received BEGIN SELECT RAISE(FAIL, 'full'); END")
            with pytest.raises(sqlite3.Error):
                hit.take(record, device=device)
            hit.db.execute("DROP TRIGGER full")
        hit.take(record, device=device)
        if fate == "kill":
            hit.kill()
            hit.take(record, device=device)  # its acknowledgement was lost
    for one in (whole, hit):
        one.store.close_idle_windows(NOW + 10**9)

    assert [(one.device, one.ts, one.values) for one in hit.sent] == [
        (one.device, one.ts, one.values) for one in whole.sent
    ]
    assert sum(one.values["t.count"] for one in hit.sent) == len(steps)
    for one in (whole, hit):
        one.db.close()


# --- what fails -------------------------------------------------------------------------------------------------------


@pytest.fixture
def failing(tmp_path):
    gateway = Gateway(tmp_path, FAILING)
    yield gateway
    gateway.db.close()


def test_a_value_that_fails_is_kept_with_its_stage_and_the_rest_goes_on(failing):
    taken = failing.take(reading(1, 0, t="warm", other=3), reading(2, 1, t="hot"), reading(3, 2, t=4))

    assert [(ack.boot, ack.seq) for ack in taken.acks] == [(7, 3)], "nothing stops the stream"
    first, partly, wholly, last = failing.sent
    assert (first.seq, first.values) == (1, {"other": 3})
    assert (partly.seq, partly.reason) == (None, "scaled.0.convert: t: 'warm' is no number, it can't be converted")
    assert (wholly.seq, last.seq, last.values) == (2, 3, {"t": 8.0})
    letters = failing.store.letters.page(Asked(), None, 10)
    assert [(one.seq, one.stage) for one in letters] == [(2, "scaled.0.convert"), (1, "scaled.0.convert")]
    assert failing.store.transforming.figures()["scaled.0.convert"]["failed"] == 2


def test_a_repaired_chain_takes_the_letters_once(failing):
    failing.take(reading(1, 0, t="4"), reading(2, 1, t=1))
    (letter,) = failing.store.letters.page(Asked(), None, 10)
    repaired = FAILING.replace("scale: 2", "expression: 'double(value) * 2.0'")
    failing.store.use_chains(compile_text(repaired), repaired, NOW)

    failing.store.replay(letter.number, NOW)

    assert (failing.sent[-1].ts, failing.sent[-1].seq, failing.sent[-1].values) == (NOW, None, {"t": 8.0})
    assert failing.store.letters.count == 0
    with pytest.raises(KeyError):
        failing.store.replay(letter.number, NOW)


def test_tags_go_up_by_metric(tmp_path):
    gateway = Gateway(tmp_path, "chains: [{id: a, match: {type: pump}, stages: [{tags: {floor: '2'}}]}]")
    told = messages.dumps({"request_id": "r", "device": {"type": "pump", "tags": {"floor": 3}}})
    gateway.store.take([Arrival("dev-1", "discovery", told, "fl/v1/d/dev-1/discovery")], NOW)
    gateway.kill()

    gateway.take(reading(1, 0))
    gateway.take(reading(1, 0), device="dev-2")

    told = [(one.device, one.tags) for one in gateway.sent if isinstance(one, Telemetry)]
    assert told == [("dev-1", {"t": {"floor": "2"}}), ("dev-2", None)]
    gateway.db.close()


# --- the file ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path):
    gateway = Gateway(tmp_path, "")
    yield gateway, Transformers(gateway.folder, gateway.store, lambda: NOW)
    gateway.db.close()


def test_without_a_file_nothing_is_transformed(files):
    gateway, transformers = files
    transformers.start()
    gateway.take(reading(1, 0))

    assert gateway.store.transforming.chains is None
    assert [(one.seq, one.values) for one in gateway.sent] == [(1, {"t": 1})]


def test_a_bad_new_file_keeps_the_last_good_chains_also_over_a_restart(files):
    gateway, transformers = files
    (gateway.folder / FILE).write_text(FAILING)
    transformers.start()
    (gateway.folder / FILE).write_text("chains:\n  - id: a\n    stages:\n      - window: {every: 1x}\n")

    with pytest.raises(BadChains, match=r"line 4: chains\[0\]\.stages\[0\]\.window\.every: must be a duration"):
        transformers.prepare()
    again = Transformers(gateway.folder, gateway.store, lambda: NOW)
    again.start()

    for one in (transformers, again):
        assert "line 4" in one.status()["faults"][0]
    gateway.take(reading(1, 0, t=2))
    assert gateway.sent[-1].values == {"t": 4}
    (gateway.folder / FILE).unlink()
    again.use(again.prepare())
    assert (again.status()["faults"], gateway.store.transforming.chains) == ([], None)


def test_a_first_file_that_is_bad_is_no_start(files):
    gateway, transformers = files
    (gateway.folder / FILE).write_text("chains: {")

    with pytest.raises(StartFailed, match="line 1"):
        transformers.start()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("chains: &a [*a]", "an alias can't be taken"),
        ("chains: []\nchains: []", "line 2: the key chains stands twice"),
        ("1: 2", "line 1: a key must be a text"),
        ("chains: \x00", "unacceptable character"),
        ("[" * 1000, "nested too deeply"),
        ("chains: []\n---\nchains: []", "line 2: but found another document"),
        ("chains: " + "x" * 300_000, "more than 262144 bytes"),
        ("!!python/object:os.system {}", "line 1: python/object:os.system is nothing that JSON has too"),
    ],
)
def test_a_text_that_is_no_definition_is_refused_by_line(text, reason):
    with pytest.raises(BadChains, match=reason):
        compile_text(text)


WORDS = st.sampled_from(
    ["chains", "id", "stages", "match", "window", "every", ": ", "\n", "- ", "  ", "{", "}", "[", "]", "*a"]
)


@settings(max_examples=100, deadline=None)
@given(st.lists(WORDS | st.text(max_size=3), max_size=30).map("".join))
def test_any_text_makes_chains_or_names_its_faults(text):
    try:
        compile_text(text)
    except BadChains as error:
        assert all(error.faults)


def test_a_batch_of_covers_and_no_more_than_fits(gateway):
    for number in range(30):
        gateway.take(reading(1, 0), device=f"dev-{number}")
    gateway.take(reading(2, 60), device="dev-3")
    outbox = Outbox(gateway.db).live

    sent = batch.unpack(encode(outbox.peek(None, 10, 10**6), outbox.first(outbox.stream)), inflate)

    assert sorted(cover[0] for cover in sent.covers) == sorted(f"dev-{number}" for number in range(30))
    assert topics.device_id(sent.covers[0][0])
