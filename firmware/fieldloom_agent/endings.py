"""How commands end that take their time, or that a reset has interrupted. (F3)"""

from fieldloom_agent import journal, overlay


def finish(board, kind, status, result, error):
    """Keep how commands of a type ended that take their time, and report it."""
    for entry in _begun():
        if entry["type"] == kind:
            journal.end(board, entry, status, result, error)


def begun(kind):
    """Return the ids of the commands of a type that have begun and not ended."""
    return [entry["id"] for entry in _begun() if entry["type"] == kind]


def resume(board, updates):
    """Answer what a reset has interrupted: a reboot succeeded by it; an update may go on (`updates`), a renewal too."""
    for entry in _begun():
        if entry["type"] == "reboot" or entry["id"] in overlay.call("networks", "set_by"):
            journal.end(board, entry, "succeeded", None, None)
        elif not _goes_on(entry["type"], updates):
            journal.end(board, entry, "failed", None, "interrupted")


def _goes_on(kind, updates):
    if kind in ("update", "rollback"):
        return updates
    return kind == "renew" and overlay.call("renewal", "is_going_on")


def _begun():
    return [entry for entry in journal.entries() if entry["status"] is None]
