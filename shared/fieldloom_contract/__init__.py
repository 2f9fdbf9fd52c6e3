"""The wire contract, version 1: topics, messages and the acknowledged stream.

Runs unmodified on MicroPython and CPython, imports only what both have, does no I/O and never asks for the time.
"""
