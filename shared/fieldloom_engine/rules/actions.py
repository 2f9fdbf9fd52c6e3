"""The kinds of actions, as they stand in a rule's file. A tier performs them, and may know further kinds. (E3)

An action is a mapping with one key, its kind. Texts may be templates (E4); what they give is held against the kind
again before it is done.
"""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple, get_args

from pydantic import BeforeValidator, Field, ValidationInfo
from pydantic.fields import FieldInfo

from fieldloom_engine.definitions import Duration, Part
from fieldloom_engine.rules.templates import MAX_RENDERED, is_template

COMMAND_EXPIRES_MS = 300_000

FILLED = "filled"
"""The context of a validation of what templates gave: a number is a text too where a text has to be."""


def _written(value: object, info: ValidationInfo) -> object:
    is_plain = isinstance(value, (bool, int, float)) and info.context == FILLED
    return json.dumps(value) if is_plain else value


Text = Annotated[str, BeforeValidator(_written), Field(min_length=1, max_length=MAX_RENDERED)]
_TEXT = FieldInfo.from_annotation(Text)
DEVICE = "{{ device_id }}"
Severity = Literal["info", "warning", "minor", "major", "critical"]


class Kind(NamedTuple):
    """A kind of action: what it takes, and whether it may be done for a time that is over."""

    parameters: type[Part]
    is_record: bool = False
    """It writes down what was, and acts on nothing: right for late events and amendments too. (E8)"""

    def template_defaults(self) -> dict[str, Any]:
        """Return those parameters that are templates where a file says nothing."""
        defaults = {name: field.default for name, field in self.parameters.model_fields.items()}
        return {name: told for name, told in defaults.items() if isinstance(told, str) and is_template(told)}

    def is_text(self, name: str) -> bool:
        """Whether a parameter takes any text that a template may give, but an empty one."""
        field = self.parameters.model_fields[name]
        return field.annotation is str and field.metadata == _TEXT.metadata

    def is_free(self, name: str, told: object) -> bool:
        """Whether a parameter stays right however the templates within are filled: a mapping of whatever content."""
        annotation = self.parameters.model_fields[name].annotation
        return annotation is Any or (isinstance(told, dict) and dict[str, Any] in (annotation, *get_args(annotation)))

    def filled(self, told: object) -> dict[str, Any]:
        """Return the parameters of what stands in a file, its templates filled. Raises ValidationError."""
        parameters = self.parameters.model_validate(told, context=FILLED).model_dump(by_alias=True)
        return {name: value for name, value in parameters.items() if value is not None}


class Notification(Part):
    """Tells people."""

    recipient: Text
    subject: Text | None = None
    message: Text
    importance: Literal["low", "normal", "high"] = "normal"


class Hold(Part):
    """The command holds what it moves against others of its priority and below."""

    priority: Literal["safety", "schedule"] | None = Field(
        default=None, description="In place of the rule's or the workflow's own."
    )
    reason: Text | None = None
    length: Duration = Field(alias="for", description="So long, and never for ever: nobody may be there to release it.")


class Command(Part):
    """A command to a device."""

    device_id: Text = DEVICE
    type: Text
    parameters: dict[str, Any] | Text = {}  # noqa: RUF012 - frozen
    expires: Duration = Field(default=COMMAND_EXPIRES_MS, description="After so long it is not begun any more.")
    hold: Hold | None = None


class Publish(Part):
    """A message to a topic."""

    topic: Text
    payload: Any


class Http(Part):
    """A call to a web server."""

    method: Literal["POST", "PUT", "PATCH", "DELETE", "GET"] = "POST"
    url: Text
    headers: dict[str, Text] = {}  # noqa: RUF012 - frozen
    body: Any = None


class RaiseAlarm(Part):
    """An alarm of a device begins."""

    alarm: Text = Field(description="Its name: a device has one alarm of a name at a time.")
    device_id: Text = DEVICE
    severity: Severity = "warning"
    message: Text | None = None


class ClearAlarm(Part):
    """An alarm of a device ends."""

    alarm: Text
    device_id: Text = DEVICE


class SetTwin(Part):
    """A device's twin shall be otherwise: a merge patch (RFC 7396) of what is desired."""

    device_id: Text = DEVICE
    desired: dict[str, Any] | Text


class StartWorkflow(Part):
    """A workflow starts."""

    workflow: Text
    variables: dict[str, Any] | Text = {}  # noqa: RUF012 - frozen


class Latest(Part):
    """A metric's last value, as `result`."""

    device_id: Text = DEVICE
    metric: Text


class Log(Part):
    """A line in the tier's log."""

    message: Text
    level: Literal["debug", "info", "warning", "error"] = "info"


KINDS: Mapping[str, Kind] = {
    "notification": Kind(Notification),
    "command": Kind(Command),
    "publish": Kind(Publish),
    "http": Kind(Http),
    "raise_alarm": Kind(RaiseAlarm, is_record=True),
    "clear_alarm": Kind(ClearAlarm, is_record=True),
    "set_twin": Kind(SetTwin),
    "start_workflow": Kind(StartWorkflow),
    "latest": Kind(Latest, is_record=True),
    "log": Kind(Log, is_record=True),
}

ALARMS = ("raise_alarm", "clear_alarm")
WITHDRAW = "withdraw"
"""The kind of an effect that takes back an alarm's beginning or end which never should have been: its parameters are
those of the action and `effect`, the id of what is taken back. No rule can name it."""
