"""The built-in commands, each a function of the agent and the parameters. Intervals and durations are in ms. (F3)"""

from fieldloom_agent import overlay
from fieldloom_contract.compat import const
from fieldloom_contract.errors import Rejected
from fieldloom_contract.fields import number, text

PENDING = "pending"  # what an action returns whose result is known later
_IDENTIFY_MS = const(5000)
_MAX_INTERVAL_MS = const(86400000)


def read(board, parameters):
    """Return the values of one driver, or of all; of all, those that fail are named beside them."""
    if "name" in parameters:
        return {"values": _driver(board, parameters).read()}
    told = {"values": {}}
    for name, driver in board.drivers.items():
        try:
            told["values"].update(driver.read())
        except Exception as error:
            told.setdefault("errors", {})[name] = repr(error)[:128]
    return told


def write(board, parameters):
    """Set an actuator."""
    driver = _driver(board, parameters)
    if not hasattr(driver, "write"):
        raise Rejected("name", "is a sensor")
    try:
        driver.write(parameters.get("value"))
    except ValueError as error:
        raise Rejected("value", str(error)) from None
    return {"values": driver.read()}


def set_interval(board, parameters):
    """Measure at another interval from now on, over a reset too; 0 pauses it until the next start."""
    interval = number(parameters, "interval", 0, _MAX_INTERVAL_MS)
    if interval:
        _change(board, "interval", interval)
    board.settings.interval = interval
    return {"interval": interval}


def identify(board, parameters):
    """Blink for a while."""
    has_one = parameters.get("duration") is not None
    duration = number(parameters, "duration", 1, 3600000) if has_one else _IDENTIFY_MS
    overlay.call("lamp", "blink", board, duration)
    return {"duration": duration}


def reboot(board, parameters):
    """Start anew; the result follows after the start."""
    board.restart()
    return PENDING


def connect(board, parameters):
    """Move to another gateway of the configuration, for good."""
    gateway = text(parameters, "gateway")
    if not overlay.call("changes", "prefer", board.settings, gateway):
        raise Rejected("gateway", "is not in this board's configuration")
    _change(board, "gateway", gateway)
    board.connection.leave()
    return {"gateway": gateway}


def set_network(board, parameters):
    """Try other network settings; the result follows when a gateway was reached with them, or when none was."""
    overlay.call("network", "begin", board, parameters)
    return PENDING


def renew(board, parameters):
    """Have the certificate renewed now; the result follows when a gateway has taken the new one."""
    if board.trying is not None:
        raise Rejected("type", "a new certificate is being tried already")
    board.renew_at = 0
    return PENDING


def update(board, parameters):
    """Bring a release to the other slot and try it; the result follows when it has run well, or has not."""
    return overlay.call("orders", "update", board, text(parameters, "release")) or PENDING


def rollback(board, parameters):
    """Go back to the release in the other slot; the result follows likewise."""
    overlay.call("orders", "roll_back", board)
    return PENDING


def _change(board, name, value):
    if overlay.call("changes", "change", name, value):  # the twin wants another: it is told that it is not so
        overlay.call("twin", "report", board)


def _driver(board, parameters):
    driver = board.drivers.get(text(parameters, "name"))
    if driver is None:
        raise Rejected("name", "is one of " + ", ".join(board.drivers))
    return driver


TABLE = {
    "read": read,
    "write": write,
    "set_interval": set_interval,
    "identify": identify,
    "reboot": reboot,
    "connect": connect,
    "renew": renew,
    "set_network": set_network,
    "update": update,
    "rollback": rollback,
}
