"""The engine and what it remembers on the gateway's disk: as exact after a kill as before it. (E8, decision 2)

What the engine remembers of a source is large and changes with every event, so not it is written with each
transaction, but what was judged: the journal. Now and then a checkpoint takes its place. A start goes on from the
checkpoint and judges the journal again; what followed from it was committed with it and is not done again.
"""

import sqlite3
from typing import Any

import msgspec

from fieldloom_engine.rules import Engine, Event, Firing, RuleSet

ENTRIES = 20_000  # of the journal: some 3 MB, judged again in less than a second
NOTHING = RuleSet(())

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Memory:
    """On the gateway's database; all that changes something belongs into a transaction of its caller.

    `entries` is how long the journal grows before a checkpoint takes its place.
    """

    def __init__(self, connection: sqlite3.Connection, entries: int = ENTRIES) -> None:
        self._db = connection
        self._most = entries
        self._rules = NOTHING
        self._judged: list[tuple[Any, ...]] = []
        self._length = 0
        """Of the journal on the disk, in entries."""
        self._remembers = False
        self.engine = Engine(NOTHING)

    def start(self, rules: RuleSet) -> None:
        """Go on from what is on the disk."""
        self._take(rules)
        self.forget()

    def use(self, rules: RuleSet) -> None:
        """Go on with other rules; the state of those that are as they were goes on."""
        self._take(rules)
        self.engine.replace(rules)
        self.checkpoint()

    def retarget(self) -> None:
        """Ask again who is of a type, and tagged."""
        self.engine.retarget()
        self.checkpoint()  # what comes is judged by others than what is in the journal

    def judge(self, event: Event, watermark: int | None, now: int) -> list[Firing]:
        """Return what an event leads to; nothing of its source up to the watermark (Unix ms) is missing then."""
        if self._remembers:
            self._judged.append((now, watermark, *event))
        return self._step(event, watermark, now)

    def elapse(self, now: int) -> list[Firing]:
        """Return what the time leads to, Unix ms."""
        self._judged.append((now,))
        return self.engine.elapse(now)

    def is_due(self, now: int) -> bool:
        """Whether the time may lead to something."""
        deadline = self.engine.next_deadline()
        return deadline is not None and deadline <= now

    def write(self) -> None:
        """Write what was judged."""
        if not self._judged:
            return
        if self._length + len(self._judged) > self._most:
            self.checkpoint()
            return
        row = (len(self._judged), _encode(self._judged))
        self._db.execute("INSERT INTO rule_journal (entries, body) VALUES (?, ?)", row)
        self._length += len(self._judged)
        self._judged.clear()

    def checkpoint(self) -> None:
        """Write what has changed since the last checkpoint, and begin the journal anew."""
        changes = self.engine.changes()
        rows = [(source, _encode(body)) for source, body in changes.items() if body is not None]
        self._db.executemany("INSERT OR REPLACE INTO rule_memory VALUES (?, ?)", rows)
        gone = [(source,) for source, body in changes.items() if body is None]
        self._db.executemany("DELETE FROM rule_memory WHERE source = ?", gone)
        self._db.execute("DELETE FROM rule_journal")
        self._judged.clear()
        self._length = 0

    def forget(self) -> None:
        """Go back to what is on the disk."""
        self._judged.clear()
        rows = self._db.execute("SELECT source, body FROM rule_memory")
        self.engine = Engine(self._rules, {source: _decode(body) for source, body in rows})
        self._length = 0
        for length, body in self._db.execute("SELECT entries, body FROM rule_journal ORDER BY number").fetchall():
            self._length += length
            for entry in _decode(body):
                self._again(entry)

    def _again(self, entry: list[Any]) -> None:
        now, *judged = entry
        if not judged:
            self.engine.elapse(now)
            return
        watermark, *event = judged
        self._step(Event(*event), watermark, now)

    def _step(self, event: Event, watermark: int | None, now: int) -> list[Firing]:
        firings = self.engine.step(event, now)
        if watermark is not None and self._remembers:
            firings += self.engine.advance(event.source, watermark, now)
        return firings

    def _take(self, rules: RuleSet) -> None:
        self._rules = rules
        self._remembers = any(not one.is_stateless for one in rules.rules.values())
