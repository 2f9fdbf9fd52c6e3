"""The definition of a workflow, as it stands in its file: checked as a whole, each fault with its path. (W1, W2, W3)"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from fieldloom_contract.errors import Rejected
from fieldloom_contract.plain import plain
from fieldloom_engine.definitions import Fault, faults_of
from fieldloom_engine.rules import action_list
from fieldloom_engine.rules.actions import DEVICE, Kind
from fieldloom_engine.rules.definition import MAX_DEPTH
from fieldloom_engine.workflows import checks, documents
from fieldloom_engine.workflows.checks import Check
from fieldloom_engine.workflows.documents import ENGINE
from fieldloom_engine.workflows.kinds import KINDS
from fieldloom_engine.workflows.model import (
    Awaited,
    Choice,
    Correlation,
    ErrorHandler,
    Fail,
    Flow,
    Map,
    OnApi,
    OnDeviceState,
    OnEvent,
    OnMessage,
    OnSchedule,
    Parallel,
    Retry,
    State,
    Succeed,
    Task,
    Transition,
    Trigger,
    TriggerSource,
    Variable,
    Wait,
    Workflow,
)


class InvalidWorkflow(Exception):  # noqa: N818 - it reads as what happened
    """A definition that is no workflow: `faults` holds all that is wrong with it, each with its path."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = faults


def parse(document: object, kinds: Mapping[str, Kind] = KINDS, further: Iterable[Check] = ()) -> Workflow:
    """Return a workflow; `kinds` are the actions that the tier knows. Raises InvalidWorkflow with every fault.

    `further` are rules of the tier's own, held against what is well-formed else.
    """
    try:
        plain(document, "workflow", MAX_DEPTH)
    except Rejected as error:
        raise InvalidWorkflow([Fault((), error.reason)]) from error
    if isinstance(document, dict) and isinstance(needs := document.get("engine"), int) and needs > ENGINE:
        reason = f"needs engine {needs}, and this is engine {ENGINE}: update it first"
        raise InvalidWorkflow([Fault(("engine",), reason)])
    faults: list[Fault] = []
    try:
        told: Any = documents.model(tuple(sorted(kinds.items()))).model_validate(document)
    except ValidationError as error:
        faults += faults_of(error, document)
    if isinstance(document, dict):
        faults += checks.faults(document)
    if faults or not isinstance(document, dict):
        raise InvalidWorkflow(faults)
    workflow = _workflow(told, document, kinds)
    if faults := [fault for check in further for fault in check(workflow)]:
        raise InvalidWorkflow(faults)
    return workflow


def schema(kinds: Mapping[str, Kind] = KINDS) -> dict[str, Any]:
    """Return the JSON Schema of a workflow's file."""
    model = documents.model(tuple(sorted(kinds.items())))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **model.model_json_schema()}


def _workflow(told: Any, document: dict[str, Any], kinds: Mapping[str, Kind]) -> Workflow:
    flow = _flow(told, document)
    return Workflow(
        id=told.id,
        name=told.name or told.id,
        version=told.version,
        description=told.description,
        placement=told.placement,
        engine=told.engine,
        devices=told.devices,
        triggers=tuple(map(_trigger, told.triggers)),
        variables={one.name: Variable(**dict(one)) for one in told.variables},
        flow=flow,
        error_handler=_handler(told.error_handler, document.get("error_handler"), flow),
        metadata=told.metadata,
        document=document,
        fingerprint=hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest(),
        kinds=kinds,
    )


def _flow(told: Any, document: dict[str, Any]) -> Flow:
    states = {name: _state(name, one, document["states"][name]) for name, one in told.states.items()}
    return Flow(told.initial_state, states)


def _state(name: str, told: Any, document: dict[str, Any]) -> State:
    common: dict[str, Any] = {
        "name": name,
        "description": told.description,
        "actions": action_list.read(document.get("actions", [])),
        "assign": told.assign,
        "timeout": told.timeout,
        "retry": None if told.retry is None else Retry(**dict(told.retry)),
    }
    if told.type in {"succeed", "fail"}:
        return _last(told, common)
    common["transitions"] = _transitions(told.transitions)
    common["on_error"] = _transitions(told.on_error)
    common["compensate"] = action_list.read(document.get("compensate", []))
    match told.type:
        case "parallel":
            branches = zip(told.branches, document["branches"], strict=True)
            return Parallel(**common, branches=tuple(_flow(*one) for one in branches))
        case "map":
            return _map(told, document, common)
        case "wait":
            event = None if told.event is None else _awaited(told.event)
            return Wait(**common, duration=told.for_, until=told.until, event=event)
        case "task":
            return Task(**common)
        case _:
            return Choice(**common)


def _last(told: Any, common: dict[str, Any]) -> State:
    if told.type == "succeed":
        return Succeed(**common, output=told.output)
    return Fail(**common, error=told.error, message=told.message)


def _map(told: Any, document: dict[str, Any], common: dict[str, Any]) -> Map:
    return Map(
        **common,
        items=told.items,
        iterator=_flow(told.iterator, document["iterator"]),
        item_variable=told.item_variable,
        max_concurrency=told.max_concurrency,
        tolerated_failures=told.tolerated_failures,
    )


def _transitions(told: list[Any]) -> tuple[Transition, ...]:
    return tuple(Transition(**dict(one)) for one in told)


def _awaited(told: documents.Awaited) -> Awaited:
    correlation = Correlation(value=DEVICE) if told.correlation is None else Correlation(**dict(told.correlation))
    return Awaited(type=told.type, correlation=None if told.any_source else correlation, condition=told.condition)


def _trigger(told: documents.TriggerDocument) -> Trigger:
    return Trigger(
        on=_source(told),
        condition=told.condition,
        overlap=told.overlap,
        correlation=told.correlation,
        variables=told.variables,
        late=told.late,
    )


def _source(told: documents.TriggerDocument) -> TriggerSource:
    if told.event is not None:
        return OnEvent(type=told.event.type)
    if told.schedule is not None:
        return OnSchedule(**dict(told.schedule))
    if told.device_state is not None:
        return OnDeviceState(**dict(told.device_state))
    return OnApi() if told.message is None else OnMessage(topic=told.message.topic)


def _handler(told: Any, document: Any, flow: Flow) -> ErrorHandler | None:
    if told is None:
        return None
    action = action_list.read([document["action"]])[0] if told.action is not None else None
    if told.result_state in flow.states:
        return ErrorHandler(action=action, result_state=told.result_state)
    return ErrorHandler(action=action, ending=told.result_state)
