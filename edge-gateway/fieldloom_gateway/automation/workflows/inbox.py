"""What happens to instances, kept with what caused it until a step has taken it. (W4, W6)

A step is committed elsewhere, in the map that the gateways of a site share. So a happening stays here until that is
done, and may be taken twice: its ids make a second time harmless.
"""

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from fieldloom_engine.rules import Event
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


Told = Begins | Came | Outcome | Ends | Signals | Again

_encode = msgspec.json.Encoder().encode
_decode: Callable[[bytes], Told] = msgspec.json.Decoder(Told).decode


class Row(NamedTuple):
    """A happening in the inbox."""

    number: int
    told: Told


class Inbox:
    """On the gateway's database; all that changes something belongs into a transaction of its caller."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self.has_more = False
        """Whether something was put since it was set to False."""

    def put(self, told: Told) -> int:
        """Keep a happening, and return its number."""
        self.has_more = True
        return int(self._db.execute("INSERT INTO workflow_inbox (body) VALUES (?)", (_encode(told),)).lastrowid or 0)

    def oldest(self, limit: int) -> list[Row]:
        """Return what waits, the oldest first."""
        rows = self._db.execute("SELECT number, body FROM workflow_inbox ORDER BY number LIMIT ?", (limit,))
        return [Row(number, _decode(body)) for number, body in rows]

    def done(self, numbers: Sequence[int]) -> None:
        """Forget what steps have taken."""
        self._db.executemany("DELETE FROM workflow_inbox WHERE number = ?", [(one,) for one in numbers])
