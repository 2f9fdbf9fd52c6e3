"""Reading JSON field by field, so that a refusal names the place; and writing it. Shared by all messages."""

from fieldloom_contract.compat import Any, encode, loads
from fieldloom_contract.errors import Rejected
from fieldloom_contract.limits import MAX_DOWN_BYTES, MAX_NAME, MAX_NUMBER


def is_finite(number: float) -> bool:
    """Whether a number is neither NaN nor infinite; MicroPython's math may lack isfinite."""
    return number - number == 0


def _without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return value if is_finite(value) else None
    if isinstance(value, dict):
        return {key: _without_nan(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(part) for part in value]
    return value


def dumps(value: Any) -> bytes:
    """Encode as compact JSON in UTF-8; NaN and infinities become null."""
    return encode(_without_nan(value))


def number(message: dict[str, Any], field: str, low: int, high: int = MAX_NUMBER) -> int:
    """Return a whole number of a range. Raises Rejected."""
    value = message.get(field)
    if not isinstance(value, int) or value is True or value is False:
        raise Rejected(field, "must be a whole number")
    if not low <= value <= high:
        raise Rejected(field, "must be from " + str(low) + " to " + str(high))
    return value


def optional_number(message: dict[str, Any], field: str, low: int) -> int | None:
    """Return a whole number, or None without one. Raises Rejected."""
    return None if message.get(field) is None else number(message, field, low)


def text(message: dict[str, Any], field: str, longest: int = MAX_NAME) -> str:
    """Return a text of 1 to `longest` characters. Raises Rejected."""
    value = message.get(field)
    if not isinstance(value, str) or not 1 <= len(value) <= longest:
        raise Rejected(field, "must be a text of 1 to " + str(longest) + " characters")
    return value


def optional_text(message: dict[str, Any], field: str) -> str | None:
    """Return a text, or None without one. Raises Rejected."""
    return None if message.get(field) is None else text(message, field, MAX_DOWN_BYTES)


def mapping(message: dict[str, Any], field: str) -> dict[str, Any]:
    """Return a JSON object. Raises Rejected."""
    value = message.get(field)
    if not isinstance(value, dict):
        raise Rejected(field, "must be an object")
    return value


def fitting(payload: bytes, longest: int) -> bytes:
    """Return a payload of at most `longest` bytes, unchanged. Raises Rejected."""
    if len(payload) > longest:
        raise Rejected("payload", "has " + str(len(payload)) + " bytes, the limit is " + str(longest))
    return payload


def decode(payload: bytes, longest: int) -> Any:
    """Return the JSON value of a payload of at most `longest` bytes. Raises Rejected."""
    fitting(payload, longest)
    try:
        return loads(payload)
    except ValueError as error:  # UnicodeError is one too
        raise Rejected("payload", "is not JSON: " + str(error)) from error


def read_object(payload: bytes, longest: int) -> dict[str, Any]:
    """Return the JSON object of a payload of at most `longest` bytes. Raises Rejected."""
    message = decode(payload, longest)
    if not isinstance(message, dict):
        raise Rejected("payload", "must be a JSON object")
    return message
