"""Why a process does not start.

StartFailed    one line that says what is wrong and what to do about it
unusable       that of a SQLite file
"""

import sqlite3
from pathlib import Path

_NO_ROOM = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)


class StartFailed(Exception):  # noqa: N818 - it reads as what happened
    """A process or one of its parts could not start; `what` is wrong, `way_out` says what to do. (V3)"""

    def __init__(self, what: str, way_out: str) -> None:
        super().__init__(f"{what}: {way_out}")
        self.what = what
        self.way_out = way_out


def unusable(path: Path, error: Exception, way_out: str) -> StartFailed:
    """Say that a SQLite file can't be opened. On a disk without room nothing is wrong with it, and it is kept."""
    if getattr(error, "sqlite_errorcode", None) in _NO_ROOM:
        way_out = "make room on its disk, and start again"
    return StartFailed(f"{path} can't be used ({error})", way_out)
