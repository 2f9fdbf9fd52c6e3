"""Durations in definitions: `"250ms"`, `"5s"`, `"10m"`, `"2h"`, `"1d"`, or a number of seconds; and instants."""

import re
from datetime import datetime

from fieldloom_contract.fields import is_finite

UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
LONGEST_MS = 366 * UNITS_MS["d"]
LATEST_MS = 253_402_300_799_999  # the last millisecond of the year 9999

_WRITTEN = re.compile(r"(\d{1,12}(?:\.\d{1,3})?)(ms|s|m|h|d)")


def milliseconds(told: object) -> int:
    """Return a duration in ms, from 1 ms to a year. Raises ValueError that says what is wrong."""
    if isinstance(told, str):
        written = _WRITTEN.fullmatch(told)
        if written is None:
            raise ValueError('must be a duration such as "250ms", "5s", "10m", "2h", or a number of seconds')
        length = float(written[1]) * UNITS_MS[written[2]]
    elif isinstance(told, (int, float)) and not isinstance(told, bool) and is_finite(told):
        length = told * 1000
    else:
        raise ValueError('must be a duration such as "5s", or a number of seconds')
    if not 1 <= length <= LONGEST_MS or length != int(length):
        raise ValueError("must be a whole number of milliseconds, from 1 ms to 366 days")
    return int(length)


def written(length: int) -> str:
    """Return a duration in ms as a definition would tell it, in the largest unit that takes it whole."""
    unit = max((unit for unit, size in UNITS_MS.items() if length % size == 0), key=UNITS_MS.__getitem__)
    return f"{length // UNITS_MS[unit]}{unit}"


def instant(told: object) -> int:
    """Return an instant of RFC 3339, or one in Unix ms, in Unix ms. Raises ValueError that says what is wrong."""
    if isinstance(told, (int, float)) and not isinstance(told, bool) and 0 <= told <= LATEST_MS:
        return int(told)
    try:
        found = datetime.fromisoformat(str(told))
    except ValueError:
        raise ValueError("must be an instant such as 2026-12-24T18:00:00Z, or Unix ms") from None
    if found.tzinfo is None:
        raise ValueError("needs its offset from UTC, as in 2026-12-24T18:00:00Z")
    return round(found.timestamp() * 1000)
