"""Where the states of a flow lead: targets exist, every state is reached, and no circle goes round at once. (W3)"""

from collections.abc import Iterable, Iterator, Mapping

from fieldloom_engine.definitions import Fault
from fieldloom_engine.workflows.outline import Edge, Node, Outline


def faults(flow: Outline, handler_target: str | None = None) -> Iterator[Fault]:
    """Return what is wrong with a flow's graph; `handler_target` is the state at which an error handler goes on."""
    yield from _ends(flow)
    yield from _never_taken(flow.nodes.values())
    yield from _never_reached(flow, handler_target)
    yield from _circles(flow.nodes)


def _ends(flow: Outline) -> Iterator[Fault]:
    if isinstance(flow.initial_state, str) and flow.initial_state not in flow.nodes:
        yield Fault((*flow.path, "initial_state"), _no_state(flow.initial_state, flow.nodes))
    for node in flow.nodes.values():
        for edge in _ways(node):
            if edge.target not in flow.nodes:
                yield Fault(edge.path, _no_state(edge.target, flow.nodes))


def _never_taken(nodes: Iterable[Node]) -> Iterator[Fault]:
    for node in nodes:
        for edges in (node.transitions, node.on_error):
            default = next((at for at, edge in enumerate(edges) if edge.is_default), len(edges))
            for edge in edges[default + 1 :]:
                yield Fault(edge.path[:-1], "is never taken: one before it has no condition")


def _never_reached(flow: Outline, handler_target: str | None) -> Iterator[Fault]:
    ahead = [name for name in (flow.initial_state, handler_target) if isinstance(name, str) and name in flow.nodes]
    if not ahead:
        return  # it is told already that there is no beginning
    reached: set[str] = set()
    while ahead:
        name = ahead.pop()
        if name not in reached:
            reached.add(name)
            ahead += [edge.target for edge in _ways(flow.nodes[name]) if edge.target in flow.nodes]
    for name, node in flow.nodes.items():
        if name not in reached:
            yield Fault(node.path, "is never reached")


def _circles(nodes: Mapping[str, Node]) -> Iterator[Fault]:
    """Return each way that closes a circle in which no time passes, in a walk without recursion."""
    done: set[str] = set()
    for start in nodes:
        trail: list[str] = []
        ahead = [(0, Edge((), start, is_default=True))]
        while ahead:
            depth, edge = ahead.pop()
            done.update(trail[depth:])
            del trail[depth:]
            if edge.target in trail:
                circle = [*trail[trail.index(edge.target) :], edge.target]
                yield Fault(edge.path, f"leads round without a wait: {' → '.join(circle)}")
            elif edge.target in nodes and edge.target not in done and not nodes[edge.target].lets_time_pass:
                trail.append(edge.target)
                ahead += [(depth + 1, one) for one in reversed(_ways(nodes[edge.target]))]
        done.update(trail)


def _ways(node: Node) -> tuple[Edge, ...]:
    return node.transitions + node.on_error


def _no_state(name: str, nodes: Mapping[str, Node]) -> str:
    return f"there is no state {name} here: there are {', '.join(nodes)}" if nodes else f"there is no state {name} here"
