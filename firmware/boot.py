"""Runs first on a board: nothing else guards the time until the agent runs, so the watchdog starts here."""

import gc

import machine

# It can't be stopped again, only set anew, as before files are copied: machine.WDT(timeout=600000).
machine.WDT(timeout=60000)
# Collect early and often: garbage between what stays would leave no room of one piece.
gc.threshold(2048)
