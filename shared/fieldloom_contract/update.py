"""How a release comes to a board over its one connection: it asks for a piece of a file, and gets it in chunks. (F5)

A request is JSON, `{"release", "file", "offset", "length"}`; `file` is `manifest`, `manifest.sig`, `key`, `key.sig` or
`files/PATH`. The gateway answers it with chunks of at most 2 KiB in order, up to the end of the file, and keeps nothing
of it. A chunk is its head and its data; one without a file says why there is none. A board asks again for what has not
come.
"""

import struct
from binascii import crc32

from fieldloom_contract.chunks import (
    CHUNK_BYTES,
    HEAD,
    MAGIC,
    UNKNOWN,
    Chunk,
    place,
    request,
    unpack_chunk,
)
from fieldloom_contract.compat import Any, const
from fieldloom_contract.entries import CONTENT, DOCUMENTS, MAX_FILE_BYTES, MAX_PATH, path
from fieldloom_contract.errors import Rejected
from fieldloom_contract.fields import number, read_object, text
from fieldloom_contract.limits import MAX_NAME
from fieldloom_contract.manifest import parse_id

WINDOW_BYTES = const(16384)  # the most that one request may ask for
REQUEST_BYTES = const(512)
REASON_BYTES = const(256)


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
    return struct.pack(HEAD, MAGIC, place(release, file), offset, size, crc32(data) & 0xFFFFFFFF) + data


def pack_unknown(release: str, file: str, reason: str) -> bytes:
    """Build the answer to a request for what is not here; the board tries again for some minutes."""
    return pack_chunk(release, file, 0, UNKNOWN, reason.encode()[:REASON_BYTES])


__all__ = [
    "CHUNK_BYTES",
    "REASON_BYTES",
    "REQUEST_BYTES",
    "UNKNOWN",
    "WINDOW_BYTES",
    "Chunk",
    "pack_chunk",
    "pack_unknown",
    "parse_request",
    "place",
    "request",
    "unpack_chunk",
]
