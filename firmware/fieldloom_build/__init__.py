"""Makes what a board gets, and brings it there: releases, flash images, flashing over a serial port. Runs on CPython.

It knows the agent by its files alone and never imports it.
"""
