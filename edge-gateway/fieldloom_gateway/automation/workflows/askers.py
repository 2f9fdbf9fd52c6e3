"""Which instance has asked for an effect, so that it is told what came of it. (W6)"""

import sqlite3
from typing import NamedTuple


class Asker(NamedTuple):
    """The instance that has asked for an effect, and its partition; None where an older gateway has not told."""

    instance: str
    partition: int | None


class Askers:
    """On the gateway's database; all that changes something belongs into a transaction of its caller."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    def keep(self, effect: str, instance: str, partition: int) -> None:
        """Keep who has asked for an effect."""
        query = "INSERT INTO workflow_effect (id, instance, partition) VALUES (?, ?, ?)"
        self._db.execute(query, (effect, instance, partition))

    def of(self, effect: str) -> Asker | None:
        """Return who has asked for an effect, None where no instance has."""
        query = "SELECT instance, partition FROM workflow_effect WHERE id = ?"
        row = self._db.execute(query, (effect,)).fetchone()
        return None if row is None else Asker(*row)

    def forget(self) -> None:
        """Forget who asked for what is not kept any more."""
        self._db.execute("DELETE FROM workflow_effect WHERE id NOT IN (SELECT id FROM effect)")
