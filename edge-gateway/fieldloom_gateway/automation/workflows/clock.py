"""The schedules of workflows: up to when each was looked at stands on the disk. (W4)"""

import sqlite3
from collections.abc import Sequence

from fieldloom_contract.limits import MIN_TS
from fieldloom_engine.workflows import schedules
from fieldloom_engine.workflows.triggers import NotStarted, Scheduled, Start, by_schedule


class Schedules:
    """On the gateway's database; all that changes something belongs into a transaction of its caller."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._all: Sequence[Scheduled] = ()
        self._next: int | None = None
        """When one of them comes next, Unix ms; 0: to be looked at."""

    def use(self, all_: Sequence[Scheduled]) -> None:
        """Go on with other schedules; one that is as it was goes on from where it was."""
        self._all = all_
        self.look_again()

    def look_again(self) -> None:
        """Take nothing for known of when a schedule comes next."""
        self._next = 0 if self._all else None

    def is_due(self, now: int) -> bool:
        """Whether a schedule asks for something at a time, Unix ms. Nothing is due until the clock can be right."""
        return self._next is not None and now >= max(self._next, MIN_TS)

    def take(self, now: int) -> list[Start | NotStarted]:
        """Return what schedules ask for up to now, each once. A new one begins now."""
        known = {
            row[:2]: row[2:] for row in self._db.execute("SELECT workflow, place, told, after FROM workflow_schedule")
        }
        self._db.execute("DELETE FROM workflow_schedule")
        found: list[Start | NotStarted] = []
        for one in self._all:
            place, told = (one.workflow.id, one.number), f"{one.schedule.cron} {one.schedule.timezone}"
            had, after = known.get(place, (told, now))
            due = schedules.due(one.schedule, after if had == told else now, now, clock_is_trusted=True)
            found += [by_schedule(one, at) for at in due.starts] if due is not None else []
            # A clock that was put back does not bring again what has been.
            self._db.execute("INSERT INTO workflow_schedule VALUES (?, ?, ?, ?)", (*place, told, max(after, now)))
        self._next = min(
            (at for one in self._all if (at := schedules.following(one.schedule, now)) is not None), default=None
        )
        return found
