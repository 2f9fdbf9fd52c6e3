"""The types of variables, and what an event is among them. (W1)"""

from collections.abc import Callable, Mapping
from typing import Any

from fieldloom_engine.rules.event import Event
from fieldloom_engine.workflows.model import VariableType

_FITS: Mapping[VariableType, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "integer": lambda value: (isinstance(value, int) and not isinstance(value, bool)) or _is_whole(value),
    "boolean": lambda value: isinstance(value, bool),
    "object": lambda value: isinstance(value, Mapping),
    "array": lambda value: isinstance(value, list),
    "any": lambda _value: True,
}


def fits(type_: VariableType, value: Any) -> bool:
    """Whether a value is of a type; as in JSON Schema 3.0 is an integer, and true is no number."""
    return _FITS[type_](value)


def event_variable(event: Event) -> dict[str, Any]:
    """Return an event as workflows know it."""
    return {**event._asdict(), "data": dict(event.data), "metadata": dict(event.metadata)}


def _is_whole(value: Any) -> bool:
    return isinstance(value, float) and value.is_integer()
