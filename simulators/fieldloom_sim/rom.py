"""The ROM that turns a VM into a board: its code runs in place and takes no heap, as C code on a board. (F7)"""

from pathlib import Path

from fieldloom_build.folding import fold
from fieldloom_build.release import compile_source
from fieldloom_build.romfs import rom_image

VM = Path(__file__).parent / "vm"


def build_rom() -> bytes:
    """Return the ROM's image."""
    folded = fold({source.stem: source.read_text() for source in VM.glob("*.py")})
    return rom_image({f"{name}.mpy": compile_source(source, name) for name, source in folded.items()})
