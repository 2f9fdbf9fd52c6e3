"""What happens to instances, kept with what caused it until a step has taken it. (W4, W6)

A step is committed elsewhere, in the map that the gateways of a site share. So a happening stays here until that is
done, and may be taken twice: its ids make a second time harmless.
"""

import sqlite3
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from fieldloom_engine.rules import Event
from fieldloom_engine.workflows import Record
from fieldloom_engine.workflows.model import Overlap


class Begins(Struct, tag="begins", kw_only=True):
    """An instance shall begin."""

    id: str
    workflow: str
    version: str
    variables: dict[str, Any]
    correlation: str | None
    overlap: Overlap
    parent: str | None = None
    """The instance that waits for its end."""
    request: str = ""
    """By which the cloud is answered, in what follows too; nobody is where it is empty."""


class Came(Struct, tag="came"):
    """An event that some instance awaits."""

    event: Event


class Outcome(Struct, tag="outcome"):
    """What became of an effect."""

    instance: str
    effect: str
    succeeded: bool
    result: Any = None
    error: str | None = None


class Ends(Struct, tag="ends"):
    """Somebody terminates an instance."""

    instance: str
    reason: str
    undo: bool = True
    request: str = ""


class Signals(Struct, tag="signals"):
    """An event for one instance."""

    instance: str
    event: Event
    request: str = ""


class Again(Struct, tag="again"):
    """An instance that is over shall begin again at a state."""

    instance: str
    state: str
    variables: dict[str, Any] = {}
    request: str = ""


class Moves(Struct, tag="moves"):
    """An instance, or a start that waits, comes as it stands from where it was kept until now."""

    instance: msgspec.Raw
    history: list[Record] = []
    """Those of its records that nobody else may have yet."""
    number: int = 0
    """Of a start that waits, as `overlap`: the lower one goes first."""
    overlap: Overlap | None = None


Told = Begins | Came | Outcome | Ends | Signals | Again | Moves

encode = msgspec.json.Encoder().encode
_decode: Callable[[bytes], Told] = msgspec.json.Decoder(Told).decode


class Row(NamedTuple):
    """A happening that waits, for an instance of a partition."""

    number: int
    partition: int
    told: Told


class Inbox:
    """On the gateway's database; all that changes something belongs into a transaction of its caller."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self.has_more = False
        """Whether something was put since it was set to False."""

    def put(self, told: Told, partition: int) -> int:
        """Keep a happening for who owns a partition, and return its number."""
        self.has_more = True
        query = "INSERT INTO workflow_inbox (partition, body) VALUES (?, ?)"
        return int(self._db.execute(query, (partition, encode(told))).lastrowid or 0)

    def oldest(self, limit: int, partitions: Collection[int]) -> list[Row]:
        """Return what waits for some partitions, the oldest first."""
        marks = ", ".join("?" * len(partitions))
        query = (
            f"SELECT number, partition, body FROM workflow_inbox WHERE partition IN ({marks}) ORDER BY number LIMIT ?"  # noqa: S608
        )
        rows = self._db.execute(query, (*partitions, limit))
        return [Row(number, partition, _decode(body)) for number, partition, body in rows]

    def unplaced(self) -> list[tuple[int, Told]]:
        """Return what an older gateway has left, which knew no partitions, the oldest first."""
        query = "SELECT number, body FROM workflow_inbox WHERE partition IS NULL ORDER BY number"
        return [(number, _decode(body)) for number, body in self._db.execute(query).fetchall()]

    def waiting(self) -> int:
        """Return how much waits."""
        return int(self._db.execute("SELECT count(*) FROM workflow_inbox").fetchone()[0])

    def done(self, numbers: Sequence[int]) -> None:
        """Forget what steps have taken."""
        self._db.executemany("DELETE FROM workflow_inbox WHERE number = ?", [(one,) for one in numbers])
