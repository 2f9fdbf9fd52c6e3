"""The boot counter: which life of the board this is. Two copies, each with its CRC-32. (F2)"""

import os
import struct
from binascii import crc32

from fieldloom_contract.limits import BOOT_DRAWN_MAX, BOOT_DRAWN_MIN

COPIES = ("/boot.a", "/boot.b")


def _read(path):
    try:
        with open(path, "rb") as file:
            number, checksum = struct.unpack("<II", file.read(8))
    except (OSError, ValueError):
        return 0
    return number if checksum == crc32(struct.pack("<I", number)) & 0xFFFFFFFF else 0


def next_boot():
    """Return the number of this start, stored before it is used.

    Without a valid copy (a flash erased) it is drawn at random, so that a new life is never taken for an old one.
    """
    boot = max([_read(path) for path in COPIES]) + 1
    if not 1 < boot <= BOOT_DRAWN_MAX:
        drawn = struct.unpack("<I", os.urandom(4))[0]
        boot = BOOT_DRAWN_MIN + drawn % (BOOT_DRAWN_MAX - BOOT_DRAWN_MIN)
    packed = struct.pack("<I", boot)
    packed += struct.pack("<I", crc32(packed) & 0xFFFFFFFF)
    for path in COPIES:
        with open(path, "wb") as file:
            file.write(packed)
    return boot
