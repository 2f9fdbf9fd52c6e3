"""The course of an update over resets, as `slots` keeps it: gone on with, put on trial, ended and told. (F5, F3)

`board` is the agent.
"""

import asyncio

from fieldloom_agent import SLOT, journal, overlay, slots
from fieldloom_contract.board_topics import EVENT


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
        download(board, state)
        return True
    return False


def download(board, state):
    """Begin, or go on, to bring a release to the other slot."""
    stages = overlay.call("stages", "run", board, state["get"], SLOT, "/" + slots.other(state["run"]))
    asyncio.create_task(stages)


def put_on_trial(board, state, wanted):
    """Start the release in the other slot, which boot.py lets have one start."""
    state.pop("get", None)
    state["try"], state["from"] = wanted, slots.running(board)
    slots.store(state)
    board.restart()


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
    _end(board, state.get("command"), {"release": slots.running(board)} if reason is None else None, reason)
    board.buffer.flush()
    slots.store(slots.settled(state))


def _end(board, command, result, error):
    status = "succeeded" if error is None else "failed"
    entry, _ = journal.find(command)
    if entry is None:  # so many commands came meanwhile that it is not remembered
        board.report(command, status, result, error)
    elif entry["status"] is None:
        journal.end(board, entry, status, result, error)
