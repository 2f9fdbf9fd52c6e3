"""A virtual board, from power-on to boot.py: host's file system out, flash and stand-ins in. (F7)

Imported from the ROM by the VM's first lines, which run the files that it names and have forgotten it by then: what a
board does not have is not to take its memory. The VM's argument is JSON of `flash` and `rom` ([address, size] each, a
`rom` of no size is none), `skew_ppm`, and whether to run `main`.
"""

import json
import os
import sys

import standins
import uctypes
import vfs
from flash import Flash
from probe import watch_acknowledgements  # noqa: F401 - for the VM's first lines


def become(flash, rom, skew_ppm, main):
    """Become the board, and return the files to run, of those that it has."""
    standins.install(skew_ppm)
    vfs.umount("/")
    vfs.umount("/rom")
    if rom[1]:
        vfs.mount(vfs.VfsRom(uctypes.bytearray_at(*rom)), "/rom")
    # Program and read size are what the ESP32 port uses on its partition.
    vfs.mount(vfs.VfsLfs2(Flash(*flash), progsize=32, readsize=32), "/")
    os.chdir("/")
    sys.path[:] = ["", ".frozen", "/lib"]
    for name in ("board", "standins", "flash", "probe"):
        sys.modules.pop(name, None)
    return [name for name in ("boot.py", "main.py")[: 1 + main] if name in os.listdir()]


files = become(**json.loads(sys.argv[1]))
