"""The ROM that turns a VM into a board: its code runs in place and takes no heap, as C code on a board. (F7)"""

from pathlib import Path

from mpremote.romfs import VfsRomWriter

from fieldloom_build.release import compile_file

VM = Path(__file__).parent / "vm"


def build_rom() -> bytes:
    """Return the ROM's image."""
    rom = VfsRomWriter()
    for source in sorted(VM.glob("*.py")):
        rom.mkfile(f"{source.stem}.mpy", compile_file(source, source.name))
    return bytes(rom.finalise())
