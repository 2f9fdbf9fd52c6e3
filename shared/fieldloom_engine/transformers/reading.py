"""What passes a chain: one value of one metric, and who has sent it."""

from dataclasses import dataclass, field
from typing import NamedTuple

Value = int | float | bool | str | None


class Device(NamedTuple):
    """A device as a chain's `match` sees it: its id, and what it has told of itself."""

    id: str
    type: str | None = None
    tags: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class Reading:
    """One value on its way through a chain; stages change it in place. `ts` is Unix ms."""

    device: str
    metric: str
    ts: int
    value: Value
    tags: dict[str, str] = field(default_factory=dict)


TAG_CHARACTERS = 8192
"""What the tags of a record may have together: with them it has to fit into a batch."""


class StageFailed(Exception):  # noqa: N818 - it reads as what happened
    """A stage that can't do its work on a reading; the text says why, and its chain adds which `stage` it was."""

    stage = ""


def characters(tags: dict[str, str]) -> int:
    """Return how many characters tags have."""
    return sum(len(name) + len(value) for name, value in tags.items())


def number_of(value: Value, purpose: str) -> float:
    """Return a value as a number. Raises StageFailed for a boolean or a text."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        kind = "a boolean" if isinstance(value, bool) else "no number"
        raise StageFailed(f"{value!r:.64} is {kind}, it can't be {purpose}")
    return value
