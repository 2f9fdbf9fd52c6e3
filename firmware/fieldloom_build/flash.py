"""The whole flash of a board as one image: MicroPython as the user has it, and our files behind it. (F6, F8)"""

from fieldloom_build import partitions
from fieldloom_build.boards import Board
from fieldloom_build.image import flash_image
from fieldloom_contract.errors import Rejected

ERASED = b"\xff"


def compose(board: Board, micropython: bytes, files: dict[str, bytes]) -> bytes:
    """Return the flash with a .bin of MicroPython's download page and files in its file system.

    Raises Rejected for a .bin whose partition table is not the one that the board's TOML tells.
    """
    start, vfs = board.of_chip.bootloader, board.flash.vfs
    at = partitions.TABLE_OFFSET - start
    told = partitions.unpack(micropython[at : at + partitions.TABLE_BYTES])
    if told != board.flash.partitions:
        layout = ", ".join(f"{one.name} {one.offset:#x}+{one.size:#x}" for one in told)
        raise Rejected("flash.partitions", f"MicroPython's image has another layout: {layout}")
    if start + len(micropython) > vfs.offset:
        raise Rejected("micropython", f"reaches into the file system at {vfs.offset:#x}")
    flash = bytearray(ERASED * board.flash.size_bytes)
    flash[start : start + len(micropython)] = micropython
    flash[vfs.offset : vfs.end] = flash_image(files, vfs.size)
    return bytes(flash)
