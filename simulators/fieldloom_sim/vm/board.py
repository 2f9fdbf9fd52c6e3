"""A virtual board, from power-on to boot.py: host's file system out, flash and stand-ins in. (F7)

Imported from the ROM by the VM's first lines. The VM's argument is JSON of `flash` (its size), `rom` ([address, size];
of no size it is none), `skew_ppm`, and whether to run `main`.
"""

import gc
import json
import os
import sys

import uctypes
import vfs
from flash import Flash
from probe import watch_acknowledgements
from standins import install


def run():
    """Become the board, and run its files. What one raises ends that."""
    gc.threshold(1024)
    for path in become(**json.loads(sys.argv.pop())):
        if path == "main.py":
            watch_acknowledgements()
        exec(compiled(path), {"__name__": "__main__"})


def become(flash, rom, skew_ppm, main):
    """Become the board, and return the files to run, of those that it has."""
    install(skew_ppm)
    vfs.umount("/")
    vfs.umount("/rom")
    if rom[1]:
        vfs.mount(vfs.VfsRom(uctypes.bytearray_at(*rom)), "/rom")
    # Program and read size are what the ESP32 port uses on its partition.
    vfs.mount(vfs.VfsLfs2(Flash(flash), progsize=32, readsize=32), "/")
    os.chdir("/")
    sys.path[:] = ["", ".frozen", "/lib"]
    del sys.modules["board"]
    return [name for name in ("boot.py", "main.py")[: 1 + main] if name in os.listdir()]


def compiled(path):
    """Return the code of a file."""
    with open(path) as file:
        return compile(file.read(), path, "exec")
