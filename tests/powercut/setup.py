"""What a power cut leaves of `fieldloom cloud init`: all of it once it has returned, else a folder to begin in."""

import sqlite3
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from fieldloom_cloud.pki.authority import Authority
from fieldloom_runtime.errors import StartFailed
from powercut.disk import State
from powercut.setup_run import init, written


def violations(folder: Path, state: State) -> list[str]:
    """Return what is wrong with a folder; nothing, if what was said to be prepared is."""
    if state.said and written(folder) != int(state.said[0].words[1]):
        return ["prepared, and not what it was"]
    try:
        init(folder)
        Authority(folder / "pki")
    except (StartFailed, SQLAlchemyError, sqlite3.Error, ValueError) as error:
        return [f"can't be prepared again: {error}"]
    return []
