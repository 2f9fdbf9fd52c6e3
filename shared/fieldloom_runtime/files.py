"""Files that are whole or not there, whatever ends the process or the power. (T4)"""

import os
from pathlib import Path

PRIVATE, PUBLIC = 0o600, 0o644


def write(path: Path, content: bytes | str, mode: int = PRIVATE) -> None:
    """Write a file that is on the disk when this returns; it takes the place of an old one in one step."""
    fresh = path.with_name(path.name + ".new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
