"""A workflow's graph as a picture: a Mermaid state diagram, or drawn in text. (W1)"""

from collections.abc import Iterator, Mapping
from itertools import groupby

from fieldloom_engine.workflows.graph import Edge, Graph, Node

_SIGNS = {"succeed": "✓", "fail": "✗"}
_ESCAPED = {ord(sign): f"#{ord(sign)};" for sign in '#;:"<>{}[]%|\\'} | {ord("\n"): " "}


def mermaid(graph: Graph) -> str:
    """Return a state diagram; branches stand apart within their state, and ways after a failure say so."""
    names = {node.id: f"s{at}" for at, node in enumerate(graph.nodes)}
    triggers = [f"  note left of {names[_initial(graph).id]}: {_text(one)}" for one in graph.triggers]
    failed = [f"  class {names[node.id]} failed" for node in graph.nodes if node.type == "fail"]
    style = ["  classDef failed stroke:#c00", *failed] if failed else []
    return "\n".join(["stateDiagram-v2", *_states(graph, names, None, "  "), *triggers, *style]) + "\n"


def drawing(graph: Graph) -> str:
    """Return a text in which each state stands with what it does and where it leads."""
    triggers = [f"  starts by {one}" for one in graph.triggers]
    handled = [f"  after any other failure → {edge.target}" for edge in graph.edges if edge.kind == "handler"]
    return "\n".join([f"{graph.name} {graph.version}", *triggers, *handled, *_drawn(graph, None, "")]) + "\n"


def _states(graph: Graph, names: Mapping[str, str], parent: str | None, indent: str) -> Iterator[str]:
    """Return the lines for what is within a state, or for the whole."""
    for at, (_, nodes) in enumerate(_branches(graph, parent)):
        if at:
            yield f"{indent}--"
        for node in nodes:
            yield from _state(graph, names, node, indent)


def _state(graph: Graph, names: Mapping[str, str], node: Node, indent: str) -> Iterator[str]:
    name = names[node.id]
    within = list(_states(graph, names, node.id, f"{indent}  "))
    title = f'{indent}state "{_text(f"{node.name} ({node.label})" if node.label else node.name)}" as {name}'
    yield from [f"{title} {{", *within, f"{indent}}}"] if within else [title]
    if node.is_initial:
        yield f"{indent}[*] --> {name}"
    ways = _ways(graph, node)
    for edge in ways:
        words = _words(edge)
        yield f"{indent}{name} --> {names[edge.target]}{f': {_text(words)}' if words else ''}"
    if not any(edge.kind == "transition" for edge in ways):
        yield f"{indent}{name} --> [*]"


def _drawn(graph: Graph, parent: str | None, indent: str) -> Iterator[str]:
    branches = _branches(graph, parent)
    for at, nodes in branches:
        if parent is not None:
            yield f"{indent}┌ branch {at + 1}" if len(branches) > 1 else f"{indent}┌"
        inner = indent if parent is None else f"{indent}│ "
        for node in nodes:
            sign = "▶" if node.is_initial else _SIGNS.get(node.type, "•")
            yield f"{inner}{sign} {node.name}  {node.label or node.type}"
            yield from _drawn(graph, node.id, f"{inner}    ")
            for edge in _ways(graph, node):
                words = _words(edge)
                yield f"{inner}    {f'{words} ' if words else ''}→ {edge.target.rpartition('/')[2]}"
        if parent is not None:
            yield f"{indent}└"


def _branches(graph: Graph, parent: str | None) -> list[tuple[int, list[Node]]]:
    within = [node for node in graph.nodes if node.parent == parent]
    return [(at or 0, list(nodes)) for at, nodes in groupby(within, key=lambda node: node.branch)]


def _ways(graph: Graph, node: Node) -> list[Edge]:
    return [edge for edge in graph.edges if edge.source == node.id]


def _initial(graph: Graph) -> Node:
    return next(node for node in graph.nodes if node.is_initial and node.parent is None)


def _words(edge: Edge) -> str:
    on_error = "on error" if edge.kind == "error" else ""
    return " ".join(part for part in (on_error, edge.condition) if part)


def _text(words: str) -> str:
    return words.translate(_ESCAPED)
