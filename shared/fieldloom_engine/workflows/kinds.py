"""The kinds of actions that workflows have: those of rules, and what only makes sense where somebody waits. (W2, E3)"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from fieldloom_engine.definitions import Duration, Part
from fieldloom_engine.rules import actions
from fieldloom_engine.rules.actions import COMMAND_EXPIRES_MS, DEVICE, Kind, Text

MAX_POINTS = 1000


class GroupCommand(Part):
    """A command to each device of a group; `result` is what became of them, by device."""

    group: Text
    type: Text
    parameters: dict[str, Any] | Text = {}  # noqa: RUF012 - frozen
    expires: Duration = Field(default=COMMAND_EXPIRES_MS, description="After so long it is not begun any more.")


class Telemetry(Part):
    """Readings of a metric, as `result`: one value by an aggregate, or the newest points."""

    device_id: Text = DEVICE
    metric: Text
    since: Duration = Field(description="How far it looks back.")
    aggregate: Literal["average", "count", "first", "last", "max", "min", "sum"] | None = None
    limit: Annotated[int, Field(ge=1, le=MAX_POINTS)] = 100


KINDS: Mapping[str, Kind] = {
    **actions.KINDS,
    "group_command": Kind(GroupCommand),
    "telemetry": Kind(Telemetry, is_record=True),
}
