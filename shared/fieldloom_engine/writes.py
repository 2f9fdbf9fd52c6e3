"""What rules and workflows write, so that who deploys one is told who else writes the same actuator. Pure. (E9)"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

from fieldloom_engine.definitions import Path
from fieldloom_engine.holds import WRITE, actuator_of
from fieldloom_engine.rules import Rule
from fieldloom_engine.rules.templates import is_template
from fieldloom_engine.workflows import Workflow
from fieldloom_engine.workflows.outline import outlines

DRIVERS = "drivers"
"""What a twin says under this key drivers set, as `write` does."""


class Write(NamedTuple):
    """What an action writes."""

    path: Path
    """Where the action stands in its document."""
    device: str | None
    """None for whichever a template, a group or a start names."""
    what: str

    def may_be(self, other: "Write") -> bool:
        """Whether both may write the same."""
        return self.what == other.what and (None in (self.device, other.device) or self.device == other.device)


class Writer(NamedTuple):
    """A definition, and what it writes."""

    kind: Literal["rule", "workflow"]
    id: str
    writes: tuple[Write, ...]


class Clash(NamedTuple):
    """What another one writes too."""

    other: Writer
    own: Write

    @property
    def reason(self) -> str:
        """As people are told."""
        return f"{self.other.kind} {self.other.id} writes it too: {self.own.what}"


def of_rule(rule: Rule) -> Writer:
    """Return what a rule writes; what only a template tells is not known."""
    parts = (("do", rule.do), ("otherwise", rule.otherwise))
    told = (((part, at), {one.kind: one.told}) for part, actions in parts for at, one in enumerate(actions))
    return Writer("rule", rule.id, tuple(_written(told)))


def of_workflow(workflow: Workflow) -> Writer:
    """Return what a workflow writes, undoing and its error handler too."""
    return Writer("workflow", workflow.id, tuple(_written(_actions(workflow.document))))


def clashes(own: Writer, others: Iterable[Writer]) -> list[Clash]:
    """Return who else may write what a definition writes, once for each of its actions."""
    return [
        Clash(other, mine)
        for other in others
        if (other.kind, other.id) != (own.kind, own.id)
        for mine in own.writes
        if any(mine.may_be(theirs) for theirs in other.writes)
    ]


def _actions(document: Mapping[str, Any]) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    for flow in outlines(document):
        for node in flow.nodes.values():
            for part in ("actions", "compensate"):
                for at, action in enumerate(node.told.get(part) or ()):
                    yield (*node.path, part, at), action
    handler = document.get("error_handler") or {}
    if handler.get("action"):
        yield ("error_handler", "action"), handler["action"]


def _written(actions: Iterable[tuple[Path, Mapping[str, Any]]]) -> Iterator[Write]:
    for path, action in actions:
        for kind, told in action.items():
            device = told.get("device_id")
            named = device if isinstance(device, str) and not is_template(device) else None
            for what in _targets(kind, told):
                yield Write((*path, kind), named, what)


def _targets(kind: str, told: Mapping[str, Any]) -> Iterator[str]:
    if kind in ("command", "group_command"):
        yield from _moved(told["type"], told.get("parameters"))
    desired = told["desired"] if kind == "set_twin" else None
    for name, value in desired.items() if isinstance(desired, Mapping) else ():
        if name == DRIVERS and isinstance(value, Mapping):
            yield from (f"command {WRITE} {one}" for one in value)
        else:
            yield f"twin {name}"


def _moved(type_: str, parameters: object) -> Iterator[str]:
    """Give what a command moves, unless a template tells it."""
    actuator = actuator_of(type_, parameters if isinstance(parameters, Mapping) else {})
    if actuator is not None and not is_template(type_) and not is_template(actuator):
        yield f"command {WRITE} {actuator}" if type_ == WRITE else f"command {type_}"
