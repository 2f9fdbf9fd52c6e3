"""The actions of workflows that run in the cloud, and what else has to be so of their definitions. (W3, E3)"""

from collections.abc import Iterator

from fieldloom_engine.definitions import Fault
from fieldloom_engine.workflows import Workflow
from fieldloom_engine.workflows.kinds import KINDS
from fieldloom_engine.workflows.model import OnMessage

COMMAND, GROUP_COMMAND, TELEMETRY, START, LOG = "command", "group_command", "telemetry", "start_workflow", "log"

CLOUD_KINDS = {name: kind for name, kind in KINDS.items() if name != "publish"}
"""What actions a workflow of the cloud may have: its broker has no topics of devices to publish to."""


def misplaced(workflow: Workflow) -> Iterator[Fault]:
    """Give what this cloud can't run."""
    if workflow.placement != "cloud":
        yield Fault(("placement",), "must be cloud: put one of the edge into the folder of its gateway")
    for number, trigger in enumerate(workflow.triggers):
        if isinstance(trigger.on, OnMessage):
            reason = "the cloud has no topics of devices: let an event of a device start it"
            yield Fault(("triggers", number, "message"), reason)
