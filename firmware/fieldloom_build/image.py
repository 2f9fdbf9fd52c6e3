"""Images of a board's file system, LittleFS as the ESP32 port has it. (F6, F7)"""

from pathlib import Path
from typing import Any

from littlefs import LittleFS

FLASH_BYTES = 1024 * 1024
BLOCK = 4096
GEOMETRY: dict[str, Any] = {"block_size": BLOCK, "prog_size": 32, "read_size": 32}


def flash_image(files: dict[str, bytes], size: int = FLASH_BYTES) -> bytes:
    """Return a LittleFS image that the ESP32 port of every release since 1.20 mounts, by its disk version."""
    fs = LittleFS(block_count=size // BLOCK, disk_version=0x00020000, **GEOMETRY)
    return _written(fs, files)


def update_image(image: bytes, files: dict[str, bytes]) -> bytes:
    """Return an image with files written anew; what else the board keeps in it stays."""
    # No disk version is asked for: a board with a newer LittleFS has raised it at its first write.
    fs = LittleFS(mount=False, block_count=len(image) // BLOCK, **GEOMETRY)
    fs.context.buffer[:] = image
    fs.mount()
    return _written(fs, files)


def _written(fs: LittleFS, files: dict[str, bytes]) -> bytes:
    for path, content in files.items():
        fs.makedirs(str(Path(path).parent), exist_ok=True)
        with fs.open(path, "wb") as out:
            out.write(content)
    return bytes(fs.context.buffer)
