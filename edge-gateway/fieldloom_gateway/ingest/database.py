"""The gateway's SQLite file: opened durable, of a version that this code knows, with its streams' ids drawn once."""

import os
import sqlite3
from importlib.resources import files
from pathlib import Path

from fieldloom_contract.batch import LANE_BYTES, STREAM_BYTES, sibling
from fieldloom_gateway.ingest.express import AFTER
from fieldloom_gateway.ingest.segments import EXPRESS, LIVE
from fieldloom_runtime.errors import StartFailed, unusable

VERSION = 11
FILE = "gateway.db"
CACHE_KIB = 8 * 1024  # what a large group touches; SQLite's own 2 MiB would have pages written twice and read again


def open_database(data: Path) -> sqlite3.Connection:
    """Open or create the database. A commit that returned survives a power cut. Raises StartFailed."""
    path = data / FILE
    try:
        connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            connection.close()
            raise StartFailed(
                f"{path} has version {version}, this gateway knows {VERSION}",
                "install the newer fieldloom-gateway again",
            )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        for older in range(version or VERSION, VERSION):
            connection.executescript(_sql(f"from_{older}_to_{older + 1}.sql"))
        connection.executescript(_sql("schema.sql"))
        connection.execute(f"PRAGMA user_version = {VERSION}")
        _begin_streams(connection)
    except sqlite3.Error as error:
        raise unusable(path, error, "restore it from a copy, or move it away to start anew") from error
    path.chmod(0o600)
    return connection


def _begin_streams(connection: sqlite3.Connection) -> None:
    """Draw the ids of the live and of the express stream, once."""
    add = "INSERT OR IGNORE INTO meta VALUES (?, ?)"
    connection.execute(add, ("stream", os.urandom(STREAM_BYTES)))
    stream = connection.execute("SELECT value FROM meta WHERE key = 'stream'").fetchone()[0]
    connection.execute(add, ("express_stream", sibling(stream, os.urandom(LANE_BYTES))))
    connection.executemany(add, ((LIVE, 0), (EXPRESS, AFTER)))


def _sql(name: str) -> str:
    return files("fieldloom_gateway.ingest").joinpath(name).read_text()
