"""The newest firings of each rule, as the cloud is told of them. (E10)"""

import json
import sqlite3
from typing import Any

import msgspec

from fieldloom_engine.rules import Firing
from fieldloom_engine.rules.firing import identity_at

KEPT = 10_000
AT_A_TIME = 500
"""So many more there may be: to give up the oldest with each commit would write a page more each time."""

_encode = msgspec.json.Encoder().encode


class Firings:
    """On the gateway's database; all that changes something belongs into a transaction of its caller."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._fresh: list[tuple[str, str, bytes, str | None]] = []
        self._names: set[str] = set()
        self._more = AT_A_TIME
        """Than at the last time that the oldest were given up; after a start nobody knows."""

    def keep(self, firing: Firing, body: dict[str, Any], now: int) -> None:
        """Keep a firing."""
        told = {"device": firing.event.source, "at": firing.at, "taken": now, **body}
        name = body.get("id")
        if name is not None:
            self._names.add(name)
        self._fresh.append((firing.rule, firing.event.source, _encode(told), name))

    def is_known(self, name: str) -> bool:
        """Whether a firing of this id is kept."""
        query = "SELECT 1 FROM firing WHERE name = ?"
        return name in self._names or self._db.execute(query, (name,)).fetchone() is not None

    def write(self) -> None:
        """Write what was kept, and give up the oldest where there are too many."""
        if not self._fresh:
            return
        self._db.executemany("INSERT INTO firing (rule, device, body, name) VALUES (?, ?, ?, ?)", self._fresh)
        self._more += len(self._fresh)
        self.forget()
        if self._more >= AT_A_TIME:
            self._db.execute("DELETE FROM firing WHERE number <= (SELECT max(number) FROM firing) - ?", (KEPT,))
            self._more = 0

    def forget_before(self, moment: int) -> None:
        """Forget what was kept before a time, Unix ms."""
        query = "DELETE FROM firing WHERE json_extract(CAST(body AS TEXT), '$.taken') < ?"
        self._db.execute(query, (moment,))

    def forget(self) -> None:
        """Undo what memory took of a transaction that was rolled back."""
        self._fresh.clear()
        self._names.clear()

    def newest(self, rule: str, limit: int) -> list[dict[str, Any]]:
        """Return the newest firings of a rule, the newest first."""
        query = "SELECT body FROM firing WHERE rule = ? ORDER BY number DESC LIMIT ?"
        return [json.loads(body) for (body,) in self._db.execute(query, (rule, limit))]


def name_of(firing: Firing) -> str:
    """Return the id of a firing that may be found out again, by whoever judges the same."""
    effects = [effect.id for effect in firing.effects]
    parts: tuple[str | int, ...] = (
        firing.rule,
        firing.version,
        firing.event.id,
        firing.at,
        firing.holds,
        firing.amends or "",
        *effects,
    )
    return identity_at(firing.at, *parts)


def told(firing: Firing, *, shadow: bool, name: str | None = None) -> dict[str, Any]:
    """Return what an event `rule.fired` says; one that may be told more than once has a name."""
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
    if name is not None:
        body["id"] = name
    return body if firing.amends is None else {**body, "amends": firing.amends}
