"""The interpreter of workflows: (instance, happening, now) in, (instance, effects, history) out. (W2, W5, W6)

Pure: no I/O, no clock, nothing drawn by chance. A step goes on until all waits: for the outcome of an action, for
time, for an event. A valid definition has no cycle without a wait, so a step ends; what loops all the same has failed.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from fieldloom_contract.errors import Rejected
from fieldloom_contract.plain import plain
from fieldloom_engine.rules.event import Event
from fieldloom_engine.rules.firing import Effect
from fieldloom_engine.workflows import closing, states
from fieldloom_engine.workflows.happening import (
    Answered,
    Happening,
    Occurred,
    Replayed,
    Signalled,
    Started,
    Terminated,
    TimePassed,
)
from fieldloom_engine.workflows.history import Record
from fieldloom_engine.workflows.instance import (
    MAX_DEPTH,
    ROOT,
    Failure,
    Instance,
    Performed,
    Scope,
    Waiting,
    checked,
    weight,
)
from fieldloom_engine.workflows.model import ACTION_FAILED, ENDLESS, TIMEOUT
from fieldloom_engine.workflows.program import Program, ReadyEvent, StateFailed
from fieldloom_engine.workflows.triggers import LATE_MS
from fieldloom_engine.workflows.turn import Turn
from fieldloom_engine.workflows.variables import event_variable

MAX_ENTRIES = 20_000
"""States that are entered in one step."""
MAX_TAKEN = 64
"""Ids of events that are remembered, so that one that comes again does not end a further wait."""


class NotPossible(Exception):  # noqa: N818 - it reads as what happened
    """What an instance can't do as it is; the text says why."""


class Step(NamedTuple):
    """What follows from a happening. All of it is kept in one transaction, before an effect is performed."""

    instance: Instance
    effects: list[Effect]
    """To be performed at least once each; every one needs an `Answered` in the end."""
    abandoned: list[str]
    """Effects of earlier steps whose outcome does not matter any more: what was not sent yet is not sent."""
    history: list[Record]


def step(program: Program, instance: Instance, happening: Happening, now: int) -> Step:
    """Return how an instance goes on after a happening. `now` is the clock, Unix ms. The instance given stays as it is.

    A happening that does not concern the instance, or comes again, changes nothing. Raises NotPossible for a program
    that is not of the version with which the instance began, for an event that it would take and that no store can
    keep, and for a replay that can't be; InvalidStart for variables of a replay.
    """
    workflow = program.workflow
    if (instance.workflow, instance.version) != (workflow.id, workflow.version):
        raise NotPossible(f"it runs {instance.workflow} {instance.version}, not {workflow.id} {workflow.version}")
    turn = Turn(program, instance, now)
    _TAKES[type(happening)](turn, happening)
    _run(turn)
    return _finished(turn) if turn.is_changed else Step(instance, [], [], [])


def outstanding(program: Program, instance: Instance) -> list[Effect]:
    """Return the effects that an instance waits for, as they were asked for: what may have to be performed again."""
    turn = Turn(program, instance, 0)
    effects = []
    for path, scope in instance.scopes.items():
        if scope.waits == "action":
            action = turn.state(path).actions[len(scope.performed)]
            effects.append(Effect(scope.effect, action.action.kind, turn.parameters(path, action, scope.since)))
    if instance.pending is not None:
        ending = instance.pending.action
        effects.append(Effect(ending.id, ending.kind, ending.parameters))
    return effects


def awaits(program: Program, instance: Instance) -> set[Waiting]:
    """Return the events that an instance waits for at this moment: an `Occurred` of any other does nothing."""
    turn = Turn(program, instance, 0)
    return {
        Waiting(event.type, event.property, scope.key)
        for path, scope in instance.scopes.items()
        if (event := turn.awaited(path)) is not None
    }


def _start(turn: Turn, _started: Started) -> None:
    if turn.instance.status == "created":
        turn.instance.status = "running"
        turn.record("started", variables=dict(turn.instance.variables))
        turn.agenda.append((ROOT, turn.program.flow.initial_state))


def _answer(turn: Turn, answer: Answered) -> None:
    pending = turn.instance.pending
    if pending is not None and pending.action.id == answer.effect:
        closing.answered(turn, pending, _performed(pending.action.kind, answer))
        return
    path = next((path for path, scope in turn.scopes.items() if scope.effect == answer.effect and scope.effect), None)
    if path is None:
        return
    scope, state = turn.scope(path), turn.state(path)
    action = state.actions[len(scope.performed)].action
    performed = _performed(action.kind, answer)
    scope.performed, scope.effect = (*scope.performed, performed), ""
    if not performed.succeeded:
        states.fail(turn, path, ACTION_FAILED, f"{action.kind}: {performed.error}")
        return
    try:
        turn.hold(scope, weight(performed.result))
    except StateFailed as failed:
        states.fail(turn, path, failed.kind, str(failed))
        return
    states.go_on(turn, path, scope, state)


def _occur(turn: Turn, occurred: Occurred) -> None:
    event = occurred.event
    _end_waits(turn, event, lambda wait, scope: _is_of_now(event, scope) and wait.matches(event, scope.key))


def _signal(turn: Turn, signalled: Signalled) -> None:
    _end_waits(turn, signalled.event, lambda wait, _scope: wait.holds(signalled.event))


def _end_waits(turn: Turn, event: Event, fits: Callable[[ReadyEvent, Scope], bool]) -> None:
    """End all waits that an event fits."""
    if event.id in turn.instance.taken:
        return
    fitting = [
        (path, scope.step)
        for path, scope in turn.scopes.items()
        if (wait := turn.awaited(path)) is not None and wait.type == event.type and fits(wait, scope)
    ]
    if not fitting:
        return
    told = _kept(event)
    turn.instance.taken = [*turn.instance.taken, event.id][-MAX_TAKEN:]
    for path, waited in fitting:
        if path in turn.scopes and (scope := turn.scope(path)).step == waited:
            states.leave(turn, path, scope, turn.state(path), {"result": told})


def _pass_time(turn: Turn, _passed: TimePassed) -> None:
    due = sorted(
        (min(times), path, scope.step)
        for path, scope in turn.scopes.items()
        if (times := [time for time in (scope.wakes, scope.deadline) if time is not None and time <= turn.now])
    )
    for _, path, waited in due:
        if path not in turn.scopes or (scope := turn.scope(path)).step != waited:
            continue
        if scope.deadline is not None and (scope.wakes is None or scope.deadline < scope.wakes):
            states.fail(turn, path, TIMEOUT, f"it took longer than {(scope.deadline - scope.entered) / 1000:g} s")
        elif scope.waits == "retry":
            states.begin(turn, path, scope, turn.state(path))
        else:
            states.leave(turn, path, scope, turn.state(path), states.results(scope))


def _terminate(turn: Turn, told: Terminated) -> None:
    if not turn.instance.is_over:
        closing.terminate(turn, told.reason, told.undo)


def _replay(turn: Turn, told: Replayed) -> None:
    instance = turn.instance
    if not instance.is_over:
        raise NotPossible(f"it is {instance.status}: terminate it first")
    if told.state not in turn.program.flow.states:
        raise NotPossible(f"the workflow has no state {told.state}")
    instance.status, instance.handled = "running", False
    instance.failure = instance.reason = instance.output = None
    variables = {**instance.variables, **told.variables}
    turn.set_variables(turn.scope(ROOT), variables, checked(turn.program.workflow, variables))
    turn.record("replayed", next=told.state, variables=dict(told.variables))
    turn.agenda.append((ROOT, told.state))


_TAKES: Mapping[type, Callable[[Turn, Any], None]] = {
    Started: _start,
    Answered: _answer,
    Occurred: _occur,
    Signalled: _signal,
    TimePassed: _pass_time,
    Terminated: _terminate,
    Replayed: _replay,
}


def _run(turn: Turn) -> None:
    entered = 0
    while turn.agenda:
        path, name = turn.agenda.popleft()
        if path not in turn.scopes:
            continue  # another branch took it along
        entered += 1
        if entered > MAX_ENTRIES:
            turn.stop(ROOT)
            turn.settle(turn.scope(ROOT))
            turn.agenda.clear()
            closing.fail(turn, Failure(ENDLESS, f"it entered {MAX_ENTRIES} states without a wait", name))
        else:
            states.enter(turn, path, name)


def _finished(turn: Turn) -> Step:
    instance = turn.instance
    if not instance.is_over:
        acts = instance.pending is not None or any(scope.effect for scope in turn.scopes.values())
        instance.status = "running" if acts else "waiting"
    if not turn.abandoned:
        return Step(instance, turn.effects, [], turn.history)
    asked, abandoned = {effect.id for effect in turn.effects}, dict.fromkeys(turn.abandoned)
    effects = [effect for effect in turn.effects if effect.id not in abandoned]
    return Step(instance, effects, [one for one in abandoned if one not in asked], turn.history)


def _performed(kind: str, answer: Answered) -> Performed:
    """Return how an action went; a result that can't be kept is a failure."""
    told = None if answer.succeeded else (answer.error or "it failed")[: states.MAX_MESSAGE]
    try:
        plain(answer.result, "result", MAX_DEPTH)
    except Rejected as error:
        return Performed(answer.effect, kind, False, error=told or f"its result {error.reason}")
    return Performed(answer.effect, kind, answer.succeeded, answer.result, told)


def _kept(event: Event) -> dict[str, Any]:
    """Return an event as workflows know it. Raises NotPossible for one that can't be kept."""
    told = event_variable(event)
    try:
        plain(told, "event", MAX_DEPTH)
    except Rejected as error:
        raise NotPossible(f"the event {error.reason}") from error
    return told


def _is_of_now(event: Event, scope: Scope) -> bool:
    """Whether an event, by its own time, is not of before the wait: what a backlog brings is no answer."""
    return event.ts >= scope.since - LATE_MS
