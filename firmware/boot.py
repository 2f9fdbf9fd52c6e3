"""Runs first on a board: starts the watchdog, and chooses the slot whose release runs. Never updated over the air."""

import gc
import json
import os
import sys

import machine

# Nothing else guards the time until the agent runs. It can't be stopped again, only set anew, as before files are
# copied: machine.WDT(timeout=600000).
machine.WDT(timeout=60000)
# Collect early and often: garbage between what stays would leave no room of one piece.
gc.threshold(4096)


def choose():
    """Return the folder of the release to run; one on trial gets one start, and has failed if that did not last."""
    try:
        with open("/slots.json") as file:
            state = json.load(file)
    except (OSError, ValueError):
        return "/a"
    old = "/" + state["run"]
    if "try" not in state or "failed" in state:
        return old
    if "tried" in state:
        hung = machine.reset_cause() == machine.WDT_RESET
        state["failed"] = "hung until the watchdog reset it" if hung else "was reset, or lost its power, in its trial"
    else:
        state["tried"] = True
    try:
        with open("/slots.json", "w") as file:  # whole or not at all: LittleFS replaces a file at its close
            json.dump(state, file)
    except OSError:
        return old
    return old if "failed" in state else "/b" if old == "/a" else "/a"


def home(slot):
    """Return the folder of a slot's release; one that the flash does not hold is in the ROM, if the board has one."""
    try:
        os.stat(slot + "/release.json")
    except OSError:
        return "/rom"
    return slot


sys.path.insert(0, home(choose()) + "/lib")
del choose, home
