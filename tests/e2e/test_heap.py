"""The firmware in small heaps, for five minutes. (F1)

The VM here has words of 64 bits, an ESP32 of 32: what takes 64 KB here takes about half of it there. The stand-ins for
what an ESP32 has in C are in the same heap (ADR 69).
"""

import pytest

from e2e.heap import live
from e2e.system import System
from fieldloom_sim.fleet import Fleet

BOARDS = {"board-1": {"heap": "64k", "in_rom": True}, "board-2": {"heap": "90k"}}
"""As `-X heapsize=` takes it; the second has its firmware on LittleFS."""
SECONDS = 300


@pytest.mark.waits
def test_the_firmware_lives_in_64_kb(tmp_path, capsys):
    system, fleet = System(tmp_path), Fleet(tmp_path / "boards")
    fleet.start()
    try:
        figures = live(system, fleet, BOARDS, SECONDS)
    finally:
        fleet.stop()
        system.stop()

    with capsys.disabled():
        print(f"\n{figures}")
