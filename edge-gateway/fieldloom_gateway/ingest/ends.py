"""Commands that have ended, until they expire: for the other gateways of the site, and against late copies. (D7)"""

import sqlite3

import msgspec

from fieldloom_gateway.cluster.told import Ended
from fieldloom_runtime.records import Result

LATE_MS = 60_000
"""The clocks of a site's gateways may differ by so much."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Result).decode


class Ends:
    """On the gateway's database; all that changes something belongs into a transaction of its caller."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    def keep(self, end: Ended, *, own: bool) -> None:
        """Keep an end; those that were heard of here, and not from another gateway, are this one's own."""
        body = None if end.result is None else _encode(end.result)
        row = (end.id, end.device, end.expires, body, own)
        self._db.execute("INSERT OR IGNORE INTO command_ended VALUES (?, ?, ?, ?, ?)", row)

    def own(self) -> list[Ended]:
        """Return those of which the others are to be told."""
        rows = self._db.execute("SELECT id, device, expires, body FROM command_ended WHERE own ORDER BY expires, id")
        return [Ended(name, device, expires, body and _decode(body)) for name, device, expires, body in rows]

    def forget(self, now: int) -> None:
        """Forget those whose time is over: nobody has a copy of them any more."""
        self._db.execute("DELETE FROM command_ended WHERE expires <= ?", (now - LATE_MS,))

    def has_old(self, now: int) -> bool:
        """Whether there is something to forget."""
        query = "SELECT 1 FROM command_ended WHERE expires <= ? LIMIT 1"
        return self._db.execute(query, (now - LATE_MS,)).fetchone() is not None
