"""Room on the disk that is given away when there is no other, since deleting takes room too. (T4, T6)"""

import os
from pathlib import Path

FILE = "ballast"
BYTES = 8 * 2**20  # twice what SQLite's log grows to before it is written back


class Ballast:
    """A file that holds room, until it is let go."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE

    def hold(self) -> None:
        """Take the room, if it is not held and the disk has it."""
        if self._path.exists():
            return
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, BYTES)
        except OSError:
            self._path.unlink()
        finally:
            os.close(descriptor)

    def let_go(self) -> None:
        """Give the room to whoever needs it now."""
        self._path.unlink(missing_ok=True)
