"""What became of instances: told to the cloud, once a record; the newest are kept here. (W5)"""

import json
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from fieldloom_contract import topics
from fieldloom_contract.errors import Rejected
from fieldloom_engine.workflows import Instance, Record
from fieldloom_runtime.records import Event
from fieldloom_runtime.records import Record as Sent

RECORDED = "workflow.recorded"
KEPT = 10_000
MOST_BYTES = 32_768
"""What is longer goes without results and variables."""

_encode = msgspec.json.Encoder().encode


class Recorded:
    """On the gateway's database; all that changes something belongs into a transaction of its caller.

    `tell` sends a record up; what belongs to no device is the gateway's.
    """

    def __init__(self, connection: sqlite3.Connection, gateway: str, tell: Callable[[Sent], None]) -> None:
        self._db = connection
        self._gateway = gateway
        self._tell = tell

    def keep(self, instance: Instance, records: list[Record], now: int) -> None:
        """Keep records of an instance, and send those up that did not come before. `now` in Unix ms."""
        row = self._db.execute("SELECT record FROM workflow_told WHERE instance = ?", (instance.id,)).fetchone()
        fresh = [one for one in records if row is None or one.number > row[0]]
        if not fresh:
            return
        device = self._device(instance)
        for record in fresh:
            body = _body(instance, record)
            query = "INSERT INTO workflow_history (instance, record, body) VALUES (?, ?, ?)"
            self._db.execute(query, (instance.id, record.number, _encode(body)))
            self._tell(Event(device, record.at, now, type=RECORDED, data=body))
        self._db.execute("INSERT OR REPLACE INTO workflow_told VALUES (?, ?)", (instance.id, fresh[-1].number))
        query = "DELETE FROM workflow_history WHERE number <= (SELECT max(number) FROM workflow_history) - ?"
        self._db.execute(query, (KEPT,))

    def forget(self, instances: Sequence[str]) -> None:
        """Forget of instances that are not kept any more how far they were told of."""
        self._db.executemany("DELETE FROM workflow_told WHERE instance = ?", [(one,) for one in instances])

    def of(self, instance: str) -> list[dict[str, Any]]:
        """Return the records that are kept of an instance, in their order."""
        query = "SELECT body FROM workflow_history WHERE instance = ? ORDER BY record"
        return [json.loads(body)["record"] for (body,) in self._db.execute(query, (instance,))]

    def _device(self, instance: Instance) -> str:
        try:
            return topics.device_id(str(instance.variables.get("device_id", "")))
        except Rejected:  # about none, or about something else
            return self._gateway


def _body(instance: Instance, record: Record) -> dict[str, Any]:
    """Return what an event `workflow.recorded` says."""
    told: dict[str, Any] = msgspec.to_builtins(record)
    if len(_encode(told)) > MOST_BYTES:
        short = [{name: one[name] for name in ("id", "kind", "succeeded")} for one in told.get("actions", ())]
        told = {**told, "actions": short, "variables": {}, "output": None, "cut": True}
    return {
        "instance": instance.id,
        "workflow": instance.workflow,
        "version": instance.version,
        "status": instance.status,
        "correlation": instance.correlation,
        "parent": instance.metadata.get("parent"),
        "created": instance.created,
        "states": instance.active,
        "record": told,
    }
