"""A board's flash: a file that the loader opens for this VM, so that it outlives a SIGKILL.

What it is asked for takes nothing of the heap, as C code takes nothing on a board: what it left behind would lie across
the room that a long text grows into.
"""

BLOCK = 4096
FILE = 5  # the descriptor
ERASED = b"\xff" * 32


class Flash:
    """A block device for VfsLfs2, in the extended protocol."""

    def __init__(self, size):
        self._file = open(FILE, "r+b")
        self._blocks = size // BLOCK

    def readblocks(self, block, buffer, offset=0):
        """Read."""
        self._file.seek(block * BLOCK + offset)
        self._file.readinto(buffer)

    def writeblocks(self, block, buffer, offset=0):
        """Program; LittleFS has erased before."""
        self._file.seek(block * BLOCK + offset)
        self._file.write(buffer)

    def ioctl(self, operation, argument):
        """Tell blocks (4) and their size (5), erase one (6)."""
        if operation == 4:
            return self._blocks
        if operation == 5:
            return BLOCK
        if operation == 6:
            self._file.seek(argument * BLOCK)
            for _ in range(BLOCK // len(ERASED)):
                self._file.write(ERASED)
        return 0
