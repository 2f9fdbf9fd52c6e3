"""How a release comes to a board over its one connection: it asks for a piece of a file, and gets it in chunks. (F5)

A request is JSON, `{"release", "file", "offset", "length"}`; `file` is `manifest`, `manifest.sig`, `key`, `key.sig` or
`files/PATH`. The gateway answers it with chunks of at most 2 KiB in order, up to the end of the file, and keeps nothing
of it. A chunk is its head and its data; one without a file says why there is none. A board asks again for what has not
come.
"""

import struct
from binascii import crc32
from collections import namedtuple

from fieldloom_contract.compat import Any, const
from fieldloom_contract.errors import Rejected
from fieldloom_contract.fields import dumps, number, read_object, text
from fieldloom_contract.limits import MAX_NAME
from fieldloom_contract.release import CONTENT, DOCUMENTS, MAX_FILE_BYTES, MAX_PATH, parse_id, path

CHUNK_BYTES = const(2048)
WINDOW_BYTES = const(16384)  # the most that one request may ask for
REQUEST_BYTES = const(512)
UNKNOWN = 0xFFFFFFFF  # in the place of a size: the file is not known here, and the data say why
REASON_BYTES = const(256)

_HEAD = ">4sIIII"  # magic, place, offset, size of the whole file, CRC-32 of the data
_HEAD_BYTES = const(20)
_MAGIC = b"FLU1"

Chunk = namedtuple("Chunk", ("place", "offset", "size", "data"))  # size None: unknown, for the reason in data


def place(release: str, file: str) -> int:
    """Return what tells a chunk of one file from those of others: the CRC-32 of `RELEASE/FILE`."""
    return crc32((release + "/" + file).encode()) & 0xFFFFFFFF


def request(release: str, file: str, offset: int, length: int) -> bytes:
    """Build a board's request."""
    return dumps({"release": release, "file": file, "offset": offset, "length": length})


def parse_request(payload: bytes) -> dict[str, Any]:
    """Return {"release", "file", "offset", "length"}. Raises Rejected."""
    message = read_object(payload, REQUEST_BYTES)
    release = text(message, "release", MAX_NAME)
    parse_id(release)
    file = text(message, "file", len(CONTENT) + MAX_PATH)
    if file not in DOCUMENTS:
        if not file.startswith(CONTENT):
            raise Rejected("file", "must be one of " + ", ".join(DOCUMENTS) + ", or " + CONTENT + "PATH")
        path(file[len(CONTENT) :])
    return {
        "release": release,
        "file": file,
        "offset": number(message, "offset", 0, MAX_FILE_BYTES),
        "length": number(message, "length", 1, WINDOW_BYTES),
    }


def pack_chunk(release: str, file: str, offset: int, size: int, data: bytes) -> bytes:
    """Build a chunk: `data`, at most 2 KiB, stand at `offset` of a file of `size` bytes."""
    return struct.pack(_HEAD, _MAGIC, place(release, file), offset, size, crc32(data) & 0xFFFFFFFF) + data


def pack_unknown(release: str, file: str, reason: str) -> bytes:
    """Build the answer to a request for what is not here; the board tries again for some minutes."""
    return pack_chunk(release, file, 0, UNKNOWN, reason.encode()[:REASON_BYTES])


def unpack_chunk(payload: bytes) -> Chunk:
    """Return a chunk; its data are a view of the payload. Raises Rejected."""
    if not _HEAD_BYTES <= len(payload) <= _HEAD_BYTES + CHUNK_BYTES:
        raise Rejected("chunk", "has the wrong length")
    magic, where, offset, size, checksum = struct.unpack_from(_HEAD, payload)
    data = memoryview(payload)[_HEAD_BYTES:]
    if magic != _MAGIC:
        raise Rejected("chunk", "is none of this version")
    if crc32(data) & 0xFFFFFFFF != checksum:
        raise Rejected("chunk", "is damaged")
    if size == UNKNOWN:
        return Chunk(where, 0, None, data)
    if size > MAX_FILE_BYTES or offset + len(data) > size:
        raise Rejected("chunk", "reaches beyond its file")
    return Chunk(where, offset, size, data)
