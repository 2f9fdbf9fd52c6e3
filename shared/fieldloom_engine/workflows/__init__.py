"""Workflows: what is done step by step when something starts them. Pure. (W1 to W6; ADR 52, ADR 53)

    workflow = parse(document)      # or InvalidWorkflow with every fault and its path
    warnings(workflow)              # what is allowed and mostly a mistake

    program = Program(workflow)                                     # compiled, once a version
    instance = create(workflow, new_id, variables, now)             # or InvalidStart
    instance, effects, abandoned, history = step(program, instance, Started(), now)
    step(program, instance, Answered(effect, succeeded, result), now)   # and whatever else happens
    step(program, instance, TimePassed(), now)                      # at next_deadline(instance)

A tier keeps `encode(instance)`, the history and the effects in one transaction, and performs the effects after it, each
at least once: their ids make a second time harmless. Every effect needs an `Answered` in the end. After a crash it goes
on from `decode(checkpoint)` and performs `outstanding(program, instance)` again. It hands over those events that
`awaits(program, instance)` tells. Times are Unix ms, durations ms.
"""

from fieldloom_engine.workflows.checks import Check, warnings
from fieldloom_engine.workflows.definition import InvalidWorkflow, parse, schema
from fieldloom_engine.workflows.documents import ENGINE
from fieldloom_engine.workflows.happening import (
    Answered,
    Happening,
    Occurred,
    Replayed,
    Signalled,
    Started,
    Terminated,
    TimePassed,
)
from fieldloom_engine.workflows.history import Record
from fieldloom_engine.workflows.instance import (
    Failure,
    Instance,
    InvalidStart,
    Performed,
    UnreadableInstance,
    Waiting,
    create,
    decode,
    encode,
    next_deadline,
)
from fieldloom_engine.workflows.interpreter import NotPossible, Step, awaits, outstanding, step
from fieldloom_engine.workflows.model import Workflow
from fieldloom_engine.workflows.program import Program

__all__ = [
    "ENGINE",
    "Answered",
    "Check",
    "Failure",
    "Happening",
    "Instance",
    "InvalidStart",
    "InvalidWorkflow",
    "NotPossible",
    "Occurred",
    "Performed",
    "Program",
    "Record",
    "Replayed",
    "Signalled",
    "Started",
    "Step",
    "Terminated",
    "TimePassed",
    "UnreadableInstance",
    "Waiting",
    "Workflow",
    "awaits",
    "create",
    "decode",
    "encode",
    "next_deadline",
    "outstanding",
    "parse",
    "schema",
    "step",
    "warnings",
]
