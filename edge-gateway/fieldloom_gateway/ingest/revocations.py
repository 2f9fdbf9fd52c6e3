"""The list of revoked certificates as it came down, and who is still to be shown out for it. (P3)"""

import sqlite3
from typing import NamedTuple

from fieldloom_runtime.down import Revoked


class Expelled(NamedTuple):
    """An identity to cut off because of a list, and with `hold` to keep out."""

    identity: str
    number: int
    hold: bool


class Due(NamedTuple):
    """The newest list, DER, None before the first one came; and who has not been shown out yet."""

    crl: bytes | None
    expelled: list[Expelled]


class Revocations:
    """On the gateway's database; `take` belongs into a transaction of its caller."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    def take(self, part: Revoked) -> None:
        """Keep a part of a list; the last one puts the list into the old one's place. An older list is ignored."""
        if part.number <= self._number():
            return
        self._db.execute("INSERT OR REPLACE INTO crl_part VALUES (?, ?, ?)", (part.number, part.part, part.der))
        for identities, hold in ((part.cut, False), (part.hold, True)):
            rows = [(identity, part.number, hold) for identity in identities]
            self._db.executemany("INSERT OR REPLACE INTO expelled VALUES (?, ?, ?)", rows)
        query = "SELECT body FROM crl_part WHERE number = ? ORDER BY part"
        bodies = [row[0] for row in self._db.execute(query, (part.number,))]
        if len(bodies) == part.parts:
            self._db.execute("INSERT OR REPLACE INTO meta VALUES ('crl', ?)", (b"".join(bodies),))
            self._db.execute("INSERT OR REPLACE INTO meta VALUES ('crl_number', ?)", (part.number,))
            self._db.execute("DELETE FROM crl_part WHERE number <= ?", (part.number,))

    def due(self) -> Due:
        """Return what the broker has to keep to, and whom not to."""
        row = self._db.execute("SELECT value FROM meta WHERE key = 'crl'").fetchone()
        query = "SELECT identity, number, hold FROM expelled WHERE number <= ? ORDER BY identity"
        rows = self._db.execute(query, (self._number(),)).fetchall()
        return Due(row[0] if row else None, [Expelled(who, number, bool(hold)) for who, number, hold in rows])

    def done(self, one: Expelled) -> None:
        """Take note that an identity has been shown out; if it was revoked again meanwhile, that stays."""
        self._db.execute("DELETE FROM expelled WHERE identity = ? AND number = ?", (one.identity, one.number))

    def _number(self) -> int:
        row = self._db.execute("SELECT value FROM meta WHERE key = 'crl_number'").fetchone()
        return row[0] if row else 0
