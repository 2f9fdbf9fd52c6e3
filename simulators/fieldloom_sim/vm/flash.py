"""A board's flash: memory that the loader shares with this VM, so that it outlives a SIGKILL."""

import uctypes

BLOCK = 4096


class Flash:
    """A block device for VfsLfs2, in the extended protocol."""

    def __init__(self, address, size):
        self._memory = memoryview(uctypes.bytearray_at(address, size))
        self._blocks = size // BLOCK

    def readblocks(self, block, buffer, offset=0):
        """Read."""
        start = block * BLOCK + offset
        buffer[:] = self._memory[start : start + len(buffer)]

    def writeblocks(self, block, buffer, offset=0):
        """Program; LittleFS has erased before."""
        start = block * BLOCK + offset
        self._memory[start : start + len(buffer)] = buffer

    def ioctl(self, operation, argument):
        """Tell blocks (4) and their size (5), erase one (6)."""
        if operation == 4:
            return self._blocks
        if operation == 5:
            return BLOCK
        if operation == 6:
            block = self._memory[argument * BLOCK : (argument + 1) * BLOCK]
            block[0], size = 0xFF, 1
            while size < BLOCK:  # each time as much again, which takes no memory
                block[size : 2 * size] = block[:size]
                size *= 2
        return 0
