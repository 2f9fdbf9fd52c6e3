"""The newest values of those metrics for which a rule or workflow asks by `latest`: no other costs a write. (E3)"""

import json
import sqlite3
from collections.abc import Collection, Iterable
from typing import Any

from fieldloom_engine.rules import Rule
from fieldloom_engine.rules.templates import is_template
from fieldloom_runtime.records import Record, Telemetry

KIND = "latest"


def metrics_of(rules: Iterable[Rule]) -> set[str]:
    """Return the metrics for whose newest values rules ask; they may be templates."""
    return {str(one.told["metric"]) for rule in rules for one in (*rule.do, *rule.otherwise) if one.kind == KIND}


class Latest:
    """On the gateway's database; all that changes something belongs into a transaction of its caller."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._asked: frozenset[str] = frozenset()
        self._all = False

    def use(self, metrics: Collection[str]) -> None:
        """Keep the values of these metrics: of all if one of them is a template."""
        self._all = any(is_template(metric) for metric in metrics)
        self._asked = frozenset(metrics)

    def take(self, record: Record) -> None:
        """Take note of what a record tells."""
        if not self._asked or not isinstance(record, Telemetry):
            return
        for metric, value in record.values.items():
            if self._all or metric in self._asked:
                row = (record.device, metric, record.ts, json.dumps(value))
                self._db.execute(
                    "INSERT INTO latest VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE "
                    "SET ts = excluded.ts, value = excluded.value WHERE excluded.ts >= latest.ts",
                    row,
                )

    def of(self, device: str, metric: str) -> dict[str, Any] | None:
        """Return the newest value of a device's metric and its time, None while none has come."""
        query = "SELECT ts, value FROM latest WHERE device = ? AND metric = ?"
        row = self._db.execute(query, (device, metric)).fetchone()
        return None if row is None else {"ts": row[0], "value": json.loads(row[1])}
