"""The actions of workflows by where they run, and what else has to be so of their definitions. (W3, E3)"""

from collections.abc import Iterator, Mapping

from fieldloom_engine.definitions import Fault
from fieldloom_engine.rules.actions import Kind
from fieldloom_engine.workflows import Workflow
from fieldloom_engine.workflows.kinds import KINDS
from fieldloom_engine.workflows.model import OnMessage

EDGE = "edge"
COMMAND, GROUP_COMMAND, TELEMETRY, START, LOG = "command", "group_command", "telemetry", "start_workflow", "log"

CLOUD_KINDS = {name: kind for name, kind in KINDS.items() if name != "publish"}
"""What actions a workflow of the cloud may have: its broker has no topics of devices to publish to."""
EDGE_KINDS = {name: kind for name, kind in KINDS.items() if name not in (GROUP_COMMAND, TELEMETRY)}
"""What a gateway performs: it knows no groups and keeps no series."""


def kinds_of(document: object) -> Mapping[str, Kind]:
    """Return what actions a document may have where it says that it runs."""
    return EDGE_KINDS if isinstance(document, dict) and document.get("placement") == EDGE else CLOUD_KINDS


def misplaced(workflow: Workflow) -> Iterator[Fault]:
    """Give what this cloud can't run. A gateway says itself what it can't."""
    for number, trigger in enumerate(workflow.triggers):
        if workflow.placement != EDGE and isinstance(trigger.on, OnMessage):
            reason = "the cloud has no topics of devices: let an event of a device start it"
            yield Fault(("triggers", number, "message"), reason)
