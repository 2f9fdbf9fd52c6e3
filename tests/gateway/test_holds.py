"""Holds of actuators in a gateway's two stores: who passes, who is told, and a kill at every commit. (E9)"""

import itertools
import json

from fieldloom_contract import messages, topics
from fieldloom_contract.limits import MAX_DOWN_BYTES
from fieldloom_engine.ports import Alone
from fieldloom_gateway.automation.holds.kept import Kept
from fieldloom_gateway.automation.holds.runtime import FORGET_AFTER_MS, Runtime
from fieldloom_gateway.automation.service import Automation
from fieldloom_gateway.cluster.consensus.single import LocalConsensus
from fieldloom_gateway.cluster.state.machine import ReplicatedMap
from fieldloom_gateway.cluster.state.store import Store as SharedStore
from fieldloom_gateway.ingest.database import open_database
from fieldloom_gateway.ingest.store import Arrival, Store
from fieldloom_runtime.down import Release, Removed, Rule
from fieldloom_runtime.records import Event, Expired, Result, decode

NOW = 1_790_000_040_000
STREAM = b"s" * 16
DEVICE = "pump-1"
numbers = itertools.count()


class Killed(Exception):  # noqa: N818 - it reads as what happened
    """The gateway has died."""


class Gateway:
    """A gateway's two stores; it dies before or after a commit, as `dies_at` counts them, once. `now` is its clock."""

    def __init__(self, disk, dies_at=None):
        self.folder = disk / str(next(numbers))
        self.folder.mkdir()
        self.dies_at, self.commits, self.now, self.told, self.seq = dies_at, 0, NOW, 0, 0
        self.heard = []
        """What devices were told, each message as often as it was sent."""

    async def start(self):
        self.db = open_database(self.folder)
        self.store = Store(self.db, 10**7)
        self.automation = Automation(self.db, self.store, "gw.test")
        self.automation.start(NOW)
        self.store.attend(self.automation)
        machine = ReplicatedMap()
        self.consensus = LocalConsensus("gw.test", self.folder, machine)
        await self.consensus.start()
        kept = Kept(SharedStore(self.consensus, machine))
        write = kept.write

        async def dangerous(*arguments):
            self.die_if_due()
            await write(*arguments)
            self.die_if_due()

        kept.write = dangerous
        holds = self.automation.holds
        self.runtime = Runtime(holds, kept, Alone(), self.commit, self.deliver, lambda: self.now)
        self.kept = kept
        await self.runtime.load()
        return self

    async def stop(self):
        await self.consensus.stop()
        self.db.close()

    async def commit(self, call, *arguments):
        self.die_if_due()
        done = self.store.commit(call, *arguments)
        self.die_if_due()
        return done

    async def deliver(self):
        self.heard += self.store.messages()

    def die_if_due(self):
        self.commits += 1
        if self.commits == self.dies_at:
            self.dies_at = None
            raise Killed

    async def settle(self):
        """Go on until nothing is to be done at this time, over a kill as well."""
        while True:
            try:
                await self.runtime.turn()
            except Killed:
                await self.stop()
                await self.start()
            else:
                return

    async def hear(self, *records):
        """Take what the cloud sends down, and do all that follows at this time."""
        self.told += len(records)
        self.heard += self.store.down.take(STREAM, self.told, list(records), self.now)
        await self.settle()

    def answer(self, name, status="succeeded"):
        """Take the device's final word on a command."""
        self.seq += 1
        payload = messages.dumps({"boot": 7, "seq": self.seq, "ts": self.now, "id": name, "status": status})
        self.store.take([Arrival(DEVICE, topics.RESULT, payload, topics.device(DEVICE, topics.RESULT))], self.now)

    async def happen(self, type_):
        """Take an event of the device, and do all that follows at this time."""
        self.seq += 1
        payload = messages.dumps({"boot": 7, "seq": self.seq, "ts": self.now, "type": type_, "data": {}})
        taken = self.store.take([Arrival(DEVICE, "event", payload, topics.device(DEVICE, "event"))], self.now)
        self.heard += taken.answers
        await self.settle()

    @property
    def sent(self):
        rows = self.db.execute("SELECT body FROM outbox ORDER BY last").fetchall()
        return [decode(line) for (body,) in rows for line in body.split(b"\n")]

    @property
    def events(self):
        """What was told of holds: (event, whose, to whom, whether it waits)."""
        told = [one for one in self.sent if isinstance(one, Event) and one.type.startswith("actuator.")]
        return [
            (
                one.type.removeprefix("actuator."),
                one.data.get("hold", one.data.get("command"))["owner"],
                (one.data.get("to") or {}).get("owner"),
                one.data.get("waits"),
            )
            for one in told
        ]

    @property
    def set_by(self):
        """Who has set what to what, as it was told with results: (actuator, whose, value)."""
        told = [one.moved for one in self.sent if isinstance(one, Result) and one.moved is not None]
        return [(one.actuator, one.by.owner, one.parameters.get("value")) for one in told]

    @property
    def rejected(self):
        return {one.id: one.error for one in self.sent if isinstance(one, Result) and one.status == "rejected"}

    @property
    def values(self):
        """What the device is told to be, in order."""
        commands = [json.loads(one.payload) for one in self.heard if one.verb == topics.COMMAND]
        return [one["parameters"].get("value", one["type"]) for one in commands]

    @property
    def effects(self):
        return self.db.execute("SELECT status, error FROM effect ORDER BY number").fetchall()

    @property
    def holders(self):
        shown = self.automation.holds.of_device(DEVICE, self.now)
        return [(one["actuator"], [hold["owner"] for hold in one["holds"]]) for one in shown]


def command(name, value, owner="anna", priority="person", hold=None, **others):
    told = {"id": name, "device": DEVICE, "type": "write", "parameters": {"name": "relay", "value": value}}
    told |= {"expires": NOW + 300_000, "source": {"priority": priority, "owner": owner}}
    return {**told, **({} if hold is None else {"hold": hold}), **others}


def rule(name, value, on, **others):
    action = {"type": "write", "parameters": {"name": "relay", "value": value}, **others}
    return Rule(name, "1.0.0", {"id": name, "when": {"event_type": on}, "do": [{"command": action}]})


async def story(gateway):
    """A rule holds, a person takes over, a lower one waits, plain commands are refused; then they go one by one."""
    hot, dry = rule("hot", "hot", "hot", hold={"for": "1h"}), rule("dry", "dry", "dry")
    await gateway.hear(hot, dry)
    await gateway.happen("hot")
    await gateway.happen("dry")  # of the same priority, but of another owner
    await gateway.hear(command("c1", "anna", hold={"reason": "works", "expires": NOW + 60_000}))
    await gateway.hear(command("c2", "night", "timer", "schedule", hold={}))
    await gateway.hear(command("c3", "bob", "bob"), command("c4", "again"))
    await gateway.happen("dry")
    gateway.now = NOW + 60_000
    await gateway.settle()
    await gateway.hear(Release(DEVICE, "relay", "r1", "rule", "bob"))
    await gateway.hear(Release(DEVICE, "relay", "r2", "schedule", "bob"))
    await gateway.happen("dry")


async def test_who_holds_wins_and_what_waits_follows(disk):
    gateway = await Gateway(disk).start()

    await story(gateway)

    assert gateway.values == ["hot", "anna", "again", "hot", "night", "dry"]
    assert gateway.events == [
        ("held", "hot", None, False),
        ("lost", "dry", "hot", False),
        ("lost", "hot", "anna", True),
        ("held", "anna", None, False),
        ("lost", "timer", "anna", True),
        ("lost", "bob", "anna", False),
        ("lost", "dry", "anna", False),
        ("released", "anna", None, False),
        ("held", "hot", None, False),
        ("released", "hot", None, False),
        ("held", "timer", None, False),
        ("released", "timer", None, False),
    ]
    assert gateway.rejected == {
        "c2": "anna (person) holds relay until 2026-09-21T14:15:00+00:00: works; it waits in its slot",
        "c3": "anna (person) holds relay until 2026-09-21T14:15:00+00:00: works",
    }
    refused = [error for status, error in gateway.effects if status == "failed"]
    assert [error.partition(" until")[0] for error in refused] == [
        "expired: anna (person) holds relay",
        "rejected: hot (rule) holds relay",
        "rejected: anna (person) holds relay",
    ]
    assert gateway.holders == []
    await gateway.stop()


async def test_a_kill_at_any_commit_changes_nothing(disk):
    whole = await Gateway(disk).start()
    await story(whole)

    for dies_at in range(3, whole.commits + 1):  # the first two are of the start
        killed = await Gateway(disk, dies_at).start()
        await story(killed)
        assert killed.events == whole.events, dies_at
        assert killed.rejected == whole.rejected, dies_at
        assert killed.effects == whole.effects, dies_at
        # What a kill has kept from the device waits for it on the disk, unless a later hold took its place.
        assert set(killed.heard) <= set(whole.heard), dies_at
        assert killed.store.down.commands(DEVICE) == whole.store.down.commands(DEVICE), dies_at
        await killed.stop()
    await whole.stop()


async def test_a_hold_takes_the_place_of_what_still_waits_for_the_device(disk):
    gateway = await Gateway(disk).start()
    await gateway.hear(command("c1", "old"), command("c2", "other", type="cooling"))

    await gateway.hear(command("c3", "new", hold={}))

    (gone,) = [one for one in gateway.sent if isinstance(one, Expired)]
    assert (gone.id, gone.error) == ("c1", "anna (person) holds relay until released")
    assert [json.loads(one)["id"] for one in gateway.store.down.commands(DEVICE)] == ["c2", "c3"]
    await gateway.stop()


async def test_who_has_set_an_actuator_is_told_with_the_devices_word(disk):
    """Of a person's command and a rule's, over a kill; what failed, or moves nothing, has set nothing. (E9)"""
    gateway = await Gateway(disk).start()
    await gateway.hear(rule("hot", "hot", "hot"), command("c1", "anna"), command("c2", "bob", "bob"))
    await gateway.hear(command("c3", 0, type="reboot"), command("c4", 0, type="cooling"))
    await gateway.happen("hot")
    ruled = json.loads(gateway.heard[-1].payload)["id"]
    await gateway.stop()
    await gateway.start()

    for name, status in (("c1", "succeeded"), ("c2", "failed"), ("c3", "succeeded"), (ruled, "succeeded")):
        gateway.answer(name, "accepted")
        gateway.answer(name, status)
    gateway.answer("c4")
    gateway.answer("c4")

    assert gateway.set_by == [("relay", "anna", "anna"), ("relay", "hot", "hot"), ("cooling", "anna", 0)]
    await gateway.stop()


async def test_what_moves_nothing_passes_and_holds_nothing(disk):
    gateway = await Gateway(disk).start()
    await gateway.hear(command("c1", "held", hold={}))

    await gateway.hear(command("c2", 0, "hot", "rule", type="reboot"), command("c3", 0, type="reboot", hold={}))

    assert gateway.values == ["held", 0]
    assert gateway.rejected == {"c3": "reboot moves no actuator"}
    await gateway.stop()


async def test_a_hold_has_room_for_the_command_by_which_it_acts_again(disk):
    gateway = await Gateway(disk).start()
    room = MAX_DOWN_BYTES - len(messages.command("c1", "write", {"name": "relay", "value": ""}, NOW + 300_000))

    await gateway.hear(command("c1", "x" * room, hold={}), command("c2", "x" * (room - 40), hold={}))
    await gateway.hear(command("c3", "over", "boss", "safety", hold={}))
    await gateway.hear(Release(DEVICE, "relay", "r1", "safety", "boss"))

    assert [*gateway.rejected] == ["c1"]
    assert [len(value) for value in gateway.values] == [room - 40, 4, room - 40]
    await gateway.stop()


async def test_a_command_of_a_cloud_that_says_no_source_is_a_persons(disk):
    gateway = await Gateway(disk).start()
    plain = command("c1", "plain")
    del plain["source"]

    await gateway.hear(command("c0", "held", "hot", "rule", hold={}))
    await gateway.hear(plain)

    assert gateway.values == ["held", "plain"]
    await gateway.stop()


async def test_a_device_that_was_removed_is_held_by_nobody(disk):
    gateway = await Gateway(disk).start()
    await gateway.hear(command("c1", "held", hold={}), command("c2", 0, type="cooling", hold={}))

    await gateway.hear(command("c3", "late", "bob", hold={}), Removed(DEVICE))

    assert (gateway.kept.all(), gateway.automation.holds.view) == ({}, {})
    await gateway.hear(command("c4", "anew", "hot", "rule"))
    assert gateway.values[-1] == "anew"
    await gateway.stop()


async def test_an_actuator_that_nobody_holds_is_forgotten(disk):
    gateway = await Gateway(disk).start()
    await gateway.hear(command("c1", "held", hold={"expires": NOW + 1}))

    for gateway.now in (NOW + 1, NOW + 1 + FORGET_AFTER_MS):
        await gateway.settle()

    assert gateway.kept.all() == {}
    assert gateway.db.execute("SELECT * FROM hold_told").fetchall() == []
    await gateway.hear(command("c2", "anew", hold={}))
    assert gateway.values == ["held", "anew"]
    await gateway.stop()
