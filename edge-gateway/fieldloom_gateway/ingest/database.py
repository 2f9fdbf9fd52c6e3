"""The gateway's SQLite file: opened durable, of a version that this code knows, with its stream's id drawn once."""

import os
import sqlite3
from importlib.resources import files
from pathlib import Path

from fieldloom_contract.batch import STREAM_BYTES
from fieldloom_runtime.errors import StartFailed

VERSION = 4
FILE = "gateway.db"


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
        for older in range(version or VERSION, VERSION):
            connection.executescript(_sql(f"from_{older}_to_{older + 1}.sql"))
        connection.executescript(_sql("schema.sql"))
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("INSERT OR IGNORE INTO meta VALUES ('stream', ?)", (os.urandom(STREAM_BYTES),))
        connection.execute("INSERT OR IGNORE INTO meta VALUES ('numbered', 0)")
    except sqlite3.Error as error:
        raise StartFailed(
            f"{path} can't be used ({error})", "restore it from a copy, or move it away to start anew"
        ) from error
    path.chmod(0o600)
    return connection


def _sql(name: str) -> str:
    return files("fieldloom_gateway.ingest").joinpath(name).read_text()
