"""The actions of workflows by where they run. (W3, E3)"""

from collections.abc import Mapping

from fieldloom_engine.rules.actions import Kind
from fieldloom_engine.workflows.kinds import KINDS

EDGE = "edge"
COMMAND, GROUP_COMMAND, TELEMETRY, START, LOG = "command", "group_command", "telemetry", "start_workflow", "log"

CLOUD_KINDS = {name: kind for name, kind in KINDS.items() if name != "publish"}
"""What actions a workflow of the cloud may have: its broker has no topics of devices to publish to."""
EDGE_KINDS = {name: kind for name, kind in KINDS.items() if name not in (GROUP_COMMAND, TELEMETRY)}
"""What a gateway performs: it knows no groups and keeps no series."""


def kinds_of(document: object) -> Mapping[str, Kind]:
    """Return what actions a document may have where it says that it runs."""
    return EDGE_KINDS if isinstance(document, dict) and document.get("placement") == EDGE else CLOUD_KINDS
