"""Workflows of the cloud go as their stories tell, whatever is killed between two commits. (W2, W4 to W8, A3)"""

import itertools
from collections import Counter

import msgspec
import pytest
from sqlalchemy import delete, func, select, update

from fieldloom_cloud.automation.performing import Asked as RuleAsked
from fieldloom_cloud.automation.performing import NotPerformed
from fieldloom_cloud.automation.runtime import Runtime
from fieldloom_cloud.guard import Incoming
from fieldloom_cloud.ingest.service import Records
from fieldloom_cloud.pages import Asked as Page
from fieldloom_cloud.workers.leases import AllSlots
from fieldloom_cloud.workflows import (
    happenings,
    hearing,
    instances,
    models,
    performing,
    service,
    starts,
    stepping,
)
from fieldloom_cloud.workflows.definitions import Definitions
from fieldloom_cloud.workflows.happenings import Told
from fieldloom_cloud.workflows.hearing import Hearing
from fieldloom_cloud.workflows.kinds import CLOUD_KINDS
from fieldloom_cloud.workflows.performing import Performing, Waits
from fieldloom_cloud.workflows.starts import Wish
from fieldloom_cloud.workflows.worker import WorkflowWorker
from fieldloom_engine.definitions import shown
from fieldloom_engine.rules import Event as Judged
from fieldloom_engine.workflows import (
    Answered,
    Record,
    Replayed,
    Signalled,
    Terminated,
    decode,
    parse,
)
from fieldloom_engine.workflows.instance import place
from fieldloom_engine.workflows.model import OnApi, Trigger
from fieldloom_engine.workflows.triggers import Start
from fieldloom_runtime.records import Event, Expired, Result, State
from fixtures.workflow_stories import BEGINNING, THE_END, Asked, differences, stories

IN_SQLITE = pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
IN_POSTGRESQL = pytest.mark.parametrize("new_database", ["postgresql"], indirect=True)
GATEWAY = "gw.one"
PAGE = Page(limit=100)
numbers = itertools.count(1)
record_of = msgspec.json.Decoder(Record).decode
TABLES = [one for one in vars(models).values() if isinstance(one, type) and one.__module__ == models.__name__]


class World:
    """Workflows at work over a database, a clock that is set, and what a gateway sends."""

    def __init__(self, served):
        self.served = served
        self.now = BEGINNING
        self.asked, self.effects, self.called = [], {}, []
        self.perform = None
        self.sent = 0
        self.stream = next(numbers).to_bytes(16, "big")
        self.begin()

    def begin(self):
        """Begin with what is stored, as after a crash."""
        outgoing = {"http": self.call_out, "notification": self.call_out}
        self.worker = WorkflowWorker(self.served.database, outgoing, lambda: self.now, self.perform)
        rules = Runtime(self.served.database, AllSlots(), lambda: self.now)
        judge = Hearing(rules, self.worker.definitions, self.worker.wake, lambda: self.now)
        self.records = Records(self.served.database, None, AllSlots(), judge, lambda: None)

    async def call_out(self, asked):
        self.called.append(asked.id)
        if asked.parameters.get("url") == "http://broken":
            raise NotPerformed("it answers 500", is_final=False)
        return {"status": 200}

    def call(self, work, *arguments):
        return self.served.client.portal.call(work, *arguments)

    def deploy(self, *workflows):
        async def all_of_them(session):
            for workflow in workflows:
                await service.deploy(session, workflow, None)

        self.served.within(all_of_them)

    def start(self, workflow, variables=None, id_=None, correlation=None, overlap="allow"):
        trigger = Trigger(on=OnApi(), overlap=overlap)
        wish = Wish(Start(id_ or f"instance-{next(numbers)}", workflow, trigger, variables or {}, correlation))
        begun = self.served.within(lambda session: starts.begin(session, [wish], self.now))
        assert len(begun) == 1
        return wish.start.id

    def tell(self, instance, happening):
        self.served.within(lambda session: happenings.tell(session, [Told(instance, happening)]))

    def occur(self, event):
        async def hear(session):
            await self.worker.definitions.refresh(session)
            await hearing.occur(session, self.worker.definitions, [event])

        self.served.within(hear)

    def bring(self, *records):
        """Have a gateway send records, one batch."""
        self.sent += len(records)
        sent = Incoming(GATEWAY, self.stream, self.sent - len(records) + 1, 1, [], list(records))
        self.call(self.records.write, [sent])

    def go_on(self):
        self.call(self.worker.go_on)

    def until(self, now):
        """Let the clock go on, deadline by deadline, and what is due by it be done."""
        self.go_on()
        while (deadline := self.next_deadline()) is not None and deadline <= now:
            self.now = max(self.now, deadline)
            self.go_on()
        self.now = max(self.now, now)

    def next_deadline(self):
        query = select(func.min(models.InstanceRow.deadline))
        return self.served.within(lambda session: session.scalar(query))

    def instance(self, id_):
        return decode(self.row(id_).checkpoint)

    def row(self, id_):
        return self.served.within(lambda session: session.get(models.InstanceRow, id_))

    def show(self, id_):
        return self.served.within(lambda session: instances.show(session, id_))

    def history(self, id_):
        query = select(models.HistoryRow.record).where(models.HistoryRow.instance == id_)

        async def read(session):
            return [record_of(one) for one in await session.scalars(query.order_by(models.HistoryRow.number))]

        return self.served.within(read)


@pytest.fixture
def world(served, api):
    yield World(served)

    async def clean(session):
        for table in TABLES:
            await session.execute(delete(table))

    served.within(clean)


class Telling(World):
    """A world in which a story tells what is answered."""

    def __init__(self, served, story):
        super().__init__(served)

        async def record(_session, wanted, now):
            self.asked.append(Asked(now, wanted.kind, wanted.parameters))
            return Waits(performing.SENT, performing.NEVER)

        self.perform = record
        self.story = story
        self.begin()
        self.deploy(story.workflow)
        self.id = self.start(story.workflow, story.variables)
        self.go_on()

    def go_on(self):
        super().go_on()
        instance = self.instance(self.id)
        self.effects |= {
            shown(place(path, scope.state)): scope.effect for path, scope in instance.scopes.items() if scope.effect
        }

    def happen(self, told):
        self.until(told["at"])
        if "event" in told:
            self.occur(told["event"])
        else:
            self.tell(self.id, self._happening(told))
        self.begin()
        self.go_on()

    def _happening(self, told):
        if "answer" in told:
            return Answered(self._effect(told["answer"]), "error" not in told, told.get("result"), told.get("error"))
        if "signal" in told:
            return Signalled(told["signal"])
        if "terminate" in told:
            return Terminated(told["terminate"], told.get("undo", True))
        return Replayed(told["replay"], told.get("variables", {}))

    def _effect(self, state):
        return self.instance(self.id).pending.action.id if state == THE_END else self.effects[state]

    def abandoned(self):
        query = select(func.count()).where(models.EffectRow.status == performing.WITHDRAWN)
        return self.served.within(lambda session: session.scalar(query))


def go(served, story):
    world = Telling(served, story)
    for told in story.happens:
        world.happen(told)
    world.until(story.until)
    found = differences(story, world.asked, world.abandoned(), world.history(world.id), world.instance(world.id))
    assert found == []


@IN_SQLITE
@pytest.mark.parametrize("story", stories(), ids=str)
def test_a_story_goes_as_in_the_engine_though_all_is_read_back_after_each_happening(world, served, story):
    go(served, story)


@IN_POSTGRESQL
@pytest.mark.parametrize("story", [one for one in stories() if one.file == "branches"][:3], ids=str)
def test_a_story_goes_in_postgresql_too(world, served, story):
    go(served, story)


@pytest.fixture
def device(api):
    name = f"device-{next(numbers)}"
    api.post("/devices", json={"id": name, "site": "default"}).raise_for_status()
    return name


def workflow(states, **more):
    told = {"id": "flow", "initial_state": next(iter(states)), "states": states, **more}
    told.setdefault("variables", [{"name": "device_id", "type": "string"}])
    return parse(told, CLOUD_KINDS)


def task(*actions, **more):
    return {"type": "task", "actions": list(actions), **more}


def event(device, kind, data=None):
    return Event(device=device, ts=BEGINNING, at=BEGINNING, boot=next(numbers), seq=1, type=kind, data=data or {})


FLUSH = {"command": {"type": "flush", "parameters": {"seconds": 5}}}


def result(device, command, status="succeeded", **told):
    return Result(
        device=device, ts=BEGINNING, at=BEGINNING, boot=next(numbers), seq=1, id=command, status=status, **told
    )


def commands_of(api, device):
    return api.get(f"/devices/{device}/commands").json()["items"]


def test_an_action_command_ends_as_the_device_says_and_is_sent_once_over_crashes(world, api, device):
    flow = workflow({"flush": task(FLUSH)})
    world.deploy(flow)
    id_ = world.start(flow, {"device_id": device})
    for _ in range(3):
        world.begin()
        world.go_on()
    (command,) = commands_of(api, device)
    assert (world.instance(id_).status, command["type"]) == ("running", "flush")

    world.bring(result(device, command["id"], result={"litres": 3}))
    world.go_on()

    told = world.show(id_)
    assert (told["status"], told["output"], told["effects"]) == ("succeeded", {"litres": 3}, [])


@IN_SQLITE
def test_a_command_that_fails_or_expires_is_a_failure_with_its_reason(world, api, device):
    flow = workflow({"flush": task(FLUSH, retry={"max_attempts": 2, "delay": "1s"})})
    world.deploy(flow)
    id_ = world.start(flow, {"device_id": device})
    world.go_on()
    (first,) = commands_of(api, device)
    world.bring(result(device, first["id"], "failed", error="no water"))
    world.until(BEGINNING + 1000)
    second = next(one for one in commands_of(api, device) if one["id"] != first["id"])
    assert second["status"] == "pending"

    world.until(BEGINNING + 1000 + 300_000 + performing.GRACE_MS)
    world.call(world.worker.keep_time)
    world.go_on()

    records = [one for one in world.history(id_) if one.kind == "state"]
    assert [one.failure.message for one in records] == [
        "command: no water",
        "command: no outcome came before it expired",
    ]
    assert world.instance(id_).status == "failed"


@IN_SQLITE
def test_what_was_given_up_and_not_sent_is_withdrawn_and_a_late_outcome_changes_nothing(world, api, device):
    flow = workflow({"flush": task(FLUSH, timeout="10s", on_error=[{"target": "dry"}]), "dry": {"type": "succeed"}})
    world.deploy(flow)
    id_ = world.start(flow, {"device_id": device})
    world.until(BEGINNING + 10_000)
    (command,) = commands_of(api, device)

    world.bring(result(device, command["id"]))
    world.go_on()

    assert (command["status"], command["error"]) == ("expired", "its workflow does not need it any more")
    assert (world.instance(id_).status, len(world.history(id_))) == ("succeeded", 4)


@IN_SQLITE
def test_effects_in_sql_are_done_with_the_step_and_calls_behind_it(world, api, device):
    actions = [
        {"raise_alarm": {"alarm": "dry"}},
        {"set_twin": {"desired": {"led": 1}}},
        {"latest": {"metric": "temperature"}},
        {"log": {"message": "told"}},
        {"http": {"url": "http://there"}},
        {"command": {"device_id": "nobody", "type": "flush"}},
    ]
    flow = workflow({"all": task(*actions)})
    world.deploy(flow)
    id_ = world.start(flow, {"device_id": device})
    world.go_on()
    world.call(world.worker.call_out)
    world.go_on()

    done = world.history(id_)[1].actions
    assert [(one.kind, one.succeeded, one.error) for one in done] == [
        *((kind, True, None) for kind in ("raise_alarm", "set_twin", "latest", "log", "http")),
        ("command", False, "there is no device nobody"),
    ]
    assert [one["desired"] for one in api.get(f"/devices/{device}/twin").json()["pending"]] == [{"led": 1}]
    assert len(world.called) == 1


@IN_SQLITE
def test_a_call_that_fails_is_made_again_later_each_time_and_in_the_end_is_a_failure(world):
    flow = workflow({"tell": task({"http": {"url": "http://broken"}})})
    world.deploy(flow)
    id_ = world.start(flow)
    world.go_on()
    for _ in range(performing.MAX_ATTEMPTS + 1):
        world.call(world.worker.call_out)
        world.now += performing.LONGEST_WAIT_MS
    world.go_on()

    assert len(world.called) == performing.MAX_ATTEMPTS
    assert world.instance(id_).failure.message == "http: it answers 500"


def test_a_group_gets_a_command_each_and_the_results_are_collected(world, api, device):
    other = f"device-{next(numbers)}"
    api.post("/devices", json={"id": other, "site": "default"}).raise_for_status()
    group = f"group-{next(numbers)}"
    api.post("/groups", json={"id": group}).raise_for_status()
    for one in (device, other):
        api.put(f"/groups/{group}/devices/{one}").raise_for_status()
    flow = workflow({"all": task({"group_command": {"group": group, "type": "flush"}})})
    world.deploy(flow)
    id_ = world.start(flow)
    world.go_on()
    one, two = commands_of(api, device)[0], commands_of(api, other)[0]
    world.bring(result(device, one["id"], result={"litres": 3}))
    world.go_on()
    assert world.instance(id_).status == "running"

    world.bring(Expired(device=other, ts=BEGINNING, at=BEGINNING, id=two["id"]))
    world.go_on()

    output = world.instance(id_).output
    assert (output["succeeded"], output["failed"]) == (1, 1)
    assert output["devices"][device] == {"status": "succeeded", "result": {"litres": 3}, "error": None}
    assert output["devices"][other]["status"] == "expired"


def test_a_workflow_waits_for_the_end_of_another_and_ends_it_with_itself(world):
    child = workflow(
        {
            "wait": {"type": "wait", "for": "10s"},
        },
        id="child",
        variables=[{"name": "n", "default": 0}],
    )
    action = {"start_workflow": {"workflow": "child", "variables": {"n": 7}}}
    parent = workflow({"ask": task(action, timeout="1m")}, id="parent")
    world.deploy(child, parent)
    first, second = world.start(parent), world.start(parent)
    world.go_on()
    running = [one["id"] for one in listed(world, workflow="child")]
    world.tell(second, Terminated("enough"))
    world.go_on()
    world.until(BEGINNING + 10_000)

    assert [world.instance(one).status for one in (first, second)] == ["succeeded", "terminated"]
    assert Counter(world.instance(one).status for one in running) == {"succeeded": 1, "terminated": 1}


def listed(world, **wanted):
    asked = instances.Filter(**wanted)
    return world.served.within(lambda session: instances.listed(session, asked, PAGE))[0]


@IN_SQLITE
def test_a_workflow_that_starts_itself_without_end_is_stopped(world):
    flow = workflow({"again": task({"start_workflow": {"workflow": "flow"}})})
    world.deploy(flow)
    id_ = world.start(flow)
    world.go_on()

    assert world.instance(id_).status == "failed"
    assert len(listed(world)) == performing.MAX_DEPTH + 1


WAIT = {"type": "wait", "for": "1h"}


@pytest.mark.parametrize(
    ("overlap", "statuses", "queued"),
    [
        ("allow", ["waiting", "waiting", "waiting"], 0),
        ("skip", ["waiting"], 0),
        ("replace", ["terminated", "terminated", "waiting"], 0),
        ("queue", ["waiting"], 2),
    ],
)
def test_starts_with_the_same_key_overlap_as_their_policy_says(world, overlap, statuses, queued):
    flow = workflow({"wait": WAIT})
    world.deploy(flow)
    for number in range(3):
        world.start(flow, id_=f"{overlap}-{number}", correlation="k", overlap=overlap)
        world.start(flow, id_=f"{overlap}-{number}", correlation="k", overlap=overlap)  # the same event again
        world.go_on()

    assert sorted(one["status"] for one in listed(world)) == sorted(statuses)
    count = select(func.count()).select_from(models.QueuedStart)
    assert world.served.within(lambda session: session.scalar(count)) == queued
    if queued:
        world.tell(f"{overlap}-0", Terminated("enough"))
        world.go_on()
        assert world.instance(f"{overlap}-1").status == "waiting"


def test_events_and_states_of_devices_start_workflows_in_the_transaction_that_stores_them(world, device):
    triggers = [
        {"event": {"type": "button"}, "condition": {"property_equals": {"property": "times", "value": 2}}},
        {"device_state": {"state": "online"}, "overlap": "allow"},
    ]
    flow = workflow({"wait": WAIT}, triggers=triggers)
    world.deploy(flow)
    world.bring(event(device, "button", {"times": 1}), event(device, "button", {"times": 2}))
    world.bring(event(device, "button", {"times": 2}))
    online = {"session": "s", "online": True, "facts": {}, "began": BEGINNING}
    world.bring(State(device=device, ts=BEGINNING, at=BEGINNING, **online))
    world.go_on()

    assert [(one["device"], one["correlation"], one["status"]) for one in listed(world)] == [
        (device, device, "waiting"),
        (device, device, "waiting"),
    ]


@IN_SQLITE
def test_an_event_ends_the_waits_that_it_fits(world, device):
    await_ = {"type": "wait", "event": {"type": "closed"}}
    flow = workflow({"wait": await_})
    world.deploy(flow)
    mine, other = world.start(flow, {"device_id": device}), world.start(flow, {"device_id": "nobody"})
    world.go_on()
    world.bring(event(device, "closed", {"room": 3}))
    world.go_on()

    assert world.instance(mine).output["data"] == {"room": 3}
    assert world.instance(other).status == "waiting"


@IN_SQLITE
def test_a_schedule_starts_each_time_once_and_what_was_missed_as_it_says(world):
    flow = workflow(
        {"wait": WAIT}, triggers=[{"schedule": {"cron": "0 * * * *", "missed": "once"}, "overlap": "allow"}]
    )
    world.deploy(flow)
    world.now = BEGINNING + 1000
    world.call(world.worker.keep_time)
    for at in (3_600_000, 3_600_500, 5 * 3_600_000 + 120_000):
        world.now = BEGINNING + at
        world.begin()
        world.call(world.worker.keep_time)

    assert len(listed(world)) == 2


def test_a_crash_at_every_commit_changes_nothing(world, served, device, api):
    """A transaction that is undone, wherever it was, is done again by the next process to the same effect."""
    flow = workflow({"flush": task(FLUSH, transitions=[{"target": "rest"}]), "rest": WAIT})
    world.deploy(flow)
    id_ = world.start(flow, {"device_id": device})
    steps = 0
    while world.instance(id_).status != "succeeded":
        steps += 1
        assert steps < 20
        crash_at_commit(world)
        world.begin()
        world.until(world.now)
        for command in commands_of(api, device):
            if command["status"] == "pending":
                world.bring(result(device, command["id"]))
        world.now += 1_800_000

    assert len(commands_of(api, device)) == 1
    assert [one.state for one in world.history(id_) if one.kind == "state"] == ["flush", "rest"]


class Killed(Exception):  # noqa: N818 - it reads as what happened
    pass


def crash_at_commit(world):
    """Let a process take a step, and die before its commit."""

    async def step():
        definitions = Definitions()
        async with world.served.database.transaction() as session:
            await stepping.advance(session, definitions, Performing(definitions), world.now)
            raise Killed

    with pytest.raises(Killed):
        world.call(step)


def test_a_step_that_began_from_an_older_checkpoint_is_refused(world):
    flow = workflow({"ask": task(FLUSH)})
    world.deploy(flow)
    id_ = world.start(flow, {"device_id": "any"})

    async def meddle(session, _wanted, _now):
        await session.execute(update(models.InstanceRow).values(revision=5))
        return Waits(performing.SENT, performing.NEVER)

    world.perform = meddle
    world.begin()
    with pytest.raises(stepping.Interfered):
        world.go_on()

    assert (world.instance(id_).status, world.row(id_).revision) == ("created", 0)


@IN_SQLITE
def test_a_rule_starts_a_workflow_once_and_hears_why_it_can_not(world, device):
    flow = workflow({"wait": WAIT})
    world.deploy(flow)
    told = {"workflow": "flow", "variables": {"device_id": device}}
    asked = RuleAsked("effect-1", "start_workflow", "hot", told, BEGINNING, False, BEGINNING)
    for _ in range(2):
        world.call(world.worker.start, asked)
    world.go_on()

    assert [(one["id"], one["status"]) for one in listed(world)] == [("effect-1", "waiting")]
    with pytest.raises(NotPerformed, match="there is no workflow lost"):
        world.call(world.worker.start, asked._replace(parameters={"workflow": "lost"}))


@IN_SQLITE
def test_what_stands_still_stops_no_other_and_goes_on_after_an_update(world):
    flow = workflow({"wait": WAIT})
    world.deploy(flow)
    odd, fine = world.start(flow), world.start(flow)
    checkpoint = world.row(odd).checkpoint

    def put(told):
        where = update(models.InstanceRow).where(models.InstanceRow.id == odd)
        world.served.within(lambda session: session.execute(where.values(checkpoint=told)))

    put(checkpoint.replace(b'"format":1', b'"format":9') if b"format" in checkpoint else b'{"format":9}')
    world.go_on()
    assert world.instance(fine).status == "waiting"
    assert world.row(odd).fault

    put(checkpoint)
    world.served.within(stepping.try_again)
    world.go_on()
    assert world.instance(odd).status == "waiting"


DAY_MS = 86_400_000
TOLD = {"type": "wait", "event": {"type": "go", "any_source": True}}


def test_what_has_ended_is_forgotten_after_its_days_but_not_below_what_still_runs(world, api, device):
    """(W5)"""
    flow = workflow({"flush": task(FLUSH)})
    child = workflow({"done": {"type": "succeed"}}, id="child")
    ask = task({"start_workflow": {"workflow": "child"}}, transitions=[{"target": "wait"}])
    parent = workflow({"ask": ask, "wait": TOLD}, id="parent")
    world.deploy(flow, child, parent)
    flushed = world.start(flow, {"device_id": device})
    asking = world.start(parent)
    world.go_on()
    (command,) = commands_of(api, device)
    world.bring(result(device, command["id"]))
    world.go_on()
    (ended,) = (one["id"] for one in listed(world, status="succeeded") if one["workflow"] == "child")

    world.now += 89 * DAY_MS
    world.call(world.worker.forget)
    assert {one["id"] for one in listed(world)} == {flushed, asking, ended}
    world.now += 2 * DAY_MS
    world.call(world.worker.forget)
    assert {one["id"] for one in listed(world)} == {asking, ended}
    left = [
        world.served.within(lambda session, of=of: session.scalar(select(func.count()).where(of)))
        for of in (
            models.EffectRow.instance == flushed,
            models.HistoryRow.instance == flushed,
            models.CommandOfEffect.command == command["id"],
        )
    ]
    assert left == [0, 0, 0]

    world.tell(asking, Signalled(Judged("e-1", "go", "token/t", world.now, {})))
    world.go_on()
    world.call(world.worker.forget)
    assert [one["id"] for one in listed(world)] == [asking]
    world.now += 91 * DAY_MS
    world.tell(asking, Replayed("wait", {}))
    world.call(world.worker.forget)
    world.go_on()
    assert world.instance(asking).status == "waiting"


@IN_SQLITE
def test_the_figures_tell_what_is_active_how_it_ended_and_how_late_a_timer_is(world):
    """(O2)"""
    flow = workflow({"rest": {"type": "wait", "for": "1h"}})
    world.deploy(flow)
    resting, ended = world.start(flow), world.start(flow)
    world.tell(ended, Terminated("enough"))
    world.go_on()
    world.tell(ended, Replayed("nowhere", {}))
    world.go_on()
    world.now += 2 * 3_600_000
    world.call(world.worker.measure)

    counts = world.worker.counts
    assert (world.worker.active, world.worker.delay_ms) == ({"waiting": 1}, 3_600_000)
    assert [counts[what] for what in ("started", "terminated", "succeeded", "refused")] == [2, 1, 0, 1]
    world.go_on()
    world.call(world.worker.measure)
    assert (world.worker.active, world.worker.delay_ms) == ({}, 0)
    assert (counts["succeeded"], counts["transitions"]) == (1, 2)
    assert world.instance(resting).status == "succeeded"
