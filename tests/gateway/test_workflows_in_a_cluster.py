"""Workflows and rules that remember, of three gateway processes: at the owner of a device's partition, over its death.

Devices are connected to one of them, or come to another. Each test has devices, and a partition, of its own.
(D4, D7, E8, W6, W8)
"""

import asyncio
import contextlib
import json
import time
from functools import partial

import httpx2
import pytest

from fieldloom_contract import topics
from fieldloom_gateway.cluster.partitions.partition import partition_of
from fixtures.certificates import TestAuthority
from fixtures.processes import free_port, wait_for_port
from gateway.conftest import Site
from gateway.test_ingest import outbox, report
from gateway.test_rules_at_work import device, happened, local, now

NAMES = ("gw.a", "gw.b", "gw.c")
WITHIN_S = 60

COOLING = {
    "id": "cooling",
    "placement": "edge",
    "triggers": [{"event": {"type": "hot"}}, {"api": {}}],
    "variables": [{"name": "device_id", "type": "string"}],
    "initial_state": "cool",
    "states": {
        "cool": {"type": "task", "actions": [{"command": {"type": "cool"}}], "transitions": [{"target": "closed"}]},
        "closed": {"type": "wait", "event": {"type": "cold"}, "transitions": [{"target": "rest"}]},
        "rest": {"type": "task", "actions": [{"command": {"type": "rest"}}]},
    },
}
RULE = {"id": "smoke", "when": {"event_type": "smoke"}, "do": [{"command": {"type": "alarm"}}]}
KNOCKS = {"where": "knock", "at_least": 3, "within": "10m"}
WINDOW = {"id": "knocks", "when": {"count_in_window": KNOCKS}, "do": [{"command": {"type": "open"}}]}
LEAK = {"id": "leak", "when": {"event_type": "leak"}, "do": [{"raise_alarm": {"alarm": "wet", "severity": "major"}}]}
DRY = {"id": "dry", "when": {"event_type": "dry"}, "do": [{"clear_alarm": {"alarm": "wet"}}]}


class Member(Site):
    """A gateway of the site, with a broker of its own."""

    documents = (("workflows", COOLING), *(("rules", one) for one in (RULE, WINDOW, LEAK, DRY)))

    def join(self, addresses, secret):
        """Have it begin a cluster with the others, with the workflows and rules of its operator."""
        path = self.data / "gateway.json"
        own = addresses[self.name]
        cluster = {"address": own, "admission_port": free_port(), "secret": str(secret), "members": addresses}
        path.write_text(json.dumps({**json.loads(path.read_text()), "cluster": cluster}))
        for folder, document in self.documents:
            (self.data / folder).mkdir(exist_ok=True)
            (self.data / folder / f"{document['id']}.yaml").write_text(json.dumps(document))

    def is_led(self):
        """Whether it is up and knows a leader."""
        try:
            return httpx2.get(f"http://127.0.0.1:{self.ports['http']}/api/v1/status").json()["cluster"]["writable"]
        except httpx2.TransportError:
            return False

    def owners(self):
        """Return who owns each partition, as this gateway has it."""
        return [one["replicas"][:1] for one in local(self, "GET", "/cluster/partitions").json()["items"]]

    def alarms(self, name):
        """Return the alarms of a device that it lists, each with its severity."""
        items = local(self, "GET", "/alarms").json()["items"]
        return [(one["alarm"], one["severity"]) for one in items if one["device"] == name]

    def instance(self, name):
        """Return the instance of a device, None while there is none."""
        found = [one for one in local(self, "GET", "/instances").json()["items"] if one["device"] == name]
        return local(self, "GET", f"/instances/{found[0]['id']}").json() if found else None

    def is_in(self, name, state):
        found = self.instance(name)
        return found if found and (found["states"] == [state] or found["status"] == state) else None


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Three gateways that act for all partitions."""
    with cluster(tmp_path_factory.mktemp("cluster"), Member, NAMES) as members:
        until(partial(have_shared, members))
        yield members


@contextlib.contextmanager
def cluster(folder, kind, names):
    """Run gateways that share a map, each with a broker."""
    authority = TestAuthority(folder / "pki")
    secret = folder / "cluster.secret"
    secret.write_text("0123456789abcdef" * 4)
    secret.chmod(0o600)
    addresses = {name: f"127.0.0.1:{free_port()}" for name in names}
    members = [kind(folder / name, authority, name) for name in names]
    try:
        for one in members:
            one.join(addresses, secret)
            one.gateway.start()
        for one in members:
            one.broker.start()
            wait_for_port(one.ports["mqtt"])
        yield members
    finally:
        for one in members:
            one.stop()


def have_shared(members):
    """Whether members are up and each owns partitions, as each of them has it."""
    return all(one.is_led() for one in members) and all(
        {one.name for one in members} <= {owner for owners in one.owners() for owner in owners} for one in members
    )


def until(is_so):
    deadline = time.monotonic() + WITHIN_S
    while time.monotonic() < deadline:
        if found := is_so():
            return found
        time.sleep(0.05)
    raise AssertionError(f"not so after {WITHIN_S} s")


def device_of(member, owner, kind):
    """Return a device whose partition is owned by a gateway."""
    owners = member.owners()
    return next(name for name in (f"{kind}-{n}" for n in range(1000)) if owners[partition_of(name)] == [owner.name])


def told_up(members, name, kind):
    """Return the events of a kind of a device of which the cloud is told by any gateway."""
    records = [record for member in members for record in outbox(member) if record["device"] == name]
    return [one for one in records if one.get("type", "").startswith(kind)]


def fired(members, name):
    """Return the ids of what the window has fired for a device, of which the cloud is told by any gateway."""
    told = told_up(members, name, "rule.fired")
    return {one["data"]["id"] for one in told if one["data"]["rule"] == WINDOW["id"]}


class Board:
    """A device: it sends again what is not acknowledged, executes each command's id once, and answers it.

    What is of a type in `waits` it answers when it is told to.
    """

    def __init__(self, client, name, seq=0):
        """What is numbered up to `seq` another gateway has."""
        self._client, self.name = client, name
        self._seq, self._sent = seq, {}
        self.waits, self.executed = set(), {}

    async def tell(self, verb, record):
        self._seq += 1
        self._sent[self._seq] = (verb, {**record, "seq": self._seq, "first": min(self._sent, default=self._seq)})
        await self._send(self._seq)

    async def happen(self, kind):
        await self.tell(topics.EVENT, happened(0, kind))

    async def answer(self, command):
        record = {"boot": 7, "ts": now(), "id": command, "status": "succeeded"}
        await self.tell(topics.RESULT, record)

    async def leave(self):
        """Tell as its will does that it is there no more."""
        will = json.dumps({"online": False, "boot": 7, "session": "first"})
        await self._client.publish(topics.device(self.name, topics.STATE), will)

    async def listen(self):
        async for message in self._client.messages:
            told, verb = json.loads(message.payload), topics.parse_device(str(message.topic))[1]
            if verb == topics.ACK:
                self._sent = {seq: record for seq, record in self._sent.items() if seq > told["seq"]}
            if verb == topics.COMMAND and told["id"] not in self.executed:
                self.executed[told["id"]] = told["type"]
                if told["type"] not in self.waits:
                    await self.answer(told["id"])

    async def repeat(self):
        while True:
            await asyncio.sleep(1)
            for seq in [*self._sent]:
                await self._send(seq)

    @property
    def is_heard(self):
        """Whether all that it has told is acknowledged."""
        return not self._sent

    def executing(self, kind):
        """Return the id of a command of a type that it has got."""
        return next((name for name, type_ in self.executed.items() if type_ == kind), None)

    async def _send(self, seq):
        verb, record = self._sent[seq]
        await report(self._client, self.name, record, verb=verb)


@contextlib.asynccontextmanager
async def board(member, name, seq=0):
    async with device(member, name) as client, asyncio.TaskGroup() as tasks:
        found = Board(client, name, seq)
        running = [tasks.create_task(found.listen()), tasks.create_task(found.repeat())]
        yield found
        for one in running:
            one.cancel()


async def soon(is_so):
    """Wait until something is so, and return it; what is asked may block."""
    async with asyncio.timeout(WITHIN_S):
        while not (found := await asyncio.to_thread(is_so)):  # noqa: ASYNC110 - it is so in another process
            await asyncio.sleep(0.05)
        return found


async def test_windows_and_alarms_go_on_wherever_events_come_and_when_an_owner_dies(site):
    """D4, D7, E7, E8, W8: three events at two gateways make one firing, though its owner is killed after the second.

    What began at one gateway and ended at another is listed by none then, that one too which was killed between.
    """
    first, owner, other = site
    await soon(partial(have_shared, site))
    name = device_of(first, owner, "door")
    async with board(first, name) as door:
        await door.happen("knock")
        await door.happen("leak")
        await soon(lambda: all(one.alarms(name) == [("wet", "major")] for one in site))
        await soon(lambda: door.is_heard)
        await door.leave()
    async with board(other, name, seq=2) as door:
        await door.happen("knock")
        await soon(lambda: door.is_heard)
        owner.gateway.kill()
        killed = time.monotonic()
        await door.happen("knock")
        command = await soon(lambda: door.executing("open"))
        took = time.monotonic() - killed
        await door.happen("dry")
        await soon(lambda: first.alarms(name) == other.alarms(name) == [])
        await soon(lambda: door.is_heard)
    owner.gateway.start()
    await soon(partial(have_shared, site))
    await soon(lambda: owner.alarms(name) == [])

    print(f"fired at a peer {took:.1f} s after the kill")
    assert list(door.executed) == [command]
    assert len(fired(site, name)) == 1
    assert sorted(one["type"] for one in told_up(site, name, "alarm.")) == ["alarm.cleared", "alarm.raised"]


async def test_a_window_goes_on_at_the_heir_when_its_owner_is_drained(site):
    """D4, E8: two events before the hand-over and one after it make one firing."""
    first, owner, _ = site
    await soon(partial(have_shared, site))
    name = device_of(first, owner, "gate")
    async with board(first, name) as gate:
        for _ in range(2):
            await gate.happen("knock")
        await soon(lambda: gate.is_heard)
        await asyncio.to_thread(local, owner, "POST", "/cluster/drain")
        await soon(lambda: [owner.name] not in first.owners())
        await gate.happen("knock")
        command = await soon(lambda: gate.executing("open"))
    await asyncio.to_thread(local, owner, "POST", "/cluster/resume")
    await soon(partial(have_shared, site))

    assert list(gate.executed) == [command]
    assert len(fired(site, name)) == 1


async def test_instances_go_on_at_a_peer_when_their_owner_dies_and_wait_when_the_majority_does(site):
    first, owner, other = site
    await soon(partial(have_shared, [first, owner]))
    name, late = device_of(first, owner, "pump"), device_of(first, other, "valve")
    async with board(first, name) as pump, board(first, late) as valve:
        pump.waits = {"cool"}
        await pump.happen("hot")
        command = await soon(lambda: pump.executing("cool"))
        owner.gateway.kill()
        killed = time.monotonic()
        await pump.answer(command)
        await soon(lambda: first.is_in(name, "closed"))
        took = time.monotonic() - killed
        await pump.happen("cold")
        ended = await soon(lambda: first.is_in(name, "succeeded"))

        other.gateway.kill()
        await soon(lambda: not first.is_led())
        await valve.happen("hot")
        await valve.happen("smoke")
        await valve.happen("knock")
        await soon(lambda: valve.executing("alarm") and valve.is_heard)
        status = local(first, "GET", "/status").json()
        begun = first.instance(late)
        owner.gateway.start()
        await soon(lambda: first.is_in(late, "closed"))

    print(f"went on at a peer {took:.1f} s after the kill")
    assert sorted(pump.executed.values()) == ["cool", "rest"], "an id is executed once"
    told = [one["data"] for member in site for one in outbox(member) if one.get("type") == "workflow.recorded"]
    numbers = {one["record"]["number"] for one in told if one["instance"] == ended["id"]}
    assert numbers == set(range(1, max(numbers) + 1)), "what became of it is told from its start to its end"
    assert "no leader" in status["cluster"]["fault"]
    assert (status["workflows"]["waiting"], begun) == (1, None)
    assert status["rules"]["windows"]["waiting"] == 1, "the knock"
    assert sorted(valve.executed.values()) == ["alarm", "cool"]


async def test_an_instance_is_started_seen_and_ended_at_any_gateway(site):
    first, owner, _ = site
    await soon(partial(have_shared, [first, owner]))
    name = device_of(first, owner, "fan")
    start = {"variables": {"device_id": name}}
    started = await asyncio.to_thread(local, first, "POST", "/workflows/cooling/start", start)
    path = f"/instances/{started.json()['id']}"

    ended = await asyncio.to_thread(local, first, "POST", f"{path}/terminate", {"reason": "enough"})
    again = await asyncio.to_thread(local, owner, "POST", f"{path}/retry", {"state": "closed"})
    shown = await soon(lambda: first.is_in(name, "closed"))

    assert started.status_code == 201
    assert (ended.json()["status"], ended.json()["reason"]) == ("terminated", "enough")
    assert again.json()["states"] == ["closed"]
    assert shown["variables"]["device_id"] == name
