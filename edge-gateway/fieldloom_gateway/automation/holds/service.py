"""Commands and holds inside the gateway's transactions: who may pass, what is asked, what was told. (E9)

All of it runs on the thread that has the gateway's disk.
"""

import sqlite3
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from fieldloom_contract import topics
from fieldloom_contract.errors import Rejected
from fieldloom_contract.limits import MAX_NUMBER
from fieldloom_engine import commands
from fieldloom_engine.holds import (
    MAX_REASON,
    Actuator,
    Hold,
    Release,
    Source,
    Wanted,
    Word,
    acting,
    actuator_of,
    keeps_out,
    refusal,
)
from fieldloom_engine.rules.actions import COMMAND_EXPIRES_MS
from fieldloom_gateway.automation.holds.kept import Key
from fieldloom_gateway.ingest.down import Down, command_of
from fieldloom_gateway.ingest.judge import Downward, Order
from fieldloom_runtime import down
from fieldloom_runtime.records import Event, Record, Result

EVENTS = {"held": "actuator.held", "refused": "actuator.lost", "lost": "actuator.lost", "released": "actuator.released"}

LONGEST_ID = "0" * 32
"""As long as that of a command by which a hold acts again."""


class Asks(Struct, tag="asks"):
    """Somebody asks to hold an actuator."""

    device: str
    actuator: str
    hold: Hold

    @property
    def key(self) -> Key:
        """Whose slots are meant."""
        return Key(self.device, self.actuator)


class Frees(Struct, tag="frees"):
    """Somebody releases a slot."""

    device: str
    actuator: str
    request: Release

    @property
    def key(self) -> Key:
        """Whose slots are meant."""
        return Key(self.device, self.actuator)


class Drops(Struct, tag="drops"):
    """A device is gone, with all that was held of it."""

    device: str


Told = Asks | Frees | Drops


class Row(NamedTuple):
    """Something asked for, in the inbox."""

    number: int
    told: Told


class Verdict(NamedTuple):
    """Whether a command passes now; if not, it was refused, or it asks to hold and is answered later."""

    passes: bool
    refused: str | None = None


PASSES = Verdict(passes=True)

_encode = msgspec.json.Encoder().encode
_decode: Callable[[bytes], Told] = msgspec.json.Decoder(Told).decode


class Holds:
    """On the gateway's database; all that changes something belongs into a transaction of its caller.

    `tell` sends a record up, `answer` one that those are to hear who have asked for a command.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        waiting: Down,
        tell: Callable[[Record], None],
        answer: Callable[[Record], None],
    ) -> None:
        self._db = connection
        self._down = waiting
        self._tell = tell
        self._answer = answer
        self.view: dict[Key, Actuator] = {}
        """The slots as the map has them; the runtime writes them, from its own thread."""
        self.has_more = True
        """Whether something may have been asked for since it was set to False."""
        self.messages: list[Downward] = []
        """What devices are to be told of what was committed."""

    def admit(self, order: Order, now: int) -> Verdict:
        """Judge a command on its way to its device, and keep a wish to hold its actuator."""
        actuator = actuator_of(order.type, order.parameters)
        if actuator is None:
            return PASSES if order.wanted is None else _refused(f"{order.type} moves no actuator")
        if order.wanted is not None:
            return self._ask(order, actuator, order.wanted, now)
        slots = self.view.get(Key(order.device, actuator))
        holder = None if slots is None else keeps_out(slots, order.source, now)
        if holder is None:
            return PASSES
        asked = {"id": order.id, "type": order.type, **_source(order.source)}
        data = {"actuator": actuator, "command": asked, "to": _source(holder.source), "waits": False}
        self._tell(Event(order.device, now, now, type=EVENTS["refused"], data=data))
        return _refused(refusal(holder, actuator))

    def admit_of_cloud(self, order: Order, now: int) -> bool:
        """Judge a command of the cloud, and answer one that is refused; whether it passes."""
        verdict = self.admit(order, now)
        if verdict.refused is not None:
            self._reject(order.device, order.id, verdict.refused, now)
        return verdict.passes

    def free(self, told: down.Release) -> None:
        """Keep somebody's wish to release a slot."""
        self._put(Frees(told.device, told.actuator, Release(told.id, told.priority, told.by)))

    def drop(self, device: str) -> None:
        """Keep that all holds of a device are to be forgotten; nobody is told."""
        self._put(Drops(device))

    def waiting(self, limit: int) -> list[Row]:
        """Return what was asked for, the oldest first."""
        self.has_more = False
        rows = self._db.execute("SELECT number, body FROM hold_inbox ORDER BY number LIMIT ?", (limit,)).fetchall()
        return [Row(number, _decode(body)) for number, body in rows]

    def done(self, number: int) -> None:
        """Forget what was asked for and is in the map."""
        self._db.execute("DELETE FROM hold_inbox WHERE number = ?", (number,))

    def told(self) -> dict[Key, int]:
        """Return up to which version devices and the cloud were told of the slots of each actuator."""
        rows = self._db.execute("SELECT device, actuator, version FROM hold_told")
        return {Key(device, actuator): version for device, actuator, version in rows}

    def follow(self, key: Key, slots: Actuator, now: int) -> None:
        """Tell device and cloud, once, what has become of an actuator."""
        query = "SELECT version, command FROM hold_told WHERE device = ? AND actuator = ?"
        version, command = self._db.execute(query, key).fetchone() or (0, "")
        if slots.version <= version:
            return
        for word in slots.words:
            if word.version > version:
                self._say(key, word, slots, now)
        if slots.command not in ("", command):
            self._send(key, slots, now)
        row = (*key, slots.version, slots.command)
        self._db.execute("INSERT OR REPLACE INTO hold_told VALUES (?, ?, ?, ?)", row)

    def forget(self, key: Key) -> None:
        """Forget what was told of an actuator that nobody holds."""
        self._db.execute("DELETE FROM hold_told WHERE device = ? AND actuator = ?", key)

    def give_up(self, told: Asks | Frees, reason: str, now: int) -> None:
        """Answer a wish that the map does not take."""
        if isinstance(told, Asks):
            self._reject(told.device, told.hold.id, reason, now)

    def of_device(self, device: str, now: int) -> list[dict[str, Any]]:
        """Return who holds and who waits, by actuator, as it is shown."""
        found = sorted((key.actuator, slots) for key, slots in [*self.view.items()] if key.device == device)
        return [shown(actuator, slots, now) for actuator, slots in found if acting(slots, now) is not None]

    def _ask(self, order: Order, actuator: str, wanted: Wanted, now: int) -> Verdict:
        if max(len(wanted.reason), len(order.source.owner)) > MAX_REASON:
            return _refused(f"reason and owner of a hold have at most {MAX_REASON} characters")
        try:
            command_of(order._replace(id=LONGEST_ID, expires=MAX_NUMBER))
        except Rejected as error:
            return _refused(f"it could not be told again: {error}")
        hold = Hold(
            id=order.id,
            source=order.source,
            type=order.type,
            parameters=order.parameters,
            since=now,
            until=order.expires,
            reason=wanted.reason,
            expires=wanted.expires,
        )
        self._put(Asks(order.device, actuator, hold))
        return Verdict(passes=False)

    def _put(self, told: Told) -> None:
        self.has_more = True
        self._db.execute("INSERT INTO hold_inbox (body) VALUES (?)", (_encode(told),))

    def _say(self, key: Key, word: Word, slots: Actuator, now: int) -> None:
        to = None if word.to is None else _source(word.to)
        data = {
            "hold": _shown(word.hold),
            "to": to,
            "waits": word.waits,
            "by": word.by,
            **shown(key.actuator, slots, now),
        }
        self._tell(Event(key.device, now, now, type=EVENTS[word.what], data=data))
        if word.what == "refused":
            self._reject(key.device, word.hold.id, _why(key, word, slots), now)

    def _send(self, key: Key, slots: Actuator, now: int) -> None:
        """Have the device told what acts, in place of what waits for it."""
        hold = slots.holds[0]
        expires = hold.until if slots.command == hold.id else now + COMMAND_EXPIRES_MS
        order = Order(slots.command, key.device, hold.type, hold.parameters, expires, hold.source)
        self._down.overtake(key.device, key.actuator, slots.command, refusal(hold, key.actuator), now)
        command = command_of(order)
        if self._down.keep([command]):
            self.messages.append(Downward(key.device, topics.COMMAND, command.payload))

    def _reject(self, device: str, command: str, reason: str, now: int) -> None:
        self._answer(Result(device, now, now, id=command, status=commands.REJECTED, error=reason))


def shown(actuator: str, slots: Actuator, now: int) -> dict[str, Any]:
    """Return slots as they are told and shown: those that are held at a time, the one that acts first."""
    holds = [_shown(hold) for hold in slots.holds if hold.expires is None or hold.expires > now]
    return {"actuator": actuator, "version": slots.version, "holds": holds}


def _shown(hold: Hold) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(hold)
    del told["until"]
    return {**told.pop("source"), **told}


def _source(source: Source) -> dict[str, str]:
    return {"priority": source.priority, "owner": source.owner}


def _refused(reason: str) -> Verdict:
    return Verdict(passes=False, refused=reason)


def _why(key: Key, word: Word, slots: Actuator) -> str:
    if word.to is None:
        return "the time of its hold was over before it came"
    holder = next((hold for hold in slots.holds if hold.source == word.to), None)
    if holder is None:
        return f"{word.to.owner} ({word.to.priority}) held {key.actuator}"
    return f"{refusal(holder, key.actuator)}; it waits in its slot"
