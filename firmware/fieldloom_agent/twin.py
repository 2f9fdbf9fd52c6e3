"""The twin: what the owner gateway wants of this board, taken key by key, kept over a reset, told as it is. (F4, R4)

`interval`, `report`, `led` and `gateway` are those of the configuration, and come back to it when they are wanted no
more; under `drivers` a driver gets by its name what its `set` takes. What the board can't take, it tells with the
reason. A report is cut into records that fit a page of the buffer: `more` says that another follows.
"""

from fieldloom_agent import changes, overlay, settings
from fieldloom_contract.board_topics import DESIRED, REPORTED
from fieldloom_contract.desired import parse_desired
from fieldloom_contract.errors import Rejected
from fieldloom_contract.fields import dumps

PART_BYTES = 1500
LONGEST_PATH = 64
LONGEST_REASON = 128


def take(board, payload):
    """Take a desired half; one that is there is told again, an older one says nothing. Raises Rejected."""
    desired = parse_desired(payload)
    if desired["version"] == board.settings.twin:
        report(board)
    if desired["version"] <= board.settings.twin:
        return
    try:
        changes.keep_twin(desired)
    except OSError as error:  # the gateway sends it again
        board.reject(DESIRED, "values", "can't be kept: " + repr(error))
        return
    _adopt(board, desired)
    _apply(board, desired)


def resume(board):
    """Report at a start, since a cut may have taken what was reported before."""
    try:
        report(board)
    except MemoryError:  # it was told when it was taken
        pass


def report(board):
    """Give the drivers what is wanted of them, and report all of it."""
    taken = changes.twin()
    if taken["version"]:
        _apply(board, taken)


def _adopt(board, desired):
    """Make the settings those of the next start."""
    had, fresh = board.settings, settings.load(desired)
    had.twin, had.interval, had.led = fresh.twin, fresh.interval, fresh.led
    if fresh.report != had.report:
        had.report = fresh.report
        board.reporting = overlay.call("reporting", "load", fresh.report) if fresh.report else None
    if fresh.preferred not in (had.preferred, had.gateways[0]["id"]) and changes.prefer(had, fresh.preferred):
        board.connection.leave()
    had.preferred = fresh.preferred


def _apply(board, taken):
    values, errors, size = {}, {}, 0
    for path, value, reason in _entries(board, taken["values"]):
        cost = len(dumps([path, value, reason]))
        if size + cost > PART_BYTES:
            _record(board, taken["version"], values, errors, True)
            values, errors, size = {}, {}, 0
        size += cost
        if reason is not None:
            errors[".".join(path)[:LONGEST_PATH]] = reason[:LONGEST_REASON]
        elif len(path) == 1:
            values[path[0]] = value
        else:
            values.setdefault(path[0], {})[path[1]] = value
    _record(board, taken["version"], values, errors, False)


def _record(board, version, values, errors, more):
    told = {"version": version, "values": values}
    if errors:
        told["errors"] = errors
    if more:
        told["more"] = True
    board.record(REPORTED, told)


def _entries(board, wanted):
    """Yield (path, value, why it is not taken or None) in pieces that fit a record."""
    for key in wanted:
        try:
            if key == "drivers":
                parts, given = wanted[key], True
                if not isinstance(parts, dict):
                    raise Rejected(key, "must be an object")
            else:
                settings.check(wanted, key, board.settings.gateways)
                parts, given = wanted[key], False
        except Rejected as error:
            yield [error.field[:LONGEST_PATH]], None, error.reason
            continue
        if not isinstance(parts, dict) or not parts:
            yield [key], parts, None
            continue
        for name in parts:
            yield [key, name[:LONGEST_PATH]], parts[name], _give(board, name, parts[name]) if given else None


def _give(board, name, value):
    """Give a driver what is wanted of it and return why it did not take it, None if it did."""
    driver = board.drivers.get(name)
    if driver is None:
        return "is no driver of this board"
    if not hasattr(driver, "set"):
        return "has nothing to set"
    if len(dumps(value)) > PART_BYTES - 2 * LONGEST_PATH:
        return "is too long to be reported"
    try:
        driver.set(value)
    except ValueError as error:
        return str(error)
    except Exception as error:  # a driver's fault stops nothing else
        return repr(error)
    return None
