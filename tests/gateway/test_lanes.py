"""What has waited goes up behind what is new, and events before readings, all of it once. (T4, T5, ADR 32, ADR 33)"""

import asyncio
import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldloom_contract import batch, messages, topics
from fieldloom_contract.limits import RESEND_MAX_MS
from fieldloom_gateway.ingest.express import OF_ONE_BOOT
from fieldloom_gateway.ingest.sealing import LANES
from fieldloom_gateway.ingest.store import Arrival
from fieldloom_runtime.records import Event, Result, State, Telemetry
from fixtures.processes import wait_until_ready
from gateway.conftest import GATEWAY, hear
from gateway.test_full import NOW, Gateway
from gateway.test_ingest import reading
from gateway.test_uplink import acknowledge, cloud_client, next_batch, run_cloud_broker


class Linked(Gateway):
    """A gateway whose link and process come and go; while `much` bytes wait, events and results overtake."""

    def __init__(self, folder, policy="refuse", limit=10**9, much=10**9):
        self.much = much
        super().__init__(folder, policy, limit)
        self.seqs = dict.fromkeys(("dev-1", "dev-2"), 0)
        self.plain = 0

    def start(self):
        super().start()
        self.store.express.from_bytes = self.much

    def reconnect(self, least=1):
        self.lanes.disconnected()
        sealed = self.store.seal(least, os.urandom(batch.LANE_BYTES))
        self.lanes.connected(self.steady)
        return sealed

    def crash(self):
        self.db.close()
        self.start()
        self.reconnect()

    def numbered(self, device, what="telemetry"):
        self.seqs[device] += 1
        return getattr(self, what)(self.seqs[device], device)

    def eventful(self, device):
        return self.numbered(device, "event")

    def answered(self, device):
        self.seqs[device] += 1
        told = {"boot": 7, "seq": self.seqs[device], "ts": NOW, "id": "c", "status": "succeeded"}
        return self.take("command/result", told, device)

    def unnumbered(self, device):
        self.plain += 1
        return self.take("telemetry", {"ts": NOW, "values": {"plain": self.plain}}, device)

    def lose(self, device):
        """Send a batch that does not arrive."""
        self.lanes.poll(self.steady)

    def lose_answer(self, device):
        """Send a batch whose acknowledgement does not arrive."""
        self.deliver()

    def drain(self):
        while self.outbox.waiting():
            self.steady += 2 * RESEND_MAX_MS
            while self.send_some():
                continue

    @property
    def seqs_taken(self):
        kinds = (Telemetry, Event, Result)
        return [(one.device, one.seq) for one in self.taken if isinstance(one, kinds) and one.seq is not None]

    @property
    def plain_taken(self):
        return sorted(one.values["plain"] for one in self.taken if isinstance(one, Telemetry) and one.seq is None)


@pytest.fixture
def linked(tmp_path):
    made = Linked(tmp_path)
    yield made
    made.db.close()


def test_what_is_new_overtakes_what_has_waited(linked):
    for _ in range(100):
        linked.numbered("dev-1")
    linked.lose_answer("dev-1")
    assert linked.reconnect()
    linked.numbered("dev-1")

    newest = linked.deliver()
    oldest = linked.deliver()

    assert json.loads(newest.records[0])["seq"] == 101
    assert (newest.offset, newest.first) == (101, 101), "its numbers go on"
    assert oldest.offset == 1
    assert newest.stream != oldest.stream
    assert newest.stream[: batch.DISK_BYTES] == oldest.stream[: batch.DISK_BYTES], "the cloud sees the same disk"
    linked.drain()
    assert linked.seqs["dev-1"] == len(linked.seqs_taken) == len(set(linked.seqs_taken))


def test_both_lanes_get_on(linked):
    for _ in range(400):
        linked.numbered("dev-1")
    linked.reconnect()
    for _ in range(400):
        linked.numbered("dev-1")

    offsets = [linked.deliver().offset for _ in range(16)]

    assert sum(offset <= 400 for offset in offsets) == 2, "a sealed lane has its turn while the live one is full"
    assert offsets[0] > 400


def test_little_is_not_worth_a_lane_and_lanes_are_not_without_end(linked):
    assert not linked.reconnect()
    linked.numbered("dev-1")
    assert not linked.reconnect(least=10_000)
    assert linked.reconnect()
    assert not linked.reconnect(), "nothing has come since"
    for _ in range(2 * LANES):
        linked.numbered("dev-1")
        linked.reconnect()
    assert len(linked.outbox.sealed) == LANES

    linked.drain()

    assert linked.seqs_taken == sorted(linked.seqs_taken)[-9:] + sorted(linked.seqs_taken)[:-9]
    linked.numbered("dev-1")
    assert linked.reconnect()
    assert len(linked.outbox.sealed) == 1, "those that are through are gone"


def test_a_report_in_parts_is_not_torn_apart(linked):
    linked.store.take([Arrival("dev-1", "state", messages.state(True, 7, "s"), "fl/v1/d/dev-1/state")], NOW)
    part = {"boot": 7, "seq": 1, "ts": NOW, "version": 1, "values": {"a": 1}}
    linked.take("twin/reported", {**part, "more": True}, "dev-1")

    assert not linked.reconnect()
    linked.take("twin/reported", {**part, "seq": 2}, "dev-1")

    assert linked.reconnect()


def test_a_word_of_absence_says_since_when_its_session_was(linked):
    for moment, online, session in ((1, True, "s"), (2, True, "s"), (3, False, "s"), (4, True, "t"), (5, False, "t")):
        state = messages.state(online, 7, session)
        linked.store.take([Arrival("dev-1", "state", state, "fl/v1/d/dev-1/state")], NOW + moment)

    linked.drain()

    told = [(one.at - NOW, one.began - NOW) for one in linked.taken if isinstance(one, State)]
    assert told == [(1, 1), (2, 1), (3, 1), (4, 4), (5, 4)]


def test_events_and_results_overtake_readings_while_much_waits(tmp_path):
    linked = Linked(tmp_path, much=10_000)
    linked.eventful("dev-1")
    for _ in range(100):
        linked.numbered("dev-1")
    linked.eventful("dev-1")
    linked.answered("dev-1")
    linked.numbered("dev-1")

    first, second = linked.deliver(), linked.deliver()

    kinds = [json.loads(line)["kind"] for line in first.records]
    assert (kinds, [json.loads(line)["seq"] for line in first.records]) == (["event", "result"], [102, 103])
    assert first.covers == [["dev-1", 7, 102, 103]]
    assert json.loads(second.records[0])["seq"] == 1, "who came while little waited goes with the readings"
    assert first.stream[: batch.DISK_BYTES] == second.stream[: batch.DISK_BYTES]
    assert linked.outbox.unsettled() is None, "not all is there when the readings are"
    linked.drain()
    assert sorted(linked.seqs_taken) == [("dev-1", seq) for seq in range(1, 105)]
    assert linked.store.room.status(NOW)["bytes"] == 0
    linked.db.close()


def test_the_readings_get_on_whatever_overtakes_and_a_boot_leaves_no_more_holes_than_are_taken(tmp_path):
    linked = Linked(tmp_path, much=10_000)
    for _ in range(400):
        linked.numbered("dev-1")
    linked.reconnect()
    for _ in range(OF_ONE_BOOT + 100):
        linked.numbered("dev-1")
        linked.eventful("dev-1")
    assert linked.outbox.express.waiting() == OF_ONE_BOOT

    for _ in range(400):
        linked.take("event", {"ts": NOW, "type": "door", "data": {"text": "x" * 2000}}, "dev-2")
    streams = [linked.deliver().stream for _ in range(16)]
    express, live, sealed = (linked.outbox.express.stream, linked.outbox.live.stream, linked.outbox.sealed[0].stream)

    assert [streams.count(one) for one in (express, live, sealed)] == [12, 2, 2]
    linked.drain()
    assert sorted(linked.seqs_taken) == [("dev-1", seq) for seq in range(1, linked.seqs["dev-1"] + 1)]
    linked.db.close()


def test_the_oldest_that_is_given_up_is_no_event_while_there_are_readings(tmp_path):
    linked = Linked(tmp_path, "oldest", 20_000, much=5_000)
    for _ in range(100):
        linked.numbered("dev-1")
        linked.eventful("dev-1")

    linked.drain()

    events = [one.seq for one in linked.taken if isinstance(one, Event) and one.seq is not None]
    assert [seq for seq in events if seq > 40] == list(range(42, 201, 2)), "from where much waited all are there"
    assert {seq for _, seq in linked.told_lost} | {seq for _, seq in linked.seqs_taken} == set(range(1, 201))
    linked.db.close()


ACTIONS = ["numbered", "numbered", "unnumbered", "send_some", "lose", "lose_answer", "reconnect", "crash"]
ACTIONS += ["eventful", "answered"]
STEPS = st.lists(st.tuples(st.sampled_from(ACTIONS), st.sampled_from(["dev-1", "dev-2"])), max_size=60)


@settings(max_examples=20, deadline=None)
@given(STEPS)
def test_whatever_link_and_process_do_all_arrives_once(tmp_path_factory, steps):
    linked = Linked(tmp_path_factory.mktemp("lanes"), much=1_000)
    for what, device in steps:
        act(linked, what, device)

    linked.drain()

    assert sorted(linked.seqs_taken) == [(one, seq) for one in linked.seqs for seq in range(1, linked.seqs[one] + 1)]
    assert linked.plain_taken == list(range(1, linked.plain + 1)), "no guard but the stream knows these"
    linked.db.close()


@settings(max_examples=10, deadline=None)
@given(st.sampled_from(["oldest", "lowest_priority"]), STEPS)
def test_what_a_full_outbox_gives_up_of_any_lane_is_told(tmp_path_factory, policy, steps):
    linked = Linked(tmp_path_factory.mktemp("lanes"), policy, 2500, much=800)
    for what, device in steps:
        act(linked, what, device)

    linked.drain()
    linked.trim()

    assert len(linked.seqs_taken) == len(set(linked.seqs_taken))
    everything = {(one, seq) for one in linked.seqs for seq in range(1, linked.seqs[one] + 1)}
    assert set(linked.seqs_taken) | linked.told_lost == everything
    assert linked.outbox.sealed == []
    linked.db.close()


def act(linked, what, device):
    call = getattr(linked, what)
    call() if what in ("send_some", "reconnect", "crash") else call(device)


# --- with its broker, over kills --------------------------------------------------------------------------------------

WAITED = 6000


async def test_the_lanes_of_a_gateway_outlive_kill_9(site, authority):
    seqs = set()
    async with site.device("dev-1") as device:
        await device.subscribe("fl/v1/d/dev-1/ack")
        for first in range(1, WAITED + 1, 500):
            told = [reading(seq) for seq in range(first, first + 500)]
            await device.publish("fl/v1/d/dev-1/telemetry", messages.dumps(told))
        while (await hear(device, "ack", seconds=30)).message["seq"] < WAITED:
            continue

        broker = run_cloud_broker(site, authority)
        try:
            async with cloud_client(site) as cloud:
                await cloud.subscribe(topics.up(GATEWAY))
                old = await next_batch(cloud)
                await device.publish("fl/v1/d/dev-1/telemetry", messages.dumps(reading(WAITED + 1)))
                while (new := await next_batch(cloud)).stream == old.stream:
                    continue
                site.gateway.kill()
                site.gateway.start()
                wait_until_ready(site.ports["http"])

                async with asyncio.timeout(30):
                    while len(seqs) <= WAITED:
                        sent = await next_batch(cloud)
                        assert sent.stream in (old.stream, new.stream)
                        seqs |= {json.loads(record)["seq"] for record in sent.records}
                        await acknowledge(cloud, sent)
        finally:
            broker.stop()

    assert (new.offset, len(new.records), json.loads(new.records[0])["seq"]) == (WAITED + 1, 1, WAITED + 1)
    assert seqs == set(range(1, WAITED + 2))
