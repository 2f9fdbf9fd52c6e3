"""Topics and texts with named parts: `tele/{device}/SENSOR` is subscribed to as `tele/+/SENSOR`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PART = re.compile(r"\{([a-z][a-z0-9_]*)\}")
MAX_TOPIC_BYTES = 65_535  # MQTT 5, 1.5.4


@dataclass(frozen=True)
class Pattern:
    """A topic of which parts are named; a part lies within one level."""

    filter: str
    parts: frozenset[str]
    _expression: re.Pattern[str]

    def match(self, topic: str) -> dict[str, str] | None:
        """Return the parts of a topic, None if it is another one."""
        found = self._expression.fullmatch(topic)
        return None if found is None else found.groupdict()


def pattern(text: Any) -> Pattern:
    """Return a pattern. Raises ValueError."""
    if not isinstance(text, str) or not text or "\0" in text:
        raise ValueError("must be a topic, as tele/{device}/SENSOR")
    if "+" in text or "#" in text:
        raise ValueError("names what differs, as {device}, in place of + and #")
    names = PART.findall(text)
    _check_braces(text)
    if len(set(names)) != len(names):
        raise ValueError("names a part twice")
    levels = ["+" if "{" in level else level for level in text.split("/")]
    pieces = PART.split(text)  # literal, name, literal, name, ..., literal
    expression = "".join(f"(?P<{piece}>[^/]+)" if place % 2 else re.escape(piece) for place, piece in enumerate(pieces))
    return Pattern("/".join(levels), frozenset(names), re.compile(expression))


def names_in(template: Any) -> set[str]:
    """Return the parts that a template names: a text, or a JSON value of such. Raises ValueError."""
    if isinstance(template, str):
        _check_braces(template)
        return set(PART.findall(template))
    if isinstance(template, dict):
        return set().union(*(names_in(part) for pair in template.items() for part in pair))
    if isinstance(template, list):
        return set().union(*(names_in(part) for part in template))
    return set()


def fill(template: Any, parts: Mapping[str, Any]) -> Any:
    """Return a template with its parts; a text that is a part and nothing else keeps the part's type."""
    if isinstance(template, dict):
        return {str(fill(name, parts)): fill(part, parts) for name, part in template.items()}
    if isinstance(template, list):
        return [fill(part, parts) for part in template]
    if not isinstance(template, str):
        return template
    whole = PART.fullmatch(template)
    return parts[whole[1]] if whole else PART.sub(lambda found: str(parts[found[1]]), template)


def _check_braces(text: str) -> None:
    if "{" in PART.sub("", text) or "}" in PART.sub("", text):
        raise ValueError("a part is written as {name}, of small letters, digits and _")
