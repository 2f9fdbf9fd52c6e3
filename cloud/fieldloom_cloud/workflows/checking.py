"""A workflow's document as the cloud takes it. Pure. (W3)"""

import json
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from fieldloom_cloud.errors import BadContent
from fieldloom_cloud.workflows.kinds import kinds_of
from fieldloom_engine import workflows, writes
from fieldloom_engine.definitions import Fault, shown

RESERVED = ("schema", "validate")
"""No ids of workflows: they are addresses of the interface."""


def checked(document: object) -> workflows.Workflow:
    """Return the workflow of a document. Raises BadContent with each fault and its path."""
    try:
        workflow = workflows.parse(document, kinds_of(document), [_reserved])
    except workflows.InvalidWorkflow as error:
        errors = [{"path": shown(("document", *fault.path)), "reason": fault.reason} for fault in error.faults]
        raise BadContent("The workflow can't be taken.", errors) from None
    return workflow


def warnings(workflow: workflows.Workflow, others: Iterable[writes.Writer]) -> list[dict[str, str]]:
    """Return what is allowed and mostly a mistake, and who of others writes the same actuator. (E9)"""
    clashes = writes.clashes(writes.of_workflow(workflow), others)
    found = [*workflows.warnings(workflow), *(Fault(clash.own.path, clash.reason) for clash in clashes)]
    return [{"path": shown(("document", *fault.path)), "reason": fault.reason} for fault in found]


def parsed(document: dict[str, Any]) -> workflows.Workflow | None:
    """Return the workflow of a stored document, None when this version's engine does not take it any more."""
    return _parsed(json.dumps(document))


@lru_cache(maxsize=1024)
def _parsed(text: str) -> workflows.Workflow | None:
    try:
        document = json.loads(text)
        return workflows.parse(document, kinds_of(document))
    except workflows.InvalidWorkflow:
        return None


def _reserved(workflow: workflows.Workflow) -> list[Fault]:
    return [Fault(("id",), f"must not be one of {', '.join(RESERVED)}")] if workflow.id in RESERVED else []
