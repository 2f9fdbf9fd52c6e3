"""A site's active alarms, from what has begun and ended them, in whatever order it came. (E7, E8)

Each begin and end that is judged here is told to the cloud, which has the history; here is only what is active now, and
of each alarm so many marks that late ones and withdrawals put that right. Other gateways of the site are told all of
them, in the order in which they came to be known here. (ADR 72)
"""

import sqlite3
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from fieldloom_engine.alarms import Mark, episodes
from fieldloom_gateway.automation.alarms.words import Marked, TakenBack, Word
from fieldloom_runtime.records import Event, Record

RAISED, CLEARED, AMENDED = "alarm.raised", "alarm.cleared", "alarm.amended"
MARKS = 64  # of one alarm, beside what began it; and as many withdrawals
WORDS = 50  # told at once: no more than a door takes
_OF_EFFECT = "device = ? AND name = ? AND effect = ?"


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

    def mark(self, word: Marked, now: int) -> None:
        """Take what begins an alarm or ends it."""
        data: dict[str, Any] = {"alarm": word.alarm, "rule": word.rule, "effect": word.effect}
        if word.begins:
            data |= {"severity": word.severity, "message": word.message, "raised_at": word.at}
        else:
            data["cleared_at"] = word.at
        self._tell(Event(word.device, word.at, now, type=RAISED if word.begins else CLEARED, data=data))
        self._learn(word)

    def withdraw(self, device: str, name: str, effect: str, by: str, now: int) -> None:
        """Take back what an effect has begun or ended; `by` is the effect that says so."""
        data = {"alarm": name, "effect": by, "withdrawn": effect}
        self._tell(Event(device, now, now, type=AMENDED, data=data))
        self._learn(TakenBack(device, name, effect))

    def learn(self, words: Iterable[Word]) -> None:
        """Take what another gateway knows, which the cloud is told by who has judged it."""
        for word in words:
            self._learn(word)

    def news(self, after: int) -> tuple[list[Word], int]:
        """Return what came to be known after a number, as much as is told at once, and the number of the last of it."""
        query = (
            "SELECT number, withdrawn, device, name, effect, at, begins, rule, severity, message "
            "FROM alarm_known LEFT JOIN alarm_mark USING (device, name, effect) "
            "WHERE number > ? ORDER BY number LIMIT ?"
        )
        words: list[Word] = []
        for number, withdrawn, device, name, effect, at, begins, *others in self._db.execute(query, (after, WORDS)):
            after = number
            taken_back = TakenBack(device, name, effect)
            words.append(taken_back if withdrawn else Marked(device, name, effect, at, bool(begins), *others))
        return words, after

    def all(self) -> list[dict[str, Any]]:
        """Return those that are active, by device and name."""
        names = ("device", "alarm", "rule", "severity", "message", "raised_at", "last", "count")
        query = "SELECT device, name, rule, severity, message, raised_at, last, count FROM alarm ORDER BY device, name"
        return [dict(zip(names, row, strict=True)) for row in self._db.execute(query)]

    def _learn(self, word: Word) -> None:
        """Keep a word that is not known yet; what was taken back stays so, whatever comes later."""
        key, takes_back = (word.device, word.alarm, word.effect), isinstance(word, TakenBack)
        query = f"SELECT withdrawn FROM alarm_known WHERE {_OF_EFFECT}"  # noqa: S608 - no parameter in it
        known = self._db.execute(query, key).fetchone()
        if known is not None and (known[0] or not takes_back):
            return
        keep = "INSERT OR REPLACE INTO alarm_known (device, name, effect, withdrawn) VALUES (?, ?, ?, ?)"
        self._db.execute(keep, (*key, takes_back))
        if isinstance(word, TakenBack):
            self._db.execute(f"DELETE FROM alarm_mark WHERE {_OF_EFFECT}", key)  # noqa: S608
            self._forget_withdrawals(word.device, word.alarm)
        else:
            row = (word.device, word.alarm, word.at, word.effect, word.begins, word.rule, word.severity, word.message)
            self._db.execute("INSERT INTO alarm_mark VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        self._put_right(word.device, word.alarm)

    def _forget_withdrawals(self, device: str, name: str) -> None:
        """Keep the newest withdrawals of an alarm."""
        withdrawn = "SELECT number FROM alarm_known WHERE device = ? AND name = ? AND withdrawn ORDER BY number DESC"
        query = f"DELETE FROM alarm_known WHERE number IN ({withdrawn} LIMIT -1 OFFSET ?)"  # noqa: S608
        self._db.execute(query, (device, name, MARKS))

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
            for table in ("alarm_mark", "alarm_known"):
                self._db.execute(f"DELETE FROM {table} WHERE {_OF_EFFECT}", (*of_alarm, spare.effect))  # noqa: S608
