"""What compresses the batches of a stream: zlib's fastest level, half of what their JSON costs to read (ADR 33)."""

import zlib

from fieldloom_contract.errors import Rejected

LEVEL = 1


def deflate(data: bytes) -> bytes:
    """Return data as a zlib stream (RFC 1950)."""
    return zlib.compress(data, LEVEL)


def inflate(data: bytes, size: int) -> bytes:
    """Return what was compressed, which has to have `size` bytes: no more is made of it. Raises Rejected."""
    reader = zlib.decompressobj()
    try:
        whole = reader.decompress(data, size)
        rest = reader.decompress(reader.unconsumed_tail, 1)
    except zlib.error:
        raise Rejected("batch", "can't be decompressed") from None
    if rest or len(whole) != size or not reader.eof or reader.unused_data:
        raise Rejected("batch", "is not as long as it says")
    return whole
