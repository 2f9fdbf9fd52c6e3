"""What rules ask to be done: kept with the firing, done once, and what became of it told to the cloud. (E3)"""

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import msgspec

from fieldloom_engine import commands
from fieldloom_engine.rules import Effect, Firing
from fieldloom_runtime.records import Desired, Event, Expired, Record, Result

ACTION = "rule.action"
COMMAND, START, TWIN = "command", "start_workflow", "set_twin"
WITHHELD, WAITING, SENT, DONE, FAILED = "withheld", "waiting", "sent", "done", "failed"
"""Withheld is not to be done; waiting is to be done, or tried again; sent waits for its device's answer, or an end."""
NOT_TAKEN = "no device would take this: {}"
"""Why a patch of a twin has failed."""
KEPT = 10_000  # of those that are over
FIRST_PAUSE_MS, LONGEST_PAUSE_MS = 5_000, 600_000
TRIES = 12
OLDEST_MS = 86_400_000
"""What could not be done for so long is not done any more."""


class Outcome(NamedTuple):
    """What became of an effect."""

    status: str
    result: Any = None
    error: str | None = None


_encode = msgspec.json.Encoder().encode


class Again(NamedTuple):
    """An effect that could not be done yet."""

    reason: str
    after_ms: int = 0
    """No try before so long helps."""


Deed = Callable[[Firing, Effect, int], Outcome]
"""Does an effect inside the transaction that keeps it, at a time in Unix ms."""


class Due(NamedTuple):
    """An effect that is to be done now."""

    id: str
    rule: str
    device: str
    kind: str
    parameters: dict[str, Any]
    attempts: int
    """How often it was tried before."""


class Effects:
    """On the gateway's database; all that changes something belongs into a transaction of its caller.

    `deeds` are done at once, all other kinds later by whoever asks what is due; `tell` sends a record up. `answer` gets
    what became of an effect first, by its id, and says whether that concerns nobody else.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        deeds: Mapping[str, Deed],
        tell: Callable[[Record], None],
        answer: Callable[[str, Outcome], bool],
    ) -> None:
        self._db = connection
        self._deeds = deeds
        self._tell = tell
        self._answer = answer
        self._asked: dict[str, tuple[Firing, Effect, int]] = {}
        """What the transaction has yet to do, by id, each with its time: together, since a query an effect is dear."""
        self._ended = 0
        self.counts: Counter[tuple[str, str]] = Counter()
        """By (kind, what became of it)."""
        self.has_more = False
        """Whether something came since it was set to False that waits to be done."""

    def take(self, firing: Firing, effect: Effect, now: int) -> None:
        """Take an effect that is to be done with the transaction; one that came before is not done again."""
        if effect.withheld is not None:
            self.counts[effect.kind, WITHHELD] += 1
            return
        self._asked.setdefault(effect.id, (firing, effect, now))

    def is_known(self, identifier: str) -> bool:
        """Whether an effect was taken already."""
        query = "SELECT 1 FROM effect WHERE id = ?"
        return identifier in self._asked or self._db.execute(query, (identifier,)).fetchone() is not None

    def withdraw(self, identifier: str) -> str | None:
        """Have an effect not done, if it is not done yet, and return its kind; None if it is.

        What becomes of it all the same is told to nobody.
        """
        query = "UPDATE effect SET status = ?, due = NULL, error = ? WHERE id = ? AND status IN (?, ?) RETURNING kind"
        row = (FAILED, "its workflow has given it up", identifier, WAITING, SENT)
        found = self._db.execute(query, row).fetchall()
        self._ended += len(found)
        return str(found[0][0]) if found else None

    def conclude(self, kind: str, identifier: str, outcome: Outcome, now: int) -> bool:
        """Take note of the end of what somebody waits for, once; return whether it was asked for here."""
        query = "SELECT device, status FROM effect WHERE id = ? AND kind = ?"
        row = self._db.execute(query, (identifier, kind)).fetchone()
        if row is not None and row[1] == SENT:
            self._end(identifier, row[0], kind, outcome, now)
        return row is not None

    def hear_decided(self, record: Desired) -> None:
        """Take what has become of a twin's patch, which may be a rule's."""
        if record.patch is None:
            return
        outcome = Outcome(DONE, {"version": record.version})
        if record.error is not None:
            outcome = Outcome(FAILED, error=NOT_TAKEN.format(record.error))
        self.conclude(TWIN, record.patch, outcome, record.at)

    def write(self) -> None:
        """Do what was taken or keep it for later, and forget the oldest of what is over where there is too much."""
        if self._asked:
            known = self._known(list(self._asked))
            rows = [self._do(*asked) for name, asked in self._asked.items() if name not in known]
            columns = "id, rule, device, kind, parameters, asked, due, status, result, error, attempts"
            query = f"INSERT INTO effect ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)"  # noqa: S608
            self._db.executemany(query, rows)
            self._asked.clear()
        if self._ended:
            query = "DELETE FROM effect WHERE number <= (SELECT max(number) FROM effect) - ? AND status IN (?, ?)"
            self._db.execute(query, (KEPT, DONE, FAILED))
            self._ended = 0

    def forget(self) -> None:
        """Undo what memory took of a transaction that was rolled back."""
        self._asked.clear()
        self._ended = 0

    def hear(self, record: Result | Expired) -> None:
        """Take a word on a command, which may be of a rule; its device's word wins over that it has expired."""
        query = "SELECT device, parameters, status, result FROM effect WHERE id = ? AND kind = ?"
        row = self._db.execute(query, (record.id, COMMAND)).fetchone()
        if row is None:
            return
        device, parameters, status, had = row
        if json.loads(parameters)["device_id"] != record.device:
            return  # nobody else may say what became of a device's command
        if status != SENT and had is None:
            return  # it was never sent
        before = commands.SENT if status == SENT else json.loads(had)["status"]
        word, result, error = _word(record)
        after = commands.step(before, word)
        if after == before or after not in commands.FINAL:
            return
        ended = commands.ended(after, result, error)
        outcome = Outcome(DONE if ended.succeeded else FAILED, ended.result, ended.error)
        self._end(record.id, device, COMMAND, outcome, record.at)

    def close(self, identifier: str, outcome: Outcome) -> None:
        """Take note of what another gateway has told the instance that asked for an effect."""
        query = "UPDATE effect SET status = ?, result = ?, error = ? WHERE id = ? AND status = ? RETURNING kind"
        row = (outcome.status, _optional(outcome.result), outcome.error, identifier, SENT)
        for (kind,) in self._db.execute(query, row).fetchall():
            self.counts[kind, outcome.status] += 1
            self._ended += 1

    def due(self, kinds: Collection[str], now: int, limit: int) -> list[Due]:
        """Return what is to be done now of some kinds, the oldest first."""
        marks = ", ".join("?" * len(kinds))
        columns = "id, rule, device, kind, parameters, attempts"
        query = f"SELECT {columns} FROM effect WHERE due <= ? AND kind IN ({marks}) ORDER BY due LIMIT ?"  # noqa: S608
        rows = self._db.execute(query, (now, *kinds, limit))
        return [
            Due(name, rule, device, kind, json.loads(told), attempts)
            for name, rule, device, kind, told, attempts in rows
        ]

    def settle(self, one: Due, outcome: Outcome, now: int) -> None:
        """Take note of what became of an effect that was due."""
        self._end(one.id, one.device, one.kind, outcome, now)

    def postpone(self, one: Due, again: Again, now: int) -> None:
        """Have an effect tried again later; what was tried too often is given up."""
        if one.attempts + 1 >= TRIES:
            self.settle(one, Outcome(FAILED, error=f"given up after {TRIES} tries: {again.reason}"), now)
            return
        pause = max(again.after_ms, min(FIRST_PAUSE_MS << one.attempts, LONGEST_PAUSE_MS))
        row = (now + pause, again.reason, one.id)
        self._db.execute("UPDATE effect SET attempts = attempts + 1, due = ?, error = ? WHERE id = ?", row)

    def give_up(self, now: int) -> None:
        """Give up what has waited too long."""
        query = "SELECT id, device, kind FROM effect WHERE due IS NOT NULL AND asked < ?"
        for identifier, device, kind in self._db.execute(query, (now - OLDEST_MS,)).fetchall():
            self._end(identifier, device, kind, Outcome(FAILED, error="it could not be done for a day"), now)

    def forget_before(self, moment: int) -> None:
        """Forget what was asked for before a time, Unix ms, and is over."""
        self._db.execute("DELETE FROM effect WHERE asked < ? AND status IN (?, ?)", (moment, DONE, FAILED))

    def has_old(self, now: int) -> bool:
        """Whether something has waited too long."""
        query = "SELECT 1 FROM effect WHERE due IS NOT NULL AND asked < ? LIMIT 1"
        return self._db.execute(query, (now - OLDEST_MS,)).fetchone() is not None

    def newest(self, rule: str, limit: int) -> list[dict[str, Any]]:
        """Return what a rule has asked for last, as far as it is among what all have, the newest first."""
        names = ("id", "device", "kind", "parameters", "asked", "status", "attempts", "result", "error")
        query = f"""
            SELECT {", ".join(names)} FROM effect WHERE number > (SELECT max(number) FROM effect) - ? AND rule = ?
            ORDER BY number DESC LIMIT ?"""  # noqa: S608
        shown = [dict(zip(names, row, strict=True)) for row in self._db.execute(query, (KEPT, rule, limit))]
        for one in shown:
            one["parameters"] = json.loads(one["parameters"])
            one["result"] = None if one["result"] is None else json.loads(one["result"])
        return shown

    def _end(self, identifier: str, device: str, kind: str, outcome: Outcome, now: int) -> None:
        row = (outcome.status, _optional(outcome.result), outcome.error, identifier)
        self._db.execute("UPDATE effect SET status = ?, due = NULL, result = ?, error = ? WHERE id = ?", row)
        self._note(identifier, device, kind, outcome, now)

    def _note(self, identifier: str, device: str, kind: str, outcome: Outcome, now: int) -> None:
        status, result, error = outcome
        self.counts[kind, status] += 1
        if status == SENT:
            return
        self._ended += 1
        if self._answer(identifier, outcome):
            return
        data = {"effect": identifier, "kind": kind, "status": status, "result": result, "error": error}
        self._tell(Event(device, now, now, type=ACTION, data=data))

    def _do(self, firing: Firing, effect: Effect, now: int) -> tuple[Any, ...]:
        """Do an effect, or have it wait, and return its row."""
        device, deed = firing.event.source, self._deeds.get(effect.kind)
        row = (effect.id, firing.rule, device, effect.kind, _text(effect.parameters), now)
        if deed is None:
            self.has_more = True
            return (*row, now, WAITING, None, None)
        outcome = deed(firing, effect, now)
        self._note(effect.id, device, effect.kind, outcome, now)
        return (*row, None, outcome.status, _optional(outcome.result), outcome.error)

    def _known(self, ids: list[str]) -> set[str]:
        query = "SELECT id FROM effect WHERE id IN (SELECT value FROM json_each(?))"
        return {row[0] for row in self._db.execute(query, (_text(ids),))}


def _word(record: Result | Expired) -> tuple[str, Any, str | None]:
    """Return what a record says of a command: a word, its result and the reason."""
    if isinstance(record, Expired):
        return commands.GATEWAY_EXPIRED, None, record.error or commands.NO_ANSWER
    return record.status, record.result, record.error


def _text(told: Any) -> str:
    return _encode(told).decode()


def _optional(told: Any) -> str | None:
    return None if told is None else _text(told)
