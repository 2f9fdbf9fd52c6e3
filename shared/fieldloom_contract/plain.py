"""What every side and every store can keep: gateways hold all against it, and boards have no heap to spare for it."""

from fieldloom_contract.compat import Any
from fieldloom_contract.errors import Rejected
from fieldloom_contract.fields import is_finite, mapping, text
from fieldloom_contract.limits import MAX_DEPTH, MAX_NAME, MAX_WHOLE

_KNOWS_ASCII = hasattr("", "isascii")  # MicroPython's texts do not


def is_text(value: str) -> bool:
    """Whether every store can keep a text: without NUL and halves of surrogate pairs."""
    if _KNOWS_ASCII and value.isascii():
        return "\0" not in value
    for letter in value:
        if ord(letter) == 0 or 0xD800 <= ord(letter) <= 0xDFFF:
            return False
    return True


def plain(value: Any, field: str, depth: int = MAX_DEPTH) -> Any:
    """Return a JSON value unchanged if every side and every store can keep it. Raises Rejected.

    Numbers are finite and whole ones have 64 bits, texts are well-formed, and nothing is nested deeper than `depth`.
    """
    if isinstance(value, (dict, list)):
        if not depth:
            raise Rejected(field, "is nested too deeply")
        if isinstance(value, dict):
            check_names(value, field)
        for part in value.values() if isinstance(value, dict) else value:
            plain(part, field, depth - 1)
    elif (fault := _fault(value)) is not None:
        raise Rejected(field, fault)
    return value


def check_names(value: dict[str, Any], field: str) -> None:
    """Hold the names of an object against the same. Raises Rejected."""
    for name in value:
        if not isinstance(name, str) or not is_text(name):  # MicroPython reads {1: 2}
            raise Rejected(field, "has a name that is no text, or one with NUL or half a surrogate pair")


def plain_text(message: dict[str, Any], field: str, longest: int = MAX_NAME) -> str:
    """Return a text of 1 to `longest` characters. Raises Rejected."""
    return str(plain(text(message, field, longest), field))


def plain_mapping(message: dict[str, Any], field: str) -> dict[str, Any]:
    """Return a JSON object of plain content. Raises Rejected."""
    value = mapping(message, field)
    plain(value, field)
    return value


def _fault(value: Any) -> str | None:
    if isinstance(value, str):
        return None if is_text(value) else "holds a text with NUL or half a surrogate pair"
    if isinstance(value, float):
        return None if is_finite(value) else "holds a number that is not finite"
    if isinstance(value, int) and not -MAX_WHOLE <= value <= MAX_WHOLE:
        return "holds a whole number of more than 64 bits"
    return None
