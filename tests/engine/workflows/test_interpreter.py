"""The interpreter's bounds: whatever happens, in whatever order, no exception comes out of a step. (W2, W5, W6, W7)"""

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.workflows import strategies
from fieldloom_engine.rules import Event
from fieldloom_engine.workflows import (
    Answered,
    InvalidStart,
    NotPossible,
    Occurred,
    Program,
    Replayed,
    Signalled,
    Started,
    Terminated,
    TimePassed,
    UnreadableInstance,
    awaits,
    create,
    decode,
    encode,
    interpreter,
    next_deadline,
    outstanding,
    parse,
    step,
)
from fieldloom_engine.workflows.instance import MAX_BYTES, weight
from fieldloom_engine.workflows.model import Retry
from fieldloom_engine.workflows.retrying import delay_before

NOW = 1_790_000_000_000
LOG = {"log": {"message": "done"}}


def program(states, **others):
    variables = others.pop("variables", [{"name": "big"}, {"name": "n", "type": "integer", "default": 0}])
    return Program(parse({"id": "w", "variables": variables, "initial_state": "a", "states": states, **others}))


def begun(told, variables=None):
    return step(told, create(told.workflow, "i", variables or {}, NOW), Started(), NOW)


def test_variables_are_declared_and_of_their_types():
    told = program({"a": {"type": "succeed"}})

    with pytest.raises(InvalidStart) as refused:
        create(told.workflow, "i", {"n": 1.5, "m": 2, "big": float("nan"), "device_id": "d"}, NOW)

    assert refused.value.faults == {
        "n": "is no integer",
        "m": "is not declared",
        "big": "holds a number that is not finite",
    }


def test_an_instance_holds_no_more_than_it_may():
    told = program(
        {
            "a": {"type": "task", "actions": [LOG], "transitions": [{"target": "b"}]},
            "b": {"type": "task", "actions": [LOG, LOG]},
        }
    )
    with pytest.raises(InvalidStart, match="have 300008 bytes"):
        begun(told, {"big": "x" * 299_992})

    first = begun(told, {"big": "x" * 200_000})
    taken = step(told, first.instance, Answered(first.effects[0].id, True, "y" * 50_000), NOW)
    failed = step(told, taken.instance, Answered(taken.effects[0].id, True, "y" * 50_000), NOW)

    assert taken.instance.status == "running"
    assert (failed.instance.status, failed.instance.failure.kind) == ("failed", "too_large")
    assert "bytes, and 262144 is the most" in failed.instance.failure.message


def test_no_more_branches_run_than_may():
    each = {
        "type": "map",
        "items": "big",
        "iterator": {"initial_state": "a", "states": {"a": {"type": "wait", "for": 1}}},
    }
    told, bounded = program({"a": each}), program({"a": each | {"max_concurrency": 10}})

    failed = begun(told, {"big": [0] * 1001})
    running = begun(bounded, {"big": [0] * 1001})

    assert failed.instance.failure.kind == "too_large"
    assert "max_concurrency bounds them" in failed.instance.failure.message
    assert len(running.instance.scopes) == 11


def test_what_loops_without_a_wait_has_failed(monkeypatch):
    monkeypatch.setattr(interpreter, "MAX_ENTRIES", 100)
    told = program(
        {
            "a": {"type": "choice", "assign": {"n": "{{ n + 1 }}"}, "transitions": [{"target": "b"}]},
            "b": {"type": "succeed"},
        }
    )
    told.flow.states["a"].next_state = "a"  # no definition that is valid leads here

    done = begun(told)

    assert (done.instance.status, done.instance.failure.kind) == ("failed", "endless")


def test_a_program_of_another_version_is_refused():
    told, other = program({"a": {"type": "succeed"}}), program({"a": {"type": "succeed"}}, version="2.0.0")

    with pytest.raises(NotPossible, match=r"it runs w 1\.0\.0, not w 2\.0\.0"):
        step(other, create(told.workflow, "i", {}, NOW), Started(), NOW)


def test_an_event_that_no_store_can_keep_is_refused():
    told = program({"a": {"type": "wait", "event": {"type": "bell", "any_source": True}}})
    bell = Event("e", "bell", "door-1", NOW, {"level": float("nan")})

    with pytest.raises(NotPossible, match="the event holds a number that is not finite"):
        step(told, begun(told).instance, Signalled(bell), NOW)


def test_a_result_that_no_store_can_keep_is_a_failure():
    told = program({"a": {"type": "task", "actions": [LOG]}})
    first = begun(told)

    done = step(told, first.instance, Answered(first.effects[0].id, True, {"value": 2**80}), NOW)

    assert done.instance.failure.message == "log: its result holds a whole number of more than 64 bits"


def test_only_what_is_over_is_replayed_and_only_at_a_state():
    told = program({"a": {"type": "task", "actions": [LOG]}})
    first = begun(told)
    over = step(told, first.instance, Answered(first.effects[0].id, False), NOW)

    with pytest.raises(NotPossible, match="it is running"):
        step(told, first.instance, Replayed("a"), NOW)
    with pytest.raises(NotPossible, match="no state b"):
        step(told, over.instance, Replayed("b"), NOW)
    with pytest.raises(InvalidStart, match="n is no integer"):
        step(told, over.instance, Replayed("a", {"n": "x"}), NOW)


def test_a_checkpoint_of_a_later_engine_is_not_read():
    with pytest.raises(UnreadableInstance, match="has format 99"):
        decode(b'{"format":99,"id":"i","workflow":"w","version":"1.0.0","created":1}')
    with pytest.raises(UnreadableInstance):
        decode(b"{}")


@pytest.mark.parametrize(
    ("attempt", "retry", "delay"),
    [
        (2, Retry(max_attempts=9), 1000),
        (4, Retry(max_attempts=9, delay=100, multiplier=3), 900),
        (4, Retry(max_attempts=9, delay=100, multiplier=3, max_delay=500), 500),
        (9999, Retry(max_attempts=9999, delay=100, multiplier=100), 366 * 86_400_000),
        (2, Retry(max_attempts=9, jitter=0.5), 750),
        (2, Retry(max_attempts=9, jitter=1), 500),
    ],
)
def test_delays_grow_to_their_limit_and_jitter_takes_a_share_off(attempt, retry, delay):
    assert delay_before(attempt, retry, "80000000" + "0" * 24) == delay


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda part: (
        st.lists(part, max_size=2) | st.dictionaries(st.sampled_from(["value", "a", "order"]), part, max_size=2)
    ),
    max_leaves=4,
)
EVENTS = st.builds(
    lambda id_, type_, level: Event(id_, type_, "device-1", NOW, {"level": level, "order": 4}),
    st.sampled_from("abc"),
    st.sampled_from([*strategies.EVENTS, "order"]),
    st.integers(0, 9) | st.text(max_size=3),
)
HAPPENINGS = st.one_of(
    st.builds(Answered, st.just(""), st.booleans(), JSON),
    st.just(TimePassed()),
    EVENTS.map(Occurred),
    EVENTS.map(Signalled),
    st.just(Terminated("enough")),
    st.just(Started()),
)


def to_the_last_effect(told, instance, happening):
    effects = outstanding(told, instance)
    is_answer = isinstance(happening, Answered) and effects
    return happening._replace(effect=effects[-1].id) if is_answer else happening


@settings(max_examples=20, deadline=None)
@given(strategies.documents(), st.lists(HAPPENINGS, max_size=25))
def test_nothing_that_happens_raises_and_what_is_counted_is_true(document, happenings):
    told, now = Program(parse(document)), NOW
    instance = begun(told, {"device_id": "device-1"}).instance

    for happening in happenings:
        if isinstance(happening, TimePassed):
            now = next_deadline(instance) or now
        before = copy.deepcopy(instance)
        done = step(told, instance, to_the_last_effect(told, instance, happening), now)
        assert instance == before
        instance = decode(encode(done.instance))
        assert instance == done.instance
        awaits(told, instance)
        held = sum(scope.size + scope.held for scope in instance.scopes.values())
        assert held == instance.size - sum(weight(one.parameters) for one in instance.undo) or instance.closing
        assert all(scope.size == weight(scope.variables) for scope in instance.scopes.values())
        assert instance.size <= MAX_BYTES
        assert instance.is_over <= (not outstanding(told, instance) and not instance.active)
