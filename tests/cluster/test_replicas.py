"""The map at several members whose copies lag: reads, watches and expiry. (D2, D7, V4)"""

import asyncio
import itertools
import random

import pytest

from cluster import checks
from cluster.conftest import SECONDS, Faulty, Steady
from cluster.linearizability import Register, assert_linearizable
from cluster.replicas import Replicas
from cluster.test_store import run_client
from fieldloom_gateway.cluster.consensus.port import NoLeader
from fieldloom_gateway.cluster.state.commands import Command, Open, Set, Touch, Transaction, decode_outcome, encode

NAMES = ("gw.a", "gw.b", "gw.c")


def addresses():
    return {name: f"127.0.0.1:{7000 + at}" for at, name in enumerate(NAMES)}


async def disturb(cluster, rng):
    """Cut members off, one after the other, and have another lead."""
    while True:
        await asyncio.sleep(rng.uniform(0, 0.1))
        link = cluster.members[rng.choice(NAMES)].is_linked
        link.clear()
        cluster.leader = rng.choice(NAMES)
        await asyncio.sleep(rng.uniform(0, 0.1))
        link.set()


async def watch_all(store, seen):
    async for changes in store.watch(""):
        seen.extend((changes.index, one.key) for one in changes.changes)


async def run_history(folder, seed, count):
    """Have clients of all members work while things go wrong, and hold what they saw against what may be."""
    rng, history, values = random.Random(seed), [], itertools.count()
    seen = {name: [] for name in NAMES}
    async with Replicas(folder, rng) as cluster:
        cluster.addresses |= addresses()
        stores = [await cluster.start(name, lambda member: Faulty(member, rng, 0.1)) for name in NAMES]
        aside = [asyncio.create_task(watch_all(store, seen[store.name])) for store in stores]
        aside.append(asyncio.create_task(disturb(cluster, rng)))
        clients = (
            run_client(store, f"{store.name}.{number}", history, rng, values, count, consistency="linearizable")
            for store in stores
            for number in range(2)
        )
        await asyncio.gather(*clients)
        for member in cluster.members.values():
            member.is_linked.set()
        aside.pop().cancel()
        for store in stores:
            await store.get("", "linearizable")
        await asyncio.sleep(0)
        for one in aside:
            one.cancel()
        changes = [(one.index, change.key) for one in cluster.log_machine.history.after(0) for change in one.changes]

    assert_linearizable(history, Register, "replicas")
    assert {name: checks.missed(changes, told) for name, told in seen.items()} == {name: [] for name in NAMES}


@pytest.mark.parametrize("seed", range(2))
async def test_what_clients_of_all_members_see_is_linearizable(tmp_path, seed):
    await run_history(tmp_path, seed, 25)


@pytest.mark.chaos
@pytest.mark.parametrize("seed", range(2, 22))
async def test_what_clients_of_all_members_see_is_linearizable_for_long(tmp_path, seed):
    await run_history(tmp_path, seed, 200)


async def test_a_write_is_in_the_local_copy_of_its_member_when_it_returns(tmp_path):
    async with Replicas(tmp_path, random.Random(1), lag_s=0.05) as cluster:
        cluster.addresses |= addresses()
        first, second = [await cluster.start(name) for name in NAMES[:2]]
        for number in range(5):
            index = await first.set("a", str(number).encode())
            assert first.peek("a").modified == index
            assert (await second.get("a", "linearizable")).modified == index


async def test_a_watch_at_each_member_tells_the_same(tmp_path):
    async with Replicas(tmp_path, random.Random(2)) as cluster:
        cluster.addresses |= addresses()
        stores = [await cluster.start(name) for name in NAMES]
        watches = [store.watch("k") for store in stores]
        committed = []

        async def write(store):
            for number in range(10):
                operations = [Set(f"k{at}", f"{store.name}{number}".encode()) for at in range(2)]
                done = await store.transaction([], operations)
                committed.append((done.index, tuple(one.value for one in operations)))

        await asyncio.gather(*map(write, stores))
        for store, watch in zip(stores, watches, strict=True):
            await store.get("k0", "linearizable")
            seen = [(one.index, tuple(change.entry.value for change in one.changes)) for one in watch.ready()]
            assert checks.missed(sorted(committed), seen) == []


async def test_a_member_that_is_cut_off_reads_its_copy_and_says_that_it_can_not_write(tmp_path):
    async with Replicas(tmp_path, random.Random(3)) as cluster:
        cluster.addresses |= addresses()
        first, second = [await cluster.start(name) for name in NAMES[:2]]
        await second.set("a", b"1")
        cluster.members["gw.b"].is_linked.clear()
        await first.set("a", b"2")

        assert (await second.get("a")).value == b"1"
        with pytest.raises(NoLeader, match="a majority of its gateways has to be up and reachable"):
            await second.set("a", b"3", within=0.2)
        with pytest.raises(NoLeader):
            await second.get("a", "linearizable", within=0.2)
        cluster.members["gw.b"].is_linked.set()
        assert (await second.get("a", "linearizable")).value == b"2"


async def test_a_lease_lives_as_long_as_its_holder_relies_on_it_though_its_reckoning_is_behind(tmp_path):
    """The holder restarted and has heard no newer time of the cluster than that of its copy."""
    clock = Steady()
    async with Replicas(tmp_path, random.Random(5), steady=clock, grace_s=0.0) as cluster:
        cluster.addresses |= addresses()
        leader, other = [await cluster.start(name) for name in NAMES[:2]]
        await leader.set("lease", b"", ttl_ms=2000)
        clock.seconds += 1.5
        behind = Command(1, 0, 0, 0, 0, Open("gw.b"))  # reckons 0 where the leader reckons 1500
        session = decode_outcome((await cluster.log.submit(encode(behind))).outcome).session
        touch = Command(1, 0, session, 1, 0, Transaction((), (Touch("lease"),)))
        await cluster.log.submit(encode(touch))
        await leader.get("lease", "linearizable")
        early = leader.peek("lease").deadline - leader.now

        clock.seconds += 1.9
        await asyncio.sleep(0.3)  # in which it would expire by the cluster's time
        kept = leader.peek("lease")
        watch = other.watch("lease")
        clock.seconds += 0.1
        gone = await asyncio.wait_for(anext(watch), SECONDS)

    assert early < 1900
    assert kept is not None
    assert gone.changes[0].expired


async def test_what_expires_does_so_at_all_members_once(tmp_path):
    clock = Steady()
    async with Replicas(tmp_path, random.Random(4), steady=clock, grace_s=0.0) as cluster:
        cluster.addresses |= addresses()
        stores = [await cluster.start(name) for name in NAMES]
        await stores[1].set("lease", b"", ttl_ms=2000)
        watches = [store.watch("lease", after=0) for store in stores]
        clock.seconds += 1.9
        await stores[2].touch("lease")
        await stores[1].get("lease", "linearizable")  # who will let it expire has seen it before the clock moves
        cluster.leader = "gw.b"
        clock.seconds += 1.9
        still = stores[1].peek("lease")
        clock.seconds += 0.2

        async def seen(watch):
            return [(await anext(watch)).changes[0] for _ in range(2)]

        async with asyncio.timeout(SECONDS):
            changes = await asyncio.gather(*map(seen, watches))

        assert still is not None
        assert [[one.expired for one in pair] for pair in changes] == [[False, True]] * 3
        assert len({watch.index for watch in watches}) == 1
