"""Members over real connections, in one process: what a caller of the port sees. (D1, D7, C7)"""

import asyncio
import sqlite3
import time
from collections import Counter
from contextlib import AsyncExitStack

import pytest

from cluster.simulation import Log
from fieldloom_gateway.cluster.consensus.journal import FILE, SqliteJournal
from fieldloom_gateway.cluster.consensus.member import Member
from fieldloom_gateway.cluster.consensus.membership import Membership
from fieldloom_gateway.cluster.consensus.peers import Peers
from fieldloom_gateway.cluster.consensus.port import (
    COMMAND_BYTES,
    Compacted,
    FellBehind,
    NoLeader,
    NotCommitted,
    Refused,
    TooLarge,
    Unknown,
)
from fieldloom_gateway.cluster.consensus.sealing import NotSealed, Seal
from fieldloom_gateway.cluster.state.errors import Conflict
from fieldloom_gateway.cluster.state.machine import ReplicatedMap
from fieldloom_gateway.cluster.state.store import Store
from fieldloom_runtime.errors import StartFailed
from fixtures.processes import free_port

SECRET = b"a secret of the tests, long enough"
PATIENCE = 60


class Cluster:
    """Members `a`, `b`, ... on free ports; those that a test stops it may start again."""

    def __init__(self, folder, names: str) -> None:
        self.folder = folder
        self.addresses = {name: f"127.0.0.1:{free_port()}" for name in names}
        self.members: dict[str, Member] = {}
        self.machines: dict[str, Log] = {}

    async def start(self, name: str, secret: bytes = SECRET, machine=None) -> Member:
        self.machines[name] = machine or Log()
        told = Membership(name, self.addresses[name], self.addresses, secret, self.folder / name)
        member = Member(told, self.machines[name])
        await member.start()
        self.members[name] = member
        return member

    async def stop(self, name: str) -> None:
        await self.members.pop(name).stop()

    async def leader(self) -> Member:
        await until(lambda: any(m.standing.is_leader for m in self.members.values()))
        return next(m for m in self.members.values() if m.standing.is_leader)

    async def follower(self) -> Member:
        leader = await self.leader()
        follower = next(m for m in self.members.values() if m is not leader)
        await until(lambda: follower.leader == leader.name)
        return follower


async def until(is_so) -> None:
    async with asyncio.timeout(PATIENCE):
        while not is_so():  # noqa: ASYNC110 - what it waits for is in several members
            await asyncio.sleep(0.01)


@pytest.fixture
async def cluster(tmp_path):
    """Three members that run."""
    made = Cluster(tmp_path, "abc")
    async with AsyncExitStack() as stack:
        for name in made.addresses:
            await made.start(name)
        yield made
        for member in made.members.values():
            stack.push_async_callback(member.stop)


async def test_what_is_submitted_anywhere_is_applied_everywhere_in_one_order(cluster):
    leader, follower = await cluster.leader(), await cluster.follower()

    first = await leader.submit(b"one", PATIENCE)
    second = await follower.submit(b"two", PATIENCE)

    assert (first.outcome, second.outcome) == (b"0", b"1")
    assert second.index == first.index + 1
    await until(lambda: all(machine.commands == [b"one", b"two"] for machine in cluster.machines.values()))
    assert leader.read(first.index) == b"one"
    assert leader.members == ("a", "b", "c")


async def test_after_a_barrier_a_member_knows_all_that_was_acknowledged(cluster):
    leader, follower = await cluster.leader(), await cluster.follower()

    for number in range(20):
        applied = await leader.submit(b"%d" % number, PATIENCE)

        assert await follower.barrier(PATIENCE) >= applied.index
        assert len(cluster.machines[follower.name].commands) > number


async def test_the_map_of_a_site_stands_on_its_members(tmp_path):
    cluster = Cluster(tmp_path, "abc")
    async with AsyncExitStack() as stack:
        stores = []
        for name in cluster.addresses:
            machine = ReplicatedMap()
            member = await cluster.start(name, machine=machine)
            stack.push_async_callback(member.stop)
            stores.append(Store(member, machine))
            running = asyncio.create_task(stores[-1].run())
            stack.callback(running.cancel)

        index = await stores[0].set("leases/boiler", b"a", expected=0, within=PATIENCE)
        with pytest.raises(Conflict):
            await stores[1].set("leases/boiler", b"b", expected=0, within=PATIENCE)
        await stores[2].set("leases/boiler", b"c", expected=index, within=PATIENCE)

        for store in stores:
            entry = await store.get("leases/boiler", consistency="linearizable", within=PATIENCE)
            assert entry is not None
            assert entry.value == b"c"


async def test_many_commands_share_a_write(cluster):
    leader = await cluster.leader()
    before = leader.figures.writes

    await asyncio.gather(*(leader.submit(b"%d" % number, PATIENCE) for number in range(1000)))

    assert leader.figures.writes - before < 100
    assert leader.figures.applied >= 1000


async def test_what_is_not_committed_or_is_compacted_can_not_be_read(cluster):
    leader = await cluster.leader()
    applied = await leader.submit(b"x", PATIENCE)
    await leader.submit(b"y", PATIENCE)
    leader._raft.take_snapshot(1)

    with pytest.raises(NotCommitted):
        leader.read(applied.index + 2)
    with pytest.raises(Compacted):
        leader.read(applied.index)
    with pytest.raises(TooLarge):
        await leader.submit(bytes(COMMAND_BYTES + 1))


async def test_a_subscriber_gets_every_command_once_and_hears_if_it_is_too_slow(cluster, monkeypatch):
    leader = await cluster.leader()
    subscription = leader.subscribe()

    sent = [await leader.submit(b"%d" % number, PATIENCE) for number in range(5)]
    got = [await anext(subscription) for _ in range(5)]
    monkeypatch.setattr("fieldloom_gateway.cluster.consensus.subscription.WAITING", 3)
    for number in range(5):
        await leader.submit(b"more %d" % number, PATIENCE)

    assert [(one.index, one.outcome) for one in got] == [(one.index, one.outcome) for one in sent]
    rest = [await anext(subscription) for _ in range(3)]
    assert [one.command for one in rest] == [b"more 0", b"more 1", b"more 2"]
    with pytest.raises(FellBehind):
        await anext(subscription)


async def test_the_leader_may_stop_and_its_successor_has_everything(cluster):
    leader = await cluster.leader()
    await asyncio.gather(*(leader.submit(b"%d" % number, PATIENCE) for number in range(50)))

    await cluster.stop(leader.name)
    successor = await cluster.leader()
    await successor.submit(b"after", PATIENCE)

    assert sorted(cluster.machines[successor.name].commands) == sorted([b"%d" % n for n in range(50)] + [b"after"])


async def test_without_a_majority_nothing_is_committed_and_callers_are_told(cluster):
    leader = await cluster.leader()
    await leader.submit(b"before", PATIENCE)
    for name in [name for name in cluster.members if name != leader.name]:
        await cluster.stop(name)

    with pytest.raises((Unknown, NoLeader)):
        await leader.submit(b"alone", 2)
    with pytest.raises(NoLeader):
        await leader.barrier(2)
    await until(lambda: leader.leader is None)
    with pytest.raises(NoLeader):
        await leader.submit(b"alone", 0.2)
    assert cluster.machines[leader.name].commands == [b"before"]


async def test_a_member_that_lags_far_behind_gets_a_snapshot_and_keeps_it(cluster, monkeypatch):
    monkeypatch.setattr("fieldloom_gateway.cluster.consensus.pieces.PIECE_BYTES", 1000)
    leader, follower = await cluster.leader(), await cluster.follower()
    name, subscription = follower.name, follower.subscribe()
    await cluster.stop(name)
    commands = [b"%d" % number * 100 for number in range(100)]
    await asyncio.gather(*(leader.submit(command, PATIENCE) for command in commands))
    for member in cluster.members.values():
        member._raft.take_snapshot(1)

    follower = await cluster.start(name)
    await until(lambda: len(cluster.machines[name].commands) == 100)

    assert follower.standing.snapshots_got == 1
    assert [one async for one in subscription] == []
    await cluster.stop(name)
    follower = await cluster.start(name)
    assert sorted(cluster.machines[name].commands) == sorted(commands)


async def test_members_come_and_go(cluster, tmp_path):
    leader = await cluster.leader()
    await leader.submit(b"x", PATIENCE)
    cluster.addresses["d"] = f"127.0.0.1:{free_port()}"

    await (await cluster.follower()).add_member("d", cluster.addresses["d"], PATIENCE)
    await cluster.start("d")
    await until(lambda: cluster.machines["d"].commands == [b"x"])
    await cluster.members["d"].remove_member(leader.name, PATIENCE)
    await cluster.stop(leader.name)
    successor = await cluster.leader()

    assert set(successor.members) == {"a", "b", "c", "d"} - {leader.name}
    assert (await successor.submit(b"y", PATIENCE)).outcome == b"1"
    with pytest.raises(Refused, match="HOST:PORT"):
        await successor.add_member("e", "nowhere")
    with pytest.raises(Refused, match="is a member at"):
        await successor.add_member("d", "127.0.0.1:9")


async def test_without_the_secret_nobody_takes_part(cluster, tmp_path):
    leader = await cluster.leader()
    before = leader.standing.term
    stranger = Cluster(tmp_path / "other", "d")
    stranger.addresses |= cluster.addresses

    member = await stranger.start("d", secret=b"another secret, as long as ours")
    await until(lambda: leader.standing.refused.get("not_sealed", 0) > 0)

    assert (leader.standing.term, leader.members) == (before, ("a", "b", "c"))
    assert member.leader is None
    await stranger.stop("d")


@pytest.mark.parametrize(
    ("sent", "reason"),
    [(b"GET / HTTP/1.1\r\n\r\n", "malformed"), (b"\x00\x00\x00\x34" + bytes(52), "not_sealed")],
    ids=["http", "another protocol"],
)
async def test_what_is_no_greeting_is_refused(cluster, sent, reason):
    name, address = next(iter(cluster.addresses.items()))
    host, port = address.split(":")
    before = Counter(cluster.members[name].standing.refused)

    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(sent)
    answer = await reader.read()
    writer.close()

    assert answer == b""
    assert (Counter(cluster.members[name].standing.refused) - before)[reason] == 1


async def test_a_disk_that_fails_holds_back_what_rests_on_it_and_another_member_leads(cluster, monkeypatch):
    leader = await cluster.leader()
    await leader.submit(b"before", PATIENCE)

    def full(_) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(leader._journal, "write", full)
        with pytest.raises(Unknown):
            await leader.submit(b"lost to its caller", 1)
        others = [member for member in cluster.members.values() if member is not leader]
        await until(lambda: any(member.standing.is_leader for member in others))
        assert leader.figures.disk_errors > 0
    successor = next(member for member in others if member.standing.is_leader)
    await successor.submit(b"after", PATIENCE)

    await until(lambda: b"after" in cluster.machines[leader.name].commands)


async def test_the_loop_goes_on_while_the_disk_works(cluster, monkeypatch):
    leader = await cluster.leader()
    write = SqliteJournal.write

    def slowly(journal, batch) -> None:
        time.sleep(0.3)
        write(journal, batch)

    monkeypatch.setattr(SqliteJournal, "write", slowly)
    submitted = asyncio.create_task(leader.submit(b"x", PATIENCE))
    turns = 0
    while not submitted.done():
        await asyncio.sleep(0.005)
        turns += 1

    assert turns > 10
    assert (await submitted).outcome == b"0"


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"secret": b"short"}, "needs 16"),
        ({"members": {"b": "127.0.0.1:1"}}, "is not among the cluster's members"),
        ({"members": {"a": "127.0.0.1:1", "b": "nowhere"}}, "is not HOST:PORT"),
    ],
)
async def test_what_can_not_work_is_said_at_the_start(tmp_path, told, why):
    usual = {"name": "a", "address": "127.0.0.1:1", "members": {"a": "127.0.0.1:1"}, "secret": SECRET}

    with pytest.raises(StartFailed, match=why):
        await Member(Membership(folder=tmp_path, **usual | told), Log()).start()


async def test_a_damaged_entry_and_an_address_in_use_are_said_at_the_start(tmp_path):
    cluster = Cluster(tmp_path, "a")
    alone = await cluster.start("a")
    assert (await alone.submit(b"x", PATIENCE)).outcome == b"0"
    other = Member(Membership("a", cluster.addresses["a"], dict(cluster.addresses), SECRET, tmp_path / "other"), Log())
    with pytest.raises(StartFailed, match="can't listen"):
        await other.start()
    await cluster.stop("a")
    connection = sqlite3.connect(tmp_path / "a" / FILE)
    connection.execute("UPDATE batches SET entries = x'90' WHERE number = 3")
    connection.commit()
    connection.close()

    with pytest.raises(StartFailed, match="entry 3 is damaged"):
        await cluster.start("a")


def test_a_frame_that_was_changed_or_played_again_is_not_opened():
    here, there = Seal(SECRET, dialled=True), Seal(SECRET, dialled=False)
    here.agree(there.hello)
    there.agree(here.hello)
    first = here.close(b"first")

    assert there.open(first) == b"first"
    with pytest.raises(NotSealed):
        there.open(first)


async def test_one_name_is_not_taken_for_another():
    heard = []
    port = free_port()
    server = Peers(("b", f"127.0.0.1:{port}"), SECRET, lambda *_: None, lambda *_: None)
    client = Peers(("a", "127.0.0.1:1"), SECRET, lambda *_: None, lambda *told: heard.append(told))
    await server.start()
    client.talk_to("c", f"127.0.0.1:{port}")

    await until(lambda: client.refused["another_name"] > 0)

    assert heard == []
    await client.stop()
    await server.stop()
