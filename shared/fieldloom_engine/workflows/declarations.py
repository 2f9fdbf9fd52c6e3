"""What a file declares: variables with their types, and what sets them. (W1, W3, W4)"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, get_args

from fieldloom_engine.definitions import Fault, Path
from fieldloom_engine.rules import action_list
from fieldloom_engine.rules.templates import within
from fieldloom_engine.workflows.model import GIVEN, VariableType
from fieldloom_engine.workflows.outline import Node, Outline
from fieldloom_engine.workflows.variables import fits

AT_START: Mapping[str, tuple[str, ...]] = {
    "event": ("device_id", "event", "now"),
    "device_state": ("device_id", "event", "now"),
    "message": ("event", "now"),
    "schedule": ("now",),
    "api": ("now",),
}
"""What the templates of a trigger know; `now` is the time for which it starts."""
WITH_DEVICE = ("event", "device_state")
SETTABLE = {"device_id": ("string", "any"), "event": ("object", "any")}
"""What may be declared though it is given: with these types."""

Types = Mapping[str, VariableType]


def declared(document: Mapping[str, Any]) -> Types:
    """Return the types of the variables that a file declares, as far as it can be understood."""
    types: dict[str, VariableType] = {}
    for one in _list(document, "variables"):
        if isinstance(one, Mapping) and isinstance(name := one.get("name"), str):
            type_: VariableType = one["type"] if one.get("type") in get_args(VariableType) else "any"
            types.setdefault(name, type_)
    return types


def known(document: Mapping[str, Any]) -> set[str]:
    """Return what is known in all flows; of a device only when something that starts the workflow tells it."""
    types = declared(document)
    names = {*GIVEN, *types}
    return names if "device_id" in types or _tells_device(document) else names - {"device_id"}


def faults(document: Mapping[str, Any]) -> Iterator[Fault]:
    """Return what is wrong with variables, and with what triggers set."""
    types = declared(document)
    yield from _variables(document)
    for at, one in enumerate(_list(document, "triggers")):
        if isinstance(one, Mapping):
            yield from _trigger(one, ("triggers", at), types)


def flow_faults(flow: Outline, types: Types, given: Collection[str]) -> Iterator[Fault]:
    """Return what is wrong with what the states of a flow set and take; `given` is known in all flows."""
    for node in flow.nodes.values():
        yield from _set(node.told.get("assign"), (*node.path, "assign"), types)
        yield from _map(node, types)
        if "device_id" not in given and _takes_device(node):
            reason = "needs correlation, or any_source: what starts the workflow tells no device"
            yield Fault((*node.path, "event"), reason)


def _takes_device(node: Node) -> bool:
    """Whether it waits for an event of the device that the workflow is about."""
    event = node.told.get("event")
    if node.type != "wait" or not isinstance(event, Mapping):
        return False
    return event.get("correlation") is None and event.get("any_source") is not True


def _variables(document: Mapping[str, Any]) -> Iterator[Fault]:
    seen: set[str] = set()
    for at, one in enumerate(_list(document, "variables")):
        if not isinstance(one, Mapping) or not isinstance(name := one.get("name"), str):
            continue
        path, type_, default = ("variables", at), one.get("type", "any"), one.get("default")
        if name in seen:
            yield Fault((*path, "name"), f"{name} is declared twice")
        seen.add(name)
        if name in GIVEN and name not in SETTABLE:
            yield Fault((*path, "name"), f"{name} is known without being declared")
        if name in SETTABLE and type_ not in SETTABLE[name]:
            yield Fault((*path, "type"), f"{name} is of type {SETTABLE[name][0]}")
        if default is not None and type_ in get_args(VariableType) and not fits(type_, default):
            yield Fault((*path, "default"), f"is no {type_}")


def _trigger(told: Mapping[str, Any], path: Path, types: Types) -> Iterator[Fault]:
    source = next((name for name in AT_START if told.get(name) is not None), None)
    if source is None:
        return
    values = told.get("variables")
    if isinstance(values, Mapping):
        yield from _set({name: one for name, one in values.items() if name != "device_id"}, (*path, "variables"), types)
        yield from action_list.template_faults(values, (*path, "variables"), AT_START[source])
        if "device_id" in values and (source in WITH_DEVICE or any(within(values["device_id"]))):
            reason = "is the device as it was authenticated: no event names another"
            yield Fault((*path, "variables", "device_id"), reason)
    names = tuple(dict.fromkeys((*AT_START[source], *types)))
    yield from action_list.template_faults(told.get("correlation"), (*path, "correlation"), names)


def _set(values: object, path: Path, types: Types) -> Iterator[Fault]:
    for name, value in values.items() if isinstance(values, Mapping) else ():
        where = (*path, name)
        if name in GIVEN:
            yield Fault(where, "can't be set")
        elif name not in types:
            yield Fault(where, "is not declared under variables")
        elif not any(within(value)) and not fits(types[name], value):
            yield Fault(where, f"is no {types[name]}")


def _map(node: Node, types: Types) -> Iterator[Fault]:
    if node.type != "map":
        return
    item, items = node.told.get("item_variable"), node.told.get("items")
    if isinstance(item, str) and (item in types or item in GIVEN):
        yield Fault((*node.path, "item_variable"), f"{item} means something else already")
    if isinstance(items, str) and types.get(items, "array") not in {"array", "any"}:
        yield Fault((*node.path, "items"), f"{items} is no array")


def _tells_device(document: Mapping[str, Any]) -> bool:
    triggers = _list(document, "triggers")
    return not triggers or any(name in one for one in triggers if isinstance(one, Mapping) for name in WITH_DEVICE)


def _list(document: Mapping[str, Any], key: str) -> list[Any]:
    listed = document.get(key)
    return listed if isinstance(listed, list) else []
