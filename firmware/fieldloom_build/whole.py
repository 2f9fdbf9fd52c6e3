"""One image of a whole flash for esptool: the user's MicroPython and a file system with ours on it. (F6)

The partition table inside MicroPython's `.bin` tells where the file system goes
(https://docs.espressif.com/projects/esp-idf/en/stable/esp32/api-guides/partition-tables.html).
"""

import hashlib
import json
import shutil
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from fieldloom_build.errors import BuildFailed
from fieldloom_build.image import BLOCK, flash_image

TABLE_ADDRESS = 0x8000
STARTS = (0x1000, 0x0)  # where a `.bin` begins on an ESP32 and an S2, and on an S3, a C3 and the like
ENTRY = struct.Struct("<2sBBII16sI")
ENTRY_MAGIC = b"\xaa\x50"
FILE_SYSTEM = "vfs"
VM_S = 60.0
# Runs on the MicroPython VM: mounts the partition of an image read-only and prints what is there.
READ_BACK = """
import binascii, hashlib, json, os, sys, vfs
class Partition:
    def __init__(self, path, start, size):
        self.file, self.start, self.size = open(path, "rb"), start, size
    def readblocks(self, block, buffer, offset=0):
        self.file.seek(self.start + block * 4096 + offset)
        self.file.readinto(buffer)
    def writeblocks(self, block, buffer, offset=0):
        return -30
    def ioctl(self, operation, argument):
        return {4: self.size // 4096, 5: 4096}.get(operation, 0)
def look(folder):
    for entry in os.ilistdir(folder):
        path = folder + "/" + entry[0]
        if entry[1] == 0x4000:
            look(path)
        else:
            with open(path, "rb") as file:
                digest = hashlib.sha256(file.read()).digest()
            print(json.dumps([path[len("/flash"):], binascii.hexlify(digest).decode()]))
partition = Partition(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
vfs.mount(vfs.VfsLfs2(partition, progsize=32, readsize=32), "/flash", readonly=True)
look("/flash")
"""


@dataclass(frozen=True)
class Layout:
    """Addresses in the chip's flash: where the image starts, where the file system does, and its size in bytes."""

    start: int
    file_system: int
    size: int

    @classmethod
    def of(cls, micropython: bytes) -> "Layout":
        """Read the partition table inside a MicroPython `.bin`. Raises BuildFailed."""
        for start in STARTS:
            table = TABLE_ADDRESS - start
            if micropython[table : table + 2] == ENTRY_MAGIC:
                address, size = _partition(micropython[table : table + 0xC00])
                return cls(start, address, size)
        raise BuildFailed(
            "no partition table is in that file: it must be MicroPython's whole .bin for a new board, "
            "not its .app-bin for updates"
        )


def join(micropython: bytes, files: dict[str, bytes]) -> tuple[Layout, bytes]:
    """Return MicroPython and a file system with these files as one image, and its layout. Raises BuildFailed."""
    layout = Layout.of(micropython)
    room = layout.file_system - layout.start
    if len(micropython) > room:
        raise BuildFailed(
            f"that MicroPython is {len(micropython)} bytes and reaches into its own file system at {room}"
        )
    return layout, micropython.ljust(room, b"\xff") + flash_image(files, layout.size)


def verify(path: Path, layout: Layout, files: dict[str, bytes]) -> bool:
    """Mount an image's file system in the MicroPython VM and compare all files; False where there is no VM.

    Raises BuildFailed if anything differs.
    """
    vm = shutil.which("micropython", path=str(Path(sys.executable).parent))
    if vm is None:
        return False
    place = [str(path), str(layout.file_system - layout.start), str(layout.size)]
    done = subprocess.run(
        [vm, "-X", "heapsize=8m", "-c", READ_BACK, *place], capture_output=True, text=True, check=False, timeout=VM_S
    )
    found = dict(json.loads(line) for line in done.stdout.splitlines()) if done.returncode == 0 else None
    if found != {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}:
        raise BuildFailed(f"{path} does not read back in MicroPython: {(done.stderr or 'other files').strip()[-200:]}")
    return True


def _partition(table: bytes) -> tuple[int, int]:
    for at in range(0, len(table) - ENTRY.size + 1, ENTRY.size):
        magic, _, _, address, size, label, _ = ENTRY.unpack_from(table, at)
        if magic != ENTRY_MAGIC:
            break
        if label.rstrip(b"\0").decode(errors="replace") == FILE_SYSTEM and size % BLOCK == 0:
            return address, size
    raise BuildFailed(f"the partition table of that MicroPython has no {FILE_SYSTEM!r}: our files would have no place")
