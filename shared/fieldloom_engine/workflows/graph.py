"""A workflow as a graph: for the console, as a Mermaid diagram, and drawn in text. (W1, A5)"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from fieldloom_engine.definitions import Path, shown
from fieldloom_engine.workflows import words
from fieldloom_engine.workflows.model import Flow, Map, Parallel, State, StatePath, Workflow

ANY_ITEM = "*"
"""Stands in the path of a state in an iterator for the number of the item."""

EdgeKind = Literal["transition", "error", "handler"]


@dataclass(frozen=True, slots=True)
class Node:
    """A state."""

    id: str
    """Its path, joined by slashes; that of a state in an iterator has `*` for the item's number."""
    name: str
    type: str
    label: str
    """What it does, in few words."""
    parent: str | None
    """The node of the state that it is within, and which branch of it."""
    branch: int | None
    is_initial: bool
    place: str
    """Where it stands in the file."""


@dataclass(frozen=True, slots=True)
class Edge:
    """A way from one state to another."""

    source: str | None
    """None: from whatever state failed, by the error handler."""
    target: str
    kind: EdgeKind
    condition: str | None
    """In few words; None for always."""
    place: str


@dataclass(frozen=True, slots=True)
class Graph:
    """All states and ways, those in branches and iterators too."""

    workflow: str
    version: str
    name: str
    triggers: tuple[str, ...]
    """In few words."""
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Inner:
    """A flow, and where it is."""

    flow: Flow
    path: StatePath
    place: Path
    parent: str | None = None
    branch: int | None = None


def graph(workflow: Workflow) -> Graph:
    """Return a workflow's graph."""
    flows = list(_flows(_Inner(workflow.flow, (), ())))
    handler = workflow.error_handler
    handled = (
        [Edge(None, handler.result_state, "handler", None, "error_handler.result_state")]
        if handler is not None and handler.result_state is not None
        else []
    )
    return Graph(
        workflow.id,
        workflow.version,
        workflow.name,
        tuple(map(words.of_trigger, workflow.triggers)),
        tuple(_node(inner, state) for inner in flows for state in inner.flow.states.values()),
        (*(edge for inner in flows for state in inner.flow.states.values() for edge in _edges(inner, state)), *handled),
    )


def node_of(drawn: Graph, path: StatePath) -> str:
    """Return the node of a state that an instance is in, whatever the item of an iterator."""
    maps = {node.id for node in drawn.nodes if node.type == "map"}
    found = ""
    for part in path:
        step = ANY_ITEM if found in maps else str(part)
        found = f"{found}/{step}" if found else step
    return found


def _flows(inner: _Inner) -> Iterator[_Inner]:
    yield inner
    for state in inner.flow.states.values():
        path, place = (*inner.path, state.name), (*inner.place, "states", state.name)
        match state:
            case Parallel():
                for at, branch in enumerate(state.branches):
                    yield from _flows(_Inner(branch, (*path, at), (*place, "branches", at), _id(path), at))
            case Map():
                yield from _flows(_Inner(state.iterator, (*path, ANY_ITEM), (*place, "iterator"), _id(path), 0))
            case _:
                pass


def _node(inner: _Inner, state: State) -> Node:
    return Node(
        id=_id((*inner.path, state.name)),
        name=state.name,
        type=state.type,
        label=words.of_state(state),
        parent=inner.parent,
        branch=inner.branch,
        is_initial=state.name == inner.flow.initial_state,
        place=shown((*inner.place, "states", state.name)),
    )


def _edges(inner: _Inner, state: State) -> Iterator[Edge]:
    source, place = _id((*inner.path, state.name)), (*inner.place, "states", state.name)
    ways: list[tuple[EdgeKind, str]] = [("transition", "transitions"), ("error", "on_error")]
    for kind, key in ways:
        for at, one in enumerate(getattr(state, key)):
            condition = None if one.condition is None else words.of_condition(one.condition)
            yield Edge(source, _id((*inner.path, one.target)), kind, condition, shown((*place, key, at)))


def _id(path: StatePath) -> str:
    return "/".join(map(str, path))
