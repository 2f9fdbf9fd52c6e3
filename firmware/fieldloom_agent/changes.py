"""The configuration, /config.json, and what has changed since: by commands, /settings.json, by the twin, /twin.json.

The twin's counts over the commands'. It is the desired half that was taken, {"version", "values"}. Both files are
replaced whole. Apart from `settings`, since a command that changes one has little memory beside it.
"""

import json
import os

CHANGES = "/settings.json"
TWIN = "/twin.json"
MAX_INTERVAL_MS = 86400000


def configuration():
    """Return the configuration as it was flashed. Raises OSError."""
    with open("/config.json", "rb") as file:
        return file.read()


def change(name, value, **others):
    """Keep a changed setting over the next start, and others in the same write.

    Return whether the twin wants another value, over which it counts too.
    """
    changed = read(CHANGES)
    changed[name] = value
    changed.update(others)
    _keep(CHANGES, changed)
    taken = twin()
    if name not in taken["values"]:
        return False
    taken["values"][name] = value
    keep_twin(taken)
    return True


def twin():
    """Return the desired half that was taken."""
    return read(TWIN) or {"version": 0, "values": {}}


def keep_twin(desired):
    """Keep a desired half over the next start. Raises OSError; then the one before it stays."""
    _keep(TWIN, desired)


def _keep(path, content):
    # First whole beside it: neither a power cut nor a lack of memory or room may leave half a file.
    with open(path + ".new", "w") as file:
        json.dump(content, file)
    os.rename(path + ".new", path)


def prefer(settings, gateway):
    """Put a gateway first and say whether it is known."""
    for entry in settings.gateways:
        if entry["id"] == gateway:
            settings.gateways.remove(entry)
            settings.gateways.insert(0, entry)
            return True
    return False


def read(path):
    """Return what a file of these holds, {} without one that can be read."""
    try:
        with open(path) as file:
            return json.load(file)
    except (OSError, ValueError, MemoryError):  # what has no room must not keep a board from starting
        return {}
