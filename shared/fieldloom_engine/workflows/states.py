"""How a scope goes through its states: entered, done, left in success, failed. (W2, W5)

Actions come first, one after the other; then what the state's type says; then what it assigns. What goes wrong on the
way is a failure of the state: it is tried again, or `on_error` takes it over, or its flow has failed, and with it the
state around the flow.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from fieldloom_engine.workflows import closing
from fieldloom_engine.workflows.instance import (
    MAX_SCOPES,
    MAX_UNDOING,
    ROOT,
    Failure,
    Scope,
    Undoing,
    around,
    effect_id,
    number_of,
    weight,
    within,
)
from fieldloom_engine.workflows.model import BRANCH_FAILED, TOO_LARGE, Retry
from fieldloom_engine.workflows.program import ReadyState, ReadyWait, StateFailed, asked
from fieldloom_engine.workflows.retrying import delay_before
from fieldloom_engine.workflows.turn import Turn

MAX_MESSAGE = 1024


def enter(turn: Turn, path: str, name: str) -> None:
    """Begin with a state."""
    scope = turn.scope(path)
    scope.state, scope.attempt = name, 1
    scope.step += 1
    begin(turn, path, scope, turn.state(path))


def begin(turn: Turn, path: str, scope: Scope, state: ReadyState) -> None:
    """Begin with an attempt of the state in which a scope is."""
    scope.entered, scope.wakes = turn.now, None
    scope.deadline = None if state.timeout is None else turn.now + state.timeout
    go_on(turn, path, scope, state)


def go_on(turn: Turn, path: str, scope: Scope, state: ReadyState) -> None:
    """Do the next action of a state; after the last one, what its type says."""
    done = len(scope.performed)
    try:
        if done < len(state.actions):
            turn.ask(path, scope, state.actions[done])
            return
        scope.effect = ""
        if state.wait is not None:
            _wait(turn, path, scope, state.wait)
        elif state.flows:
            _branch_out(turn, path, scope, state)
        elif state.type == "fail":
            _end_badly(turn, path, state)
        else:
            leave(turn, path, scope, state, results(scope))
    except StateFailed as failed:
        fail(turn, path, failed.kind, str(failed))


def leave(turn: Turn, path: str, scope: Scope, state: ReadyState, given: Mapping[str, Any]) -> None:
    """Leave a state in success, with what it gave: set its variables, and go on or end its flow."""
    try:
        known = {**turn.known(path), **given} if state.looks else {}
        changes = {**given, **state.assigned(known)}
        known |= changes
        target = state.next_state if state.is_decided else state.choose(turn.event(known))
        output = _output(scope, state, known, changes) if target is None else None
        undo, kept = _undo_with(turn.instance.undo, _undoing(turn, path, scope, state, known))
        variables = {**scope.variables, **changes} if changes else scope.variables
        size = weight(variables) if changes else scope.size
        turn.allow(size - scope.size - scope.held + kept)
    except StateFailed as failed:
        fail(turn, path, failed.kind, str(failed))
        return
    turn.note(path, scope, next=target, variables=changes, output=output)
    turn.settle(scope)
    turn.set_variables(scope, variables, size)
    turn.instance.undo = undo
    turn.instance.size += kept
    if target is not None:
        turn.agenda.append((path, target))
    elif path == ROOT:
        turn.instance.output = output
        closing.close(turn, "succeeded")
    else:
        turn.remove(path)
        _join(turn, path, output)


def fail(turn: Turn, path: str, kind: str, message: str) -> None:
    """Try a state again that has failed; if no attempt is left, go on where it says, or let its flow fail."""
    scope, state = turn.scope(path), turn.state(path)
    failure = Failure(kind, message[:MAX_MESSAGE], state.name)
    turn.stop(path)
    if state.retry is not None and scope.attempt < state.retry.max_attempts:
        _try_again(turn, path, scope, state.retry, failure)
        return
    known = turn.known(path) | {"result": turn.variables(path).get("result")} | _told(failure)
    _leave_failed(turn, path, failure, state.on_error(turn.event(known)))


def results(scope: Scope) -> dict[str, Any]:
    """Return what the actions of a state gave, as variables."""
    return {"result": scope.performed[-1].result} if scope.performed else {}


def _end_badly(turn: Turn, path: str, state: ReadyState) -> None:
    message = state.error if state.message is None else str(state.message.filled(turn.known(path)))
    _leave_failed(turn, path, Failure(state.error, message[:MAX_MESSAGE], state.name), None)


def _leave_failed(turn: Turn, path: str, failure: Failure, target: str | None) -> None:
    scope, changes = turn.scope(path), _told(failure)
    turn.note(path, scope, outcome="failed", failure=failure, next=target, variables=changes)
    turn.settle(scope)
    variables = {**scope.variables, **changes}
    turn.set_variables(scope, variables, weight(variables))
    if target is not None:
        turn.agenda.append((path, target))
    elif path == ROOT:
        closing.fail(turn, failure)
    else:
        turn.remove(path)
        _lose(turn, path, failure)


def _try_again(turn: Turn, path: str, scope: Scope, retry: Retry, failure: Failure) -> None:
    drawn = effect_id(turn.instance.id, path, scope.state, scope.step, "retry")
    again_at = turn.now + delay_before(scope.attempt + 1, retry, drawn)
    turn.note(path, scope, outcome="retried", failure=failure, again_at=again_at)
    turn.settle(scope)
    scope.step, scope.attempt = scope.step + 1, scope.attempt + 1
    scope.waits, scope.since, scope.wakes = "retry", turn.now, again_at


def _wait(turn: Turn, path: str, scope: Scope, wait: ReadyWait) -> None:
    known = turn.known(path)
    if wait.event is not None:
        scope.waits, scope.key = "event", wait.event.key(known)
    else:
        scope.waits, scope.wakes = "time", wait.ends_at(known, turn.now)
    scope.since = turn.now


def _branch_out(turn: Turn, path: str, scope: Scope, state: ReadyState) -> None:
    scope.waits, scope.since = "branches", turn.now
    scope.outputs = [None] * state.number_of_flows(turn.known(path))
    _run_branches(turn, path)


def _run_branches(turn: Turn, path: str) -> None:
    """Begin with as many branches of a state as may run, and leave it when all have ended. Raises StateFailed."""
    scope, state = turn.scope(path), turn.state(path)
    total = len(scope.outputs)
    if scope.ended == total:
        leave(turn, path, scope, state, {"result": scope.outputs})
        return
    known = turn.known(path)
    while scope.begun < total and (state.at_once is None or scope.begun - scope.ended < state.at_once):
        if len(turn.scopes) >= MAX_SCOPES:
            raise StateFailed(TOO_LARGE, f"more than {MAX_SCOPES} branches would run: max_concurrency bounds them")
        number, flow = scope.begun, state.flow(scope.begun)
        given = state.given(number, known)
        size = weight(given)
        turn.allow(size)
        branch = within(path, state.name, scope.step, number)
        turn.add(branch, Scope(flow.initial_state, variables=given, size=size))
        turn.agenda.append((branch, flow.initial_state))
        scope.begun += 1


def _join(turn: Turn, branch: str, output: Any) -> None:
    """Take what a branch gave that has ended well."""
    path, number = around(branch), number_of(branch)
    scope = turn.scope(path)
    try:
        turn.hold(scope, weight(output))
        scope.outputs = [*scope.outputs[:number], output, *scope.outputs[number + 1 :]]
        scope.ended += 1
        _run_branches(turn, path)
    except StateFailed as failed:
        fail(turn, path, failed.kind, str(failed))


def _lose(turn: Turn, branch: str, failure: Failure) -> None:
    """Take notice that a branch has failed."""
    path, number = around(branch), number_of(branch)
    scope, state = turn.scope(path), turn.state(path)
    if scope.lost >= state.tolerated:
        fail(turn, path, BRANCH_FAILED, f"[{number}] {failure}")
        return
    scope.lost += 1
    scope.ended += 1
    try:
        _run_branches(turn, path)
    except StateFailed as failed:
        fail(turn, path, failed.kind, str(failed))


def _told(failure: Failure) -> dict[str, Any]:
    """Return a failure as variables."""
    return {"error": str(failure), "failure": msgspec.structs.asdict(failure)}


def _output(scope: Scope, state: ReadyState, known: Mapping[str, Any], changes: Mapping[str, Any]) -> Any:
    if state.output is not None:
        return state.output.filled(known)
    return changes["result"] if "result" in changes else scope.variables.get("result")


def _undoing(turn: Turn, path: str, scope: Scope, state: ReadyState, known: Mapping[str, Any]) -> list[Undoing]:
    """Return what undoes a state, the last thing first, by what is known when it is left. Raises StateFailed."""
    if not state.compensate:
        return []
    return [
        Undoing(
            effect_id(turn.instance.id, path, state.name, scope.step, f"undo{number}"),
            action.action.kind,
            asked(action, known),
            path,
            state.name,
        )
        for number, action in reversed([*enumerate(state.compensate)])
    ]


def _undo_with(undo: list[Undoing], more: list[Undoing]) -> tuple[list[Undoing], int]:
    """Return what is to be undone with some more, and how many bytes it takes more. Raises StateFailed.

    What would be done twice with the same parameters is done once: so a loop does not gather without end.
    """
    if not more:
        return undo, 0
    same = [(one.state, one.kind, one.parameters) for one in more]
    rest = [one for one in undo if (one.state, one.kind, one.parameters) not in same]
    if len(rest) + len(more) > MAX_UNDOING:
        raise StateFailed(TOO_LARGE, f"there would be more than {MAX_UNDOING} things to undo")
    kept = sum(weight(one.parameters) for one in (*rest, *more)) - sum(weight(one.parameters) for one in undo)
    return [*rest, *more], kept
