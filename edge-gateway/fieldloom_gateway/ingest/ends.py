"""Commands that have ended, until they expire: for the other gateways of the site, and against late copies. (D7)"""

import sqlite3

import msgspec

from fieldloom_contract.errors import Rejected
from fieldloom_gateway.cluster.told import Ended
from fieldloom_runtime.records import Result

LATE_MS = 60_000
"""The clocks of a site's gateways may differ by so much."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Result).decode


def end_of(result: Result, expires: int) -> Ended:
    """Return the end of a command by its device's final word."""
    return Ended(result.id, result.device, expires, _encode(result))


def word_of(end: Ended) -> Result | None:
    """Return the word that has ended a command, None where it was withdrawn. Raises Rejected."""
    if end.word is None:
        return None
    try:
        result = _decode(end.word)
    except msgspec.MsgspecError as error:
        raise Rejected("ended", f"{end.id}: {error}") from None
    if (result.id, result.device) != (end.id, end.device):
        raise Rejected("ended", f"{end.id} is not the command of its word")
    return result


class Ends:
    """On the gateway's database; all that changes something belongs into a transaction of its caller."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._are_some = True
        """Whether there may be any: each command of a rule asks for its word."""

    def keep(self, end: Ended, *, own: bool) -> None:
        """Keep an end; those that were heard of here, and not from another gateway, are this one's own."""
        self._are_some = True
        row = (end.id, end.device, end.expires, end.word, own)
        self._db.execute("INSERT OR IGNORE INTO command_ended VALUES (?, ?, ?, ?, ?)", row)

    def word(self, command_id: str, device: str) -> Result | None:
        """Return the device's word with which a command has ended, None where none is known."""
        if not self._are_some:
            return None
        query = "SELECT body FROM command_ended WHERE id = ? AND device = ? AND body IS NOT NULL"
        row = self._db.execute(query, (command_id, device)).fetchone()
        return None if row is None else _decode(row[0])

    def own(self) -> list[Ended]:
        """Return those of which the others are to be told."""
        rows = self._db.execute("SELECT id, device, expires, body FROM command_ended WHERE own ORDER BY expires, id")
        return [Ended(*row) for row in rows]

    def forget(self, now: int) -> None:
        """Forget those whose time is over: nobody has a copy of them any more."""
        self._db.execute("DELETE FROM command_ended WHERE expires <= ?", (now - LATE_MS,))

    def has_old(self, now: int) -> bool:
        """Whether there is something to forget; to be asked while no transaction is open."""
        (first,) = self._db.execute("SELECT min(expires) FROM command_ended").fetchone()
        self._are_some = first is not None
        return first is not None and first <= now - LATE_MS
