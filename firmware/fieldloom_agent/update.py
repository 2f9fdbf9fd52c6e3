"""Updates over the air, from the command to its result, over resets: what `slots` keeps is gone on with. (F5, F3)

`board` is the agent.
"""

import asyncio

from fieldloom_agent import SLOT, journal, overlay, slots
from fieldloom_contract import release
from fieldloom_contract.errors import Rejected
from fieldloom_contract.topics import EVENT


def begin(board, wanted):
    """Begin to bring a release to the other slot; return a result if there is nothing to do. Raises Rejected."""
    state = _idle()
    mine = board.settings.board
    target, _ = release.parse_id(wanted)
    if mine is None:
        raise Rejected("release", "can't be checked: this board was not told what it is (device flash --board)")
    if target != mine:
        raise Rejected("release", "is for " + target + ", and this board is " + mine)
    overlay.call("trust", "root")
    if wanted == running(board):
        return {"release": wanted, "unchanged": True}
    state.pop("spare", None)
    state["get"], state["command"] = wanted, _command("update")
    slots.store(state)
    _download(board, state)
    return None


def roll_back(board):
    """Put the release in the other slot on trial. Raises Rejected."""
    state = _idle()
    if "spare" not in state:
        raise Rejected("slot", "the other slot holds no release that has run here")
    overlay.call("trust", "check_floor", release.parse_id(state["spare"])[1])
    if not overlay.call("content", "is_whole", "/" + slots.other(state["run"])):
        raise Rejected("slot", "the release in the other slot is damaged")
    state["command"], state["back"] = _command("rollback"), True
    put_on_trial(board, state, state.pop("spare"))


def put_on_trial(board, state, wanted):
    """Start the release in the other slot, which boot.py lets have one start."""
    state.pop("get", None)
    state["try"], state["from"] = wanted, running(board)
    slots.store(state)
    board.restart()


def resume(board):
    """Go on with what a reset came between, at the start; return whether a command still waits for its end."""
    state = slots.load()
    if "failed" in state or "done" in state:
        conclude(board, state)
    elif "tried" in state:
        overlay.call("trial", "begin", board, state)
        return True
    elif "try" in state:  # boot.py could not write, so it started the slot that works
        fail(board, state, "the flash does not take the state of the slots")
    elif "get" in state:
        _download(board, state)
        return True
    return False


def fail(board, state, reason):
    """End an update that did not come to its trial, or did not pass it, with this slot running."""
    state["failed"] = reason
    slots.store(state)
    conclude(board, state)


def conclude(board, state):
    """Tell how an update ended, have it on flash, then forget it."""
    reason = state.get("failed")
    if reason is None:
        told = {"release": state["done"], "from": state["from"]}
        kind = "update.rolled_back" if "back" in state else "update.installed"
    else:
        told = {"release": state.get("try") or state["get"], "reason": reason}
        kind = "update.rolled_back" if "tried" in state else "update.failed"
    board.record(EVENT, {"type": kind, "data": told})
    _end(board, state.get("command"), {"release": running(board)} if reason is None else None, reason)
    board.buffer.flush()
    slots.store(slots.settled(state))


def running(board):
    """Return the id of the release that runs, as far as the board knows what it is."""
    return (board.settings.board or "unknown") + "-" + board.settings.release["version"]


def _end(board, command, result, error):
    status = "succeeded" if error is None else "failed"
    entry, _ = journal.find(command)
    if entry is None:  # so many commands came meanwhile that it is not remembered
        board.report(command, status, result, error)
    elif entry["status"] is None:
        journal.end(board, entry, status, result, error)


def _command(kind):
    """Return the id of the command that has begun."""
    begun = [entry for entry in journal.entries() if entry["status"] is None and entry["type"] == kind]
    return max(begun, key=lambda entry: entry["number"])["id"]


def _download(board, state):
    from fieldloom_agent.download import Download

    board.update = Download(board, state["get"], SLOT, "/" + slots.other(state["run"]))
    asyncio.create_task(board.update.run())


def _idle():
    """Return the state. Raises Rejected while an update is under way."""
    state = slots.load()
    under_way = state.get("get") or state.get("try")
    if under_way:
        raise Rejected("release", "the update to " + under_way + " is still under way")
    return state
