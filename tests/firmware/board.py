"""Runs a script on the real VM with the stand-ins of a virtual board: drivers meet the modelled parts on its pins."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

from fieldloom_sim.hardware import Clock, Hardware, Machine
from fieldloom_sim.parts.wiring import Wiring
from fixtures.micropython import ROOT

PRELUDE = """
import sys
sys.path[:0] = [{vm!r}, {shared!r}, {firmware!r}]
import asyncio, json
import standins
standins.install()
import time
from fieldloom_agent import drivers
wiring = standins.Thing(0).wiring
def world(name, fault=None, **values):
    wiring.set(name, values, fault)
class Board:
    told = []
    def record(self, kind, content):
        self.told.append([kind, content["type"], content["data"]])
    def fail(self, name, error):
        self.told.append([name, str(error)])
board = Board()
board.drivers, faults = drivers.load(board, {entries})
for name, error in faults:
    board.fail(name, error)
"""


def drive(entries, script, firmware=ROOT / "firmware"):
    """Run on a board with these drivers, called `board`; return what the script printed, and the board's pins.

    `world(name, fault=None, **values)` changes what a part measures.
    """
    hardware = Hardware(Clock(), Machine.PWRON_RESET, Wiring(entries))
    ours, theirs = socket.socketpair()
    threading.Thread(target=_answer, args=(hardware, ours), daemon=True).start()
    vm = ROOT / "simulators" / "fieldloom_sim" / "vm"
    prelude = PRELUDE.format(vm=str(vm), shared=str(ROOT / "shared"), firmware=str(firmware), entries=repr(entries))
    executable = shutil.which("micropython", path=str(Path(sys.executable).parent))
    assert executable, "micropython is missing: run `make setup`"
    number = os.dup(theirs.fileno())
    theirs.close()
    command = ["bash", "-c", f'exec "$@" 3<&{number}', "bash", executable, "-X", "heapsize=1m", "-c", prelude + script]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=False, pass_fds=(number,), env={"TZ": "UTC"}
        )
    finally:
        os.close(number)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout), hardware.machine.Pin.told()


def _answer(hardware, ours):
    with ours, ours.makefile("rb") as questions:
        for marked in questions:
            question = marked.rstrip(b"\n")
            ours.sendall(question[-1:] + hardware.answer(question[:-1]))
