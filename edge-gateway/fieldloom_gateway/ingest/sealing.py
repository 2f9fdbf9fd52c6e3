"""When the link comes back, what has waited becomes a lane of its own: now is not stuck behind last night. (ADR 32)"""

import sqlite3

from fieldloom_contract import batch
from fieldloom_gateway.ingest.express import AFTER

LANES = 8
"""How many sealed ones may wait; with so many, what comes goes on in the newest stream."""


def seal(connection: sqlite3.Connection, least: int, drawn: bytes) -> bool:
    """Seal the stream that is written to, if so many bytes of it wait at least, and begin another one.

    `drawn` names it, LANE_BYTES random ones. Say whether it was done. Belongs into a transaction without records.
    """
    lanes, sealed = connection.execute("SELECT count(*), coalesce(max(last), 0) FROM lane").fetchone()
    query = "SELECT coalesce(sum(length(body)), 0) FROM outbox WHERE last > ? AND last <= ?"
    waiting = connection.execute(query, (sealed, AFTER)).fetchone()[0]
    if lanes >= LANES or waiting < max(least, 1) or _is_amid_report(connection):
        return False
    stream, numbered = (
        connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()[0]
        for key in ("stream", "numbered")
    )
    connection.execute("INSERT INTO lane VALUES (?, ?)", (numbered, stream))
    connection.execute("UPDATE meta SET value = ? WHERE key = 'stream'", (batch.sibling(stream, drawn),))
    return True


def _is_amid_report(connection: sqlite3.Connection) -> bool:
    """Whether a device has told a part of its twin only: its parts count in their order."""
    query = "SELECT 1 FROM twin_reported JOIN device USING (device) WHERE online AND json_extract(body, '$[3]') LIMIT 1"
    return connection.execute(query).fetchone() is not None
