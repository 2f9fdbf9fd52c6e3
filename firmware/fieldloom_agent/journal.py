"""Which commands this board has begun and ended, kept on flash: the memory behind "executed once". (F3)

A file a command, in a ring of 64. The id stands there before the effect begins; the newest 64 ids are kept.
"""

import json
import os
from binascii import crc32

from fieldloom_contract.limits import COMMAND_IDS

FOLDER = "/commands"


class Journal:
    """Entries are {"number", "id", "type", "status", "result", "error"}; without a status one has begun only.

    Heap: 64 checksums; an entry is read when its id is asked for.
    """

    def __init__(self):
        self._marks = [0] * COMMAND_IDS
        self._next = 0
        self.interrupted = []
        try:
            os.mkdir(FOLDER)
        except OSError:
            pass
        for place in range(COMMAND_IDS):
            entry = _read(place)
            if entry:
                self._marks[place] = _mark(entry["id"])
                self._next = max(self._next, entry["number"] + 1)
                if entry["status"] is None:
                    self.interrupted.append(entry)

    def find(self, command_id):
        """Return the entry of an id, None for one that is not known."""
        mark = _mark(command_id)
        for place in range(COMMAND_IDS):
            if self._marks[place] == mark:
                entry = _read(place)
                if entry and entry["id"] == command_id:
                    return entry
        return None

    def begin(self, command):
        """Remember that a command's effect is about to begin, and return its entry."""
        entry = {"number": self._next, "id": command["id"], "type": command["type"], "status": None}
        self._next += 1
        self._marks[entry["number"] % COMMAND_IDS] = _mark(command["id"])
        _write(entry)
        return entry

    def end(self, entry, status, result, error):
        """Remember how it ended."""
        entry["status"], entry["result"], entry["error"] = status, result, error
        _write(entry)


def _mark(command_id):
    return crc32(command_id.encode()) & 0xFFFFFFFF


def _path(place):
    return FOLDER + "/" + str(place)


def _read(place):
    try:
        with open(_path(place)) as file:
            return json.load(file)
    except (OSError, ValueError):
        return None


def _write(entry):
    with open(_path(entry["number"] % COMMAND_IDS), "w") as file:
        json.dump(entry, file)
