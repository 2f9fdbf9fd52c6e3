"""Which commands this board has begun and ended, kept on flash: the memory behind "executed once". (F3)

A file a command, in a ring of 64. The id stands there before the effect begins; the newest 64 ids are kept. An entry is
{"number", "id", "type", "status", "result", "error"}; without a status it has begun only.
"""

import json
import os

from fieldloom_contract.limits import COMMAND_IDS

FOLDER = "/commands"


def entries():
    """Yield all entries."""
    try:
        names = os.listdir(FOLDER)
    except OSError:
        os.mkdir(FOLDER)
        return
    for name in names:
        try:
            with open(FOLDER + "/" + name) as file:
                yield json.load(file)
        except (OSError, ValueError):
            pass


def find(command_id):
    """Return (the entry of an id or None, the number of the next entry)."""
    found, following = None, 0
    for entry in entries():
        following = max(following, entry["number"] + 1)
        if entry["id"] == command_id:
            found = entry
    return found, following


def write(entry):
    """Keep an entry, in the place of the one that is 64 older."""
    with open(FOLDER + "/" + str(entry["number"] % COMMAND_IDS), "w") as file:
        json.dump(entry, file)


def end(board, entry, status, result, error):
    """Keep how a command ended, and report it."""
    entry["status"], entry["result"], entry["error"] = status, result, error
    write(entry)
    board.report(entry["id"], status, result, error)
