"""The firmware in a small heap: half a minute in `make test`, five minutes in `make chaos`. (F1)

The VM here has words of 64 bits, an ESP32 of 32: what takes 112 KB here takes about half of it there (ADR 9).
"""

import pytest

from e2e.heap import live
from e2e.system import System
from fieldloom_sim.fleet import Fleet

HEAP = "112k"  # since update, renewal, trials, sleep and twin came; it had been 100 (ADR 9)


@pytest.mark.parametrize(
    "seconds",
    [
        30,
        pytest.param(300, marks=[pytest.mark.chaos, pytest.mark.timeout(600)]),
    ],
)
def test_the_firmware_lives_in_a_small_heap(tmp_path, capsys, seconds):
    system, fleet = System(tmp_path), Fleet(tmp_path / "boards")
    fleet.start()
    try:
        figures = live(system, fleet, HEAP, seconds)
    finally:
        fleet.stop()
        system.stop()

    with capsys.disabled():
        print(f"\n{figures}")
