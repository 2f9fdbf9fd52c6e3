"""What the outbox gives up when it is full or too old, if its policy is not to refuse; all of it is told. (T4)

A row at the front is deleted: its numbers are settled by the `first` of the next batch. In the middle a record leaves
a line that says so, since a stream has no holes.
"""

import json
import sqlite3
from collections import Counter
from typing import Any

from fieldloom_contract.ranges import Ranges
from fieldloom_gateway.ingest.express import AFTER, DROPPED
from fieldloom_gateway.settings import Policy
from fieldloom_runtime.records import GIVEN_UP, Event

BY = "gateway"

_TELEMETRY = b'{"kind":"telemetry",'
_SPARE = 16  # at least this part of the limit is freed at once, so that reports are few


class Lost:
    """What was given up, by device: seqs of each boot, and how many records without a number."""

    def __init__(self) -> None:
        self._spans: dict[tuple[str, int], Ranges] = {}
        self._unnumbered: Counter[str] = Counter()
        self.records = 0

    def add(self, line: bytes) -> None:
        """Take note of a record; a report of earlier ones goes on in the next report."""
        if line == GIVEN_UP:
            return
        told = json.loads(line)
        device, boot, seq = told["device"], told.get("boot"), told.get("seq")
        if (earlier := _reported(told)) is not None:
            if "count" in earlier:
                self._unnumbered[device] += earlier["count"]
            else:
                self._ranges(device, earlier["boot"]).add(earlier["from"], earlier["to"])
            return
        self.records += 1
        if boot is not None and seq is not None:
            self._ranges(device, boot).add(seq)
        else:
            self._unnumbered[device] += 1

    def events(self, reason: str, now: int) -> list[Event]:
        """Return the reports, one a span of seqs."""
        told = [
            (device, {"boot": boot, "from": first, "to": last})
            for (device, boot), ranges in self._spans.items()
            for first, last in ranges.spans
        ]
        told += [(device, {"count": count}) for device, count in self._unnumbered.items()]
        return [
            Event(device, now, now, type=DROPPED, data={**data, "reason": reason, "by": BY}) for device, data in told
        ]

    def _ranges(self, device: str, boot: int) -> Ranges:
        return self._spans.setdefault((device, boot), Ranges())


class Dropping:
    """Gives up records of the table `outbox`, inside the transaction that needs the room."""

    def __init__(self, connection: sqlite3.Connection, policy: Policy) -> None:
        self._db = connection
        self.policy = policy
        self._searched = 0
        """Up to this number no telemetry is left."""

    def free(self, size: int, limit: int) -> tuple[int, Lost]:
        """Give up at least so many bytes, as far as they are there; return how many, and what they were."""
        lost = Lost()
        freed, wanted = 0, max(size, limit // _SPARE)
        if self.policy == "lowest_priority":
            freed, wanted = self._thin(wanted, lost), size  # of what is worth more no more than has to be
        while freed < wanted and (row := self._oldest()) is not None:
            freed += self._delete(row, lost)
        return freed, lost

    def free_older(self, than: int) -> tuple[int, Lost]:
        """Give up the rows whose last record came before a time, Unix ms."""
        lost = Lost()
        freed = 0
        while (row := self._oldest()) is not None and _came(row[1]) < than:
            freed += self._delete(row, lost)
        return freed, lost

    def forget(self) -> None:
        """Search all of it again: what was given up may have been rolled back."""
        self._searched = 0

    def _thin(self, wanted: int, lost: Lost) -> int:
        """Give up telemetry, the oldest first."""
        freed = 0
        while freed < wanted:
            query = "SELECT last, body FROM outbox WHERE last > ? AND last <= ? ORDER BY last LIMIT 1"
            row = self._db.execute(query, (self._searched, AFTER)).fetchone()
            if row is None:
                break
            last, body = row
            lines = body.split(b"\n")
            kept = [GIVEN_UP if _is_least(line) else line for line in lines]
            for before, after in zip(lines, kept, strict=True):
                if before is not after:
                    lost.add(before)
            thin = b"\n".join(kept)
            self._db.execute("UPDATE outbox SET body = ? WHERE last = ?", (thin, last))
            freed += len(body) - len(thin)
            self._searched = last
        while (front := self._oldest()) is not None and not front[1].strip(GIVEN_UP + b"\n"):
            freed += self._delete(front, lost)
        return freed

    def _oldest(self) -> tuple[int, bytes] | None:
        row: tuple[int, bytes] | None = self._db.execute(
            "SELECT last, body FROM outbox ORDER BY last LIMIT 1"
        ).fetchone()
        return row

    def _delete(self, row: tuple[int, bytes], lost: Lost) -> int:
        last, body = row
        for line in body.split(b"\n"):
            lost.add(line)
        self._db.execute("DELETE FROM outbox WHERE last = ?", (last,))
        return len(body)


def _reported(told: dict[str, Any]) -> dict[str, int] | None:
    """Return what an earlier report says was given up, None for any other record, also one that looks like a report."""
    data = told.get("data")
    if told.get("type") != DROPPED or told.get("seq") is not None or not isinstance(data, dict) or data.get("by") != BY:
        return None
    figures = {name: value for name, value in data.items() if name not in ("by", "reason")}
    whole = all(type(value) is int and value > 0 for value in figures.values())
    is_span = figures.keys() == {"boot", "from", "to"} and whole and figures["from"] <= figures["to"]
    return figures if is_span or (figures.keys() == {"count"} and whole) else None


def _is_least(line: bytes) -> bool:
    """Whether a record is telemetry, or an earlier report, which goes on in the next one."""
    return line.startswith(_TELEMETRY) or (DROPPED.encode() in line and _reported(json.loads(line)) is not None)


def _came(body: bytes) -> int:
    """Return when the last record of a row came, 0 if all of it was given up."""
    lines = [line for line in body.split(b"\n") if line != GIVEN_UP]
    return int(json.loads(lines[-1])["at"]) if lines else 0
