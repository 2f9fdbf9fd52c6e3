"""Reading the short lines of a release's documents, so that a refusal names the place."""

from fieldloom_contract.compat import Any
from fieldloom_contract.errors import Rejected


def is_of(text: str, letters: str) -> bool:
    """Whether a text has no other letters."""
    for letter in text:
        if letter not in letters:
            return False
    return True


def is_number(text: str, highest: int) -> bool:
    """Whether a text is a whole number up to the highest, without leading zeros."""
    if not 1 <= len(text) <= 16 or not is_of(text, "0123456789") or (text[0] == "0" and len(text) > 1):
        return False
    return int(text) <= highest


def number(text: str, field: str) -> int:
    """Return the whole number of a text. Raises Rejected."""
    if not is_number(text, 2**40):
        raise Rejected(field, "must be a whole number")
    return int(text)


def text(line: bytes, field: str) -> str:
    """Return a line without its end. Raises Rejected."""
    try:
        return line.decode().rstrip("\n")
    except ValueError:
        raise Rejected(field, "is no text") from None


def take(lines: Any, name: str, value: str | None = None) -> str:
    """Return the value of the next line, which has to be `name VALUE`. Raises Rejected."""
    found, _, told = text(next(lines, b""), name).partition(" ")
    if found != name or (value is not None and told != value):
        raise Rejected(name, "is missing in its line" if value is None else "must be of version " + value)
    return told
