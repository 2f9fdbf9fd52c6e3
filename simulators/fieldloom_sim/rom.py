"""The ROM that turns a VM into a board: its code runs in place and takes no heap, as C code on a board. (F7)"""

from pathlib import Path

from fieldloom_build.bundling import bundle
from fieldloom_build.folding import fold
from fieldloom_build.release import compile_source
from fieldloom_build.romfs import rom_image

VM = Path(__file__).parent / "vm"
MODULES = "flash", "standins", "probe", "board"


def build_rom() -> bytes:
    """Return the ROM's image, all in one module, which takes less of the heap than several."""
    sources = fold({name: (VM / f"{name}.py").read_text() for name in MODULES})
    board = MODULES[-1]
    return rom_image({f"{board}.mpy": compile_source(bundle(sources, MODULES)[board], board)})
