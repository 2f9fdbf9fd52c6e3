"""The firmware in small heaps: half a minute in `make test`, five minutes in `make chaos`. (F1)

The VM here has words of 64 bits, an ESP32 of 32: what takes 64 KB here takes about half of it there. The stand-ins for
what an ESP32 has in C are in the same heap; what they take is measured, and comes on top (ADR 69).
"""

import pytest

from e2e.heap import live
from e2e.system import System
from e2e.test_serial import mpremote
from fieldloom_sim.fleet import Fleet
from fixtures.micropython import run_on_micropython

IN_ROM = 64 * 1024
ON_FLASH = 90 * 1024

TAKEN = "import gc; gc.collect(); print(gc.mem_alloc())"
FILE_SYSTEM = """
import gc, vfs
class Device:
    memory = bytearray(8 * 4096)
    def readblocks(self, block, buffer, offset=0):
        start = block * 4096 + offset
        buffer[:] = self.memory[start:start + len(buffer)]
    def writeblocks(self, block, buffer, offset=0):
        start = block * 4096 + offset
        self.memory[start:start + len(buffer)] = buffer
    def ioctl(self, operation, argument):
        return {4: 8, 5: 4096}.get(operation, 0)
device = Device()
vfs.VfsLfs2.mkfs(device, progsize=32, readsize=32)
gc.collect()
before = gc.mem_alloc()
mounted = vfs.VfsLfs2(device, progsize=32, readsize=32)
gc.collect()
print(gc.mem_alloc() - before)
"""


def stand_ins(fleet):
    """Return the bytes of heap that a virtual board without firmware takes beside the VM and its file system."""
    fleet.add_bare("bare")
    taken = int(mpremote(fleet.serial("bare"), "exec", TAKEN))
    fleet.off("bare")
    return taken - int(run_on_micropython(TAKEN)) - int(run_on_micropython(FILE_SYSTEM))


@pytest.mark.parametrize(
    "seconds",
    [
        30,
        pytest.param(300, marks=[pytest.mark.chaos, pytest.mark.timeout(600)]),
    ],
)
def test_the_firmware_lives_in_64_kb_beside_the_stand_ins(tmp_path, capsys, seconds):
    system, fleet = System(tmp_path), Fleet(tmp_path / "boards")
    fleet.start()
    try:
        beside = stand_ins(fleet)
        boards = {
            "board-1": {"heap": str(IN_ROM + beside), "in_rom": True},
            "board-2": {"heap": str(ON_FLASH + beside)},
        }
        figures = live(system, fleet, boards, seconds)
    finally:
        fleet.stop()
        system.stop()

    assert beside < 5 * 1024  # more would be a gift to the firmware
    with capsys.disabled():
        print(f"\n{figures}, of which stand-ins take {beside} bytes")
