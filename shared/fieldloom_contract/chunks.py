"""The board's half of an update: it asks for a piece of a file, and takes the chunks that come (`update`). (F5)"""

import struct
from binascii import crc32
from collections import namedtuple

from fieldloom_contract.compat import const
from fieldloom_contract.entries import MAX_FILE_BYTES
from fieldloom_contract.errors import Rejected
from fieldloom_contract.fields import dumps

CHUNK_BYTES = const(2048)
UNKNOWN = 0xFFFFFFFF  # in the place of a size: the file is not known here, and the data say why

HEAD = ">4sIIII"  # magic, place, offset, size of the whole file, CRC-32 of the data
HEAD_BYTES = const(20)
MAGIC = b"FLU1"

Chunk = namedtuple("Chunk", ("place", "offset", "size", "data"))  # size None: unknown, for the reason in data


def place(release: str, file: str) -> int:
    """Return what tells a chunk of one file from those of others: the CRC-32 of `RELEASE/FILE`."""
    return crc32((release + "/" + file).encode()) & 0xFFFFFFFF


def request(release: str, file: str, offset: int, length: int) -> bytes:
    """Build a board's request."""
    return dumps({"release": release, "file": file, "offset": offset, "length": length})


def unpack_chunk(payload: bytes) -> Chunk:
    """Return a chunk; its data are a view of the payload. Raises Rejected."""
    if not HEAD_BYTES <= len(payload) <= HEAD_BYTES + CHUNK_BYTES:
        raise Rejected("chunk", "has the wrong length")
    magic, where, offset, size, checksum = struct.unpack_from(HEAD, payload)
    data = memoryview(payload)[HEAD_BYTES:]
    if magic != MAGIC:
        raise Rejected("chunk", "is none of this version")
    if crc32(data) & 0xFFFFFFFF != checksum:
        raise Rejected("chunk", "is damaged")
    if size == UNKNOWN:
        return Chunk(where, 0, None, data)
    if size > MAX_FILE_BYTES or offset + len(data) > size:
        raise Rejected("chunk", "reaches beyond its file")
    return Chunk(where, offset, size, data)
