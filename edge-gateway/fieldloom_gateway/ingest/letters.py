"""The dead letters of a gateway: what could not be used, with the reason, until somebody replays or drops it. (T1)"""

import sqlite3
from typing import Any, NamedTuple

KEPT = 10_000
KEPT_BYTES = 16 * 2**20
COLUMNS = "number, at, device, topic, boot, seq, stage, reason, length, payload"


class Letter(NamedTuple):
    """A message or record, or its first bytes. With a seq it counts as received, though nothing else has it."""

    number: int
    at: int
    """When it came, Unix ms."""
    device: str
    topic: str
    boot: int | None
    seq: int | None
    stage: str | None
    """The stage of a chain that failed on it."""
    reason: str
    length: int
    payload: bytes


class Asked(NamedTuple):
    """Which letters: of a device, whose reason holds a text, that came at a time or later (Unix ms)."""

    device: str | None = None
    reason: str | None = None
    since: int | None = None


class DeadLetters:
    """Bounded by count and bytes; the oldest go first, and are counted. Used inside the store's transactions."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self.count = self.bytes = self.thrown_away = 0
        self.forget()

    def forget(self) -> None:
        """Read the figures again: what memory took of them was rolled back."""
        query = """
            SELECT count(*), coalesce(sum(length(payload)), 0),
              coalesce((SELECT value FROM meta WHERE key = 'letters_thrown_away'), 0) FROM dead_letter"""
        self.count, self.bytes, self.thrown_away = self._db.execute(query).fetchone()

    def add(self, letter: Letter) -> None:
        """Keep a letter; its number is drawn here."""
        columns = COLUMNS.removeprefix("number, ")
        self._db.execute(f"INSERT INTO dead_letter ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", letter[1:])  # noqa: S608
        self.count += 1
        self.bytes += len(letter.payload)
        while self.count > KEPT or self.bytes > KEPT_BYTES:
            self._throw_away_oldest()

    def page(self, asked: Asked, before: int | None, limit: int) -> list[Letter]:
        """Return the newest letters with a number below `before`."""
        where, values = ["1"], list[Any]()
        for condition, value in (
            ("number < ?", before),
            ("device = ?", asked.device),
            ("instr(reason, ?)", asked.reason),
            ("at >= ?", asked.since),
        ):
            if value is not None:
                where.append(condition)
                values.append(value)
        query = f"SELECT {COLUMNS} FROM dead_letter WHERE {' AND '.join(where)} ORDER BY number DESC LIMIT ?"  # noqa: S608
        return [Letter(*row) for row in self._db.execute(query, (*values, limit))]

    def one(self, number: int) -> Letter | None:
        """Return a letter, None if there is none of this number."""
        row = self._db.execute(f"SELECT {COLUMNS} FROM dead_letter WHERE number = ?", (number,)).fetchone()  # noqa: S608
        return Letter(*row) if row else None

    def remove(self, letter: Letter) -> None:
        """Forget a letter."""
        self._db.execute("DELETE FROM dead_letter WHERE number = ?", (letter.number,))
        self.count -= 1
        self.bytes -= len(letter.payload)

    def renew(self, number: int, reason: str) -> None:
        """Give a letter another reason."""
        self._db.execute("UPDATE dead_letter SET reason = ? WHERE number = ?", (reason, number))

    def _throw_away_oldest(self) -> None:
        oldest = self._db.execute(f"SELECT {COLUMNS} FROM dead_letter ORDER BY number LIMIT 1").fetchone()  # noqa: S608
        self.remove(Letter(*oldest))
        self.thrown_away += 1
        self._db.execute("INSERT OR REPLACE INTO meta VALUES ('letters_thrown_away', ?)", (self.thrown_away,))
