"""What workflows of the cloud want to hear of the site's topics: kept on the disk, and sent up as it comes. (W4)"""

import json
import sqlite3
from collections.abc import Callable

from fieldloom_engine.rules import Event as Judged
from fieldloom_engine.workflows.topics import matching
from fieldloom_runtime import down, site_messages
from fieldloom_runtime.records import Event, Record

KEY = "cloud_topics"


class Listening:
    """On the gateway's database; all that changes something belongs into a transaction of its caller.

    `tell` sends a record up.
    """

    def __init__(self, connection: sqlite3.Connection, gateway: str, tell: Callable[[Record], None]) -> None:
        self._db = connection
        self._gateway = gateway
        self._tell = tell
        self._filters: list[Callable[[str], bool]] = []

    def refresh(self) -> None:
        """Go on with what is on the disk."""
        self._filters = [matching(one) for one in self._kept() or ()]

    @property
    def wants_messages(self) -> bool:
        """Whether the cloud wants to hear anything."""
        return bool(self._filters)

    def is_for(self, topic: str) -> bool:
        """Whether the cloud wants to hear of a topic."""
        return any(matches(topic) for matches in self._filters)

    def introduce(self, now: int) -> None:
        """Have the cloud say it again, once, where it may have said it to an older gateway, which did not know it."""
        if self._kept() is not None:
            return
        self._keep([])
        if self._db.execute("SELECT 1 FROM downstream").fetchone() is not None:
            self._say(None, now)

    def take_down(self, told: down.Topics, now: int) -> None:
        """Take what the cloud wants to hear from now on, and answer."""
        self._keep(told.filters)
        self._say(told.filters, now)

    def send_up(self, event: Judged) -> None:
        """Send a message up. Raises Rejected for one that no cloud would keep."""
        self._tell(site_messages.record_of(event, self._gateway))

    def _kept(self) -> list[str] | None:
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (KEY,)).fetchone()
        return None if row is None else list(json.loads(row[0]))

    def _keep(self, filters: list[str]) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (KEY, json.dumps(filters)))

    def _say(self, filters: list[str] | None, now: int) -> None:
        self._tell(Event(self._gateway, now, now, type=site_messages.LISTENING, data={"topics": filters}))
