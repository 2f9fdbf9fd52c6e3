"""Instances that others start and end: the cloud from afar, a workflow that waits for another one. (W4, W6, W7)"""

import pytest

from fieldloom_gateway.automation.workflows.world import MAX_DEPTH
from fieldloom_runtime import down
from gateway.test_workflows import COOLING, NOW, Gateway

CHILD = {
    "id": "child",
    "placement": "edge",
    "variables": [{"name": "level", "type": "integer"}],
    "initial_state": "wait",
    "states": {
        "wait": {"type": "wait", "event": {"type": "go", "any_source": True}, "transitions": [{"target": "end"}]},
        "end": {"type": "succeed", "output": {"level": "{{ level }}"}},
    },
}
PARENT = {
    "id": "parent",
    "placement": "edge",
    "triggers": [{"event": {"type": "hot"}}],
    "variables": [{"name": "level", "type": "integer"}],
    "initial_state": "start",
    "states": {
        "start": {
            "type": "task",
            "timeout": "1m",
            "actions": [{"start_workflow": {"workflow": "child", "variables": {"level": "{{ level }}"}}}],
            "transitions": [{"target": "end"}],
        },
        "end": {"type": "succeed", "output": "{{ result }}"},
    },
}


@pytest.fixture
async def gateway(disk):
    gateway = await Gateway(disk).start()
    yield gateway
    await gateway.stop()


async def ask(gateway, *requests):
    """Have the cloud ask for something, and return what it is answered by request."""
    gateway.hear(*requests)
    await gateway.settle()
    return {one.data["request"]: one.data["refused"] for one in gateway.events("workflow.answered")}


def found(gateway):
    return {one.workflow: (one.status, one.output) for one in gateway.runtime.all()}


# --- the cloud asks ---------------------------------------------------------------------------------------------------


async def test_the_cloud_starts_signals_ends_and_begins_again_and_is_answered(gateway):
    start = down.Start("i-1", "child", {"device_id": "dev-1", "level": 3})
    await ask(gateway, down.Workflow("child", "1.0.0", CHILD), start)
    answered = await ask(gateway, down.Signal("r-1", "i-1", "go"))
    again = down.Retry("r-2", "i-1", "wait", {"level": 5})
    answered |= await ask(gateway, again, again, down.Terminate("r-3", "i-1", "enough"))

    assert answered == {"i-1": None, "r-1": None, "r-2": "it is waiting: terminate it first", "r-3": None}
    (instance,) = gateway.runtime.all()
    assert (instance.id, instance.status, instance.reason) == ("i-1", "terminated", "enough")
    told = [(one.device, one.data["status"], one.data["states"]) for one in gateway.events("workflow.recorded")]
    assert told[0] == ("dev-1", "waiting", [["wait"]])
    assert told[-1] == ("dev-1", "terminated", [])
    assert {one.data["created"] for one in gateway.events("workflow.recorded")} == {NOW}


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (down.Start("r", "none"), "workflow: no workflow none is at work here"),
        (down.Start("r", "child", {"gallons": 1}), "variables: gallons is not declared"),
        (down.Start("r", "child", {"device_id": "a/b"}), "device: may hold only a-z 0-9 - _"),
        (down.Terminate("r", "none", "enough"), "there is no instance none"),
    ],
)
async def test_what_can_not_be_is_answered_with_the_reason(gateway, request_, reason):
    gateway.deploy(CHILD)

    assert await ask(gateway, request_) == {"r": reason}
    assert gateway.runtime.all() == []


async def test_a_start_that_overlaps_is_answered_as_refused_and_one_that_waits_can_be_ended(gateway):
    for overlap in ("skip", "queue"):
        correlation = {"correlation": "one", "overlap": overlap}
        gateway.deploy({**CHILD, "id": overlap, "triggers": [{"api": {}, **correlation}]})
    first = [down.Start(f"{one}-1", one) for one in ("skip", "queue")]
    second = [down.Start(f"{one}-2", one) for one in ("skip", "queue")]

    answered = await ask(gateway, *first, *second, down.Terminate("r", "queue-2", "enough"))
    await gateway.kill()
    await ask(gateway, down.Terminate("s", "queue-1", "enough"))

    assert (answered["queue-2"], answered["r"]) == (None, None)
    assert {one.id: one.status for one in gateway.runtime.all()} == {
        "skip-1": "waiting",
        "queue-1": "terminated",
        "queue-2": "terminated",
    }
    assert "skip-1" in answered["skip-2"]


async def test_an_event_that_the_cloud_asks_for_twice_in_its_stream_starts_one(gateway):
    gateway.deploy(COOLING)
    start = down.Start("i-1", "cooling", {"device_id": "dev-1", "level": 3})

    await ask(gateway, start, start)

    assert len(gateway.runtime.all()) == 1
    assert len(gateway.commands()) == 1


# --- a workflow waits for another one ---------------------------------------------------------------------------------


async def through(disk, dies_at=None):
    """Run a workflow that waits for another one, from the event that starts it to its end."""
    gateway = await Gateway(disk, dies_at).start()
    gateway.deploy(CHILD, PARENT)
    await gateway.take("hot", level=3)
    started = found(gateway)
    await gateway.take("go")
    await gateway.stop()
    return gateway, started


async def test_a_workflow_waits_for_the_other_one_and_has_its_output_whatever_is_killed(disk):
    calm, started = await through(disk)

    assert started == {"parent": ("running", None), "child": ("waiting", None)}
    assert found(calm) == {"child": ("succeeded", {"level": 3}), "parent": ("succeeded", {"level": 3})}
    for dies_at in range(1, calm.commits + 1):
        killed, _ = await through(disk, dies_at)
        assert killed.kills == 1
        assert found(killed) == found(calm), dies_at


async def test_the_end_of_the_other_one_is_its_reason(gateway):
    gateway.deploy(CHILD, PARENT)
    await gateway.take("hot", level=3)
    (child,) = [one for one in gateway.runtime.all() if one.workflow == "child"]

    await ask(gateway, down.Terminate("r", child.id, "enough"))

    (parent,) = [one for one in gateway.runtime.all() if one.workflow == "parent"]
    assert (parent.status, parent.failure.message) == ("failed", "start_workflow: child has terminated: enough")
    told = [one.data["parent"] for one in gateway.events("workflow.recorded") if one.data["workflow"] == "child"]
    assert set(told) == {parent.id}


async def test_one_that_is_not_waited_for_any_more_is_ended(gateway):
    gateway.deploy(CHILD, PARENT)
    await gateway.take("hot", level=3)

    await gateway.pass_time(NOW + 60_000)

    assert {name: status for name, (status, _) in found(gateway).items()} == {"parent": "failed", "child": "terminated"}


async def test_one_that_can_not_start_is_a_failure_of_who_waits(gateway):
    taken = {**CHILD, "triggers": [{"api": {}, "correlation": "one", "overlap": "skip"}]}
    gateway.deploy(taken, PARENT)

    await gateway.take("hot", level=3)
    await gateway.take("hot", device="dev-2", level=4)

    assert sorted(one.status for one in gateway.runtime.all() if one.workflow == "parent") == ["failed", "running"]


async def test_workflows_do_not_wait_for_each_other_without_end(gateway):
    start = {"type": "task", "actions": [{"start_workflow": {"workflow": "self"}}]}
    trigger = {"event": {"type": "hot"}}
    gateway.deploy(
        {"id": "self", "placement": "edge", "triggers": [trigger], "initial_state": "a", "states": {"a": start}}
    )

    await gateway.take("hot")

    assert gateway.statuses() == ["failed"] * (MAX_DEPTH + 1)
    assert any("would wait for each other" in one.failure.message for one in gateway.runtime.all())
