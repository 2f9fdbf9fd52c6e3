"""Workflows: what is done step by step when something starts them. Pure. (W1 to W4)

    workflow = parse(document)      # or InvalidWorkflow with every fault and its path
    warnings(workflow)              # what is allowed and mostly a mistake

Times are Unix ms, durations ms.
"""

from fieldloom_engine.workflows.checks import Check, warnings
from fieldloom_engine.workflows.definition import InvalidWorkflow, parse, schema
from fieldloom_engine.workflows.documents import ENGINE
from fieldloom_engine.workflows.model import Workflow

__all__ = ["ENGINE", "Check", "InvalidWorkflow", "Workflow", "parse", "schema", "warnings"]
