"""The conditions of a rule, as they stand in its file. (E2)

A condition is a mapping with one key, its kind; so a fault's path reads as the file does.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from fieldloom_engine import expressions
from fieldloom_engine.definitions import MAX_EXPRESSION, Duration, Finite, Name, Part, kept
from fieldloom_engine.rules import patterns

MAX_PARTS = 64  # of an `and`, an `or`
MAX_STEPS = 16  # of a sequence
MAX_COUNT = 1000
EXAMPLE = {"type": "a", "source": "a", "ts": 0, "data": {}, "metadata": {}}  # of what an expression knows

Property = Annotated[str, Field(min_length=1, max_length=256)]


def _tried(text: str) -> str:
    expressions.compiled(text, EXAMPLE)
    return text


def _read(text: str) -> str:
    patterns.compiled(text)
    return text


Pattern = Annotated[str, Field(min_length=1, max_length=MAX_EXPRESSION), AfterValidator(_read)]
Expression = Annotated[str, Field(min_length=1, max_length=MAX_EXPRESSION), AfterValidator(_tried)]


class PropertyEquals(Part):
    """A property of the event has this value."""

    property: Property = Field(description="A metric's name, or a path in `data`, as `door.state`.")
    value: Annotated[float | bool | str, AfterValidator(kept)]


class PropertyRange(Part):
    """A property of the event is a number in a range, whose ends belong to it."""

    property: Property = Field(description="A metric's name, or a path in `data`.")
    min: Finite | None = None
    max: Finite | None = None

    @model_validator(mode="after")
    def _is_range(self) -> "PropertyRange":
        _hold_range(self.min, self.max)
        return self


class Sequence(Part):
    """The steps happened in this order, the first at most `within` before the last; others may come between."""

    steps: Annotated[list["Moment"], Field(min_length=2, max_length=MAX_STEPS)]
    within: Duration


class CountInWindow(Part):
    """At least so many events within the time before, this one included."""

    where: "Moment | None" = Field(default=None, description="Which events count; by default all that the rule sees.")
    at_least: Annotated[int, Field(ge=1, le=MAX_COUNT)]
    within: Duration


class AbsentFor(Part):
    """No such event for so long: since the last one, or since `after` happened."""

    event: "Moment" = Field(description="An event's type, or a condition.")
    for_: Duration = Field(alias="for")
    after: "Moment | None" = Field(default=None, description="What it is waited after; by default the event itself.")


class RateOfChange(Part):
    """How fast a property changes lies in a range; falling is negative."""

    property: Property
    per: Duration = Field(description="The time that the range is told for, as `1m`.")
    over: Duration | None = Field(
        default=None, description="Against the oldest value within so long; by default against the one before."
    )
    min: Finite | None = None
    max: Finite | None = None

    @model_validator(mode="after")
    def _is_range(self) -> "RateOfChange":
        _hold_range(self.min, self.max)
        return self


class Anomaly(Part):
    """A property is unlike what its device has shown before."""

    property: Property
    sensitivity: Literal["low", "medium", "high"] = "medium"
    learn: Annotated[int, Field(ge=16, le=100_000)] = Field(
        default=100, description="How many values are learned from before any is judged."
    )


class Condition(Part):
    """Exactly one of these keys."""

    event_type: Name | None = None
    source_match: Pattern | None = Field(default=None, description="RE2, held against the whole of the source's id.")
    property_equals: PropertyEquals | None = None
    property_range: PropertyRange | None = None
    and_: Annotated[list["Condition"], Field(min_length=1, max_length=MAX_PARTS)] | None = Field(
        default=None, alias="and"
    )
    or_: Annotated[list["Condition"], Field(min_length=1, max_length=MAX_PARTS)] | None = Field(
        default=None, alias="or"
    )
    not_: "Condition | None" = Field(default=None, alias="not")
    sequence: Sequence | None = None
    count_in_window: CountInWindow | None = None
    absent_for: AbsentFor | None = None
    rate_of_change: RateOfChange | None = None
    anomaly: Anomaly | None = None
    cel: Expression | None = Field(
        default=None,
        description="CEL over `type`, `source`, `ts`, `data`, `metadata` (numbers are doubles) that gives a boolean.",
    )

    @model_validator(mode="after")
    def _is_one(self) -> "Condition":
        if len(self.model_fields_set) != 1 or self.content is None:
            raise ValueError(f"must have exactly one of the keys {', '.join(KINDS)}")
        return self

    @property
    def kind(self) -> str:
        """The key of this condition."""
        return next(iter(self.model_fields_set)).removesuffix("_")

    @property
    def content(self) -> Any:
        """What stands under the key."""
        return getattr(self, next(iter(self.model_fields_set))) if self.model_fields_set else None


KINDS = tuple(name.removesuffix("_") for name in Condition.model_fields)
TEMPORAL = ("sequence", "count_in_window", "absent_for", "rate_of_change", "anomaly")


class Step(Condition):
    """A condition on one event alone."""

    @model_validator(mode="after")
    def _is_instant(self) -> "Step":
        if (kind := temporal_in(self)) is not None:
            raise ValueError(f"{kind} can't stand here: only conditions on one event can")
        return self


def _moment(told: object) -> object:
    return {"event_type": told} if isinstance(told, str) else told


Moment = Annotated[Step, BeforeValidator(_moment, json_schema_input_type=Step | Name)]
"""A condition on one event, or the type of the event alone."""


def temporal_in(condition: Condition) -> str | None:
    """Return the kind of a part that remembers events over time, None where none does."""
    if condition.kind in TEMPORAL:
        return condition.kind
    parts = condition.and_ or condition.or_ or ([condition.not_] if condition.not_ else [])
    return next((found for part in parts if (found := temporal_in(part)) is not None), None)


def _hold_range(low: float | None, high: float | None) -> None:
    if low is None and high is None:
        raise ValueError("needs min or max")
    if low is not None and high is not None and low > high:
        raise ValueError("min is above max")


for _model in (Sequence, CountInWindow, AbsentFor, Condition, Step):
    _model.model_rebuild()
