"""Which commands wait for each device, in memory: an index on the disk is a page more for each device of a commit."""

import json
import sqlite3


class Queues:
    """Of the table `command`, which its owner writes and tells of; read from it at first, and after `forget`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._of: dict[str, set[str]] | None = None

    def add(self, device: str, command_id: str) -> None:
        """Take note of a command that waits now."""
        self._read().setdefault(device, set()).add(command_id)

    def drop(self, device: str, command_id: str) -> None:
        """Take note of one that waits no more."""
        queues = self._read()
        queue = queues.get(device, set())
        queue.discard(command_id)
        if not queue:
            queues.pop(device, None)

    def rows(self, device: str) -> list[tuple[str, bytes]]:
        """Return id and payload of the commands that wait for a device, in the order in which they expire."""
        ids = self._read().get(device)
        if not ids:
            return []
        query = """
            SELECT id, payload FROM command WHERE id IN (SELECT value FROM json_each(?)) AND device = ?
            ORDER BY expires, id"""
        return self._db.execute(query, (json.dumps(list(ids)), device)).fetchall()

    def forget(self) -> None:
        """Undo what memory took of a transaction that was rolled back."""
        self._of = None

    def _read(self) -> dict[str, set[str]]:
        if self._of is None:
            self._of = {}
            for device, command_id in self._db.execute("SELECT device, id FROM command"):
                self._of.setdefault(device, set()).add(command_id)
        return self._of
