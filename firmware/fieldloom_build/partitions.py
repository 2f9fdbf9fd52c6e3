"""The partition table of an ESP32's flash: checked, and in the binary form of ESP-IDF that stands in it."""

import hashlib
import struct
from typing import Annotated, Literal

from msgspec import Meta, Struct

from fieldloom_contract.errors import Rejected

SIZES = {"2MB": 2 << 20, "4MB": 4 << 20, "8MB": 8 << 20, "16MB": 16 << 20}
TABLE_OFFSET, TABLE_BYTES = 0x8000, 0xC00
SECTOR, APP_ALIGNMENT = 0x1000, 0x10000
ENTRY = struct.Struct("<HBBII16sI")
MAGIC, CHECKSUM_MAGIC = 0x50AA, 0xEBEB
TYPES = {"app": 0, "data": 1}
SUBTYPES = {("app", "factory"): 0, ("data", "ota"): 0, ("data", "phy"): 1, ("data", "nvs"): 2, ("data", "fat"): 0x81}
SUBTYPES |= {("app", f"ota_{number}"): 0x10 + number for number in range(16)}


class Partition(Struct, forbid_unknown_fields=True, frozen=True):
    """One partition; offset and size in bytes."""

    name: Annotated[str, Meta(min_length=1, max_length=15)]
    type: Literal["app", "data"]
    subtype: str
    offset: Annotated[int, Meta(ge=0)]
    size: Annotated[int, Meta(gt=0)]

    @property
    def end(self) -> int:
        """Where the next may begin."""
        return self.offset + self.size


class Flash(Struct, forbid_unknown_fields=True, frozen=True):
    """The flash of a board."""

    size: Literal["2MB", "4MB", "8MB", "16MB"]
    partitions: list[Partition]

    @property
    def size_bytes(self) -> int:
        """The chip's size."""
        return SIZES[self.size]

    @property
    def vfs(self) -> Partition:
        """The one with MicroPython's file system."""
        return next(partition for partition in self.partitions if partition.name == "vfs")


def check(flash: Flash) -> None:
    """Raise Rejected for a table that does not fit the flash or that a bootloader would not take."""
    free_from = TABLE_OFFSET + SECTOR
    for number, partition in enumerate(flash.partitions):
        place = f"flash.partitions[{number}]"
        alignment = APP_ALIGNMENT if partition.type == "app" else SECTOR
        if (partition.type, partition.subtype) not in SUBTYPES:
            raise Rejected(f"{place}.subtype", f"{partition.subtype} is no subtype of {partition.type}")
        if partition.offset % alignment or partition.size % SECTOR:
            raise Rejected(f"{place}.offset", f"offset and size must be multiples of {alignment:#x} and {SECTOR:#x}")
        if partition.offset < free_from:
            raise Rejected(
                f"{place}.offset", f"{partition.offset:#x} lies before {free_from:#x}, where the last one ends"
            )
        if partition.end > flash.size_bytes:
            raise Rejected(f"{place}.size", f"ends at {partition.end:#x}, behind the flash of {flash.size}")
        free_from = partition.end
    names = [partition.name for partition in flash.partitions]
    if names.count("vfs") != 1 or len(set(names)) != len(names):
        raise Rejected("flash.partitions", "names must differ, and one must be vfs, MicroPython's file system")


def pack(partitions: list[Partition]) -> bytes:
    """Return the table as it stands at 0x8000."""
    entries = b"".join(
        ENTRY.pack(MAGIC, TYPES[one.type], SUBTYPES[one.type, one.subtype], one.offset, one.size, one.name.encode(), 0)
        for one in partitions
    )
    checksum = struct.pack("<H", CHECKSUM_MAGIC) + b"\xff" * 14 + hashlib.md5(entries, usedforsecurity=False).digest()
    return (entries + checksum).ljust(TABLE_BYTES, b"\xff")


def unpack(table: bytes) -> list[Partition]:
    """Return the partitions of a table. Raises Rejected for one that is damaged or that has types we don't know."""
    found: list[Partition] = []
    for at in range(0, min(len(table), TABLE_BYTES), ENTRY.size):
        entry = table[at : at + ENTRY.size]
        magic = int.from_bytes(entry[:2], "little")
        if magic == CHECKSUM_MAGIC:
            if entry[16:] != hashlib.md5(table[:at], usedforsecurity=False).digest():
                raise Rejected("partition table", "has a wrong checksum")
            return found
        if magic != MAGIC or len(entry) < ENTRY.size:
            break
        _, kind, subtype, offset, size, name, _ = ENTRY.unpack(entry)
        names = [names for names, number in SUBTYPES.items() if (TYPES[names[0]], number) == (kind, subtype)]
        if not names:
            raise Rejected("partition table", f"has the unknown type {kind}, {subtype} at {offset:#x}")
        found.append(Partition(name.rstrip(b"\0").decode(), names[0][0], names[0][1], offset, size))  # type: ignore[arg-type]
    raise Rejected("partition table", "is missing or ends without a checksum")
