"""Which names the states of a flow use, in templates and as properties, and of which of them nothing is known. (W3)"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from fieldloom_engine.definitions import Fault, Path
from fieldloom_engine.rules import action_list, templates
from fieldloom_engine.rules.actions import DEVICE, Kind
from fieldloom_engine.workflows.outline import Node, Outline

_TEMPLATES = ("actions", "compensate", "assign", "for", "until", "output", "message")
_ACTIONS = ("actions", "compensate")
_ABOUT_EVENTS = ("event_type", "source_match")


def faults(flow: Outline) -> Iterator[Fault]:
    """Return the templates that are none, and the conditions that are about an event where there is none."""
    for node in flow.nodes.values():
        for where, told in _with_templates(node):
            yield from action_list.template_faults(told, where, names=None)
        for where, part in _conditions(node):
            for key in _ABOUT_EVENTS:
                if key in part:
                    yield Fault((*where, key), "is about an event, and here are variables alone")


def warnings(flow: Outline, known: Collection[str], kinds: Mapping[str, Kind]) -> Iterator[Fault]:
    """Return the names of which nothing is known when the flow's states use them."""
    here = {*known, *flow.names}
    for node in flow.nodes.values():
        for where, told in _with_templates(node):
            yield from unknown_in(told, where, here)
        for where, part in _conditions(node):
            for path, name in _properties(part, where):
                yield from _unknown(path, {name.split(".")[0]}, here)
        if isinstance(items := node.told.get("items"), str):
            yield from _unknown((*node.path, "items"), {items.split(".")[0]}, here)
        if "device_id" not in here:
            yield from (
                path for key in _ACTIONS for path in _without_device(node.told.get(key), (*node.path, key), kinds)
            )


def unknown_in(told: object, path: Path, known: Collection[str]) -> Iterator[Fault]:
    """Return a fault for each name that is not known in the templates of a value that stands at a path."""
    for where, text in templates.within(told, path):
        yield from _unknown(where, templates.names_in(text), known)


def _unknown(path: Path, names: Collection[str], known: Collection[str]) -> Iterator[Fault]:
    for name in sorted(set(names).difference(known)):
        yield Fault(path, f"nothing is known of {name}: it is no variable")


def _with_templates(node: Node) -> Iterator[tuple[Path, Any]]:
    for key in _TEMPLATES:
        if key in node.told:
            yield (*node.path, key), node.told[key]
    event = node.told.get("event")
    if isinstance(event, Mapping) and isinstance(correlation := event.get("correlation"), Mapping):
        yield (*node.path, "event", "correlation", "value"), correlation.get("value")


def _conditions(node: Node) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Return all conditions over variables, those within others too."""
    for edge in (*node.transitions, *node.on_error):
        *_, key, at, _ = edge.path
        yield from _parts(node.told[str(key)][at].get("condition"), (*edge.path[:-1], "condition"))


def _parts(condition: object, path: Path) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    if not isinstance(condition, Mapping):
        return
    yield path, condition
    yield from _parts(condition.get("not"), (*path, "not"))
    for key in ("and", "or"):
        parts = condition.get(key)
        for at, part in enumerate(parts if isinstance(parts, list) else ()):
            yield from _parts(part, (*path, key, at))


def _properties(condition: Mapping[str, Any], path: Path) -> Iterator[tuple[Path, str]]:
    for key in ("property_equals", "property_range"):
        told = condition.get(key)
        if isinstance(told, Mapping) and isinstance(name := told.get("property"), str):
            yield (*path, key, "property"), name


def _without_device(actions: object, path: Path, kinds: Mapping[str, Kind]) -> Iterator[Fault]:
    """Return the actions that are for the device that the workflow is about, though it may be about none."""
    for at, one in enumerate(actions if isinstance(actions, list) else ()):
        for name, told in one.items() if isinstance(one, Mapping) else ():
            defaults = kinds[name].template_defaults() if name in kinds else {}
            for parameter in [key for key, value in defaults.items() if value == DEVICE]:
                if isinstance(told, Mapping) and parameter not in told:
                    yield Fault((*path, at, name), f"needs {parameter}: what starts the workflow tells no device")
