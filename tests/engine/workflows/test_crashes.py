"""Whatever a workflow is, a crash changes nothing: neither what is done, nor what is told of it. (W2, W5, W6, W8)"""

import random

import pytest
from hypothesis import assume, given, settings
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


def hold_crashes(document, outside):
    program = Program(parse(document))
    for name in NAMES:
        calm = World(program, name, outside).run()
        assert [record.number for record in calm.history] == [*range(1, len(calm.history) + 1)]
        for crash in CRASHES:
            crashed = World(program, name, outside, crash).run()
            assert crashed.history == calm.history, crash
            assert crashed.checkpoint == calm.checkpoint, crash
            assert crashed.executed == calm.executed, crash


@settings(max_examples=40, deadline=None)
@given(strategies.documents(), happenings())
def test_a_crash_at_every_step_changes_nothing(document, outside):
    hold_crashes(document, outside)


@pytest.mark.chaos
@settings(max_examples=3000, deadline=None)
@given(strategies.documents(), happenings())
def test_a_crash_at_every_step_changes_nothing_in_many_workflows(document, outside):
    hold_crashes(document, outside)
