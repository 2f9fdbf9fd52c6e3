"""Clusters in virtual time under seeded crashes, cuts, stalls, losses and repetitions. (D1, V4, T4)

No acknowledged command is lost, none is applied twice, no two members differ, no read is stale, and once the faults end
all members have the same log.
"""

import logging
import random

import pytest
from pysyncobj.syncobj import SyncObj

from cluster.linearizability import Log, assert_linearizable
from cluster.simulation import Faults, simulated
from fieldloom_gateway.cluster.consensus import outbox
from fieldloom_gateway.cluster.consensus.confirming import Confirming
from fieldloom_gateway.cluster.consensus.raft import Raft

SECONDS = 15


@pytest.fixture(autouse=True)
def quiet():
    """PySyncObj warns of what the faults of a test make it do."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("seed", [*range(7), 1094])  # the last one has found a fault of ours
def test_a_cluster_keeps_what_it_has_acknowledged(seed):
    with simulated(seed, SECONDS) as world:
        assert world.violations() == []
        assert len(world.history.acknowledged) > 30
        assert world.crashes > 0


def test_the_general_checker_finds_its_history_linearizable():
    with simulated(11, 6) as world:
        assert world.history.acknowledged
        assert world.history.reads
        assert_linearizable(world.operations(), Log, "consensus")


def test_five_members_do():
    with simulated(5, SECONDS, Faults(crash=0.1), size=5) as world:
        assert world.violations() == []
        assert len(world.history.acknowledged) > 30


@pytest.mark.chaos
@pytest.mark.timeout(7200)
def test_thousands_of_clusters_do(capsys):
    first = random.randrange(1_000_000)
    acknowledged = reads = crashes = terms = 0
    for seed in range(first, first + 2000):
        with simulated(seed, 30, size=random.Random(seed).choice([3, 3, 5])) as world:
            assert world.violations() == [], f"seed {seed}"
            acknowledged += len(world.history.acknowledged)
            reads += len(world.history.reads)
            crashes += world.crashes
            terms += len(world.leaders)
    with capsys.disabled():
        print(
            f"\nseeds from {first}: {acknowledged} commands, {reads} reads, {crashes} crashes, {terms} terms: all kept"
        )


def believes_what_was_not_compared(patch):
    patch(Raft, "_take_entries", SyncObj._SyncObj__onMessageReceived)


def answers_before_the_write(patch):
    patch(outbox, "AHEAD", ("append_entries", "canvass", "next_node_idx", "response_vote"))


def reads_without_a_majority(patch):
    answer = Confirming.answer
    patch(Confirming, "answer", lambda confirming, _: answer(confirming, lambda _: True))


def commits_what_it_alone_has(patch):
    def count(core) -> None:
        core._SyncObj__raftCommitIndex = core.last_in_log

    patch(Raft, "_count_copies", count)


FAULTS = [
    believes_what_was_not_compared,
    answers_before_the_write,
    reads_without_a_majority,
    commits_what_it_alone_has,
]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_ours_would_be_found(fault, monkeypatch):
    fault(monkeypatch.setattr)

    for seed in range(200):
        try:
            with simulated(seed, SECONDS) as world:
                wrong = world.violations()
        except Exception as error:  # noqa: BLE001 - a core that notices the fault itself has found it too
            wrong = [repr(error)]
        if wrong:
            return
    pytest.fail("no seed has found it")
