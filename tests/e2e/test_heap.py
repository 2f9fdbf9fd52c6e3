"""The firmware in small heaps: half a minute in `make test`, five minutes in `make chaos`. (F1)

The VM here has words of 64 bits, an ESP32 of 32: what takes 102 KB here takes about half of it there (ADR 9, ADR 39).
"""

import pytest

from e2e.heap import live
from e2e.system import System
from fieldloom_sim.fleet import Fleet

BOARDS = {"board-1": {"heap": "102k"}, "board-2": {"heap": "82k", "in_rom": True}}  # 4 KB more than they need


@pytest.mark.parametrize(
    "seconds",
    [
        30,
        pytest.param(300, marks=[pytest.mark.chaos, pytest.mark.timeout(600)]),
    ],
)
def test_the_firmware_lives_in_small_heaps(tmp_path, capsys, seconds):
    system, fleet = System(tmp_path), Fleet(tmp_path / "boards")
    fleet.start()
    try:
        figures = live(system, fleet, BOARDS, seconds)
    finally:
        fleet.stop()
        system.stop()

    with capsys.disabled():
        print(f"\n{figures}")
