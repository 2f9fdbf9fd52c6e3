"""The commands `update` and `rollback`: what is refused at once, and what is begun. (F3, F5)

`board` is the agent.
"""

from fieldloom_agent import journal, overlay, slots
from fieldloom_contract.errors import Rejected


def update(board, wanted):
    """Begin to bring a release to the other slot; return a result if there is nothing to do. Raises Rejected."""
    state = _idle()
    mine = board.settings.board
    if mine is None:
        raise Rejected("release", "can't be checked: this board was not told what it is (device flash --board)")
    if wanted.rpartition("-")[0] != mine:
        raise Rejected("release", wanted + " is not for this board, which is " + mine)
    overlay.call("trust", "check_root")
    if wanted == slots.running(board):
        return {"release": wanted, "unchanged": True}
    state.pop("spare", None)
    state["get"], state["command"] = wanted, _command("update")
    slots.store(state)
    overlay.call("update", "download", board, state)
    return None


def roll_back(board):
    """Put the release in the other slot on trial. Raises Rejected."""
    state = _idle()
    if "spare" not in state:
        raise Rejected("slot", "the other slot holds no release that has run here")
    overlay.call("trust", "check_floor", state["spare"].rpartition("-")[2])
    if not overlay.call("content", "is_whole", "/" + slots.other(state["run"])):
        raise Rejected("slot", "the release in the other slot is damaged")
    state["command"], state["back"] = _command("rollback"), True
    overlay.call("update", "put_on_trial", board, state, state.pop("spare"))


def _command(kind):
    """Return the id of the command that has begun."""
    begun = [entry for entry in journal.entries() if entry["status"] is None and entry["type"] == kind]
    return max(begun, key=lambda entry: entry["number"])["id"]


def _idle():
    """Return the state. Raises Rejected while an update is under way."""
    state = slots.load()
    under_way = state.get("get") or state.get("try")
    if under_way:
        raise Rejected("release", "the update to " + under_way + " is still under way")
    return state
