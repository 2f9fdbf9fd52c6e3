"""Times of the clock, by cron and a time zone. (W4)

What tells both its minute and its hour (`30 2 * * *`) is due once a day: if the change to summer time leaves that hour
out, when the clock is put on; if the change from it brings the hour twice, in the first one. What begins its minute or
its hour with `*` goes by the clock as it stands: nothing is due in an hour that is left out, and twice in one that
comes twice.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice, takewhile
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from fieldloom_engine.workflows.model import OnSchedule

NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
MAX_MISSED = 100
"""So many times are looked back for at most, the newest ones."""
ON_TIME_MS = 60_000
FIELDS = 5


class Due(NamedTuple):
    """What a schedule asks for at a moment; instants in Unix ms."""

    starts: tuple[int, ...]
    """The times for which an instance starts now, the oldest first."""
    missed: tuple[int, ...]
    """The times that are passed over, the newest MAX_MISSED of them."""


def checked_cron(text: str) -> str:
    """Return an expression of five fields, or a nickname, if it is one. Raises ValueError."""
    if text.startswith("@") and text not in NICKNAMES:
        raise ValueError(f"must be five fields, or one of {', '.join(NICKNAMES)}")
    expression = NICKNAMES.get(text, text)
    if len(expression.split()) != FIELDS:
        raise ValueError("must have five fields: minute, hour, day, month, day of the week")
    try:
        CronSim(expression, datetime.fromtimestamp(0, UTC))
    except CronSimError as error:
        raise ValueError(f"is no time that ever comes: {str(error).lower()}") from None
    return text


def checked_zone(text: str) -> str:
    """Return the name of a time zone if there is one of it. Raises ValueError."""
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("must be a time zone such as UTC or Europe/Berlin") from None
    return text


def following(schedule: OnSchedule, after: int) -> int | None:
    """Return when a schedule comes next after an instant, None for never. Unix ms."""
    return next((at for at in _times(schedule, after) if at > after), None)


def due(schedule: OnSchedule, after: int, now: int, *, clock_is_trusted: bool) -> Due | None:
    """Return what a schedule asks for after an instant up to now, Unix ms; None until the clock is trusted.

    Whoever asks keeps `now` as the next `after`, unless the answer is None. What is no more than ON_TIME_MS behind is
    not missed.
    """
    if not clock_is_trusted:
        return None
    back = takewhile(lambda at: at > after, (at for at in _times(schedule, now + 1, is_back=True) if at <= now))
    times = sorted(islice(back, MAX_MISSED))
    on_time = [at for at in times if now - at <= ON_TIME_MS]
    missed = times[: len(times) - len(on_time)]
    if schedule.missed == "all":
        return Due(tuple(times), ())
    if schedule.missed == "once" and missed and not on_time:
        return Due((missed[-1],), tuple(missed[:-1]))
    return Due(tuple(on_time), tuple(missed))


def _times(schedule: OnSchedule, at: int, *, is_back: bool = False) -> Iterator[int]:
    """Return the times from an instant on, or back from it."""
    start = datetime.fromtimestamp(at / 1000, ZoneInfo(schedule.timezone))
    expression = NICKNAMES.get(schedule.cron, schedule.cron)
    return (round(time.timestamp()) * 1000 for time in CronSim(expression, start, reverse=is_back))
