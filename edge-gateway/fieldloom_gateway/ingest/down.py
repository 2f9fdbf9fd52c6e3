"""What the cloud has sent down, on the disk: commands wait there for their devices, the rest goes to whose it is."""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from fieldloom_contract import messages, topics
from fieldloom_engine.twin import Desired, Patch
from fieldloom_gateway.ingest import credentials
from fieldloom_gateway.ingest.judge import Downward
from fieldloom_gateway.ingest.renewals import Renewals
from fieldloom_gateway.ingest.revocations import Revocations
from fieldloom_gateway.ingest.twins import Twins
from fieldloom_runtime.down import Answered, Credential, Deployable, Removed, Revoked, TwinPatch
from fieldloom_runtime.records import Expired, Record

Sent = dict[str, Any] | Revoked | Answered | TwinPatch | Credential | Removed | Deployable
"""A record of the cloud; a command is the contract's, as it was parsed."""


class Command(NamedTuple):
    """A command as it waits for its device; `expires` in Unix ms."""

    id: str
    device: str
    payload: bytes
    expires: int

    @property
    def message(self) -> Downward:
        """What its device is told."""
        return Downward(self.device, topics.COMMAND, self.payload)


class Down:
    """Takes the cloud's streams. `transaction()` commits at its end, and `add` sends a record up with it.

    `take_automation` gets, in the transaction, what the cloud says of rules and workflows.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        transaction: Callable[[], AbstractContextManager[None]],
        add: Callable[[Record], None],
        take_automation: Callable[[Deployable, int], None],
        revocations: Revocations,
        renewals: Renewals,
        twins: Twins,
    ) -> None:
        self._db = connection
        self._transaction = transaction
        self._add = add
        self._take_automation = take_automation
        self._revocations = revocations
        self._renewals = renewals
        self._twins = twins

    def take(self, stream: bytes, number: int, records: list[Sent], now: int) -> list[Downward]:
        """Commit what the cloud sent, up to `number` of its stream; return what of it is news for devices."""
        fresh: list[Downward] = []
        with self._transaction():
            for record in records:
                news = self._take_one(record, now)
                if news is not None:
                    fresh.append(news)
            self._db.execute("INSERT OR REPLACE INTO downstream VALUES (?, ?)", (stream, number))
        for device in dict.fromkeys(record.device for record in records if isinstance(record, TwinPatch)):
            fresh += [Downward(device, topics.DESIRED, behind.payload) for behind in self._twins.behind(device)]
        return fresh

    def number(self, stream: bytes) -> int:
        """Return the last number taken of a stream of the cloud, 0 for a new one."""
        row = self._db.execute("SELECT number FROM downstream WHERE stream = ?", (stream,)).fetchone()
        return row[0] if row else 0

    def commands(self, device: str) -> list[bytes]:
        """Return the payloads of the commands that wait for a device."""
        rows = self._db.execute("SELECT payload FROM command WHERE device = ? ORDER BY expires", (device,))
        return [row[0] for row in rows]

    def keep(self, commands: Sequence[Command]) -> int:
        """Keep commands, in the transaction that is open; return how many of them have not come before."""
        return self._db.executemany("INSERT OR IGNORE INTO command VALUES (?, ?, ?, ?)", commands).rowcount

    def finish(self, command_id: str, device: str) -> None:
        """Forget a command that has its final result; in the transaction that is open."""
        self._db.execute("DELETE FROM command WHERE id = ? AND device = ?", (command_id, device))

    def withdraw(self, command_id: str) -> None:
        """Forget a command, in the transaction that is open: who has not got it does not get it any more."""
        self._db.execute("DELETE FROM command WHERE id = ?", (command_id,))

    def expire(self, now: int) -> int:
        """Tell the cloud of commands whose time is over without a final result; return how many. (A3)"""
        expired = self._db.execute("SELECT id, device FROM command WHERE expires <= ?", (now,)).fetchall()
        if expired:
            with self._transaction():
                for command_id, device in expired:
                    self._add(Expired(device=device, id=command_id, ts=now, at=now))
                    self._db.execute("DELETE FROM command WHERE id = ?", (command_id,))
        return len(expired)

    def _take_one(self, record: Sent, now: int) -> Downward | None:
        """Keep one record; return it if it is a message for a device that is news."""
        if isinstance(record, Revoked):
            self._revocations.take(record)
        elif isinstance(record, Credential):
            credentials.keep(self._db, record)
        elif isinstance(record, Removed):
            self._db.execute("DELETE FROM command WHERE device = ?", (record.device,))
        elif isinstance(record, Answered):
            return Downward(record.device, topics.CERTIFICATE, self._renewals.take(record))
        elif isinstance(record, TwinPatch):
            known = Desired(record.version, record.values)
            self._twins.take(record.device, Patch(record.id, record.changes, known), now)
        elif isinstance(record, Deployable):
            self._take_automation(record, now)
        else:
            command = _command(record)
            return command.message if self.keep([command]) else None
        return None


def _command(record: dict[str, Any]) -> Command:
    """Return a command of the cloud as it waits. Raises Rejected for one that no device would take."""
    payload = messages.command(record["id"], record["type"], record["parameters"], record["expires"])
    return Command(record["id"], record["device"], payload, record["expires"])
