"""The two slots, /a and /b, each a folder with a release: which one runs, and what is under way. (F5)

It stands in one file, which LittleFS replaces whole at its close; boot.py reads it at every start. Its fields:

| field | says |
|---|---|
| `run` | "a" or "b": the slot that is known to work |
| `spare` | the release that the other slot holds, whole and tried; without it there is none to go back to |
| `get` | the release that is being brought to the other slot |
| `try` | the release in the other slot that is on trial; `tried` since boot.py gave it its one start |
| `done`, `from` | the release that passed its trial, and the one before; not yet told in the stream |
| `failed` | why the release on trial did not pass; not yet told |
| `back` | that it is a `rollback` that is under way, not an `update` |
| `command` | the id of the command that all this is for |
"""

import json

FILE = "/slots.json"
FIRST = "a"


def load():
    """Return the state; a board that was only ever flashed has no file."""
    try:
        with open(FILE) as file:
            return json.load(file)
    except (OSError, ValueError):
        return {"run": FIRST}


def store(state):
    """Replace the state."""
    with open(FILE, "w") as file:
        json.dump(state, file)


def settled(state):
    """Return a state with nothing under way."""
    return {field: state[field] for field in ("run", "spare") if field in state}


def is_busy():
    """Whether something is under way, or is still to be told."""
    state = load()
    return state != settled(state)


def other(slot):
    """Return the name of the other slot."""
    return "b" if slot == "a" else "a"


def running(board):
    """Return the id of the release that runs, as far as the board knows what it is."""
    return (board.settings.board or "unknown") + "-" + board.settings.release["version"]
