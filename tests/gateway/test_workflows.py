"""Workflows in the gateway's runtime: the stories, a kill at every commit, what starts and ends them. (W4 to W8)"""

import itertools
import json
from collections import Counter

import msgspec
import pytest

from fieldloom_contract import messages, topics
from fieldloom_contract.errors import Rejected
from fieldloom_engine.definitions import shown
from fieldloom_engine.rules import Event as Judged
from fieldloom_engine.workflows import Record
from fieldloom_engine.workflows.instance import place
from fieldloom_gateway.automation.deployed import FOLDER, Put
from fieldloom_gateway.automation.service import Automation
from fieldloom_gateway.automation.workflows import world
from fieldloom_gateway.automation.workflows.checkpoints import INSTANCES, Checkpoints, instance_key
from fieldloom_gateway.automation.workflows.former import former_instances
from fieldloom_gateway.automation.workflows.inbox import Again, Begins, Came, Ends, Outcome, Signals
from fieldloom_gateway.automation.workflows.runtime import Runtime, acts_for_all
from fieldloom_gateway.cluster.consensus.single import LocalConsensus
from fieldloom_gateway.cluster.node import entries_of
from fieldloom_gateway.cluster.partitions.partition import PARTITIONS, partition_of
from fieldloom_gateway.cluster.state.machine import ReplicatedMap
from fieldloom_gateway.cluster.state.store import Store as SharedStore
from fieldloom_gateway.ingest.database import open_database
from fieldloom_gateway.ingest.store import Arrival, Store
from fieldloom_runtime import down
from fieldloom_runtime.records import Event, decode
from fixtures.workflow_stories import BEGINNING, THE_END, Asked, differences, stories

GATEWAY = "gw.test"
NOW = 1_790_000_040_000
STREAM = b"s" * 16
numbers = itertools.count()

COOLING = {
    "id": "cooling",
    "placement": "edge",
    "triggers": [{"event": {"type": "hot"}}, {"api": {}}],
    "variables": [{"name": "device_id", "type": "string"}, {"name": "level", "type": "integer"}],
    "initial_state": "cool",
    "states": {
        "cool": {
            "type": "task",
            "actions": [
                {"raise_alarm": {"alarm": "hot"}},
                {"command": {"type": "fan", "parameters": {"level": "{{ level }}"}}},
            ],
            "transitions": [{"target": "settle"}],
        },
        "settle": {"type": "wait", "for": "1m", "transitions": [{"target": "closed"}]},
        "closed": {"type": "wait", "event": {"type": "cold"}, "timeout": "1h", "transitions": [{"target": "done"}]},
        "done": {"type": "succeed", "output": {"fan": "{{ result.data.level }}"}},
    },
}


class Killed(Exception):  # noqa: N818 - it reads as what happened
    """The gateway has died."""


class Gateway:
    """A gateway's two stores with its workflows; it dies before or after a commit, as `dies_at` counts them, once.

    `now` is its clock.
    """

    def __init__(self, disk, dies_at=None, performs=True):
        self.folder = disk / str(next(numbers))
        self.folder.mkdir()
        self.dies_at, self.performs = dies_at, performs
        self.now, self.told, self.seq, self.commits = NOW, 0, 0, 0
        self.asked, self.abandoned, self.kills, self.is_started = [], [], 0, False
        self.done = Counter()
        """What was done by partition."""
        self.effects = {}
        """The last effect that a state of an instance asked for, by the state's path."""

    async def start(self):
        self.db = open_database(self.folder)
        self.store = Store(self.db, 10**7)
        self.automation = Automation(self.db, self.store, GATEWAY)
        self.automation.start(NOW)
        self.store.attend(self.automation)
        self.service = self.automation.workflows
        machine = ReplicatedMap()
        self.consensus = LocalConsensus(GATEWAY, self.folder, machine)
        await self.consensus.start()
        self.shared = SharedStore(self.consensus, machine)
        self.checkpoints = Checkpoints(self.shared)
        write = self.checkpoints.write

        async def committed(*arguments):
            self.die_if_due()
            index = await write(*arguments)
            self.die_if_due()
            return index

        self.checkpoints.write = committed
        self.runtime = Runtime(
            self.service,
            self.checkpoints,
            acts_for_all,
            self.in_store,
            self.follow,
            lambda: self.now,
            lambda partition, units: self.done.update({partition: units}),
        )
        await self.runtime.load_all()
        self.is_started = True
        return self

    async def kill(self):
        """End as `kill -9` would, and start again."""
        await self.stop()
        return await self.start()

    async def stop(self):
        await self.consensus.stop()
        self.db.close()

    async def in_store(self, call, *arguments):
        return call(*arguments)

    async def follow(self, followed):
        self.asked += [Asked(self.now, effect.kind, effect.parameters) for _, effect in followed.asked]
        self.abandoned += followed.abandoned
        asked = followed.asked if self.performs else ()
        self.die_if_due()
        told = followed._replace(asked=asked)
        self.store.commit(self.service.follow, told, self.automation.effects, self.now)
        self.die_if_due()

    def die_if_due(self):
        self.commits += self.is_started
        if self.commits == self.dies_at:
            raise Killed

    async def settle(self):
        """Go on until nothing is to be done at this time, over a kill as well."""
        while True:
            try:
                while await self.runtime.turn():
                    pass
            except Killed:
                self.kills += 1
                await self.kill()
            else:
                break
        for instance in self.runtime.all():
            paths = {shown(place(path, scope.state)): scope.effect for path, scope in instance.scopes.items()}
            self.effects |= {path: effect for path, effect in paths.items() if effect}

    async def happen(self, told):
        self.store.commit(self.service.put, told)
        await self.settle()

    async def pass_time(self, until):
        while (deadline := self.runtime.next_deadline) is not None and deadline <= until:
            self.now = max(self.now, deadline)
            await self.settle()
        self.now = max(self.now, until)
        self.automation.look_at_the_clock(self.now)
        await self.settle()

    def hear(self, *records):
        self.told += len(records)
        self.store.down.take(STREAM, self.told, list(records), self.now)

    def deploy(self, *documents):
        self.hear(*(down.Workflow(one["id"], one.get("version", "1.0.0"), one) for one in documents))

    async def take(self, kind, device="dev-1", verb="event", **data):
        self.seq += 1
        record = {"boot": 7, "seq": self.seq, "ts": self.now, "type": kind, "data": data}
        await self.take_record(record, device, verb)

    async def take_record(self, record, device="dev-1", verb="event"):
        payload = messages.dumps([record])
        self.store.take([Arrival(device, verb, payload, topics.device(device, verb))], self.now)
        await self.settle()

    async def answer(self, **result):
        """Have the device of the oldest command execute it."""
        (command,) = self.commands()[:1]
        self.seq += 1
        told = {"id": command["id"], "status": "succeeded", "result": result}
        await self.take_record({"boot": 7, "seq": self.seq, "ts": self.now, **told}, verb="command/result")

    def commands(self, device="dev-1"):
        return [json.loads(payload) for payload in self.store.down.commands(device)]

    @property
    def sent(self):
        rows = self.db.execute("SELECT body FROM outbox ORDER BY last").fetchall()
        return [decode(line) for (body,) in rows for line in body.split(b"\n")]

    def events(self, *types):
        return [one for one in self.sent if isinstance(one, Event) and one.type in types]

    def recorded(self):
        """What the cloud was told of instances, without ids."""
        return [(one.data["record"]["number"], one.data["record"]["kind"]) for one in self.events("workflow.recorded")]

    def statuses(self):
        return [one.status for one in self.runtime.all()]


@pytest.fixture
async def gateway(disk):
    gateway = await Gateway(disk).start()
    yield gateway
    await gateway.stop()


# --- the same as everywhere else --------------------------------------------------------------------------------------


@pytest.mark.parametrize("story", stories(), ids=str)
async def test_workflows_go_as_their_stories_tell(disk, story):
    gateway = Gateway(disk, performs=False)
    gateway.now = BEGINNING
    await gateway.start()
    document = {**story.workflow.document, "placement": "edge"}
    workflow = story.workflow
    gateway.deploy(document)
    begins = Begins(
        id="instance-1",
        workflow=workflow.id,
        version=workflow.version,
        variables=story.variables,
        correlation=None,
        overlap="allow",
    )

    await gateway.happen(begins)
    for told in story.happens:
        await gateway.pass_time(told["at"])
        await gateway.happen(happening(gateway, told))
    await gateway.pass_time(story.until)

    instance = gateway.runtime.one("instance-1")
    history = msgspec.convert(gateway.service.history("instance-1"), list[Record])
    assert differences(story, gateway.asked, len(gateway.abandoned), history, instance) == []
    assert len(gateway.events("workflow.recorded")) == len(history)
    await gateway.stop()


def happening(gateway, told):
    """Return what a story tells as what the inbox has."""
    name = "instance-1"
    if "answer" in told:
        asked = gateway.effects.get(told["answer"])
        effect = gateway.runtime.one(name).pending.action.id if told["answer"] == THE_END else asked
        return Outcome(name, effect, "error" not in told, told.get("result"), told.get("error"))
    if "event" in told:
        return Came(told["event"])
    if "signal" in told:
        return Signals(name, told["signal"])
    if "terminate" in told:
        return Ends(name, told["terminate"], told.get("undo", True))
    return Again(name, told["replay"], told.get("variables", {}))


# --- over a kill at every commit --------------------------------------------------------------------------------------


async def through(disk, dies_at=None):
    """Run a cooling from the event that starts it to its end."""
    gateway = await Gateway(disk, dies_at).start()
    gateway.deploy(COOLING)
    await gateway.take("hot", level=3)
    commands = gateway.commands()
    await gateway.answer(speed=9)
    await gateway.pass_time(NOW + 60_000)
    await gateway.take("cold", level=1)
    await gateway.stop()
    return gateway, commands


async def test_a_kill_at_any_commit_changes_nothing(disk):
    calm, commands = await through(disk)
    calm_recorded, calm_alarms = told_of(calm)

    for dies_at in range(1, calm.commits + 1):
        killed, again = await through(disk, dies_at)
        assert killed.kills == 1
        assert again == commands
        assert told_of(killed) == (calm_recorded, calm_alarms), dies_at
    assert [(one["type"], one["parameters"]) for one in commands] == [("fan", {"level": 3})]
    assert calm_recorded[-1] == (6, "ended")
    assert calm_alarms == 1


def told_of(gateway):
    """What the cloud was told, and how often an alarm was raised."""
    gateway.db = open_database(gateway.folder)
    told = gateway.recorded(), len(gateway.events("alarm.raised"))
    gateway.db.close()
    return told


async def test_an_instance_that_waits_goes_on_after_a_kill(gateway):
    gateway.deploy(COOLING)
    await gateway.take("hot", level=3)
    await gateway.answer()
    await gateway.kill()

    await gateway.pass_time(NOW + 60_000)
    await gateway.kill()
    await gateway.take("cold", level=5)

    (instance,) = gateway.runtime.all()
    assert (instance.status, instance.output) == ("succeeded", {"fan": 5})


async def test_what_instances_do_counts_for_their_partitions(gateway):
    """What happens to them, and what time brings about. (D4, ADR 71)"""
    gateway.deploy(COOLING)
    one, other = partition_of("dev-1"), partition_of("dev-2")
    await gateway.take("hot", level=3)
    begun = gateway.done[one]
    await gateway.answer()
    answered = gateway.done[one]
    await gateway.take("hot", device="dev-2", level=5)
    assert set(gateway.done) == {one, other}
    assert gateway.done[one] == answered > begun > 0

    await gateway.pass_time(NOW + 60_000)
    assert gateway.done[one] > answered


# --- what starts instances --------------------------------------------------------------------------------------------


async def test_an_event_starts_a_workflow_once_and_what_overlaps_is_skipped(gateway):
    gateway.deploy(COOLING)

    await gateway.take("hot", level=3)
    gateway.seq -= 1
    await gateway.take("hot", level=3)  # the same record again
    await gateway.take("hot", level=4)
    await gateway.take("hot", device="dev-2", level=5)

    assert [one.variables["device_id"] for one in gateway.runtime.all()] == ["dev-1", "dev-2"]
    assert (gateway.runtime.status()["counts"]["started"], gateway.runtime.status()["counts"]["skipped"]) == (2, 1)


WAITING = {"initial_state": "wait", "states": {"wait": {"type": "wait", "for": "1m"}}}


@pytest.mark.parametrize(
    ("overlap", "at_once", "in_the_end"),
    [
        ("allow", ["waiting", "waiting", "waiting"], ["succeeded"] * 3),
        ("replace", ["terminated", "terminated", "waiting"], ["succeeded", "terminated", "terminated"]),
        ("queue", ["waiting"], ["succeeded"] * 3),
    ],
)
async def test_what_overlaps_goes_by_its_policy_over_a_kill(gateway, overlap, at_once, in_the_end):
    trigger = {"event": {"type": "go"}, "overlap": overlap}
    gateway.deploy({"id": "a", "placement": "edge", "triggers": [trigger], **WAITING})

    for _ in range(3):
        await gateway.take("go")
    found = gateway.statuses()
    await gateway.kill()
    for minute in range(1, 4):
        await gateway.pass_time(NOW + minute * 60_000)

    assert sorted(found) == at_once
    assert sorted(gateway.statuses()) == in_the_end


async def test_a_rule_starts_a_workflow_about_its_device(gateway):
    document = {
        "id": "r",
        "when": {"event_type": "odd"},
        "do": [{"start_workflow": {"workflow": "cooling", "variables": {"level": 2}}}],
    }
    gateway.deploy(COOLING)
    gateway.hear(down.Rule("r", "1.0.0", document))

    await gateway.take("odd")

    (instance,) = gateway.runtime.all()
    assert (instance.variables["device_id"], gateway.commands()[0]["parameters"]) == ("dev-1", {"level": 2})
    (outcome,) = [one.data for one in gateway.events("rule.action")]
    assert (outcome["status"], outcome["result"]) == ("done", {"instance": instance.id})


async def test_a_rule_is_told_that_a_workflow_is_not_here(gateway):
    document = {"id": "r", "when": {"event_type": "odd"}, "do": [{"start_workflow": {"workflow": "none"}}]}
    gateway.hear(down.Rule("r", "1.0.0", document))

    await gateway.take("odd")

    (outcome,) = [one.data for one in gateway.events("rule.action")]
    assert (outcome["status"], outcome["error"]) == ("failed", "workflow: no workflow none is at work here")


async def test_a_schedule_starts_once_at_each_of_its_times(gateway):
    trigger = {"schedule": {"cron": "*/10 * * * *"}, "overlap": "allow"}
    gateway.deploy({"id": "a", "placement": "edge", "triggers": [trigger], **WAITING})
    await gateway.pass_time(NOW)

    await gateway.pass_time(NOW + 360_000)
    gateway.automation.look_at_the_clock(NOW + 360_001)
    await gateway.kill()
    gateway.automation.look_at_the_clock(NOW + 360_002)
    await gateway.settle()

    assert len(gateway.runtime.all()) == 1


async def test_no_schedule_starts_anything_until_the_clock_can_be_right(gateway):
    trigger = {"schedule": {"cron": "* * * * *"}, "overlap": "allow"}
    gateway.deploy({"id": "a", "placement": "edge", "triggers": [trigger], **WAITING})
    gateway.now = 600_000  # a Pi that has no clock of the day

    await gateway.pass_time(660_000)

    assert gateway.runtime.all() == []


# --- definitions ------------------------------------------------------------------------------------------------------


def words(gateway):
    return [(one.type, one.data) for one in gateway.events("workflow.applied", "workflow.refused")]


async def test_what_runs_finishes_on_its_version_and_new_ones_start_with_the_new(gateway):
    gateway.deploy(COOLING)
    await gateway.take("hot", level=3)
    newer = {**COOLING, "version": "1.1.0", **WAITING}
    gateway.deploy(newer)

    await gateway.take("hot", device="dev-2", level=3)
    await gateway.kill()
    await gateway.answer()
    gateway.hear(down.Workflows({}))
    await gateway.take("hot", device="dev-3", level=3)

    assert [(one.version, one.active) for one in gateway.runtime.all()] == [
        ("1.1.0", [("wait",)]),
        ("1.0.0", [("settle",)]),
    ], "the one that changed last is the last"
    assert gateway.service.one("cooling")["version"] is None
    assert words(gateway) == [
        ("workflow.applied", {"workflow": "cooling", "version": "1.0.0"}),
        ("workflow.applied", {"workflow": "cooling", "version": "1.1.0"}),
    ]


@pytest.mark.parametrize(
    ("change", "path", "reason"),
    [
        ({"placement": "cloud"}, "placement", "is cloud: this is a gateway"),
        ({"triggers": [{"message": {"topic": "fl/#"}}]}, "triggers[0].message.topic", "must begin with site/"),
        ({"devices": {"group": "pumps"}}, "devices.group", "only the cloud knows groups"),
        ({"initial_state": "none"}, "initial_state", ""),
        ({"name": "Another"}, "version", "1.0.0 is here already and says something else"),
    ],
)
async def test_a_refused_version_leaves_the_one_at_work(gateway, change, path, reason):
    gateway.deploy(COOLING)

    gateway.deploy({**COOLING, **change})
    await gateway.take("hot", level=3)

    type_, data = words(gateway)[-1]
    assert (type_, data["faults"][0]["path"]) == ("workflow.refused", path)
    assert reason in data["faults"][0]["reason"]
    assert gateway.service.one("cooling")["refused"]["version"] == "1.0.0"
    assert gateway.statuses() == ["running"]


async def test_the_folder_and_the_cloud_do_not_take_each_others_workflows(gateway):
    gateway.deploy(COOLING)

    faults = gateway.store.commit(gateway.automation.take_workflows, [Put(FOLDER, "cooling", "1.0.0", COOLING)])

    assert str(faults["cooling"][0]) == "id: a workflow of this id has come from the cloud"


# --- bounds -----------------------------------------------------------------------------------------------------------


async def test_a_large_instance_stands_in_parts_and_goes_on(gateway):
    long = {**WAITING, "variables": [{"name": "text", "type": "string"}], "triggers": [{"event": {"type": "go"}}]}
    gateway.deploy({"id": "a", "placement": "edge", **long})
    await gateway.happen(
        Begins(
            id="1", workflow="a", version="1.0.0", variables={"text": "x" * 200_000}, correlation=None, overlap="skip"
        )
    )
    parts = len(gateway.shared.below(instance_key(partition_of("a"), "1")))
    await gateway.kill()

    await gateway.pass_time(NOW + 60_000)

    assert parts > 3
    assert gateway.statuses() == ["succeeded"]


async def test_an_event_reaches_more_instances_than_one_commit_holds(gateway):
    trigger = {"event": {"type": "go"}, "overlap": "allow"}
    wait = {"type": "wait", "event": {"type": "end", "any_source": True}}
    flow = {"initial_state": "wait", "states": {"wait": wait}}
    gateway.deploy({"id": "a", "placement": "edge", "triggers": [trigger], **flow})
    for number in range(150):
        told = Begins(id=str(number), workflow="a", version="1.0.0", variables={}, correlation=None, overlap="allow")
        gateway.store.commit(gateway.service.put, told)
    await gateway.settle()

    await gateway.take("end")

    assert gateway.statuses() == ["succeeded"] * 150
    assert len(gateway.recorded()) == 450


async def test_only_the_newest_that_are_over_are_kept(gateway, monkeypatch):
    monkeypatch.setattr(world, "ENDED", 2)
    trigger = {"event": {"type": "go"}, "overlap": "allow"}
    flow = {"initial_state": "end", "states": {"end": {"type": "succeed"}}}
    gateway.deploy({"id": "a", "placement": "edge", "triggers": [trigger], **flow})

    for _ in range(5):
        await gateway.take("go")

    kept = [one.id for one in gateway.runtime.all()]
    assert len(kept) <= 3
    assert {key.split("/")[3] for key in await gateway.shared.list_keys(INSTANCES)} == set(kept)
    assert len(gateway.recorded()) == 15


async def test_a_step_that_the_map_refuses_is_dropped_and_others_go_on(gateway, monkeypatch):
    trigger = {"event": {"type": "go"}, "overlap": "allow"}
    gateway.deploy({"id": "a", "placement": "edge", "triggers": [trigger], **WAITING})
    write = gateway.checkpoints.write

    async def choosy(changes, versions):
        if any(b"bad" in (one.body or b"") for one in changes):
            raise Rejected("value", "is too long")
        return await write(changes, versions)

    monkeypatch.setattr(gateway.checkpoints, "write", choosy)
    for name in ("good-1", "bad", "good-2"):
        told = Begins(id=name, workflow="a", version="1.0.0", variables={}, correlation=name, overlap="skip")
        gateway.store.commit(gateway.service.put, told)
    await gateway.settle()

    assert sorted(one.id for one in gateway.runtime.all()) == ["good-1", "good-2"]
    assert gateway.runtime.status()["counts"]["refused"] == 1
    assert gateway.service.waiting(10, range(PARTITIONS)) == []


async def test_what_went_on_in_a_map_of_an_older_gateway_goes_on(disk):
    former = await Gateway(disk).start()
    trigger = {"event": {"type": "go"}, "overlap": "queue"}
    waiting = {"id": "a", "placement": "edge", "triggers": [trigger], **WAITING}
    former.deploy(COOLING, waiting)
    await former.take("hot", level=3)
    await former.take("go")
    await former.take("go")
    rows = [(entry.key, entry.value) for entry in former.shared.below("workflows/")]
    await former.stop()
    await keep_as_version_7(former.folder / "old", rows)
    (former.folder / "cluster.db").unlink()
    former.db = open_database(former.folder)
    former.db.execute("INSERT INTO workflow_inbox (body) VALUES (?)", (msgspec.json.encode(Came(COLD)),))
    former.db.close()

    gateway = await former.start()
    for told in former_instances(await entries_of(GATEWAY, former.folder / "old")):
        gateway.store.commit(gateway.service.put, told)
    await gateway.settle()
    gateway.store.commit(gateway.service.place)
    begun = gateway.statuses()
    await gateway.answer(speed=9)
    await gateway.pass_time(NOW + 60_000)
    await gateway.take("cold", level=5)

    assert sorted(begun) == ["running", "waiting"]
    assert sorted(gateway.statuses()) == ["succeeded", "succeeded", "waiting"]
    told = [(one.data["instance"], one.data["record"]["number"]) for one in gateway.events("workflow.recorded")]
    assert len(told) == len(set(told)) == 10
    await gateway.stop()


COLD = Judged("e", "cold", "dev-1", NOW, {})


async def keep_as_version_7(folder, rows):
    """Write what a gateway without partitions has left."""
    folder.mkdir()
    machine = ReplicatedMap()
    consensus = LocalConsensus(GATEWAY, folder, machine)
    await consensus.start()
    shared = SharedStore(consensus, machine)
    for key, value in rows:
        kind, _, rest = key.removeprefix("workflows/").partition("/")
        await shared.set(f"workflows/{kind}/{rest.partition('/')[2]}", value)
    await consensus.stop()
