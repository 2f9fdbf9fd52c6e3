"""Which gateway is to have which partition: shares, least moves, the same in every process. (D4)"""

import subprocess
import sys
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from fieldloom_gateway.cluster.partitions.partition import PARTITIONS, partition_of
from fieldloom_gateway.cluster.partitions.placement import moves, place
from fieldloom_gateway.cluster.partitions.ring import replicas

NAMES = [f"gw.{letter}" for letter in "abcdefgh"]
gateways = st.sets(st.sampled_from(NAMES), min_size=1)
owners = st.dictionaries(st.integers(0, PARTITIONS - 1), st.sampled_from(NAMES))


def least(owners, names):
    """How many partitions have to go to another, for shares that differ by one at most: those above the shares."""
    has = sorted((Counter(owners.values())[name] for name in names), reverse=True)
    share, more = divmod(PARTITIONS, len(names))
    kept = sum(min(count, share + (at < more)) for at, count in enumerate(has))
    return PARTITIONS - kept


def test_a_device_is_in_the_partition_that_its_id_says():
    assert partition_of("123456789") == 0xCBF43926 % PARTITIONS


@settings(max_examples=60, deadline=None)
@given(owners, gateways)
def test_balanced_shares_differ_by_one_and_no_plan_moves_less(owners, names):
    target = place("balanced", owners, names)
    shares = Counter(target.values())
    assert set(target) == set(range(PARTITIONS))
    assert max(shares.values()) - min(shares[name] for name in names) <= 1
    assert sum(owners.get(at) != name for at, name in target.items()) == least(owners, names)
    assert place("balanced", target, names) == target


@settings(max_examples=30, deadline=None)
@given(gateways, st.sampled_from(["balanced", "consistent_hash"]))
def test_who_joins_gets_and_nobody_else_does(names, strategy):
    joins = "gw.new"
    before = place(strategy, {}, names)
    found = moves(before, place(strategy, before, {*names, joins}))
    assert {move.heir for move in found} <= {joins}
    if strategy == "balanced":
        assert len(found) <= -(-PARTITIONS // (len(names) + 1))


@settings(max_examples=30, deadline=None)
@given(gateways, st.sampled_from(["balanced", "consistent_hash"]))
def test_who_leaves_gives_and_nobody_else_does(names, strategy):
    leaves = "gw.old"
    before = place(strategy, {}, {*names, leaves})
    found = moves(before, place(strategy, before, names))
    assert {move.partition for move in found} == {at for at, owner in before.items() if owner == leaves}


def test_nobody_there_has_nothing():
    assert place("balanced", {1: "gw.a"}, []) == {}
    assert place("consistent_hash", {}, []) == {}
    assert replicas(1, None, [], 3) == []


def test_the_ring_is_the_same_in_every_process():
    program = (
        "from fieldloom_gateway.cluster.partitions.placement import place;"
        "print(place('consistent_hash', {}, {'gw.a', 'gw.b', 'gw.c'}))"
    )
    command = [sys.executable, "-c", program]
    told = subprocess.run(command, env={"PYTHONHASHSEED": "7"}, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == str(place("consistent_hash", {}, NAMES[:3]))


def test_the_shares_of_the_ring_are_of_one_size_roughly():
    shares = Counter(place("consistent_hash", {}, NAMES[:3]).values())
    assert min(shares.values()) > PARTITIONS // 3 * 0.6
    assert max(shares.values()) < PARTITIONS // 3 * 1.4


def test_replicas_are_the_owner_and_then_who_takes_over():
    target = place("consistent_hash", {}, NAMES)
    for partition, owner in target.items():
        found = replicas(partition, owner, NAMES, 3)
        assert len(set(found)) == 3
        assert found[0] == owner
        assert found[1] == place("consistent_hash", {}, set(NAMES) - {owner})[partition]


def test_what_is_away_is_given_to_the_next_on_the_ring_that_has_room():
    target = place("balanced", {}, NAMES[:3])
    firsts = sum(replicas(at, None, NAMES[:3], 1) == [name] for at, name in target.items())
    assert firsts > PARTITIONS * 0.7
