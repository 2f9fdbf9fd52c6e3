"""A board whose configuration can't be used says so on its console and waits to be corrected there."""

import time

import machine

SAY_EVERY_S = 10
TRY_AGAIN_S = 600


def wait(error):
    """Say what is wrong for ten minutes, and start anew. mpremote's Ctrl-C interrupts it, and the watchdog is fed."""
    watchdog = machine.WDT(timeout=60000)
    for _ in range(TRY_AGAIN_S // SAY_EVERY_S):
        print("fieldloom: config.json can't be used:", error)
        print("fieldloom: correct it (fieldloom device flash, or mpremote edit :config.json) and reset the board")
        watchdog.feed()
        time.sleep(SAY_EVERY_S)
    machine.reset()
