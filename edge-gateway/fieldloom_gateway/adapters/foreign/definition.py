"""What `mappings` in `adapters.yaml` may say; pydantic names a fault by its path. (C6)"""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from fieldloom_contract.errors import Rejected
from fieldloom_contract.limits import MAX_METRICS, MAX_NAME
from fieldloom_contract.topics import device_id
from fieldloom_gateway.adapters.foreign.patterns import Pattern, names_in, pattern

DEVICE = "device"
COMMAND_PARTS = {DEVICE, "name", "value"}
AUTO, UNIX, UNIX_MS, ISO = "auto", "unix", "unix_ms", "iso"
SPARKPLUG = "sparkplug"

Path = tuple[str, ...]
"""The names on the way into a JSON value; empty for the whole of it."""


def _path(told: Any) -> Any:
    if isinstance(told, str):
        return tuple(told.split(".")) if told else ()
    return told


def _zone(told: Any) -> Any:
    if isinstance(told, str):
        try:
            return ZoneInfo(told)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"{told[:MAX_NAME]!r} is no time zone that is known here, as Europe/Berlin") from None
    return told


def _format(told: str) -> str:
    if told in (AUTO, UNIX, UNIX_MS, ISO):
        return told
    now = datetime.now(UTC)
    try:
        datetime.strptime(now.strftime(told), told)  # noqa: DTZ007 - only its form is tried
    except ValueError:
        told = ""
    if "%" not in told:
        raise ValueError("must be auto, unix, unix_ms, iso, or a pattern as %d.%m.%Y %H:%M:%S")
    return told


def _ours(told: str) -> str:
    try:
        return device_id(told)
    except Rejected as error:
        raise ValueError(error.reason) from None


def _quoted(told: Any) -> Any:
    if isinstance(told, dict) and any(isinstance(word, bool) for word in told):
        raise ValueError('wants its words in quotes, as "ON": YAML reads ON, off, yes and no as booleans')
    return told


def _template(told: Any) -> Any:
    names_in(told)
    return told


AtPath = Annotated[Path, BeforeValidator(_path)]
Zone = Annotated[ZoneInfo, BeforeValidator(_zone)]
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME), AfterValidator(_template)]
Ours = Annotated[str, AfterValidator(_ours)]
TopicPattern = Annotated[Pattern, BeforeValidator(pattern)]
Booleans = Annotated[dict[str, bool], BeforeValidator(_quoted)]


class Part(BaseModel):
    """A part of a mapping."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class Time(Part):
    """When it was measured, as the payload says; what it does not say is dated by the gateway."""

    path: AtPath
    format: Annotated[str, AfterValidator(_format)] = AUTO
    zone: Zone | None = Field(default=None, description="Of a time that tells none; UTC by default.")


class State(Part):
    """Words that say whether a device is there."""

    path: AtPath = ()
    online: list[str] = Field(min_length=1)
    offline: list[str] = Field(min_length=1)


class Topic(Part):
    """What is made of the messages of a topic: readings, events, or a state."""

    topic: TopicPattern
    values: Literal["all"] | Annotated[dict[Name, AtPath], Field(min_length=1, max_length=MAX_METRICS)] | None = None
    skip: list[str] = Field(default=[], description="Of all values those that are not kept, with what lies below them.")
    booleans: Booleans = {}
    event: Name | None = Field(default=None, description="The type, if it is an event.")
    state: State | None = None
    time: Time | None = None
    required: bool = Field(default=True, description="Whether a message without any of the values is a fault.")

    @model_validator(mode="after")
    def _is_one_thing(self) -> "Topic":
        if (self.values is None) == (self.state is None):
            raise ValueError("needs values or state, one of them")
        if self.state is not None and (self.event is not None or self.time is not None):
            raise ValueError("a state has no event and no time")
        if DEVICE not in self.topic.parts:
            raise ValueError("the topic names no {device}")
        named = names_in(self.event or "") | names_in(self.values if isinstance(self.values, dict) else {})
        if unknown := named - self.topic.parts:
            raise ValueError(f"the topic has no {{{min(unknown)}}}")
        return self


class Command(Part):
    """Where `write {name, value}` goes, and as what."""

    names: list[str] | None = Field(default=None, description="For these names alone.")
    topic: Annotated[str, Field(min_length=1), AfterValidator(_template)]
    payload: Annotated[Any, AfterValidator(_template)] = "{value}"
    booleans: Booleans = {}

    @model_validator(mode="after")
    def _is_filled(self) -> "Command":
        if unknown := (names_in(self.topic) - {DEVICE, "name"}) | (names_in(self.payload) - COMMAND_PARTS):
            raise ValueError(
                f"{{{min(unknown)}}} is no part of it, only {{device}}, {{name}}, and {{value}} in a payload"
            )
        if DEVICE not in names_in(self.topic):
            raise ValueError("the topic names no {device}")
        if "+" in self.topic or "#" in self.topic:
            raise ValueError("a message goes to one topic, without + and #")
        return self


class HomeAssistant(Part):
    """How our own devices show up in a Home Assistant at this broker."""

    prefix: str = Field(default="homeassistant", pattern=r"^[A-Za-z0-9_/-]+$", description="Of its discovery.")
    units: dict[str, str] = Field(default={}, description="By metric, as °C.")


class Mapping(Part):
    """How a kind of devices speaks, and which of them are ours."""

    preset: Literal["tasmota", "zigbee2mqtt", "sparkplug"] | None = None
    base: str | None = Field(default=None, min_length=1, description="What a preset's topics begin with.")
    zone: Zone | None = Field(default=None, description="In which a preset's devices tell the time.")
    prefix: str | None = Field(default=None, description="Before the name of a device that `devices` does not name.")
    devices: dict[str, Ours] = Field(default={}, description="Our names by theirs.")
    topics: list[Topic] = []
    commands: list[Command] = []

    @model_validator(mode="after")
    def _is_whole(self) -> "Mapping":
        if self.preset is None and not self.topics:
            raise ValueError("needs a preset or topics")
        if self.preset is None and (self.base is not None or self.zone is not None):
            raise ValueError("base and zone are a preset's")
        if self.base is not None:
            pattern(self.base)
        if self.preset == SPARKPLUG:
            self._check_sparkplug()
        if self.prefix is None and not self.devices:
            raise ValueError("needs devices, a prefix, or both: else another broker could speak for our own devices")
        if self.prefix is not None:
            _ours(self.prefix)
        if len(set(self.devices.values())) != len(self.devices):
            raise ValueError("two devices have one name of ours")
        return self

    def _check_sparkplug(self) -> None:
        if self.topics or self.commands or self.zone is not None:
            raise ValueError("sparkplug has topics, commands and times of its own")
        if self.base is not None and ("{" in self.base or len(self.base.rstrip("/").split("/")) > 2):
            raise ValueError("the base of sparkplug is spBv1.0, or spBv1.0/GROUP for one group alone")
