"""Lengths of time as the API and its users write them: 10s, 1m, 1h, 7d."""

import re

UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}

_LENGTH = re.compile(r"([1-9][0-9]{0,8})(ms|s|m|h|d)")
FORM = "must be a number and one of ms, s, m, h, d, as 1m"


def duration_ms(text: str) -> int:
    """Return a length in ms. Raises ValueError."""
    found = _LENGTH.fullmatch(text)
    if found is None:
        raise ValueError(FORM)
    return int(found[1]) * UNITS_MS[found[2]]


def shown(length_ms: int) -> str:
    """Return a length as `duration_ms` reads it, in the largest unit that it is a multiple of."""
    unit = next(unit for unit in reversed(UNITS_MS) if length_ms % UNITS_MS[unit] == 0)
    return f"{length_ms // UNITS_MS[unit]}{unit}"
