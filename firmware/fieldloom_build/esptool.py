"""esptool, Espressif's flasher. It is GPL: called as a program, never imported. (F6)"""

import shlex
import shutil
import subprocess
from pathlib import Path

from fieldloom_build.errors import BuildFailed


def arguments(image: Path, start: int, port: str | None) -> list[str]:
    """Return what writes an image to the flash of a chip in its boot loader."""
    where = ["--port", port] if port else []
    return ["esptool", *where, "write_flash", f"{start:#x}", str(image)]


def command_line(image: Path, start: int, port: str | None) -> str:
    """Return the same for a shell."""
    return shlex.join(arguments(image, start, port))


def write(image: Path, start: int, port: str) -> None:
    """Write an image, with esptool's own progress on standard error. Raises BuildFailed."""
    by_hand = command_line(image, start, port)
    program = shutil.which("esptool") or shutil.which("esptool.py")
    if program is None:
        raise BuildFailed(f"esptool is not installed: `pipx install esptool`, then {by_hand}")
    done = subprocess.run([program, *arguments(image, start, port)[1:]], stdout=2, check=False)
    if done.returncode:
        raise BuildFailed(f"esptool has failed: is the board in its boot loader (hold BOOT, press reset)? {by_hand}")
