"""The newest firings of each rule, as the cloud is told of them. (E10)"""

import json
import sqlite3
from typing import Any

import msgspec

from fieldloom_engine.rules import Firing

KEPT = 10_000

_encode = msgspec.json.Encoder().encode


class Firings:
    """On the gateway's database; all that changes something belongs into a transaction of its caller."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._fresh: list[tuple[str, str, bytes]] = []

    def keep(self, firing: Firing, body: dict[str, Any], now: int) -> None:
        """Keep a firing."""
        told = {"device": firing.event.source, "at": firing.at, "taken": now, **body}
        self._fresh.append((firing.rule, firing.event.source, _encode(told)))

    def write(self) -> None:
        """Write what was kept, and give up the oldest where there are too many."""
        if not self._fresh:
            return
        self._db.executemany("INSERT INTO firing (rule, device, body) VALUES (?, ?, ?)", self._fresh)
        self._db.execute("DELETE FROM firing WHERE number <= (SELECT max(number) FROM firing) - ?", (KEPT,))
        self._fresh.clear()

    def forget_before(self, moment: int) -> None:
        """Forget what was kept before a time, Unix ms."""
        query = "DELETE FROM firing WHERE json_extract(CAST(body AS TEXT), '$.taken') < ?"
        self._db.execute(query, (moment,))

    def forget(self) -> None:
        """Undo what memory took of a transaction that was rolled back."""
        self._fresh.clear()

    def newest(self, rule: str, limit: int) -> list[dict[str, Any]]:
        """Return the newest firings of a rule, the newest first."""
        query = "SELECT body FROM firing WHERE rule = ? ORDER BY number DESC LIMIT ?"
        return [json.loads(body) for (body,) in self._db.execute(query, (rule, limit))]


def told(firing: Firing, *, shadow: bool) -> dict[str, Any]:
    """Return what an event `rule.fired` says."""
    event = firing.event
    body = {
        "rule": firing.rule,
        "version": firing.version,
        "mode": "shadow" if shadow else "active",
        "event": {"id": event.id, "type": event.type, "ts": event.ts},
        "holds": firing.holds,
        "values": firing.cause,
        "late": firing.late,
        "effects": [{"id": one.id, "kind": one.kind, "withheld": one.withheld} for one in firing.effects],
    }
    return body if firing.amends is None else {**body, "amends": firing.amends}
