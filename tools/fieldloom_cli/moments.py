"""Times and durations as people write them on a command line."""

import re
from datetime import datetime, timedelta

from fieldloom_cli.errors import CommandFailed

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def moment(option: str, text: str) -> datetime:
    """Return a time with its zone (RFC 3339). Raises CommandFailed, which names the option."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise CommandFailed(f"{option} {text} is no time with its zone: write it as 2026-11-26T10:00:00Z")
    return found


def duration(option: str, text: str) -> timedelta:
    """Return a duration. Raises CommandFailed, which names the option."""
    found = re.fullmatch(r"([1-9][0-9]{0,4})([smhd])", text)
    if found is None:
        raise CommandFailed(f"{option} {text} is no duration: write it as 30m, 1h or 7d")
    return int(found[1]) * timedelta(**{UNITS[found[2]]: 1})
