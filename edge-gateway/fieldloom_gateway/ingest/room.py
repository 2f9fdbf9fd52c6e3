"""How much room the outbox has, what is done when there is none, and for how long it will do. (T4)"""

import sqlite3
from typing import Any

from fieldloom_gateway.ingest.dropping import Dropping, Lost
from fieldloom_gateway.ingest.fill import Fill
from fieldloom_gateway.ingest.segments import Segments
from fieldloom_gateway.settings import Policy


class Room:
    """The outbox against its limit in bytes. What it gives up is reported in the transaction that is open."""

    def __init__(self, connection: sqlite3.Connection, segments: Segments, limit: int, policy: Policy) -> None:
        self._segments = segments
        self.limit = limit
        """In bytes."""
        self._dropping = Dropping(connection, policy)
        self._fill = Fill()

    @property
    def fullness(self) -> float:
        """How full the outbox is, 1 at its limit."""
        return self._segments.bytes / self.limit

    def is_full(self, size: int) -> bool:
        """Whether so many bytes more do not fit."""
        return self._segments.bytes + size > self.limit

    def make(self, size: int, now: int) -> int:
        """Give up what the policy says, if so many bytes more do not fit; return how many records that were."""
        over = self._segments.bytes + size - self.limit
        if over <= 0 or self._dropping.policy == "refuse":
            return 0
        return self._report(*self._dropping.free(over, self.limit), self._dropping.policy, now)

    def drop_older(self, than: int, now: int) -> int:
        """Give up what has waited since before a time, Unix ms; return how many records that were."""
        return self._report(*self._dropping.free_older(than), "age", now)

    def look(self, now: int) -> None:
        """Take note of how fast the outbox fills."""
        self._fill.look(now, self._segments.written)

    def status(self, now: int) -> dict[str, Any]:
        """Return how full it is, and for how many hours there is room at the rate of the last ten minutes."""
        used = self._segments.bytes
        hours = self._fill.hours(now, self._segments.written, self.limit - used)
        return {"bytes": used, "limit": self.limit, "policy": self._dropping.policy, "hours_left": hours}

    def forget(self) -> None:
        """Undo what memory took of a transaction that was rolled back."""
        self._dropping.forget()

    def _report(self, freed: int, lost: Lost, reason: str, now: int) -> int:
        self._segments.bytes -= freed
        for event in lost.events(reason, now):
            self._segments.add(event)
        return lost.records
