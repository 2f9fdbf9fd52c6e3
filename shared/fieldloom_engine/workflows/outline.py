"""A file's flows, as far as they can be understood: so what they say is judged beside all other faults. (W3)"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from fieldloom_engine.definitions import Path
from fieldloom_engine.rules.templates import is_template
from fieldloom_engine.workflows.model import INDEX, ITEM


class Edge(NamedTuple):
    """A way from one state to another."""

    path: Path
    """Where its target stands in the file."""
    target: str
    is_default: bool
    """It has no condition."""


class Node(NamedTuple):
    """A state, and where it stands in the file."""

    path: Path
    told: Mapping[str, Any]
    transitions: tuple[Edge, ...]
    on_error: tuple[Edge, ...]

    @property
    def type(self) -> object:
        """What it is, as the file tells it."""
        return self.told.get("type")

    @property
    def lets_time_pass(self) -> bool:
        """Whether it waits each time that it is entered; an instant that is written out passes only once."""
        until = self.told.get("until")
        return self.type == "wait" and (until is None or (isinstance(until, str) and is_template(until)))


class Outline(NamedTuple):
    """A flow, and where it stands in the file."""

    path: Path
    initial_state: object
    nodes: Mapping[str, Node]
    names: tuple[str, ...]
    """What is known here besides, as the item of a map."""
    nesting: int = 0


def outlines(document: Mapping[str, Any]) -> Iterator[Outline]:
    """Return the outline of a workflow, and then of every flow within."""
    yield from _flow(document, (), (), 0)


def _flow(told: Mapping[str, Any], path: Path, names: tuple[str, ...], nesting: int) -> Iterator[Outline]:
    states = told.get("states")
    found = states.items() if isinstance(states, Mapping) else ()
    nodes = {name: _node(one, (*path, "states", name)) for name, one in found if isinstance(one, Mapping)}
    yield Outline(path, told.get("initial_state"), nodes, names, nesting)
    for node in nodes.values():
        for inner, where, more in _inner(node):
            if isinstance(inner, Mapping):
                yield from _flow(inner, (*node.path, *where), (*names, *more), nesting + 1)


def _inner(node: Node) -> Iterator[tuple[object, Path, tuple[str, ...]]]:
    branches = node.told.get("branches")
    for at, branch in enumerate(branches if isinstance(branches, list) else ()):
        yield branch, ("branches", at), ()
    item = node.told.get("item_variable", ITEM)
    yield node.told.get("iterator"), ("iterator",), (*([item] if isinstance(item, str) else []), INDEX)


def _node(told: Mapping[str, Any], path: Path) -> Node:
    return Node(path, told, _edges(told, path, "transitions"), _edges(told, path, "on_error"))


def _edges(told: Mapping[str, Any], path: Path, key: str) -> tuple[Edge, ...]:
    listed = told.get(key)
    return tuple(
        Edge((*path, key, at, "target"), one["target"], one.get("condition") is None)
        for at, one in enumerate(listed if isinstance(listed, list) else ())
        if isinstance(one, Mapping) and isinstance(one.get("target"), str)
    )
