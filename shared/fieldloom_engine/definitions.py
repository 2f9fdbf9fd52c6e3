"""What all definitions share: faults with their paths, and the types of which their documents are made."""

from collections.abc import Iterable
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema

from fieldloom_contract.errors import Rejected
from fieldloom_contract.limits import MAX_NAME
from fieldloom_contract.plain import plain
from fieldloom_engine.durations import milliseconds

MAX_EXPRESSION = 1024
MAX_TEXT = 1024  # of a value
MISSING = "is missing"

Path = tuple[str | int, ...]


class Fault(NamedTuple):
    """What is wrong with a definition, and where."""

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{shown(self.path)}: {self.reason}"


def shown(path: Path) -> str:
    """Return a path as people write it: `chains[0].stages[1].window.every`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".") or "the file"


def faults_of(error: ValidationError, document: object = None) -> list[Fault]:
    """Return what pydantic found, in the words of a definition.

    Between the keys of the document pydantic names what it tried; with the document these names are left out.
    """
    found = [Fault(tuple(one["loc"]), _reason(one)) for one in error.errors(include_url=False)]
    return found if document is None else [_placed(fault, document) for fault in found]


def kept(value: Any) -> Any:
    """Return a value of a reading if every store can keep it. Raises ValueError."""
    if isinstance(value, str) and len(value) > MAX_TEXT:
        raise ValueError(f"has a text of more than {MAX_TEXT} characters")
    try:
        return plain(value, "value")
    except Rejected as error:
        raise ValueError(error.reason) from error


def twice(ids: Iterable[str]) -> str | None:
    """Return the first id that is given a second time."""
    seen: set[str] = set()
    for one in ids:
        if one in seen:
            return one
        seen.add(one)
    return None


_DURATION = {"anyOf": [{"type": "number"}, {"type": "string", "pattern": r"^\d+(\.\d+)?(ms|s|m|h|d)$"}]}


def _span(told: object) -> int:
    return 0 if told in (0, "0", "0s") and not isinstance(told, bool) else milliseconds(told)


Duration = Annotated[int, BeforeValidator(milliseconds), WithJsonSchema(_DURATION)]
Span = Annotated[int, BeforeValidator(_span), WithJsonSchema(_DURATION)]  # a duration, or none at all
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME), AfterValidator(kept)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Part(BaseModel):
    """A mapping of a definition: strict, with known keys alone."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def _placed(fault: Fault, document: Any) -> Fault:
    path: list[str | int] = []
    for part in fault.path:
        if _has(document, part):
            document = document[part]
            path.append(part)
    if fault.reason == MISSING:
        path.append(fault.path[-1])
    return Fault(tuple(path), fault.reason)


def _has(document: Any, part: str | int) -> bool:
    if isinstance(document, list):
        return isinstance(part, int) and part < len(document)
    return isinstance(document, dict) and part in document


def _reason(error: Any) -> str:
    if error["type"] == "union_tag_not_found":
        return f"needs {error['ctx']['discriminator'].strip(chr(39))}"
    if error["type"] == "union_tag_invalid":
        return f"{error['ctx']['discriminator'].strip(chr(39))} should be one of {error['ctx']['expected_tags']}"
    if error["type"] == "missing":
        return MISSING
    if error["type"] == "extra_forbidden":
        return "is not known here"
    return str(error["msg"]).removeprefix("Value error, ").removeprefix("Input ")
