"""Images of MicroPython's read-only file system, whose modules run in place: their bytecode takes no heap. (F1, F7)

A MicroPython that was built with `MICROPY_VFS_ROM` mounts its `romfs` partition at /rom; mpremote writes images
there (https://docs.micropython.org/en/latest/reference/romfs.html).
"""

from pathlib import PurePosixPath
from typing import Any

from mpremote.romfs import VfsRomWriter

from fieldloom_build.release import SLOT


def rom_image(files: dict[str, bytes]) -> bytes:
    """Return an image with files by their paths below its root."""
    tree: dict[str, Any] = {}
    for path, content in files.items():
        folder = tree
        for part in PurePosixPath(path).parts[:-1]:
            folder = folder.setdefault(part, {})
        folder[PurePosixPath(path).name] = content
    image = VfsRomWriter()
    _write(image, tree)
    return bytes(image.finalise())


def parted(files: dict[str, bytes]) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Return the files of a release for the ROM, by their paths in it, and those that belong to the file system."""
    folder = SLOT + "/"
    rom = {path.removeprefix(folder): content for path, content in files.items() if path.startswith(folder)}
    return rom, {path: content for path, content in files.items() if not path.startswith(folder)}


def _write(image: VfsRomWriter, tree: dict[str, Any]) -> None:
    for name, content in sorted(tree.items()):
        if isinstance(content, dict):
            image.opendir(name)
            _write(image, content)
            image.closedir()
        else:
            image.mkfile(name, content)
