"""A workflow's graph as a picture: a Mermaid state diagram, or drawn in text. (W1)"""

from collections.abc import Iterable, Iterator

from fieldloom_engine.workflows.graph import Edge, Graph, Node

_HANDLED = "after any other failure"
_SIGNS = {"succeed": "✓", "fail": "✗"}
_ESCAPED = {ord(sign): f"#{ord(sign)};" for sign in '#;:"<>{}[]%|\\'} | {ord("\n"): " "}


def mermaid(graph: Graph) -> str:
    """Return a state diagram; branches stand apart within their state, and ways after a failure say so."""
    found = _Found(graph)
    first = next(node for node in found.branches(None)[0] if node.is_initial)
    notes = [f"  note left of {found.names[first.id]}: {_text(one)}" for one in graph.triggers]
    notes += [f"  note right of {found.names[edge.target]}: {_HANDLED}" for edge in found.handled]
    failed = [f"  class {found.names[node.id]} failed" for node in graph.nodes if node.type == "fail"]
    style = ["  classDef failed stroke:#c00", *failed] if failed else []
    return "\n".join(["stateDiagram-v2", *_states(found, None, "  "), *notes, *style]) + "\n"


def drawing(graph: Graph) -> str:
    """Return a text in which each state stands with what it does and where it leads."""
    triggers = [f"  starts by {one}" for one in graph.triggers]
    found = _Found(graph)
    handled = [f"  {_HANDLED} → {edge.target}" for edge in found.handled]
    return "\n".join([f"{graph.name} {graph.version}", *triggers, *handled, *_drawn(found, None, "")]) + "\n"


class _Found:
    """What a picture looks up in a graph."""

    def __init__(self, graph: Graph) -> None:
        self.names = {node.id: f"s{at}" for at, node in enumerate(graph.nodes)}
        self._ways: dict[str | None, list[Edge]] = {}
        for edge in graph.edges:
            self._ways.setdefault(edge.source, []).append(edge)
        self.handled = self._ways.get(None, [])
        """Where the error handler goes on."""
        self._within: dict[str | None, dict[int | None, list[Node]]] = {}
        for node in graph.nodes:
            self._within.setdefault(node.parent, {}).setdefault(node.branch, []).append(node)

    def ways(self, node: Node) -> list[Edge]:
        """Return where a state leads."""
        return self._ways.get(node.id, [])

    def branches(self, parent: str | None) -> list[list[Node]]:
        """Return the states of each branch within a state, or of the workflow itself."""
        return list(self._within.get(parent, {}).values())


def _states(found: _Found, parent: str | None, indent: str) -> Iterator[str]:
    """Return the lines for what is within a state, or for the whole."""
    for at, nodes in enumerate(found.branches(parent)):
        if at:
            yield f"{indent}--"
        for node in nodes:
            yield from _state(found, node, indent)


def _state(found: _Found, node: Node, indent: str) -> Iterator[str]:
    name = found.names[node.id]
    within = list(_states(found, node.id, f"{indent}  "))
    title = f'{indent}state "{_text(f"{node.name} ({node.label})" if node.label else node.name)}" as {name}'
    yield from [f"{title} {{", *within, f"{indent}}}"] if within else [title]
    if node.is_initial:
        yield f"{indent}[*] --> {name}"
    ways = found.ways(node)
    for edge in ways:
        words = _words(edge)
        yield f"{indent}{name} --> {found.names[edge.target]}{f': {_text(words)}' if words else ''}"
    if all(edge.kind == "error" for edge in ways):
        yield f"{indent}{name} --> [*]"


def _drawn(found: _Found, parent: str | None, indent: str) -> Iterator[str]:
    """Return the lines for what is within a state, or for the whole."""
    branches = found.branches(parent)
    if parent is None:
        yield from _listed(found, branches[0], indent)
        return
    for at, nodes in enumerate(branches):
        yield f"{indent}┌ branch {at + 1}" if len(branches) > 1 else f"{indent}┌"
        yield from _listed(found, nodes, f"{indent}│ ")
        yield f"{indent}└"


def _listed(found: _Found, nodes: Iterable[Node], indent: str) -> Iterator[str]:
    for node in nodes:
        sign = "▶" if node.is_initial else _SIGNS.get(node.type, "•")
        yield f"{indent}{sign} {node.name}  {node.label or node.type}"
        yield from _drawn(found, node.id, f"{indent}    ")
        for edge in found.ways(node):
            words = _words(edge)
            yield f"{indent}    {f'{words} ' if words else ''}→ {edge.target.rpartition('/')[2]}"


def _words(edge: Edge) -> str:
    on_error = "on error" if edge.kind == "error" else ""
    return " ".join(part for part in (on_error, edge.condition) if part)


def _text(words: str) -> str:
    return words.translate(_ESCAPED)
