"""Commands: checked, executed once, answered; a repeated id is answered with what happened. (F3)

`board` is the agent: its `report(id, status, result, error)` puts a result into the stream, its `clock` tells the time.
"""

from fieldloom_agent import actions, journal
from fieldloom_contract.errors import Rejected


def take(board, command):
    """Execute a command, {"id", "type", "parameters", "expires"}, unless its id is known."""
    entry, following = journal.find(command["id"])
    now = board.clock.now()
    if entry:
        if entry["status"]:
            board.report(entry["id"], entry["status"], entry["result"], entry["error"])
    elif now is not None and command["expires"] <= now:
        board.report(command["id"], "expired", None, None)
    elif command["type"] not in actions.TABLE:
        board.report(command["id"], "rejected", None, "type: " + command["type"] + " is not known to this board")
    else:
        entry = {"number": following, "id": command["id"], "type": command["type"], "status": None}
        journal.write(entry)
        board.report(command["id"], "accepted", None, None)
        _execute(board, entry, command["parameters"])


def _execute(board, entry, parameters):
    try:
        result = actions.TABLE[entry["type"]](board, parameters)
    except Rejected as error:
        journal.end(board, entry, "rejected", None, str(error))
    except Exception as error:  # a driver's fault is the command's result, not the board's end
        journal.end(board, entry, "failed", None, repr(error))
    else:
        if result != actions.PENDING:
            journal.end(board, entry, "succeeded", result, None)
