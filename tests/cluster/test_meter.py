"""What a gateway counts for its partitions, and when it tells it. (D4, ADR 71)"""

import asyncio
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.commands import Client
from fieldloom_gateway.cluster.partitions.balancer import transfers
from fieldloom_gateway.cluster.partitions.meter import LASTS_S, TELL_S, Meter
from fieldloom_gateway.cluster.partitions.records import (
    Loads,
    Renewal,
    decode_renewal,
    encode,
    lease_key,
    load_key,
    owner_key,
)
from fieldloom_gateway.cluster.partitions.view import WAIT_S, View
from fieldloom_gateway.cluster.state.commands import Set
from fieldloom_gateway.cluster.state.history import Change, Changes


class Counting:
    """A gateway's meter, with the log and a clock that goes when a test says so."""

    def __init__(self):
        self.now = 100.0
        self.log = Client()
        self.view = View(self.now)
        self.meter = Meter("gw.a", self.view, lambda: self.now)

    def load(self, *partitions):
        for partition in partitions:
            asyncio.run(self.meter.load(partition, 1))

    def tell(self, gateway, loads):
        self.write(Set(load_key(gateway), encode(loads)))

    def write(self, *operations):
        self.log.do(*operations)
        for changes in self.log.machine.history.after(self.view.index):
            self.view.apply(changes, self.now)

    def work(self, partition, per_s, seconds):
        """Do so much for a partition, once a second."""
        for _ in range(seconds):
            self.now += 1
            self.meter.did(partition, per_s)


@pytest.fixture
def counting():
    return Counting()


def test_what_is_done_steadily_is_what_is_counted(counting):
    counting.load(3)
    counting.work(3, 20, 10 * int(LASTS_S))
    assert counting.meter.rates()[3] == pytest.approx(20, rel=0.01)
    counting.now += LASTS_S
    assert counting.meter.rates()[3] == pytest.approx(20 / math.e, rel=0.01)


@given(st.lists(st.tuples(st.floats(0, 400), st.integers(1, 50))))
def test_nothing_that_was_done_counts_more_or_less_than_by_its_age(done):
    counting = Counting()
    counting.load(3)
    for pause, units in done:
        counting.now += pause
        counting.meter.did(3, units)
    at = 100.0
    expected = 0.0
    for pause, units in done:
        at += pause
        expected += units / LASTS_S * math.exp((at - counting.now) / LASTS_S)
    assert counting.meter.rates()[3] == pytest.approx(expected)


def test_what_is_not_held_is_not_counted(counting):
    counting.load(3)
    counting.meter.did(4, 100)
    counting.meter.unload(3)
    counting.meter.did(3, 100)
    assert counting.meter.rates() == {}


def test_who_gets_a_partition_counts_on_from_what_its_last_owner_told(counting):
    counting.tell("gw.b", Loads(1, {3: 600, 4: 60}))
    counting.tell("gw.c", Loads(1, {4: 1200}))
    counting.load(3, 4, 5)
    assert counting.meter.rates() == {3: 10, 4: 20, 5: 0}


def test_what_was_told_last_counts_though_a_copy_begins_with_it_in_another_order(counting):
    counting.tell("gw.b", Loads(1, {4: 1200}))
    counting.tell("gw.a", Loads(1, {4: 60}))
    entries = [Change(load_key(name), counting.log.get(load_key(name))) for name in ("gw.a", "gw.b")]
    fresh = View(0.0)
    fresh.apply(Changes(counting.log.machine.index, tuple(entries)), 0.0)
    assert fresh.load(4) == counting.view.load(4) == 1


def test_it_is_told_at_first_and_then_seldom_and_only_where_it_has_changed(counting):
    counting.load(3)
    counting.work(3, 20, 10 * int(LASTS_S))
    word = counting.meter.word()
    assert word == Loads(1, {3: pytest.approx(20 * 60, rel=0.01)})
    counting.tell("gw.a", word)
    counting.work(3, 20, int(3 * TELL_S))
    assert counting.meter.word() is None, "nothing has changed"

    counting.tell("gw.a", counting.meter.word() or word)
    counting.work(3, 200, int(TELL_S) - 1)
    assert counting.meter.word() is None, "it was told lately"
    counting.work(3, 200, 1)
    assert counting.meter.word().per_minute[3] > 20 * 60 * 1.5


def test_when_one_begins_a_round_all_tell_in_it_and_who_comes_joins_it(counting):
    counting.load(3)
    assert counting.meter.word() == Loads(1, {3: 0})
    counting.tell("gw.b", Loads(7, {4: 0}))
    assert counting.view.is_behind("gw.a")
    counting.tell("gw.a", counting.meter.word())
    assert counting.view.round == 7
    assert not counting.view.is_behind("gw.a")
    assert counting.meter.word() is None

    counting.now += TELL_S
    counting.work(3, 200, 10)
    counting.tell("gw.a", counting.meter.word())
    assert counting.view.round == 8
    assert counting.view.is_behind("gw.b")


def test_a_leader_compares_only_what_all_have_told_in_one_round(counting):
    names = ("gw.a", "gw.b")
    counting.write(*(Set(owner_key(at), names[at % 2].encode()) for at in range(20)))
    counting.now += WAIT_S
    counting.write(*(Set(lease_key(name), encode(Renewal("1", by_load=True))) for name in names))
    moves = lambda: transfers(counting.view, "by_load", counting.now)  # noqa: E731 - shorter than a function

    counting.tell("gw.a", Loads(1, dict.fromkeys(range(0, 20, 2), 600)))
    assert moves() == [], "the other has told nothing yet"
    counting.tell("gw.b", Loads(1, dict.fromkeys(range(1, 20, 2), 60)))
    assert {one.heir for one in moves()} == {"gw.b"}
    counting.tell("gw.a", Loads(2, dict.fromkeys(range(0, 20, 2), 1200)))
    assert moves() == [], "the other's loads are of another moment"


class RenewalBefore(msgspec.Struct, frozen=True, array_like=True):
    """A renewal as gateways had it that knew of no loads."""

    attempt: str
    is_draining: bool = False


def test_gateways_that_know_of_no_loads_and_those_that_do_read_each_other():
    before = msgspec.msgpack.Decoder(RenewalBefore).decode(encode(Renewal("1", True, True)))
    assert before == RenewalBefore("1", True)
    assert decode_renewal(msgspec.msgpack.encode(before)) == Renewal("1", True, False)
