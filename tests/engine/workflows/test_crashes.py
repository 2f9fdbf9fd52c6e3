"""Whatever a workflow is, a crash changes nothing: neither what is done, nor what is told of it. (W2, W5, W6, W8)"""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.workflows import strategies
from engine.workflows.world import Crash, World
from fieldloom_engine.rules import Event
from fieldloom_engine.workflows import (
    Answered,
    Occurred,
    Program,
    Started,
    Terminated,
    TimePassed,
    awaits,
    create,
    decode,
    encode,
    next_deadline,
    outstanding,
    parse,
    step,
)
from fixtures.workflow_stories import BEGINNING

NAMES = ["a", "b", "c", "d", "e"]
"""Instances whose devices answer each otherwise."""
CRASHES = [crash for crash in Crash if crash is not Crash.NEVER]


@st.composite
def happenings(draw):
    """Draw what comes from outside: events, some twice, and at times an end."""
    types = st.sampled_from([*strategies.EVENTS, "order"])
    drawn = draw(st.lists(st.tuples(st.integers(0, 30_000), types, st.integers(0, 9), st.integers(0, 5)), max_size=8))
    found = [
        (BEGINNING + at, Occurred(Event(f"e{name}", type_, "device-1", BEGINNING + at, {"level": level, "order": 4})))
        for at, type_, level, name in drawn
    ]
    if draw(st.integers(0, 4)) == 4:
        undo = draw(st.booleans())
        found.append((BEGINNING + draw(st.integers(0, 20_000)), Terminated("enough", undo)))
    return found


def hold_crashes(document, outside, names):
    program = Program(parse(document))
    for name in names:
        calm = World(program, name, outside).run()
        assert [record.number for record in calm.history] == [*range(1, len(calm.history) + 1)]
        for crash in CRASHES:
            crashed = World(program, name, outside, crash).run()
            assert crashed.history == calm.history, crash
            assert crashed.checkpoint == calm.checkpoint, crash
            assert crashed.executed == calm.executed, crash


@settings(max_examples=20, deadline=None)
@given(strategies.documents(), happenings())
def test_a_crash_at_every_step_changes_nothing(document, outside):
    hold_crashes(document, outside, NAMES[:3])


@pytest.mark.chaos
@settings(max_examples=2000, deadline=None)
@given(strategies.documents(), happenings())
def test_a_crash_at_every_step_changes_nothing_in_many_workflows(document, outside):
    hold_crashes(document, outside, NAMES)


def settled(program, rng):
    """Run an instance whose actions all succeed; what may come in any order comes in an order of its own."""
    now, asked = BEGINNING, {}
    done = step(program, create(program.workflow, "a", {"device_id": "device-1"}, now), Started(), now)
    failed = False
    while True:
        asked |= {effect.id: effect for effect in done.effects}
        failed = failed or any(record.outcome not in {"succeeded", "retried"} for record in done.history)
        instance = decode(encode(done.instance))
        waiting = [effect.id for effect in outstanding(program, instance)]
        if instance.is_over:
            return failed, asked, instance
        if waiting:
            effect = rng.choice(waiting)
            done = step(program, instance, Answered(effect, True, {"value": int(effect[0], 16) % 10}), now)
        elif (deadline := next_deadline(instance)) is not None:
            now = max(now, deadline)
            done = step(program, instance, TimePassed(), now)
        else:
            awaited = min(awaits(program, instance), key=repr)
            data = {"level": 5, **({awaited.property: awaited.key} if awaited.property else {})}
            event = Event(f"e{now}-{instance.recorded}", awaited.type, awaited.key or "any", now, data)
            done = step(program, instance, Occurred(event), now)


@settings(max_examples=20, deadline=None)
@given(strategies.documents(), st.integers(0, 2**32))
def test_the_order_of_branches_does_not_matter(document, seed):
    program = Program(parse(document))

    failed, asked, instance = settled(program, random.Random(seed))
    again = [settled(program, random.Random(seed + other)) for other in range(1, 4)]

    if not failed:  # else it matters which branch is cancelled, and when
        for _, other_asked, other in again:
            assert other_asked == asked
            assert (other.status, other.variables, other.output) == ("succeeded", instance.variables, instance.output)
