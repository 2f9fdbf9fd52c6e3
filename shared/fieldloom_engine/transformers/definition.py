"""The definition of chains, as it stands in `transformers.yaml`: checked as a whole, every fault with its path.

A stage is a mapping with one key, the kind; so a fault's path reads as the file does.
"""

from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator, Field, ValidationError, WithJsonSchema, model_validator

from fieldloom_contract.limits import MAX_NAME
from fieldloom_engine.definitions import MAX_EXPRESSION, Duration, Fault, Finite, Name, Part, faults_of, kept, twice

MAX_CHAINS = 256
MAX_STAGES = 16
MAX_TAGS = 16
AGGREGATES = ("mean", "min", "max", "count")


class Fixed(NamedTuple):
    """A value that takes the place of another."""

    value: float | bool | str


def _instead(*words: str | None) -> Callable[[Any], Any]:
    """Return a reader of what takes the place of a value: one of these words, or `{value: V}`."""
    told = ", ".join("null" if word is None else word for word in words)

    def read(given: Any) -> Any:
        if isinstance(given, dict) and given.keys() == {"value"} and isinstance(given["value"], (int, float, str)):
            return Fixed(kept(given["value"]))
        if (given is None or isinstance(given, str)) and given in words:
            return given
        raise ValueError(f"must be one of {told}, or {{value: ...}}")

    return read


def _instead_schema(*words: str | None) -> dict[str, Any]:
    value = {"type": ["number", "boolean", "string"]}
    fixed = {"type": "object", "properties": {"value": value}, "required": ["value"], "additionalProperties": False}
    return {"anyOf": [{"enum": list(words)}, fixed]}


Tags = Annotated[dict[Name, Name], Field(min_length=1, max_length=MAX_TAGS)]


class Match(Part):
    """Which readings a chain takes; what is not named is not asked."""

    device: Name | None = Field(default=None, description="Pattern of the device's id, as `pump-*`.")
    metric: Name | None = Field(default=None, description="Pattern of the metric's name, as `temp*`.")
    type: Name | None = Field(default=None, description="The type that the device tells of itself.")
    tags: Tags | None = Field(default=None, description="Tags that the device tells of itself, all of them.")


class Clean(Part):
    """Outliers and missing values."""

    min: Finite | None = None
    max: Finite | None = None
    outliers: Annotated[
        Any,
        BeforeValidator(_instead("skip", "last", None)),
        WithJsonSchema(_instead_schema("skip", "last", None)),
    ] = Field(default="skip", description="What becomes of a number below `min` or above `max`.")
    missing: Annotated[
        Any,
        BeforeValidator(_instead("keep", "skip", "last")),
        WithJsonSchema(_instead_schema("keep", "skip", "last")),
    ] = Field(default="keep", description="What becomes of null.")

    @model_validator(mode="after")
    def _has_work(self) -> "Clean":
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("min is above max")
        if self.min is None and self.max is None and self.missing == "keep":
            raise ValueError("does nothing: give min, max or missing")
        return self


class Deadband(Part):
    """A number goes on when it differs enough from the one that went on last."""

    change: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(
        default=None, description="In the metric's unit."
    )
    percent: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(
        default=None, description="Of the value that went on last."
    )
    repeat_after: Duration | None = Field(default=None, description="After so long a value goes on in any case.")

    @model_validator(mode="after")
    def _has_one_measure(self) -> "Deadband":
        if (self.change is None) == (self.percent is None):
            raise ValueError("needs either change or percent")
        return self


class Convert(Part):
    """A number in another unit."""

    scale: Finite | None = None
    offset: Finite | None = None
    from_: Annotated[str, Field(min_length=1, max_length=MAX_NAME)] | None = Field(
        default=None, alias="from", description="A unit that pint knows, as `degF`."
    )
    to: Annotated[str, Field(min_length=1, max_length=MAX_NAME)] | None = None
    expression: Annotated[str, Field(min_length=1, max_length=MAX_EXPRESSION)] | None = Field(
        default=None, description="CEL over `value` (a double), `ts`, `device` and `metric`."
    )

    @model_validator(mode="after")
    def _has_one_way(self) -> "Convert":
        if (self.from_ is None) != (self.to is None):
            raise ValueError("needs both from and to")
        ways = [self.scale is not None or self.offset is not None, self.from_ is not None, self.expression is not None]
        if sum(ways) != 1:
            raise ValueError("needs one of scale and offset, from and to, or expression")
        return self


class Duplicates(Part):
    """The same value again is left out."""

    within: Duration


class RateLimit(Part):
    """At most one reading in so long."""

    every: Duration


class Rename(Part):
    """Another name for the metric."""

    to: Name = Field(description="`{metric}` stands for the old name.")


class Window(Part):
    """One reading in place of all of a window, which is aligned to the epoch."""

    every: Duration
    aggregates: Annotated[list[str], Field(min_length=1, max_length=len(AGGREGATES))] = Field(default=["mean"])
    idle: Duration | None = Field(
        default=None, description="A window whose device is silent so long is closed; by default `every`."
    )

    @model_validator(mode="after")
    def _has_known_aggregates(self) -> "Window":
        if unknown := [name for name in self.aggregates if name not in AGGREGATES]:
            raise ValueError(f"aggregates: {unknown[0]} is none of {', '.join(AGGREGATES)}")
        if len(set(self.aggregates)) != len(self.aggregates):
            raise ValueError("aggregates: one is named twice")
        return self


class Stage(Part):
    """One step of a chain: exactly one of these keys."""

    clean: Clean | None = None
    deadband: Deadband | None = None
    convert: Convert | None = None
    duplicates: Duplicates | None = None
    rate_limit: RateLimit | None = None
    tags: Tags | None = None
    rename: Rename | None = None
    window: Window | None = None

    @model_validator(mode="after")
    def _is_one(self) -> "Stage":
        if len(self.model_fields_set) != 1 or self.content is None:
            raise ValueError(f"must have exactly one of the keys {', '.join(Stage.model_fields)}")
        return self

    @property
    def kind(self) -> str:
        """The key of this stage."""
        return next(iter(self.model_fields_set))

    @property
    def content(self) -> Any:
        """What stands under the key."""
        return getattr(self, self.kind) if self.model_fields_set else None


class Chain(Part):
    """Stages, in order, for the readings that match."""

    id: Name
    match: Match = Match()
    stages: Annotated[list[Stage], Field(min_length=1, max_length=MAX_STAGES)]

    @model_validator(mode="after")
    def _ends_in_its_window(self) -> "Chain":
        kinds = [stage.kind for stage in self.stages]
        if "window" in kinds[:-1]:
            raise ValueError("stages: a window must be the last one")
        return self


class Definition(Part):
    """All chains; a reading goes through the first one that matches it."""

    chains: Annotated[list[Chain], Field(max_length=MAX_CHAINS)]

    @model_validator(mode="after")
    def _has_ids_once(self) -> "Definition":
        if (again := twice(chain.id for chain in self.chains)) is not None:
            raise ValueError(f"chains: the id {again} is given twice")
        return self


def parse(told: object) -> tuple[Definition | None, list[Fault]]:
    """Return the definition, or None and every fault."""
    try:
        return Definition.model_validate(told), []
    except ValidationError as error:
        return None, faults_of(error)


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a definition."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Definition.model_json_schema()}
