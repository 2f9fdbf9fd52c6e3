"""Lists of actions, as they stand in a file: each a mapping with one key, its kind. (E3, E4)"""

from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any, NamedTuple

from pydantic import Field, create_model, model_validator

from fieldloom_engine.definitions import Fault, Part, Path
from fieldloom_engine.rules import templates
from fieldloom_engine.rules.actions import Kind

MAX_ACTIONS = 32


class Action(NamedTuple):
    """Something to do."""

    kind: str
    told: dict[str, Any]
    """What stands under the kind, templates and all."""


class _OneAction(Part):
    """Exactly one of these keys, the action's kind."""

    @model_validator(mode="after")
    def _is_one(self) -> "_OneAction":
        if len(self.model_fields_set) != 1 or getattr(self, next(iter(self.model_fields_set))) is None:
            raise ValueError(f"must have exactly one of the keys {', '.join(type(self).model_fields)}")
        return self


def model(kinds: Mapping[str, Kind]) -> Any:
    """Return the type of an action of one of these kinds, for pydantic."""
    fields: dict[str, Any] = {name: (kind.parameters | None, None) for name, kind in kinds.items()}
    return create_model("Action", __base__=_OneAction, **fields)


def some(action: Any, at_least: int = 0) -> Any:
    """Return the type of a list of such actions."""
    return Annotated[list[action], Field(min_length=at_least, max_length=MAX_ACTIONS)]


def read(told: list[dict[str, dict[str, Any]]]) -> tuple[Action, ...]:
    """Return the actions of a list that is well-formed."""
    return tuple(Action(*item) for one in told for item in one.items())


def template_faults(value: Any, path: Path, names: Collection[str] | None = templates.NAMES) -> Iterator[Fault]:
    """Return what is wrong with the templates in a value that stands at a path; `names` are those that they know."""
    for where, text in templates.within(value, path):
        try:
            templates.compiled(text, names)
        except ValueError as error:
            yield Fault(where, f"template: {error}")
