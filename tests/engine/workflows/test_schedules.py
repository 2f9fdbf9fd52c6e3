"""Schedules: cron in a time zone, over the changes of the clock, and when nobody ran. (W4)"""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldloom_engine.workflows import schedules
from fieldloom_engine.workflows.model import OnSchedule
from fieldloom_engine.workflows.schedules import MAX_MISSED, Due

BERLIN = "Europe/Berlin"
MINUTE = 60_000
SPRING, AUTUMN = "2026-03-29", "2026-10-25"  # the days of the changes, at 01:00Z


def ms(text):
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def times(cron, start, end, zone=BERLIN):
    """Return when a schedule comes from an instant up to another, as hours and minutes of UTC."""
    found, at = [], ms(start) - 1
    while (at := schedules.following(OnSchedule(cron=cron, timezone=zone), at)) is not None and at <= ms(end):
        found.append(at)
    return [datetime.fromtimestamp(at / 1000, UTC).strftime("%H:%M") for at in found]


CHANGES = {
    "a time in the hour that is left out is due when the clock is put on": ("30 2 * * *", SPRING, ["01:00"]),
    "a time in the hour that comes twice is due in the first": ("30 2 * * *", AUTUMN, ["00:30"]),
    "each half hour of an hour that is left out is left out": ("*/30 2 * * *", SPRING, []),
    "each half hour of an hour that comes twice comes twice": (
        "*/30 2 * * *",
        AUTUMN,
        ["00:00", "00:30", "01:00", "01:30"],
    ),
    "every hour is every hour": ("15 * * * *", AUTUMN, ["00:15", "01:15", "02:15"]),
    "a time after the change is due by the new time, in spring": ("0 4 * * *", SPRING, ["02:00"]),
    "a time after the change is due by the new time, in autumn": ("0 4 * * *", AUTUMN, ["03:00"]),
}


@pytest.mark.parametrize(("cron", "day", "due"), CHANGES.values(), ids=list(CHANGES))
def test_at_a_change_of_the_clock(cron, day, due):
    assert times(cron, f"{day}T00:00", f"{day}T03:00") == due


def test_whoever_begins_in_the_second_hour_does_not_start_again_what_was_due_in_the_first():
    at = schedules.following(OnSchedule(cron="30 2 * * *", timezone=BERLIN), ms(f"{AUTUMN}T01:10"))

    assert at == ms("2026-10-26T01:30")


def test_without_a_zone_it_is_utc():
    assert times("30 2 * * *", f"{SPRING}T00:00", f"{SPRING}T23:00", "UTC") == ["02:30"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("* * * *", "five fields"),
        ("0 * * * * *", "five fields"),
        ("@fortnightly", "five fields, or one of @hourly"),
        ("0 0 31 2 *", "no time that ever comes: bad day-of-month"),
        ("61 * * * *", "bad minute"),
        ("a b c d e", "bad minute"),
    ],
)
def test_what_is_no_time_of_the_clock_is_refused(text, reason):
    with pytest.raises(ValueError, match=reason):
        schedules.checked_cron(text)


@pytest.mark.parametrize("name", ["", "Europe/Bern", "../etc/passwd", "/etc/localtime", "x" * 64, "\0"])
def test_what_is_no_time_zone_is_refused(name):
    with pytest.raises(ValueError, match="must be a time zone"):
        schedules.checked_zone(name)


def hourly(missed, after, now, *, clock_is_trusted=True):
    schedule = OnSchedule(cron="@hourly", missed=missed)
    return schedules.due(schedule, ms(after), ms(now), clock_is_trusted=clock_is_trusted)


DAY = "2026-01-01T"


@pytest.mark.parametrize(
    ("missed", "now", "starts", "passed"),
    [
        ("skip", "11:30", [], ["10", "11"]),
        ("skip", "11:01", ["11"], ["10"]),
        ("once", "11:30", ["11"], ["10"]),
        ("once", "11:00", ["11"], ["10"]),
        ("once", "09:59", [], []),
        ("all", "11:30", ["10", "11"], []),
    ],
)
def test_what_was_missed_is_skipped_or_made_up_for(missed, now, starts, passed):
    due = hourly(missed, f"{DAY}09:30", DAY + now)

    assert due == Due(tuple(ms(f"{DAY}{one}:00") for one in starts), tuple(ms(f"{DAY}{one}:00") for one in passed))


def test_what_is_made_up_for_is_bounded_and_quick():
    minutely = OnSchedule(cron="* * * * *", timezone=BERLIN, missed="all")

    due = schedules.due(minutely, ms("2020-01-01T00:00"), ms("2026-01-01T00:00"), clock_is_trusted=True)

    assert due.starts == tuple(ms("2026-01-01T00:00") - MINUTE * back for back in reversed(range(MAX_MISSED)))


def test_nothing_starts_until_the_clock_is_trusted_and_then_what_was_missed():
    assert hourly("once", f"{DAY}09:30", f"{DAY}10:00", clock_is_trusted=False) is None
    assert hourly("once", f"{DAY}09:30", f"{DAY}12:30").starts == (ms(f"{DAY}12:00"),)


def test_a_clock_that_is_put_back_starts_nothing_twice():
    assert hourly("all", f"{DAY}11:00", f"{DAY}09:30") == Due((), ())


CRONS = st.sampled_from(["30 2 * * *", "*/30 2 * * *", "0 */2 * * *", "0,30 1,2,3 * * *", "15 * * * *", "0 0 1 * *"])


@settings(max_examples=20, deadline=None)
@given(
    CRONS,
    st.sampled_from([BERLIN, "America/New_York", "UTC", "Asia/Kolkata"]),
    st.datetimes(datetime(2026, 3, 1), datetime(2026, 11, 20)),  # noqa: DTZ001 - UTC is meant
    st.lists(st.integers(1, 40), max_size=6),
)
def test_however_often_it_is_asked_each_time_starts_once(cron, zone, start, steps):
    schedule = OnSchedule(cron=cron, timezone=zone, missed="all")
    moments = [start]
    for hours in steps:
        moments.append(moments[-1] + timedelta(hours=hours))
    asked = [ms(one.isoformat()) for one in moments]

    started = [
        at for after, now in pairwise(asked) for at in schedules.due(schedule, after, now, clock_is_trusted=True).starts
    ]

    expected, at = [], asked[0]
    while (at := schedules.following(schedule, at)) is not None and at <= asked[-1]:
        expected.append(at)
    assert started == expected
    assert all(datetime.fromtimestamp(at / 1000, ZoneInfo(zone)).second == 0 for at in started)
