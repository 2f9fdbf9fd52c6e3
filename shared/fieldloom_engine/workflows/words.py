"""What parts of a workflow say, in few words: for pictures."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from fieldloom_engine.durations import written
from fieldloom_engine.rules.action_list import Action
from fieldloom_engine.rules.conditions import Condition
from fieldloom_engine.workflows.model import (
    Awaited,
    Fail,
    Map,
    OnApi,
    OnDeviceState,
    OnEvent,
    OnMessage,
    OnSchedule,
    Parallel,
    State,
    Trigger,
    TriggerSource,
    Wait,
)

LONGEST = 60


def of_condition(condition: Condition) -> str:
    """Return what a condition says, as `result.value ≥ 80`."""
    told: Any = condition.content
    match condition.kind:
        case "property_equals":
            return f"{told.property} = {_value(told.value)}"
        case "property_range":
            return _range(told.property, told.min, told.max)
        case "and" | "or":
            return f" {condition.kind} ".join(_within(part) for part in told)
        case "not":
            return f"not {_within(told)}"
        case _:
            return _short(str(told))


def of_state(state: State) -> str:
    """Return what a state does, as `command, log` or `wait 5m`."""
    parts = [of_actions(state.actions)] if state.actions else []
    match state:
        case Wait():
            parts.append(_wait(state))
        case Parallel():
            parts.append(f"{len(state.branches)} branches at once")
        case Map():
            at_once = f", {state.max_concurrency} at once" if state.max_concurrency else ""
            parts.append(f"for each of {state.items}{at_once}")
        case Fail():
            parts.append(f"fail: {state.error}")
    if state.retry is not None and state.retry.max_attempts > 1:
        parts.append(f"{state.retry.max_attempts} attempts")
    if state.timeout is not None:
        parts.append(f"within {written(state.timeout)}")
    return " · ".join(parts)


def of_actions(actions: Sequence[Action]) -> str:
    """Return the kinds of actions; of a command its type too."""
    return ", ".join(f"{one.kind} {one.told['type']}" if one.kind == "command" else one.kind for one in actions)


def of_trigger(trigger: Trigger) -> str:
    """Return what starts an instance, as `device.telemetry where temperature ≥ 80`."""
    where = "" if trigger.condition is None else f" where {of_condition(trigger.condition)}"
    return f"{_source(trigger.on)}{where}"


def _source(on: TriggerSource) -> str:
    match on:
        case OnEvent():
            return on.type
        case OnSchedule():
            return f"{on.cron} ({on.timezone})"
        case OnApi():
            return "who asks for it"
        case OnDeviceState():
            return f"{on.device or 'a device'} is {on.state}"
        case OnMessage():
            return f"a message on {on.topic}"


def _wait(state: Wait) -> str:
    if state.event is not None:
        return f"wait for {_awaited(state.event)}"
    if state.duration is not None:
        return f"wait {state.duration if isinstance(state.duration, str) else written(state.duration)}"
    until = state.until
    return f"wait until {until if isinstance(until, str) else _instant(until or 0)}"


def _awaited(event: Awaited) -> str:
    where = "" if event.condition is None else f" where {of_condition(event.condition)}"
    return f"{event.type}{where}"


def _instant(ts: int) -> str:
    return datetime.fromtimestamp(ts / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _range(name: str, low: float | None, high: float | None) -> str:
    if low is None:
        return f"{name} ≤ {high:g}"
    return f"{name} ≥ {low:g}" if high is None else f"{low:g} ≤ {name} ≤ {high:g}"


def _within(condition: Condition) -> str:
    words = of_condition(condition)
    return f"({words})" if condition.kind in {"and", "or"} else words


def _value(value: object) -> str:
    return _short(json.dumps(value, ensure_ascii=False))


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
