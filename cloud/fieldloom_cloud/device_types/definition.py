"""What devices of one type measure, take and want, and what does not fit it. No I/O. (R6)"""

import math
import re
from functools import lru_cache
from typing import Annotated, Any

import jsonschema_rs
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from fieldloom_engine.durations import milliseconds
from fieldloom_runtime.records import Value

MAX_REASON = 300  # characters
_PERIOD = re.compile(r"[1-9][0-9]{0,8}(ms|s|m|h|d)")

Fault = dict[str, str]


def _schema(schema: dict[str, Any]) -> dict[str, Any]:
    """Refuse what is no JSON Schema, or one that lies partly elsewhere: nothing is ever fetched."""
    try:
        _compiled(schema)
    except ValueError as error:
        raise ValueError(f"is no JSON Schema: {str(error).splitlines()[0][:MAX_REASON]}") from None
    return schema


def _period(text: str) -> str:
    if not _PERIOD.fullmatch(text):
        raise ValueError("must be a number and one of ms, s, m, h, d, as 5s")
    return text


Name = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Schema = Annotated[dict[str, Any], AfterValidator(_schema)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Range(_Part):
    """From min to max, both in it; what is left out is open."""

    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _in_order(self) -> "Range":
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("min must not be above max")
        return self

    def refuses(self, value: Value) -> str | None:
        """Return why a value is not in the range, None if it is."""
        if value is None or isinstance(value, str):
            return "must be a number"
        low = -math.inf if self.min is None else self.min
        high = math.inf if self.max is None else self.max
        return None if low <= value <= high else self._meaning()

    def _meaning(self) -> str:
        if self.min is None:
            return f"must be at most {self.max:g}"
        return f"must be at least {self.min:g}" if self.max is None else f"must be from {self.min:g} to {self.max:g}"


class Metric(_Part):
    """A measured quantity."""

    unit: Annotated[str, StringConstraints(max_length=32)] = ""
    range: Range | None = None
    period: Annotated[str, AfterValidator(_period)] | None = Field(
        default=None, description="How often it is reported, as 5s."
    )


class CommandKind(_Part):
    """A command that devices of the type take."""

    description: Annotated[str, StringConstraints(max_length=200)] = ""
    parameters: Schema = Field(default_factory=dict, description="A JSON Schema.")


class Definition(_Part):
    """A device type. What it does not speak of is not checked: commands of the agent's own, any twin."""

    name: Annotated[str, StringConstraints(max_length=200)] = ""
    metrics: dict[Name, Metric] = Field(default_factory=dict, max_length=256)
    commands: dict[Name, CommandKind] = Field(default_factory=dict, max_length=256)
    twin: Schema | None = Field(default=None, description="A JSON Schema of what may be desired.")

    @property
    def period_ms(self) -> int | None:
        """How often a device of the type reads at the least, None if no metric says so."""
        told = [milliseconds(metric.period) for metric in self.metrics.values() if metric.period is not None]
        return min(told, default=None)

    def faults_of_command(self, kind: str, parameters: dict[str, Any]) -> list[Fault]:
        """Return what is wrong with a command's parameters, by path."""
        known = self.commands.get(kind)
        return [] if known is None else _faults(known.parameters, parameters, "parameters")

    def faults_of_desired(self, desired: dict[str, Any]) -> list[Fault]:
        """Return what is wrong with the desired half of a twin, by path."""
        return [] if self.twin is None else _faults(self.twin, desired, "desired")

    def misfit(self, metric: str, value: Value) -> str | None:
        """Return why a reading does not fit, None if it does; null is no reading."""
        if not self.metrics or value is None:
            return None
        known = self.metrics.get(metric)
        if known is None:
            return "is no metric of this type"
        return None if known.range is None else known.range.refuses(value)


@lru_cache(maxsize=256)
def parse(text: str) -> Definition:
    """Return a definition that was stored; the same text is parsed once."""
    return Definition.model_validate_json(text)


def _compiled(schema: dict[str, Any]) -> jsonschema_rs.Validator:
    # Linear patterns: one that backtracks would stop the cloud. Offline: a schema must not make it fetch addresses.
    return jsonschema_rs.validator_for(schema, offline=True, pattern_options=jsonschema_rs.RegexOptions())


def _faults(schema: dict[str, Any], value: Any, root: str) -> list[Fault]:
    found = _compiled(schema).iter_errors(value)
    return [
        {"path": ".".join(map(str, (root, *error.instance_path))), "reason": error.message[:MAX_REASON]}
        for error in found
    ]
