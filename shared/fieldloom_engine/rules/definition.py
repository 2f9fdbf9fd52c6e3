"""The definition of a rule, as it stands in its file: checked as a whole, every fault with its path. (E2, E3)"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, create_model, model_validator

from fieldloom_contract.errors import Rejected
from fieldloom_contract.plain import plain
from fieldloom_engine.definitions import Duration, Fault, Name, Part, Span, faults_of
from fieldloom_engine.rules import action_list, actions
from fieldloom_engine.rules.action_list import Action
from fieldloom_engine.rules.actions import Kind
from fieldloom_engine.rules.conditions import Condition, temporal_in
from fieldloom_engine.rules.event import TELEMETRY

ENGINE = 1
"""The version of this engine: it grows when a rule may say something that earlier engines do not know."""
MAX_CASES = 100
MAX_EVENTS = 1000  # of a case
MAX_DEPTH = 64  # of what a file holds
LATENESS_MS = 30_000

Id = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$", description="1 to 64 of a-z, 0-9, - and _.")]
Placement = Literal["edge", "cloud", "both"]
Fire = Literal["every", "on_change"]
Late = Literal["amend", "ignore", "fire"]


class InvalidRule(Exception):  # noqa: N818 - it reads as what happened
    """A definition that is no rule: `faults` holds all that is wrong with it, each with its path."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = faults


class Devices(Part):
    """Which devices a rule is for, all that is named here; the tier knows who they are."""

    group: Name | None = None
    type: Name | None = None
    tags: dict[Name, Name] | None = None

    @model_validator(mode="after")
    def _has_one(self) -> "Devices":
        if self.group is None and self.type is None and not self.tags:
            raise ValueError("needs group, type or tags")
        return self


class CaseEvent(Part):
    """An event of a case; times are told from the case's beginning."""

    at: Span = Field(description="When it happens.")
    arrives: Span | None = Field(default=None, description="When it comes to the rule; by default at once.")
    type: Name = TELEMETRY
    source: Name = "device-1"
    data: dict[str, Any] = {}  # noqa: RUF012 - frozen
    metadata: dict[str, Any] = {}  # noqa: RUF012 - frozen


class Expected(Part):
    """A firing of a case; what is not named is not asked."""

    at: Span = Field(description="The time for which the rule fires.")
    rule: Id | None = None
    source: Name | None = None
    holds: bool = Field(default=True, description="False when it is over: what `otherwise` does.")
    late: bool = False
    amends: Literal["adds", "withdraws"] | None = None
    effects: list[dict[str, Any]] | None = Field(
        default=None, description="Each with its kind and those parameters that are asked, as `{log: {level: info}}`."
    )


class Case(Part):
    """What a rule shall do, run whenever it is deployed. (E6)"""

    name: Annotated[str, Field(min_length=1, max_length=256)]
    events: Annotated[list[CaseEvent], Field(max_length=MAX_EVENTS)]
    until: Span | None = Field(default=None, description="How long the clock goes on; by default to the last event.")
    fires: list[Expected]


class Document(Part):
    """A rule's file, without its actions, whose kinds a tier knows."""

    id: Id
    version: Annotated[str, Field(pattern=r"^\d{1,5}\.\d{1,5}\.\d{1,5}$", description="As 1.4.0.")] = "1.0.0"
    description: Annotated[str, Field(max_length=4096)] | None = None
    placement: Placement = Field(default="both", description="Where it runs; with `both` the edge acts.")
    engine: int = Field(default=1, ge=1, le=ENGINE, description="The oldest engine that knows all that it says.")
    devices: Devices | None = None
    fire: Fire = Field(default="every", description="On every event that holds, or by device when it begins to hold.")
    cooldown: Duration | None = Field(default=None, description="By device: it does not fire again for so long.")
    lateness: Span = Field(
        default=LATENESS_MS, description="How long it is waited for what is missing; what is later is judged by `late`."
    )
    late: Late = Field(
        default="amend",
        description="What becomes of later events: alarms are put right; nothing; or all is done as if it were now.",
    )
    shadow: bool = Field(default=False, description="It is judged and recorded, and does nothing.")
    when: Condition
    cases: list[Case] = Field(default=[], max_length=MAX_CASES)

    @model_validator(mode="after")
    def _ends_what_it_begins(self) -> "Document":
        if getattr(self, "otherwise", None) and self.fire != "on_change":
            raise ValueError("otherwise needs fire: on_change")
        return self


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule that is well-formed; times in ms."""

    id: str
    version: str
    placement: Placement
    engine: int
    """The oldest engine that knows all that it says: a gateway with an older one refuses it. (E5)"""
    devices: Devices | None
    fire: Fire
    cooldown: int | None
    lateness: int
    late: Late
    shadow: bool
    when: Condition
    do: tuple[Action, ...]
    otherwise: tuple[Action, ...]
    """Done when it held and holds no more."""
    cases: tuple[Case, ...]
    document: Mapping[str, Any]
    """As it was told."""
    fingerprint: str
    """The same for the same definition, whatever the order of its keys."""
    kinds: Mapping[str, Kind]

    @property
    def remembers(self) -> bool:
        """Whether it is about events over time, and so has to see all of a source in their order."""
        return temporal_in(self.when) is not None


def parse(document: object, kinds: Mapping[str, Kind] = actions.KINDS) -> Rule:
    """Return a rule; `kinds` are the actions that the tier knows. Raises InvalidRule with every fault."""
    try:
        plain(document, "rule", MAX_DEPTH)
    except Rejected as error:
        raise InvalidRule([Fault((), error.reason)]) from error
    if isinstance(document, dict) and isinstance(needs := document.get("engine"), int) and needs > ENGINE:
        raise InvalidRule([Fault(("engine",), f"needs engine {needs}, and this is engine {ENGINE}: update it first")])
    faults: list[Fault] = []
    try:
        told: Any = _model(tuple(sorted(kinds.items()))).model_validate(document)
    except ValidationError as error:
        faults += faults_of(error)
    if isinstance(document, dict):
        for key in ("do", "otherwise"):
            faults += action_list.template_faults(document.get(key), (key,))
    if faults or not isinstance(document, dict):
        raise InvalidRule(faults)
    return Rule(
        id=told.id,
        version=told.version,
        placement=told.placement,
        engine=told.engine,
        devices=told.devices,
        fire=told.fire,
        cooldown=told.cooldown,
        lateness=told.lateness,
        late=told.late,
        shadow=told.shadow,
        when=told.when,
        do=action_list.read(document["do"]),
        otherwise=action_list.read(document.get("otherwise", [])),
        cases=tuple(told.cases),
        document=dict(document),
        fingerprint=_fingerprint(document),
        kinds=kinds,
    )


def _fingerprint(document: dict[str, Any]) -> str:
    try:
        text = json.dumps(document, sort_keys=True)
    except TypeError:
        raise InvalidRule([Fault((), "holds a value that JSON does not have, as a date: put it in quotes")]) from None
    return hashlib.sha256(text.encode()).hexdigest()


def schema(kinds: Mapping[str, Kind] = actions.KINDS) -> dict[str, Any]:
    """Return the JSON Schema of a rule's file."""
    model = _model(tuple(sorted(kinds.items())))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **model.model_json_schema()}


@lru_cache(maxsize=16)
def _model(kinds: tuple[tuple[str, Kind], ...]) -> type[Document]:
    """Return the model of a file whose actions are of these kinds."""
    action = action_list.model(dict(kinds))
    done, over = action_list.some(action, at_least=1), action_list.some(action)
    return create_model("Rule", __base__=Document, do=(done, ...), otherwise=(over, []))
