"""What the cloud has sent down, on the disk: commands wait there for their devices, the rest goes to whose it is."""

import json
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import msgspec

from fieldloom_contract import messages, topics
from fieldloom_contract.errors import Rejected
from fieldloom_contract.limits import MAX_DOWN_BYTES
from fieldloom_engine.commands import SUCCEEDED
from fieldloom_engine.holds import Source, Wanted, actuator_of
from fieldloom_engine.twin import Desired, Patch
from fieldloom_gateway.cluster.told import Ended, Told, Waiting
from fieldloom_gateway.ingest import credentials
from fieldloom_gateway.ingest.ends import Ends, end_of, word_of
from fieldloom_gateway.ingest.judge import Downward, Order
from fieldloom_gateway.ingest.queues import Queues
from fieldloom_gateway.ingest.renewals import Renewals
from fieldloom_gateway.ingest.revocations import Revocations
from fieldloom_gateway.ingest.twins import Twins
from fieldloom_runtime.down import Answered, Credential, ForAutomation, Removed, Revoked, TwinPatch
from fieldloom_runtime.records import Expired, Moved, Record, Result

Sent = dict[str, Any] | Revoked | Answered | TwinPatch | Credential | Removed | ForAutomation
"""A record of the cloud; a command is the contract's, as it was parsed."""
SOMEBODY = Source("person", "cloud")
"""Who asks for a command of which an older cloud does not say it."""
_encode = msgspec.json.Encoder().encode
_source = msgspec.json.Decoder(Source).decode


class Command(NamedTuple):
    """A command as it waits for its device; `expires` in Unix ms."""

    id: str
    device: str
    payload: bytes
    expires: int
    source: bytes | None = None
    """Who has asked for it, a `Source` as JSON; None where an older gateway has passed it on."""

    @property
    def message(self) -> Downward:
        """What its device is told."""
        return Downward(self.device, topics.COMMAND, self.payload)


class Ways(NamedTuple):
    """Where things go with the transaction that is open."""

    up: Callable[[Record], None]
    """A record that is judged and sent up."""
    judge: Callable[[Record], None]
    """One that is judged here, and sent up by another gateway of the site."""
    automation: Callable[[ForAutomation | Removed, int], None]
    """What the cloud says of rules, workflows and holds."""
    admit: Callable[[Order, int], bool]
    """A command, of which it says whether it goes to its device."""


class Down:
    """Takes the cloud's streams. `transaction()` commits at its end."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        transaction: Callable[[], AbstractContextManager[None]],
        ways: Ways,
        revocations: Revocations,
        renewals: Renewals,
        twins: Twins,
    ) -> None:
        self._db = connection
        self._transaction = transaction
        self._ways = ways
        self._ends = Ends(connection)
        self._queues = Queues(connection)
        self._revocations = revocations
        self._renewals = renewals
        self._twins = twins
        self.here: set[str] = set()
        """Devices that this gateway's broker has, as far as they were heard since it was asked last who is there."""
        self._own: set[str] = set()
        """Commands that were made here, and of which no other gateway knows; after a start all count as known."""
        self.has_news = False
        """Whether there is something since it was set to False of which other gateways are to be told."""

    def take(self, stream: bytes, number: int, records: list[Sent], now: int) -> list[Downward]:
        """Commit what the cloud sent, up to `number` of its stream; return what of it is news for devices."""
        fresh: list[Downward] = []
        with self._transaction():
            for record in records:
                news = self._take_one(record, now)
                if news is not None:
                    fresh.append(news)
            self._db.execute("INSERT OR REPLACE INTO downstream VALUES (?, ?)", (stream, number))
        return fresh

    def number(self, stream: bytes) -> int:
        """Return the last number taken of a stream of the cloud, 0 for a new one."""
        row = self._db.execute("SELECT number FROM downstream WHERE stream = ?", (stream,)).fetchone()
        return row[0] if row else 0

    def commands(self, device: str) -> list[bytes]:
        """Return the payloads of the commands that wait for a device."""
        return [payload for _, payload in self._queues.rows(device)]

    def keep(self, commands: Sequence[Command]) -> int:
        """Keep commands of this gateway, in the transaction that is open; return how many are new."""
        kept = self._keep(commands)
        if kept == len(commands):  # else some have come from another gateway, and all count as known there
            self._own.update(command.id for command in commands)
        return kept

    def word(self, command_id: str, device: str) -> Result | None:
        """Return a device's final word on a command that has ended, as long as it is known."""
        return self._ends.word(command_id, device)

    def finish(self, result: Result) -> Moved | None:
        """Forget a command that has its final result; return what it has moved. In the transaction that is open."""
        query = "DELETE FROM command WHERE id = ? AND device = ? RETURNING expires, payload, source"
        found = self._db.execute(query, (result.id, result.device)).fetchall()
        if not found:
            return None
        ((expires, payload, source),) = found
        self._queues.drop(result.device, result.id)
        self._end(end_of(result, expires), own=True)
        return _moved(payload, source) if result.status == SUCCEEDED and source is not None else None

    def withdraw(self, command_id: str) -> None:
        """Forget a command, in the transaction that is open: who has not got it does not get it any more."""
        query = "DELETE FROM command WHERE id = ? RETURNING device, expires"
        for device, expires in self._db.execute(query, (command_id,)).fetchall():
            self._queues.drop(device, command_id)
            self._end(Ended(command_id, device, expires, None), own=True)

    def overtake(self, device: str, actuator: str, by: str, reason: str, now: int) -> None:
        """Have a device not begin the commands that wait to move an actuator but one, in the transaction that is open.

        What it has begun already it may yet tell of: its word wins.
        """
        for command_id, payload in self._queues.rows(device):
            told = json.loads(payload)
            if command_id != by and actuator_of(told["type"], told["parameters"]) == actuator:
                self._ways.up(Expired(device=device, id=command_id, ts=now, at=now, error=reason))
                self.withdraw(command_id)

    def expire(self, now: int, leaves: Callable[[str], bool] = lambda _: False) -> int:
        """Tell the cloud of commands whose time is over without a final result; return how many. (A3)

        `leaves(id)` says that another gateway of the site tells of it.
        """
        expired = self._db.execute("SELECT id, device FROM command WHERE expires <= ?", (now,)).fetchall()
        if self._ends.has_old(now) or expired:
            self._own.difference_update(command_id for command_id, _ in expired)
            with self._transaction():
                for command_id, device in expired:
                    tell = self._ways.judge if leaves(command_id) else self._ways.up
                    tell(Expired(device=device, id=command_id, ts=now, at=now))
                    self._db.execute("DELETE FROM command WHERE id = ?", (command_id,))
                    self._queues.drop(device, command_id)
                self._ends.forget(now)
        return len(expired)

    def leave(self, device: str) -> None:
        """Take note that a device has left this gateway."""
        self.here.discard(device)
        self.has_news = True

    def told(self) -> tuple[Told, set[str]]:
        """Return what other gateways of the site are to be told, and the ids of all commands that wait. (D7)"""
        self.has_news = False
        query = "SELECT id, device, payload, expires, source FROM command ORDER BY expires, id"
        held = [Waiting(*row) for row in self._db.execute(query)]
        away = [command for command in held if command.device not in self.here]
        self._own.difference_update(command.id for command in away)
        return Told(away, self._ends.own()), {command.id for command in held}

    def take_told(self, told: Told, now: int) -> list[Downward]:
        """Commit what another gateway of the site tells; return what of it is news for devices. Raises Rejected."""
        waiting = [_checked(one) for one in told.waiting if one.expires > now]
        words = [word_of(end) for end in told.ended]
        with self._transaction():
            for end, word in zip(told.ended, words, strict=True):
                self._db.execute("DELETE FROM command WHERE id = ? AND device = ?", (end.id, end.device))
                self._queues.drop(end.device, end.id)
                self._end(end, own=False)
                if word is not None:
                    self._ways.judge(word)
            return [command.message for command in waiting if self._keep([command])]

    def _keep(self, commands: Sequence[Command]) -> int:
        self.has_news = True
        kept = self._db.executemany(_KEEP, commands).rowcount
        if kept == len(commands):
            for command in commands:
                self._queues.add(command.device, command.id)
        elif kept:
            self._queues.forget()  # nobody says which of them are new
        return kept

    def forget(self) -> None:
        """Undo what memory took of a transaction that was rolled back."""
        self._queues.forget()

    def _end(self, end: Ended, *, own: bool) -> None:
        """Have other gateways told of an end, if they may know of its command."""
        if end.id in self._own:
            self._own.discard(end.id)
            return
        self.has_news = True
        self._ends.keep(end, own=own)

    def _take_one(self, record: Sent, now: int) -> Downward | None:
        """Keep one record; return it if it is a message for a device that is news."""
        if isinstance(record, Revoked):
            self._revocations.take(record)
        elif isinstance(record, Credential):
            credentials.keep(self._db, record)
        elif isinstance(record, Removed):
            for command_id, _ in self._queues.rows(record.device):
                self._db.execute("DELETE FROM command WHERE id = ?", (command_id,))
                self._queues.drop(record.device, command_id)
            self._ways.automation(record, now)
        elif isinstance(record, Answered):
            return Downward(record.device, topics.CERTIFICATE, self._renewals.take(record))
        elif isinstance(record, TwinPatch):
            known = Desired(record.version, record.values)
            self._twins.ask(record.device, Patch(record.id, record.changes, known), now)
        elif isinstance(record, ForAutomation):
            self._ways.automation(record, now)
        else:
            order = order_of(record)
            if self._ways.admit(order, now):
                command = command_of(order)
                return command.message if self._keep([command]) else None
        return None


_KEEP = """
    INSERT OR IGNORE INTO command SELECT ?1, ?2, ?3, ?4, ?5
    WHERE NOT EXISTS (SELECT 1 FROM command_ended WHERE id = ?1 AND device = ?2)"""


def _checked(one: Waiting) -> Command:
    """Return a command of another gateway. Raises Rejected for one that no device would take."""
    said = messages.parse_command(messages.fitting(one.payload, MAX_DOWN_BYTES))
    if (said["id"], said["expires"]) != (one.id, one.expires):
        raise Rejected("waiting", f"{one.id} is not the command of its payload")
    try:
        if one.source is not None:
            _source(one.source)
    except msgspec.MsgspecError as error:
        raise Rejected("source", str(error)) from None
    return Command(one.id, topics.device_id(one.device), one.payload, one.expires, one.source)


def _moved(payload: bytes, source: bytes) -> Moved | None:
    """Return what a command moves, None for one that moves nothing."""
    told = json.loads(payload)
    actuator = actuator_of(told["type"], told["parameters"])
    return None if actuator is None else Moved(actuator, told["type"], told["parameters"], _source(source))


def order_of(record: dict[str, Any]) -> Order:
    """Return a command of the cloud with who asks for it. Raises msgspec.ValidationError."""
    return Order(
        record["id"],
        record["device"],
        record["type"],
        record["parameters"],
        record["expires"],
        msgspec.convert(record["source"], Source) if "source" in record else SOMEBODY,
        msgspec.convert(record["hold"], Wanted) if "hold" in record else None,
    )


def command_of(order: Order) -> Command:
    """Return a command as it waits. Raises Rejected for one that no device would take."""
    payload = messages.command(order.id, order.type, order.parameters, order.expires)
    return Command(order.id, order.device, payload, order.expires, _encode(order.source))
