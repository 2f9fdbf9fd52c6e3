"""What a file is held against beyond the shape of each value. Judged by its outline: beside all other faults. (W3)"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, get_args

from fieldloom_engine.definitions import Fault
from fieldloom_engine.rules import action_list
from fieldloom_engine.workflows import declarations, graphs, names
from fieldloom_engine.workflows.model import Ending, Workflow
from fieldloom_engine.workflows.outline import Outline, outlines

MAX_FLOWS = 200
MAX_NESTING = 8

Check = Callable[[Workflow], Iterable[Fault]]
"""A further rule: what is wrong with a workflow that is well-formed else."""


def faults(document: Mapping[str, Any]) -> Iterator[Fault]:
    """Return everything wrong with a file but the shape of its values, which it need not have."""
    flows = list(outlines(document))
    if len(flows) > MAX_FLOWS:
        yield Fault((), f"has more than {MAX_FLOWS} branches and iterators")
        return
    yield from declarations.faults(document)
    types, known = declarations.declared(document), declarations.known(document)
    yield from _handler(document, flows[0])
    target = _handler_target(document)
    for flow in flows:
        if flow.nesting > MAX_NESTING:
            yield Fault(flow.path, f"is nested more than {MAX_NESTING} deep")
        yield from graphs.faults(flow, target if flow is flows[0] else None)
        yield from declarations.flow_faults(flow, types, known)
        yield from names.faults(flow)


def warnings(workflow: Workflow) -> list[Fault]:
    """Return what is allowed and mostly a mistake."""
    document, known = workflow.document, declarations.known(workflow.document)
    handler = document.get("error_handler") or {}
    found = list(names.unknown_in(handler.get("action"), ("error_handler", "action"), known))
    for flow in outlines(document):
        found += names.warnings(flow, known, workflow.kinds)
        found += [
            Fault((*node.path, "transitions"), "fails if none holds: the last one has a condition too")
            for node in flow.nodes.values()
            if node.transitions and not node.transitions[-1].is_default
        ]
    return found


def _handler_target(document: Mapping[str, Any]) -> str | None:
    handler = document.get("error_handler")
    target = handler.get("result_state") if isinstance(handler, Mapping) else None
    return target if isinstance(target, str) else None


def _handler(document: Mapping[str, Any], flow: Outline) -> Iterator[Fault]:
    handler = document.get("error_handler")
    if not isinstance(handler, Mapping):
        return
    target = _handler_target(document)
    if target is not None and target not in flow.nodes and target not in get_args(Ending):
        reason = f"there is no state {target}: it is one of {', '.join((*flow.nodes, *get_args(Ending)))}"
        yield Fault(("error_handler", "result_state"), reason)
    yield from action_list.template_faults(handler.get("action"), ("error_handler", "action"), names=None)
