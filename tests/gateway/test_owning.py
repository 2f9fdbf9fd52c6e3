"""Instances at the owner of their partition: whatever dies or moves when, nothing is lost or done twice. (D4, W6, W8)

Three gateways with a database each, over one map, hand things over by the real forwarder; connections are calls.
"""

import asyncio
import itertools
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fieldloom_contract import messages, topics
from fieldloom_gateway.automation.service import Automation
from fieldloom_gateway.automation.workflows import forwarding
from fieldloom_gateway.automation.workflows import runtime as runtimes
from fieldloom_gateway.automation.workflows.checkpoints import Checkpoints
from fieldloom_gateway.automation.workflows.forwarding import Forwarder, Ports
from fieldloom_gateway.automation.workflows.recorded import RECORDED
from fieldloom_gateway.automation.workflows.runtime import Runtime
from fieldloom_gateway.cluster.calling import OutOfReach
from fieldloom_gateway.cluster.consensus.single import LocalConsensus
from fieldloom_gateway.cluster.partitions.partition import partition_of
from fieldloom_gateway.cluster.partitions.records import owner_key
from fieldloom_gateway.cluster.state.machine import ReplicatedMap
from fieldloom_gateway.cluster.state.store import Store as SharedStore
from fieldloom_gateway.ingest.database import open_database
from fieldloom_gateway.ingest.store import Arrival, Store
from gateway.test_workflows import COOLING, NOW, Gateway

DEVICE = "dev-1"
HOME = partition_of(DEVICE)
NAMES = ("gw.a", "gw.b", "gw.c")
numbers = itertools.count()


class Member(Gateway):
    """A gateway of the site. It acts for what it owns, and, where `is_paused`, for what it owned before."""

    def __init__(self, site, name):
        super().__init__(site.folder)
        self.site, self.name, self.is_paused = site, name, False

    async def start(self):
        self.db = open_database(self.folder)
        self.store = Store(self.db, 10**7)
        self.automation = Automation(self.db, self.store, self.name)
        self.automation.start(self.now)
        self.store.attend(self.automation)
        self.service = self.automation.workflows
        checkpoints = Checkpoints(self.site.shared)
        self.runtime = Runtime(self.service, checkpoints, self.acts, self.in_store, self.follow, lambda: self.now)
        self.runtime.start()
        others = [one for one in NAMES if one != self.name]
        node = SimpleNamespace(others=lambda: others, store=SimpleNamespace(name=self.name, reach=self._reach))
        ports = Ports(self.ask, self.in_store, self.commit)
        self.forwarder = Forwarder(node, self.site.owner, self.service, self.runtime, ports)
        return self

    async def stop(self):
        self.db.close()

    def acts(self, partition):
        return self.is_paused or self.site.owner(partition) == self.name

    async def load(self, partition=HOME):
        """Take a partition, as the tenant of an owner."""
        loading = asyncio.create_task(self.runtime.load(partition, self.site.versions[partition]))
        await asyncio.sleep(0)
        await self.settle()
        await loading

    async def follow(self, followed):
        self.store.commit(self.service.follow, followed, self.automation.effects, self.now)

    async def settle(self):
        while await self.runtime.turn():
            pass

    async def commit(self, call, *arguments):
        return self.store.commit(call, *arguments)

    async def ask(self, member, _path, body):
        """Hand a parcel to another gateway, which works on while its sender waits."""
        other = self.site.members[member]
        if member in self.site.cut or self.name in self.site.cut:
            raise OutOfReach("the cable is out")
        answering = asyncio.create_task(other.forwarder.take(self.name, body))
        while not answering.done():
            await asyncio.sleep(0)
            await other.runtime.turn()
        return answering.result()

    async def hand_over(self):
        """Hand over all that others are to have, as far as they are in reach."""
        for member in NAMES:
            if member != self.name:
                while await self.forwarder.hand_over(member):
                    pass

    def tell_of_commands(self):
        """Tell the others of commands that wait, and of those that have ended."""
        told, _ = self.store.down.told()
        for other in self.site.members.values():
            if other is not self and not self.site.cut & {self.name, other.name}:
                other.store.down.take_told(told, other.now)

    async def _reach(self, _index):
        """The map is one."""


class Cluster:
    """Three gateways; the device is connected to the first."""

    def __init__(self, folder):
        self.folder, self.cut, self.versions = folder / str(next(numbers)), set(), {}
        self.folder.mkdir()
        machine = ReplicatedMap()
        self.consensus = LocalConsensus("site", self.folder, machine)
        self.shared = SharedStore(self.consensus, machine)

    async def __aenter__(self):
        await self.consensus.start()
        self.members = {name: Member(self, name) for name in NAMES}
        for one in self.members.values():
            await one.start()
            one.deploy(COOLING)
        self.receiver = self.members["gw.a"]
        await self.move("gw.b")
        return self

    async def __aexit__(self, *_):
        for one in self.members.values():
            await one.stop()
        await self.consensus.stop()

    def owner(self, partition=HOME):
        found = self.shared.peek(owner_key(partition))
        return None if found is None else found.value.decode()

    async def assign(self, name, partition=HOME):
        self.versions[partition] = await self.shared.set(owner_key(partition), name.encode())

    async def move(self, name, partition=HOME):
        """Hand a partition over in order."""
        former = self.members.get(self.owner(partition))
        if former is not None:
            await former.runtime.drain(partition, self.versions[partition])
        await self.assign(name, partition)
        if former is not None:
            former.runtime.unload(partition)
        await self.members[name].load(partition)

    async def kill(self, name):
        """Let a gateway die, and start again; another has taken over what it owned."""
        await self.members[name].stop()
        await self.members[name].start()
        if self.owner() == name:
            await self.assign(next(one for one in NAMES if one != name))
            await self.members[self.owner()].load()

    async def settle(self):
        """Go on until nothing is to be done."""
        for _ in range(3):
            for one in self.members.values():
                await one.settle()
                await one.hand_over()
                one.tell_of_commands()

    async def mend(self):
        self.cut.clear()
        await self.settle()

    async def pass_time(self, until):
        for one in self.members.values():
            one.now = until
        await self.settle()

    @property
    def instances(self):
        return self.receiver.runtime.all()

    @property
    def recorded(self):
        """The numbers and kinds of what the cloud was told of instances, by any gateway."""
        return sorted({one for member in self.members.values() for one in member.recorded()})


class Device:
    """The device at the first gateway: it executes an id once, and answers it as often as it is asked."""

    def __init__(self, site):
        self.site, self.executed = site, []

    async def happen(self, kind, level):
        await self.site.receiver.take(kind, level=level)

    def answer(self):
        receiver = self.site.receiver
        for command in receiver.commands():
            if command["id"] not in [one["id"] for one in self.executed]:
                self.executed.append(command)
            receiver.seq += 1
            told = {"id": command["id"], "status": "succeeded", "result": {"speed": 9}}
            record = {"boot": 7, "seq": receiver.seq, "ts": receiver.now, **told}
            topic = topics.device(DEVICE, "command/result")
            receiver.store.take([Arrival(DEVICE, "command/result", messages.dumps([record]), topic)], receiver.now)


@pytest.fixture(scope="module", autouse=True)
def _without_pauses():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runtimes, "PAUSE_S", 0)
        patch.setattr(forwarding, "PAUSE_S", 0)
        yield


async def cooled(disk, disturb):
    """Run a cooling from the event that starts it to its end; `disturb(site)` may do anything between its steps."""
    async with Cluster(disk) as site:
        device = Device(site)

        async def step():
            await disturb(site)
            await site.settle()

        await device.happen("hot", 3)
        await step()
        device.answer()
        await step()
        await site.pass_time(NOW + 60_000)
        await step()
        await site.mend()  # an event ends those waits alone of which its receiver knows
        device.answer()  # to what has come again
        await site.settle()
        await site.pass_time(NOW + 120_000)
        await device.happen("cold", 1)
        await step()
        await site.mend()
        return site.recorded, [one["parameters"] for one in device.executed], [one.output for one in site.instances]


ACTIONS = st.tuples(st.sampled_from(["move", "kill", "cut", "mend"]), st.sampled_from(NAMES))


@given(plan=st.lists(st.lists(ACTIONS, max_size=3), min_size=4, max_size=4))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_dies_moves_or_is_cut_off_nothing_is_lost_or_done_twice(disk, plan):
    actions = iter(plan)

    async def disturb(site):
        for action, name in next(actions):
            match action:
                case "move":
                    await site.move(name)
                case "kill":
                    await site.kill(name)
                case "cut":
                    site.cut.add(name)
                case "mend":
                    await site.mend()

    recorded, executed, outputs = asyncio.run(cooled(disk, disturb))

    assert executed == [{"level": 3}]
    assert outputs == [{"fan": 1}]
    assert recorded == [(1, "started"), (2, "state"), (3, "state"), (4, "state"), (5, "state"), (6, "ended")]


async def test_who_was_paused_is_refused_and_the_instance_goes_on_at_its_successor(disk):
    async with Cluster(disk) as site:
        device = Device(site)
        former, successor = site.members["gw.b"], site.members["gw.c"]
        await device.happen("hot", 3)
        await site.settle()
        device.answer()
        await site.settle()
        former.is_paused = True
        await site.assign("gw.c")
        await successor.load()
        former.now = successor.now = NOW + 60_000

        await former.runtime.turn()
        refused = [one.active for one in site.instances]
        former.is_paused = False
        former.runtime.unload(HOME)
        await site.settle()

        assert refused == [[("settle",)]], "its step was not committed"
        assert [one.active for one in site.instances] == [[("closed",)]]
        assert former.recorded() == [(1, "started"), (2, "state")]


async def test_what_its_owner_does_not_take_yet_stays_where_it_was_received(disk):
    async with Cluster(disk) as site:
        device, successor = Device(site), site.members["gw.c"]
        site.members["gw.b"].runtime.unload(HOME)
        await site.assign("gw.c")

        await device.happen("hot", 3)
        await site.receiver.hand_over()
        waited = site.receiver.service.inbox.waiting()
        await successor.load()
        await site.settle()

        assert waited == 1
        assert [one.active for one in site.instances] == [[("cool",)]]
        assert site.receiver.service.inbox.waiting() == 0


async def test_an_instance_that_another_gateway_has_tells_its_end_to_the_one_that_waits_for_it(disk):
    other = next(name for name in (f"dev-{n}" for n in range(2, 99)) if partition_of(name) != HOME)
    child = {"id": "child", "placement": "edge", "initial_state": "end", "states": {"end": {"type": "succeed"}}}
    child |= {"variables": [{"name": "device_id", "type": "string"}]}
    start = {"start_workflow": {"workflow": "child", "variables": {"device_id": other}}}
    parent = {"id": "parent", "placement": "edge", "triggers": [{"event": {"type": "go"}}], "initial_state": "begin"}
    parent |= {"states": {"begin": {"type": "task", "actions": [start]}}}
    async with Cluster(disk) as site:
        for one in site.members.values():
            one.deploy(child, parent)
        await site.move("gw.c", partition_of(other))

        await site.receiver.take("go")
        await site.settle()

        assert {one.workflow: one.status for one in site.instances} == {"child": "succeeded", "parent": "succeeded"}
        told = {
            name: {one.data["workflow"] for one in member.events(RECORDED)} for name, member in site.members.items()
        }
        assert told == {"gw.a": set(), "gw.b": {"parent"}, "gw.c": {"child"}}
