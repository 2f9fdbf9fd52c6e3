"""What ended the agent, kept over the reset and told once after it: an exception, or the watchdog. (F4)"""

import io
import json
import os
import sys

import machine

from fieldloom_contract.board_topics import EVENT

STORE = "/crash.json"
TRACE = 1024  # characters of the traceback, the last ones: they say where


def keep(error, up):
    """Keep an exception for the next start; `up` is ms since this one."""
    trace = io.StringIO()
    sys.print_exception(error, trace)
    told = {"cause": "exception", "error": repr(error)[:128], "trace": trace.getvalue()[-TRACE:], "up": up}
    with open(STORE, "w") as file:
        json.dump(told, file)


def report(board):
    """Tell how the life before this start ended, if it was no good end."""
    try:
        with open(STORE) as file:
            told = json.load(file)
    except (OSError, ValueError):
        told = {"cause": "watchdog"} if machine.reset_cause() == machine.WDT_RESET else None
    if told is not None:
        print("crash:", told.get("error", told["cause"]))
        board.record(EVENT, {"type": "crash", "data": told})
        board.buffer.flush()  # before it is forgotten: rather told twice than never
        _forget()


def _forget():
    try:
        os.remove(STORE)
    except OSError:
        pass
