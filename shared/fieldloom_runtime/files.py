"""Files that are whole or not there, whatever ends the process or the power. (T4)"""

import os
from pathlib import Path

from fieldloom_runtime.errors import StartFailed

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


def read_secret(path: Path) -> str:
    """Return what a file holds that its owner alone can read, without the line's end. Raises StartFailed."""
    try:
        with path.open() as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise StartFailed(f"{path} can be read by others", f"chmod 600 {path}")
            return file.read().rstrip("\n")
    except OSError as error:
        raise StartFailed(f"{path} can't be read ({error.strerror})", "write the secret into it") from error


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
