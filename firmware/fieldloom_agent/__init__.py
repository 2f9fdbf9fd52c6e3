"""The firmware agent: measures, keeps what it measured until the gateway has it, does what it is told. (F1 to F3)

Runs on MicroPython 1.22 and later, in a heap of 64 KB (words of 32 bits) with TLS; imports the contract and nothing
else of Fieldloom.
"""

SLOT = __file__[: __file__.find("/lib/")]  # the folder of the release that runs, /a or /b

# Room for the names of modules that come and go, taken while the memory is in one piece: later it would lie across it.
buffer = clock = crash = drivers = drops = log = twin = None
del buffer, clock, crash, drivers, drops, log, twin
