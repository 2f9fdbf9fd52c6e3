"""Devices in partitions: what is owned and handed on together. (D4, decision 4)"""

from zlib import crc32

PARTITIONS = 256


def partition_of(device: str) -> int:
    """Return the partition of a device, from 0 to 255: CRC-32 of its id modulo 256."""
    return crc32(device.encode()) % PARTITIONS
