"""A full outbox, a full disk: what is given up is told, what was acknowledged is kept, it recovers. (T4, T5, T6)"""

import asyncio
import contextlib
import sqlite3
import subprocess
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldloom_cloud.guard import Guard, Incoming
from fieldloom_cloud.ingest.checked import opened
from fieldloom_contract import messages
from fieldloom_contract.ranges import Ranges
from fieldloom_engine.twin import Patch
from fieldloom_gateway.cluster.consensus.journal import SqliteJournal
from fieldloom_gateway.cluster.consensus.single import LocalConsensus
from fieldloom_gateway.cluster.state.machine import ReplicatedMap
from fieldloom_gateway.ingest.ballast import Ballast
from fieldloom_gateway.ingest.bandwidth import Bandwidth
from fieldloom_gateway.ingest.database import open_database
from fieldloom_gateway.ingest.fill import Fill
from fieldloom_gateway.ingest.lanes import Lanes
from fieldloom_gateway.ingest.outbox import Outbox
from fieldloom_gateway.ingest.store import Arrival, Store
from fieldloom_runtime.errors import StartFailed
from fieldloom_runtime.records import Event, Telemetry
from gateway.site_map import OwnMap, decide

NOW = 1_790_000_000_000
LIMIT = 20_000


class Gateway:
    """A store, and the cloud that takes what its uplink would send."""

    def __init__(self, folder, policy="refuse", limit=LIMIT):
        self.folder, self.policy, self.limit = folder, policy, limit
        self.guard = Guard({}, {})
        self.taken = []
        self.now = NOW
        self.steady = 0
        self.start()

    def start(self):
        self.db = open_database(self.folder)
        self.db.execute("PRAGMA synchronous = OFF")  # power cuts are tried in tests/powercut
        self.store = Store(self.db, self.limit, self.policy)
        self.outbox = Outbox(self.db)
        self.lanes = Lanes(self.outbox, lambda: 0.0, 8192)
        self.lanes.connected(self.steady)

    def telemetry(self, seq, device="dev-1"):
        self.now += 1000
        record = {"boot": 7, "seq": seq, "ts": self.now, "values": {"t": seq, "padding": "x" * 200}}
        return self.take("telemetry", record, device)

    def event(self, seq, device="dev-1"):
        return self.take("event", {"boot": 7, "seq": seq, "ts": NOW, "type": "door", "data": {}}, device)

    def take(self, verb, record, device):
        arrival = Arrival(device, verb, messages.dumps(record), f"fl/v1/d/{device}/{verb}")
        return self.store.take([arrival], self.now)

    def send_some(self):
        """Bring one batch to the cloud, and its acknowledgement back."""
        sent = self.deliver()
        if sent is None:
            return False
        self.lanes.acknowledge(sent.stream, self.guard.position(sent.stream), self.steady)
        self.trim()
        return True

    def trim(self):
        """Delete what the cloud has, as the uplink does at each turn."""
        self.outbox.settle()
        for lane in self.outbox.lanes:
            self.store.trim(lane.acknowledged, lane.after)
            lane.trimmed = lane.acknowledged
        self.outbox.settle()

    def deliver(self):
        """Bring one batch to the cloud and return it, None without one."""
        message = self.lanes.poll(self.steady)
        if message is None:
            return None
        sent, records = opened(message.payload, NOW)
        self.taken += self.guard.take(Incoming("gw", sent.stream, sent.offset, sent.first, sent.covers, records))
        return sent

    def drain(self):
        while self.send_some():
            continue
        assert self.outbox.waiting() == 0, "nothing holds a stream up"

    @property
    def told_lost(self):
        """What has numbers; the rest is counted."""
        spans = {}
        for one in self.taken:
            if isinstance(one, Event) and one.type == "records.dropped" and "count" not in one.data:
                spans.setdefault(one.device, Ranges()).add(one.data["from"], one.data["to"])
        return {
            (device, seq)
            for device, ranges in spans.items()
            for span in ranges.spans
            for seq in range(span[0], span[1] + 1)
        }

    def seqs(self, kind):
        return [(one.device, one.seq) for one in self.taken if isinstance(one, kind) and one.seq is not None]


@pytest.fixture
def gateway(tmp_path):
    made = []

    def make(policy="refuse", limit=LIMIT):
        made.append(Gateway(tmp_path, policy, limit))
        return made[-1]

    yield make
    for one in made:
        one.db.close()


def test_by_default_what_does_not_fit_is_not_acknowledged(gateway):
    full = gateway()
    answers = [full.telemetry(seq).acks for seq in range(1, 100)]

    assert answers[0]
    assert answers[-1] == []
    full.drain()
    assert full.seqs(Telemetry) == [("dev-1", seq) for seq in range(1, len([one for one in answers if one]) + 1)]
    assert full.telemetry(100).acks, "there is room again"


def test_the_oldest_are_given_up_and_told(gateway):
    full = gateway("oldest")
    for seq in range(1, 301):
        assert full.telemetry(seq).acks[0].seq == seq
        assert full.store.room.status(full.now)["bytes"] <= LIMIT + 1000

    full.drain()

    assert full.seqs(Telemetry) == [("dev-1", seq) for seq in range(301 - len(full.seqs(Telemetry)), 301)]
    assert full.told_lost == {("dev-1", seq) for seq in range(1, 301)} - set(full.seqs(Telemetry))
    assert full.telemetry(301).acks


def test_events_outlive_telemetry(gateway):
    full = gateway("lowest_priority")
    lost = Counter()
    for seq in range(1, 301):
        lost += (full.event(seq) if seq % 10 == 0 else full.telemetry(seq)).counts

    full.drain()

    assert full.seqs(Event) == [("dev-1", seq) for seq in range(10, 301, 10)]
    assert full.told_lost | set(full.seqs(Telemetry)) | set(full.seqs(Event)) == {
        ("dev-1", seq) for seq in range(1, 301)
    }
    assert lost["lost"] == len(full.told_lost) > 100


def test_when_only_events_are_left_the_oldest_go(gateway):
    full = gateway("lowest_priority", 5000)
    for seq in range(1, 301):
        assert full.event(seq).acks

    full.drain()

    assert full.seqs(Event)[-1] == ("dev-1", 300)
    assert full.told_lost == {("dev-1", seq) for seq in range(1, 301)} - set(full.seqs(Event))


def test_a_record_that_looks_like_a_report_harms_nobody(gateway):
    full = gateway("lowest_priority", 5000)
    for data in ({"by": "gateway"}, {"by": "gateway", "boot": "x", "from": 1, "to": 2}, {"by": "gateway", "count": -1}):
        full.take("event", {"type": "records.dropped", "data": {**data, "reason": "x"}}, "dev-2")
    for seq in range(1, 100):
        assert full.telemetry(seq).acks

    full.drain()

    assert [one.device for one in full.taken if isinstance(one, Event) and one.device == "dev-2"] == ["dev-2"] * 3


STEPS = st.lists(
    st.tuples(st.sampled_from(["telemetry", "event", "send"]), st.sampled_from(["dev-1", "dev-2"])), max_size=80
)


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(["oldest", "lowest_priority"]), STEPS)
def test_whatever_is_acknowledged_reaches_the_cloud_once_or_is_told_as_lost(tmp_path_factory, policy, steps):
    full = Gateway(tmp_path_factory.mktemp("full"), policy, 3000)
    seqs = Counter()
    for what, device in steps:
        if what == "send":
            full.send_some()
            continue
        seqs[device] += 1
        assert getattr(full, what)(seqs[device], device).acks

    full.drain()

    arrived = full.seqs(Telemetry) + full.seqs(Event)
    assert len(arrived) == len(set(arrived))
    assert set(arrived) | full.told_lost == {(one, seq) for one in seqs for seq in range(1, seqs[one] + 1)}
    full.db.close()


def test_what_has_waited_too_long_is_given_up_and_told(gateway):
    full = gateway()
    for seq in range(1, 11):
        full.telemetry(seq)

    assert full.store.drop_older(NOW, full.now) == 0
    assert full.store.drop_older(NOW + 5500, full.now) == 5

    full.drain()
    assert full.told_lost == {("dev-1", seq) for seq in range(1, 6)}
    assert full.seqs(Telemetry) == [("dev-1", seq) for seq in range(6, 11)]


# --- a full disk ------------------------------------------------------------------------------------------------------


def test_a_full_disk_keeps_what_was_acknowledged_and_recovers_by_itself(gateway):
    full = gateway(limit=10**9)
    pages = full.db.execute("PRAGMA page_count").fetchone()[0]
    full.db.execute(f"PRAGMA max_page_count = {pages + 20}")
    acknowledged = 0
    with pytest.raises(sqlite3.OperationalError, match="full"):
        for seq in range(1, 10_000):
            acknowledged = full.telemetry(seq).acks[0].seq
    for _ in range(3):
        with pytest.raises(sqlite3.OperationalError, match="full"):
            full.telemetry(acknowledged + 1)

    full.send_some()  # what the cloud has makes room
    again = full.telemetry(acknowledged + 1)

    assert again.acks[0].seq == acknowledged + 1
    full.drain()
    assert full.seqs(Telemetry) == [("dev-1", seq) for seq in range(1, acknowledged + 2)]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own; `make test` runs as root."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=13m", "tmpfs", folder], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)  # also if a test that has failed has files open there


def test_a_disk_without_a_byte_left_recovers_once_the_cloud_has_what_waits(small_disk):
    full, taken = Gateway(small_disk, limit=10**9), []
    full.store.hold(Ballast(small_disk))
    for _ in range(3):
        refused = 0
        while refused < 3:
            seq = len(taken) + 1
            record = {"boot": 7, "seq": seq, "ts": NOW, "values": {"t": seq, "padding": "x" * 10_000}}
            try:
                assert full.take("telemetry", record, "dev-1").acks[0].seq == seq
                taken.append(("dev-1", seq))
            except sqlite3.OperationalError:
                refused += 1

        full.drain()

    assert full.seqs(Telemetry) == taken
    assert len(taken) > 450, "there was room again each time"
    full.db.close()


def open_map(folder):
    asyncio.run(LocalConsensus("gw.test", folder, ReplicatedMap()).start())


@pytest.mark.parametrize("start", [open_database, open_map, lambda folder: SqliteJournal(folder / "consensus.db")])
def test_nobody_who_starts_on_a_full_disk_is_told_to_give_up_what_is_there(small_disk, start):
    with (small_disk / "filler").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
        while filler.write(bytes(4096)):
            pass

    with pytest.raises(StartFailed, match="make room on its disk"):
        start(small_disk)


# --- pressure ---------------------------------------------------------------------------------------------------------


def come_online(full, device, interval):
    state = messages.state(True, 7, "s", {"twin": 0})
    full.store.take([Arrival(device, "state", state, f"fl/v1/d/{device}/state")], NOW)
    if interval is not None:
        full.take("twin/reported", {"boot": 7, "seq": 1, "version": 0, "values": {"interval": interval}}, device)


def test_devices_report_less_often_while_it_is_nearly_full_and_then_as_before(gateway):
    full = gateway()
    for device, interval in (("dev-1", 1000), ("dev-2", 5000), ("dev-3", None), ("dev-4", 3_600_000)):
        come_online(full, device, interval)
    own = OwnMap()
    full.store.twins.share(own)
    full.store.commit(full.store.twins.ask, "dev-2", Patch("p", {"interval": 2000}), NOW)
    decide(full.store, own, NOW)

    def wanted(moment):
        full.store.ease(4, NOW + moment)
        decide(full.store, own, NOW)
        return [own.desired(f"dev-{number}").values.get("interval") for number in (1, 2, 3, 4)]

    assert wanted(1) == [None, 2000, None, None]
    seq = 1
    while full.store.room.fullness < 0.8:
        seq += 1
        full.telemetry(seq)
    assert wanted(2) == wanted(3) == [4000, 8000, None, None]
    full.store.commit(full.store.twins.ask, "dev-2", Patch("q", {"interval": 9000}), NOW)
    full.drain()

    assert wanted(4) == wanted(5) == [None, 9000, None, None], "what a person wanted meanwhile stays"


def test_who_is_slowed_down_and_let_go_before_the_site_has_decided_is_as_before(gateway):
    full = gateway()
    come_online(full, "dev-1", 1000)
    own = OwnMap()
    full.store.twins.share(own)
    seq = 1
    while full.store.room.fullness < 0.8:
        seq += 1
        full.telemetry(seq)

    full.store.ease(4, NOW)
    full.drain()
    full.store.ease(4, NOW + 1)
    decide(full.store, own, NOW)

    assert own.desired("dev-1")[:2] == (2, {})


# --- figures ----------------------------------------------------------------------------------------------------------


def test_it_says_for_how_many_hours_the_outbox_lasts():
    fill = Fill()
    assert fill.hours(0, 0, 1000) is None
    for minute in range(30):
        fill.look(minute * 60_000, minute * 60_000)  # a byte a ms
    assert fill.hours(29 * 60_000, 29 * 60_000, 7_200_000) == 2.0
    fill.look(0, 5)  # the clock was set back
    assert fill.hours(0, 5, 100) is None


def test_the_uplink_sends_no_more_than_it_may():
    bandwidth, sent = Bandwidth(1000), 0
    for ms in range(0, 10_000, 10):
        while bandwidth.has_room(ms):
            bandwidth.spend(300)
            sent += 300

    assert 10_000 <= sent <= 11_500
