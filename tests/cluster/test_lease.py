"""The lease step by step, on a real map: what each proposal of shared/models/lease.pml is refused for. (D4, D7, V1)"""

import itertools

import pytest

from cluster.commands import Client
from fieldloom_gateway.cluster.partitions.lease import LEASE_S, RENEW_S, Lease
from fieldloom_gateway.cluster.partitions.records import Heir, encode, guard, heir_key
from fieldloom_gateway.cluster.partitions.view import WAIT_S
from fieldloom_gateway.cluster.state.commands import Done, Set, Unmet
from fieldloom_gateway.cluster.state.history import Changes


class Shared:
    """A log, and the gateways that apply it when a test says so."""

    def __init__(self):
        self.log = Client()
        self.attempts = itertools.count()
        self.applied = {}

    def start(self, name, now=0.0):
        lease = Lease(name, now, lambda: str(next(self.attempts)))
        self.applied[lease] = 0
        self.apply(lease, now)
        return lease

    def apply(self, lease, now=0.0):
        for changes in self.log.machine.history.after(self.applied[lease]):
            lease.apply(changes, now)
            self.applied[lease] = changes.index

    def decide(self, transaction):
        return self.log.do(*transaction.operations, compares=transaction.compares)

    def hand(self, lease, heir, *partitions):
        """Name an heir, as the leader does."""
        for at in partitions:
            self.log.set(heir_key(at), encode(Heir(lease.version(at), heir)))


@pytest.fixture
def shared():
    return Shared()


@pytest.fixture
def first(shared):
    """A gateway that has taken partitions 0 to 2 at time 0."""
    lease = shared.start("gw.a")
    assert isinstance(shared.decide(lease.take([0, 1, 2], 0.0)), Done)
    shared.apply(lease)
    return lease


def test_a_lease_counts_from_before_it_was_asked_for(shared, first):
    renew = first.renew(1.0)
    assert first.acts(0, LEASE_S - 0.1)
    shared.decide(renew)
    shared.apply(first, 1.9)

    assert first.acts(0, 1.0 + LEASE_S - 0.1)
    assert not first.acts(0, 1.0 + LEASE_S)
    assert not first.acts(3, 1.9)


def test_a_renewal_that_was_given_up_and_decided_later_wins_nothing(shared, first):
    late = first.renew(0.5)
    again = first.renew(1.5)
    shared.decide(late)
    assert isinstance(shared.decide(again), Unmet)
    shared.apply(first, 1.9)

    assert not first.acts(0, LEASE_S)


def test_a_successor_takes_what_was_silent_and_nothing_that_was_renewed_meanwhile(shared, first):
    second = shared.start("gw.b", 0.0)
    assert second.view.silent(WAIT_S - 0.1) == []
    assert second.view.silent(WAIT_S)[:3] == [0, 1, 2]
    take = second.take([0, 1], WAIT_S)
    shared.decide(first.renew(2.4))

    assert isinstance(shared.decide(take), Unmet)
    shared.apply(second, 2.6)
    assert 0 not in second.view.silent(2.6 + WAIT_S - 0.1)
    assert isinstance(shared.decide(second.take([0, 1], 5.1)), Done)


def test_takes_that_are_refused_put_off_no_renewal(shared, first):
    for at in range(3, 9):
        first.take([at], at / 10)
    assert first.is_due(RENEW_S)
    assert isinstance(shared.decide(first.renew(RENEW_S)), Done)
    assert not first.is_due(2 * RENEW_S - 0.1)


def test_of_two_successors_one_takes(shared, first):
    second, third = shared.start("gw.b"), shared.start("gw.c")
    outcomes = [shared.decide(one.take([0, 1], WAIT_S)) for one in (second, third)]
    assert [type(one) for one in outcomes] == [Done, Unmet]


def test_what_was_taken_is_acted_for_at_once_under_a_newer_version(shared, first):
    second = shared.start("gw.b")
    before = first.version(0)
    shared.decide(second.take([0], WAIT_S))
    shared.apply(second, WAIT_S)
    shared.apply(first, WAIT_S)

    assert second.acts(0, WAIT_S)
    assert second.version(0) > before
    assert first.version(0) is None


def test_an_heir_owns_at_once_and_acts_once_its_own_renewal_is_decided(shared, first):
    second = shared.start("gw.b")
    shared.decide(second.renew(0.1))
    shared.apply(second, 0.2)
    before = second.renew(0.3)  # asked for while it was another's
    shared.hand(first, "gw.b", 0)
    shared.apply(first, 0.3)
    first.leave(0)
    assert not first.acts(0, 0.3)
    assert first.acts(1, 0.3)
    assert isinstance(shared.decide(first.release(first.left())), Done)
    shared.decide(before)
    shared.apply(second, 0.4)

    assert second.version(0) is not None
    assert not second.acts(0, 0.4)
    assert second.is_due(0.4)
    shared.decide(second.renew(0.4))
    shared.apply(second, 0.4)
    assert second.acts(0, 0.4)


def test_an_owner_that_started_again_and_renewed_refuses_its_old_release(shared, first):
    shared.hand(first, "gw.b", 0)
    shared.apply(first, 0.1)
    first.leave(0)
    late = first.release(first.left())

    again = shared.start("gw.a", 0.2)
    assert not again.acts(0, 0.2)
    shared.decide(again.renew(0.2))
    shared.apply(again, 0.2)

    assert again.acts(0, 0.2)
    assert isinstance(shared.decide(late), Unmet)


def test_a_gateway_that_starts_waits_anew(shared, first):
    second = shared.start("gw.b", 100.0)
    assert second.view.silent(100.0 + WAIT_S - 0.1) == []


def test_the_checkpoint_of_an_owner_that_was_replaced_is_refused(shared, first):
    version = first.version(0)
    assert isinstance(shared.log.do(Set("checkpoint", b"1"), compares=[guard(0, version)]), Done)
    shared.decide(shared.start("gw.b").take([0], WAIT_S))

    assert isinstance(shared.log.do(Set("checkpoint", b"2"), compares=[guard(0, version)]), Unmet)
    assert shared.log.get("checkpoint").value == b"1"


def test_an_heir_that_was_named_for_an_older_assignment_is_none(shared, first):
    shared.hand(first, "gw.c", 0)
    second = shared.start("gw.b")
    shared.decide(second.take([0], WAIT_S))
    shared.apply(second, WAIT_S)
    assert second.view.heir(0) is None


def test_a_gateway_whose_lease_was_deleted_is_silent(shared, first):
    shared.log.delete("partitions/lease/gw.a")
    second = shared.start("gw.b", 1.0)
    assert "gw.a" not in second.view.living(1.0)
    assert isinstance(shared.decide(second.take([0], 1.0 + WAIT_S)), Done)


def test_what_is_no_partitions_says_nothing(shared, first):
    index = first.view.index
    first.apply(Changes(index + 1, ()), 0.0)
    assert first.view.index == index + 1
    assert first.acts(0, 0.0)
