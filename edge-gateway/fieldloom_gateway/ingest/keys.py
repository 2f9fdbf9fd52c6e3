"""Messages that bear a mark of their sender: one that comes again is known by it, and is answered as before. (T5)"""

import json
import sqlite3

from fieldloom_gateway.adapters.base import Fault, Outcome, Verdict

KEPT_MS = 24 * 3600 * 1000


class Keys:
    """On the gateway's database; `keep` belongs into the transaction of the message."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    def outcome(self, owner: str, key: str) -> Outcome | None:
        """Return what became of a message before, None for a new one; the owner is a device or a slot."""
        query = "SELECT faults FROM taken_once WHERE device = ? AND key = ?"
        row = self._db.execute(query, (owner, key)).fetchone()
        if row is None:
            return None
        faults = tuple(Fault(*fault) for fault in json.loads(row[0]))
        return Outcome(Verdict.REFUSED if faults else Verdict.TAKEN, faults)

    def clear(self, owner: str) -> None:
        """Forget what is known of a slot."""
        self._db.execute("DELETE FROM taken_once WHERE device = ?", (owner,))

    def keep(self, owner: str, key: str, outcome: Outcome, now: int) -> None:
        """Take note of what became of a message; what is a day old is forgotten."""
        row = (owner, key, json.dumps(outcome.faults), now)
        self._db.execute("INSERT OR REPLACE INTO taken_once VALUES (?, ?, ?, ?)", row)
        self._db.execute("DELETE FROM taken_once WHERE at < ?", (now - KEPT_MS,))
