"""A virtual board, from power-on to main.py: host's file system out, flash and stand-ins in, boot.py, main.py. (F7)

Imported from the ROM by the VM's first line; its argument is JSON of `flash` and `rom` ([address, size] each, a `rom`
of no size is none), `skew_ppm`, and whether to run `main`. What a file raises is printed, and the VM goes on to its
prompt.
"""

import json
import os
import sys

import standins
import uctypes
import vfs
from flash import Flash
from probe import watch_acknowledgements


def read(path):
    """Return the text of a file of the flash, none of a missing one."""
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def run(path):
    """Run a file of the flash as a board does at its start, and say whether it went well; a missing one is no fault."""
    try:
        exec(compile(read(path), path, "exec"), {"__name__": "__main__"})  # the text does not stay, as on a board
    except BaseException as error:  # noqa: BLE001 - as a board, whatever it is
        sys.print_exception(error)
        return False
    return True


def start(spec):
    """Become the board."""
    standins.install(spec["skew_ppm"])
    vfs.umount("/")
    vfs.umount("/rom")
    if spec["rom"][1]:
        vfs.mount(vfs.VfsRom(uctypes.bytearray_at(*spec["rom"])), "/rom")
    # Program and read size are what the ESP32 port uses on its partition.
    vfs.mount(vfs.VfsLfs2(Flash(*spec["flash"]), progsize=32, readsize=32), "/")
    os.chdir("/")
    sys.path[:] = ["", ".frozen", "/lib"]
    for name in ("board", "standins", "flash", "probe"):
        sys.modules.pop(name, None)
    if run("boot.py") and spec["main"]:
        watch_acknowledgements()
        run("main.py")


start(json.loads(sys.argv[1]))
