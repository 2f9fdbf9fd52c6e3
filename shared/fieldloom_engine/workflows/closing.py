"""How an instance ends: its error handler, what is undone, and its status. (W1, W5, W7)"""

from fieldloom_engine.rules.firing import Effect
from fieldloom_engine.workflows.instance import ROOT, Failure, Pending, Performed, Status, Undoing, effect_id
from fieldloom_engine.workflows.program import StateFailed
from fieldloom_engine.workflows.turn import Turn


def fail(turn: Turn, failure: Failure) -> None:
    """Give the error handler its turn, once, when the workflow's own flow has failed; then it is over."""
    instance, handler = turn.instance, turn.program.handler
    instance.failure = failure
    if handler is None or instance.handled:
        close(turn, "failed")
        return
    instance.handled = True
    if (action := turn.program.handling) is None:
        _go_on(turn)
        return
    scope = turn.scope(ROOT)
    name = effect_id(instance.id, ROOT, scope.state, scope.step, "handler")
    kind = action.action.kind
    try:
        parameters = turn.parameters(ROOT, action, turn.now)
    except StateFailed as error:
        performed = Performed(name, kind, False, error=str(error))
        turn.record("handler", outcome="failed", actions=(performed,), failure=failure)
        _go_on(turn)
        return
    _ask(turn, Pending("handler", Undoing(name, kind, parameters, ROOT, scope.state)))


def answered(turn: Turn, pending: Pending, performed: Performed) -> None:
    """Go on when what was to be done at the end is done, or has failed: that is written down, and changes nothing."""
    turn.instance.pending = None
    action = pending.action
    turn.record(
        pending.purpose,
        path=action.path,
        state=action.state,
        outcome="succeeded" if performed.succeeded else "failed",
        actions=(performed,),
    )
    if pending.purpose == "handler":
        _go_on(turn)
    else:
        _undo_next(turn)


def close(turn: Turn, status: Status) -> None:
    """Undo what was done unless it ends well, and end so. Nothing runs any more."""
    turn.settle(turn.scope(ROOT))
    turn.instance.closing = status
    if status == "succeeded":
        turn.instance.undo = []
    _undo_next(turn)


def terminate(turn: Turn, reason: str, undo: bool) -> None:
    """End an instance that is not over, whatever it does."""
    instance = turn.instance
    if instance.closing is None:
        instance.reason = reason
    elif undo:
        return
    if not undo:
        instance.undo = []
    if instance.pending is not None:
        turn.abandoned.append(instance.pending.action.id)
        instance.pending = None
    turn.stop(ROOT)
    if (scope := turn.scopes[ROOT]).waits not in {"", "retry"}:
        turn.note(ROOT, scope, outcome="cancelled")
    close(turn, instance.closing or "terminated")


def _go_on(turn: Turn) -> None:
    """Go on where the error handler says."""
    handler = turn.program.handler
    if handler is not None and handler.result_state is not None:
        turn.instance.failure = None
        turn.agenda.append((ROOT, handler.result_state))
        return
    close(turn, handler.ending if handler else "failed")


def _undo_next(turn: Turn) -> None:
    instance = turn.instance
    if instance.undo:
        *instance.undo, last = instance.undo
        _ask(turn, Pending("compensation", last))
        return
    instance.status, instance.closing = instance.closing or "failed", None
    instance.size = turn.scopes[ROOT].size
    turn.record(
        "ended",
        outcome=instance.status,
        failure=instance.failure if instance.status == "failed" else None,
        reason=instance.reason,
        output=instance.output,
    )


def _ask(turn: Turn, pending: Pending) -> None:
    turn.instance.pending = pending
    action = pending.action
    turn.effects.append(Effect(action.id, action.kind, action.parameters))
