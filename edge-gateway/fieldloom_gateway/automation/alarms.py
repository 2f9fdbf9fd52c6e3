"""A site's active alarms, from what has begun and ended them, in whatever order it came. (E7, E8)

Each begin and end is told to the cloud, which has the history; here is only what is active now, and of each alarm so
many marks that late ones and withdrawals put that right.
"""

import sqlite3
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from fieldloom_engine.alarms import Mark, episodes
from fieldloom_runtime.records import Event, Record

RAISED, CLEARED, AMENDED = "alarm.raised", "alarm.cleared", "alarm.amended"
MARKS = 64  # of one alarm, beside what began it
MESSAGE = 4096  # characters


class Active(NamedTuple):
    """An alarm that is active. Times in Unix ms."""

    rule: str | None
    severity: str
    message: str
    raised_at: int
    last: int
    """When it was begun again for the last time."""
    times: int
    """How often it was begun, as far as that is kept."""


def active(marks: Iterable[Mark]) -> Active | None:
    """Return what marks come to: an alarm that is active, or none."""
    known = episodes(marks)
    if not known or known[-1].cleared_at is not None:
        return None
    last = known[-1]
    return Active(last.rule, last.severity, last.message, last.raised_at, last.last, len(last.effects))


class Alarms:
    """On the gateway's database; all that changes something belongs into a transaction of its caller.

    `tell` sends a record up.
    """

    def __init__(self, connection: sqlite3.Connection, tell: Callable[[Record], None]) -> None:
        self._db = connection
        self._tell = tell

    def mark(self, device: str, name: str, mark: Mark, now: int) -> None:
        """Take what begins an alarm or ends it."""
        row = (device, name, mark.at, mark.effect, mark.begins, mark.rule, mark.severity, mark.message[:MESSAGE])
        self._db.execute("INSERT OR REPLACE INTO alarm_mark VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        data: dict[str, Any] = {"alarm": name, "rule": mark.rule, "effect": mark.effect}
        if mark.begins:
            data |= {"severity": mark.severity, "message": row[-1], "raised_at": mark.at}
        else:
            data["cleared_at"] = mark.at
        self._tell(Event(device, mark.at, now, type=RAISED if mark.begins else CLEARED, data=data))
        self._put_right(device, name)

    def withdraw(self, device: str, name: str, effect: str, by: str, now: int) -> None:
        """Take back what an effect has begun or ended; `by` is the effect that says so."""
        self._db.execute("DELETE FROM alarm_mark WHERE device = ? AND name = ? AND effect = ?", (device, name, effect))
        data = {"alarm": name, "effect": by, "withdrawn": effect}
        self._tell(Event(device, now, now, type=AMENDED, data=data))
        self._put_right(device, name)

    def all(self) -> list[dict[str, Any]]:
        """Return those that are active, by device and name."""
        names = ("device", "alarm", "rule", "severity", "message", "raised_at", "last", "count")
        query = "SELECT device, name, rule, severity, message, raised_at, last, count FROM alarm ORDER BY device, name"
        return [dict(zip(names, row, strict=True)) for row in self._db.execute(query)]

    def _put_right(self, device: str, name: str) -> None:
        of_alarm = (device, name)
        query = (
            "SELECT at, effect, begins, rule, severity, message FROM alarm_mark "
            "WHERE device = ? AND name = ? ORDER BY at, effect"
        )
        marks = [Mark(*row) for row in self._db.execute(query, of_alarm)]
        now_active = active(marks)
        if now_active is None:
            self._db.execute("DELETE FROM alarm WHERE device = ? AND name = ?", of_alarm)
        else:
            row = (*of_alarm, *now_active)
            self._db.execute("INSERT OR REPLACE INTO alarm VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        if len(marks) > MARKS:
            oldest, second = marks[:2]
            spare = oldest if now_active is None or oldest.at != now_active.raised_at else second
            query = "DELETE FROM alarm_mark WHERE device = ? AND name = ? AND at = ? AND effect = ?"
            self._db.execute(query, (*of_alarm, spare.at, spare.effect))
