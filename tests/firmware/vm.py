"""Runs firmware modules on the real VM, on a LittleFS flash of their own."""

from fixtures.micropython import ROOT, run_on_micropython

PRELUDE = f"""
sys.path[:0] = [{str(ROOT / "firmware")!r}, {str(ROOT / "tests/firmware")!r}]
import json, os, random, vfs
class Flash:
    def __init__(self, blocks):
        self.memory, self.blocks = bytearray(b"\\xff" * 4096 * blocks), blocks
        self.cut_after = None
    def readblocks(self, block, buffer, offset=0):
        start = block * 4096 + offset
        buffer[:] = self.memory[start:start + len(buffer)]
    def writeblocks(self, block, buffer, offset=0):
        if self.cut_after is not None:
            self.cut_after -= 1
            if self.cut_after < 0:
                return -5
        start = block * 4096 + offset
        self.memory[start:start + len(buffer)] = buffer
    def ioctl(self, operation, argument):
        return {{4: self.blocks, 5: 4096}}.get(operation, 0)
def mount(flash, fresh=True):
    if fresh:
        vfs.VfsLfs2.mkfs(flash, progsize=32, readsize=32)
    vfs.umount("/")
    vfs.mount(vfs.VfsLfs2(flash, progsize=32, readsize=32), "/")
"""


def run(imports: str, script: str, *arguments: str) -> str:
    """Import with the host's files in view, then run on a mounted flash of 256 blocks called `flash`."""
    return run_on_micropython(
        PRELUDE + imports + "\nflash = Flash(256)\nmount(flash)\n" + script, *arguments, heap="8m"
    )
