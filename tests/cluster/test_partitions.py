"""Partitions at members that really run, in real time: shares, hand-over with state, take-over, a lost majority.

D4, D7, W8; what all members did is held against `checks.overlapping` (one owner a partition and fencing version).
"""

import asyncio
import random
import time
from collections import Counter
from contextlib import asynccontextmanager

import pytest

from cluster import checks
from cluster.conftest import SECONDS
from cluster.replicas import Replicas
from fieldloom_contract.errors import Rejected
from fieldloom_gateway.cluster.partitions import meter
from fieldloom_gateway.cluster.partitions.partition import PARTITIONS, partition_of
from fieldloom_gateway.cluster.partitions.records import guard
from fieldloom_gateway.cluster.partitions.residence import LoadFailed
from fieldloom_gateway.cluster.partitions.service import Partitions
from fieldloom_gateway.cluster.state import limits
from fieldloom_gateway.cluster.state.commands import Delete, Done, Set

NAMES = ("gw.a", "gw.b", "gw.c")
ALL = range(PARTITIONS)


class Counting:
    """Holds a count for each partition, as a rule holds a window; the last one is written when it drains."""

    def __init__(self, store):
        self.store = store
        self.counts = {}
        self.unreadable = set()

    async def load(self, partition, version):
        if partition in self.unreadable:
            raise LoadFailed("the disk is busy")
        entry = self.store.peek(f"counts/{partition}")
        self.counts[partition] = int(entry.value) if entry else 0

    async def drain(self, partition, version):
        outcome = await self.write(partition, version)
        assert isinstance(outcome, Done)

    def unload(self, partition):
        self.counts.pop(partition, None)

    async def write(self, partition, version):
        value = str(self.counts[partition]).encode()
        return await self.store.transaction([guard(partition, version)], [Set(f"counts/{partition}", value)])


class Member:
    """A member's process, with what it did as an owner."""

    def __init__(self, store, consensus, strategy):
        self.tenant = Counting(store)
        self.partitions = Partitions(store, consensus, [self.tenant], strategy)
        self.running = asyncio.create_task(self.partitions.run())

    def active(self):
        return {at for at in ALL if self.partitions.state(at) == "active"}

    async def stop(self):
        self.running.cancel()
        await asyncio.wait([self.running])


class Members:
    """All that run, and a record of who acted when."""

    def __init__(self, cluster, strategy="balanced"):
        self.cluster = cluster
        self.strategy = strategy
        self.running = {}
        self.held = []
        self._open = {}

    async def start(self, name):
        self.cluster.addresses[name] = name
        store = await self.cluster.start(name)
        member = self.running[name] = Member(store, self.cluster.members[name], self.strategy)
        return member

    async def kill(self, name):
        """Have it end at once, with all that it holds."""
        await self.running.pop(name).stop()
        await self.cluster.stop(name)

    def look(self):
        """Take note of who acts for what at this moment."""
        now = time.monotonic()
        acting = {
            (at, name, member.partitions.version(at)) for name, member in self.running.items() for at in member.active()
        }
        for one in self._open.keys() - acting:
            self.held.append(checks.Held(*one, *self._open.pop(one)))
        for one in acting:
            begun, _ = self._open.get(one, (now, now))
            self._open[one] = begun, now

    async def until(self, is_so, within=SECONDS):
        async with asyncio.timeout(within):
            while not is_so():
                self.look()
                await asyncio.sleep(0.01)

    def owners(self):
        return {at: name for name, member in self.running.items() for at in member.active()}

    def is_balanced(self):
        shares = Counter(self.owners().values())
        return sum(shares.values()) == PARTITIONS and max(shares.values()) - min(shares.values()) <= 1

    def findings(self):
        self.look()
        return checks.overlapping([*self.held, *(checks.Held(*one, *span) for one, span in self._open.items())])


@asynccontextmanager
async def running(folder, *names, strategy="balanced"):
    async with Replicas(folder, random.Random(1), grace_s=0.0) as cluster:
        members = Members(cluster, strategy)
        for name in names:
            await members.start(name)
        try:
            await members.until(lambda: len(members.owners()) == PARTITIONS)
            yield members
        finally:
            for member in members.running.values():
                await member.stop()


async def test_members_share_join_die_and_come_back_and_what_they_counted_goes_along(tmp_path):
    async with running(tmp_path, *NAMES[:2]) as members:
        assert members.is_balanced()
        for member in members.running.values():
            for at in member.active():
                member.tenant.counts[at] = at
        before = members.owners()

        third = await members.start("gw.c")
        await members.until(lambda: members.is_balanced() and len(third.active()) > 0)
        after = members.owners()
        moved = {at for at in ALL if after[at] != before[at]}
        assert {after[at] for at in moved} == {"gw.c"}
        assert len(moved) <= -(-PARTITIONS // 3)
        assert third.tenant.counts == {at: at for at in moved}
        status = members.running["gw.a"].partitions.status()
        assert status["transfers"] > 0
        assert status["rebalances"] > 0
        assert status["moves"] == len(moved)

        await members.kill("gw.c")
        await members.until(lambda: len(members.owners()) == PARTITIONS)
        assert {at for at in ALL if members.owners()[at] != after[at]} == moved
        assert members.findings() == []


async def test_partitions_follow_what_is_done_for_them_and_what_was_counted_goes_along(tmp_path, monkeypatch):
    """ADR 71."""
    monkeypatch.setattr(meter, "TELL_S", 0.5)
    async with running(tmp_path, *NAMES[:2], strategy="by_load") as members:
        first, second = (members.running[name] for name in NAMES[:2])
        await members.until(lambda: len(first.active()) > 10 < len(second.active()))
        hot = sorted(first.active())[:10]
        for at in hot:
            first.tenant.counts[at] = at
            first.partitions.did(at, 10_000)
        await members.until(lambda: len(second.active() & {*hot}) >= 4)
        await members.until(lambda: first.partitions.status()["transferring"] == 0)

        moved = second.active() & {*hot}
        assert len(moved) <= 6
        assert all(second.tenant.counts[at] == at for at in moved)
        rates = [members.running[name].partitions.status()["units_per_s"] for name in NAMES[:2]]
        assert max(rates) < 1.25 * sum(rates) / 2
        shown = {one["partition"]: one["units_per_s"] for one in first.partitions.shown()}
        assert min(shown[at] for at in hot) > 10 * max(shown[at] for at in ALL if at not in hot)
        assert all(member.partitions.status()["by_load"] for member in members.running.values())
        assert members.findings() == []


async def test_a_gateway_that_drains_ends_with_nothing_and_takes_part_again(tmp_path):
    async with running(tmp_path, *NAMES[:2]) as members:
        first = members.running["gw.a"].partitions
        first.drain()
        await members.until(lambda: first.is_drained and len(members.owners()) == PARTITIONS)
        assert set(members.owners().values()) == {"gw.b"}
        assert first.status()["owned"] == 0

        first.resume()
        await members.until(members.is_balanced)
        assert members.findings() == []


async def test_without_a_majority_a_gateway_keeps_what_it_loaded_but_does_not_act_and_goes_on_later(tmp_path):
    async with running(tmp_path, "gw.a") as members:
        partitions = members.running["gw.a"].partitions
        link = members.cluster.members["gw.a"].is_linked
        loads = partitions.status()["loads"]
        link.clear()
        await members.until(lambda: partitions.status()["read_only"] == PARTITIONS)
        status = partitions.status()
        assert not partitions.owns("sensor.1")
        assert not status["has_lease"]
        assert status["owned"] == PARTITIONS
        assert partitions.state(partition_of("sensor.1")) == "read_only"

        link.set()
        await members.until(lambda: partitions.owns("sensor.1"))
        assert partitions.status()["loads"] == loads
        assert partitions.status()["missed"] > 0


async def test_what_can_not_be_loaded_is_tried_again(tmp_path):
    async with Replicas(tmp_path, random.Random(1), grace_s=0.0) as cluster:
        members = Members(cluster)
        member = await members.start("gw.a")
        member.tenant.unreadable = {1, 2, 3}
        await members.until(lambda: len(member.active()) == PARTITIONS - 3)
        assert {member.partitions.state(at) for at in member.tenant.unreadable} == {"loading"}
        assert member.partitions.status()["loading"] == 3
        member.tenant.unreadable.clear()
        await members.until(lambda: len(member.active()) == PARTITIONS)
        assert member.partitions.status()["load_failures"] >= 3
        await member.stop()


async def test_a_move_is_made_once_asked_for_and_one_that_can_not_be_is_refused(tmp_path):
    async with running(tmp_path, *NAMES[:2]) as members:
        partitions = members.running["gw.b"].partitions
        at = min(members.running["gw.a"].active())
        assert partitions.replicas(at) == ["gw.a", "gw.b"]
        version = members.running["gw.a"].partitions.version(at)
        await partitions.move(at, "gw.b")
        await members.until(lambda: (members.running["gw.b"].partitions.version(at) or 0) > version)

        with pytest.raises(Rejected, match="256 is not from 0 to 255"):
            await partitions.move(256, "gw.b")
        with pytest.raises(Rejected, match=r"'gw\.x' is no gateway that takes part now"):
            await partitions.move(1, "gw.x")


async def test_a_map_without_room_stops_nothing_and_room_is_used_once_there_is_some(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "ENTRIES", PARTITIONS + 10)
    fillers = [f"filler/{at:03}" for at in range(PARTITIONS)]
    halves = fillers[::2], fillers[1::2]
    async with Replicas(tmp_path, random.Random(1), grace_s=0.0) as cluster:
        members = Members(cluster)
        member = await members.start("gw.a")
        store = member.tenant.store
        for half in halves:
            await store.transaction([], [Set(key, b"") for key in half])
        await members.until(lambda: member.partitions.status()["missed"] > 0)
        assert member.active() == set()
        for half in halves:
            await store.transaction([], [Delete(key) for key in half])
        await members.until(lambda: len(member.active()) == PARTITIONS)
        await member.stop()
