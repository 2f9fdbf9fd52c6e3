"""Network settings on trial: kept once a gateway is reached with them, given up when none is in time. (F11)

The trial is in RAM alone, so whatever resets the board in it brings the old settings back. What is kept goes into
`settings` in one write.
"""

from fieldloom_agent import endings, networks, overlay
from fieldloom_contract.errors import Rejected
from fieldloom_contract.fields import number

TRIAL_MS = 120000
KIND = "set_network"


def begin(board, parameters):
    """Leave for other settings: {"wifi"?, "address"?, "gateways"?, "timeout"? (ms)}. Raises Rejected."""
    if board.trial is not None or board.trying is not None:
        raise Rejected("type", "other settings or a new certificate are being tried")
    wanted = dict(parameters)
    timeout = number(wanted, "timeout", 5000, 3600000) if wanted.get("timeout") is not None else TRIAL_MS
    wanted.pop("timeout", None)
    checked = networks.check(wanted)
    if not checked:
        raise Rejected("parameters", "name none of " + ", ".join(networks.NAMES))
    old = {name: getattr(board.settings, name) for name in checked}
    board.trial = (board.clock.up() + timeout, timeout, old, checked)
    _apply(board, checked)
    board.connection.leave()


def keep(board):
    """Keep the settings with which a gateway was reached."""
    _, _, _, wanted = board.trial
    networks.keep(wanted, endings.begun(KIND))
    board.trial = None
    endings.finish(board, KIND, "succeeded", {"gateway": board.connection.gateway()["id"]}, None)


def back(board):
    """Go back to the old settings: no gateway was reached in time."""
    _, timeout, old, _ = board.trial
    board.trial = None
    _apply(board, old)
    board.connection.place = 0
    board.connection.retry()
    reason = "no gateway was reached with them in " + str(timeout // 1000) + " s"
    endings.finish(board, KIND, "failed", None, reason)


def _apply(board, wanted):
    for name, value in wanted.items():
        setattr(board.settings, name, list(value) if name == "gateways" else value)
    if "wifi" in wanted or "address" in wanted:
        overlay.call("wifi", "leave")
