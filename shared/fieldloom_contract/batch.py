"""What travels between gateway and cloud, the same in both directions: batches of a stream and their acknowledgements.

A frame is `FL`, a version, a kind, the stream's id and an offset; a batch goes on with `first` (the oldest offset that
the sender still holds), its covers and its records, one JSON text a line, so that nobody decodes what he only carries.
In version 2 covers and records are compressed (zlib, RFC 1950), behind the number of bytes that they have without it;
who packs and unpacks lends the functions for that, since a board has none.
"""

import struct
from collections import namedtuple

from fieldloom_contract.compat import Any, loads
from fieldloom_contract.errors import Rejected
from fieldloom_contract.fields import dumps, number
from fieldloom_contract.limits import BROKER_PACKET_BYTES, MAX_BOOT, MAX_NUMBER
from fieldloom_contract.topics import device_id

VERSION = 1
COMPRESSED = 2
COMPRESSED_FROM_BYTES = 1024
"""Less than this, covers and records together, is sent as it is."""
STREAM_BYTES = 16
DISK_BYTES = 8
"""The front of a stream's id, which all streams of one disk share."""
LANE_BYTES = STREAM_BYTES - DISK_BYTES

_BATCH = ord("B")
_ACK = ord("A")
_HEAD = "!2sBB16sQ"
_HEAD_BYTES = struct.calcsize(_HEAD)
_VERSION_AT = 2
_REST = "!QII"  # first, number of records, bytes of covers
_BODY = _HEAD_BYTES + struct.calcsize(_REST)
_SIZE = "!I"
_SIZE_BYTES = struct.calcsize(_SIZE)

Batch = namedtuple("Batch", ("stream", "offset", "first", "covers", "records"))


def sibling(stream: bytes, drawn: bytes) -> bytes:
    """Return the id of a further stream of the same disk; `drawn` are LANE_BYTES random ones."""
    return stream[:DISK_BYTES] + drawn


def pack(
    stream: bytes, offset: int, first: int, covers: list[list[object]], records: list[bytes], deflate: Any = None
) -> bytes:
    """Return a batch. `offset` numbers its first record; a cover is [device, boot, first seq, last seq].

    With `deflate(data) -> bytes` it is compressed, if that saves anything.
    """
    told = dumps(covers)
    body = told + b"\n".join(records)
    rest = struct.pack(_REST, first, len(records), len(told))
    if deflate is not None and len(body) >= COMPRESSED_FROM_BYTES:
        small: bytes = struct.pack(_SIZE, len(body)) + deflate(body)
        if len(small) < len(body):
            return struct.pack(_HEAD, b"FL", COMPRESSED, _BATCH, stream, offset) + rest + small
    return struct.pack(_HEAD, b"FL", VERSION, _BATCH, stream, offset) + rest + body


def pack_ack(stream: bytes, offset: int) -> bytes:
    """Return the acknowledgement of all up to `offset` of a stream."""
    return struct.pack(_HEAD, b"FL", VERSION, _ACK, stream, offset)


def _open(payload: bytes, expected: int, newest: int) -> tuple[int, bytes, int]:
    if len(payload) < _HEAD_BYTES:
        raise Rejected("batch", "is cut off in its head")
    magic, version, kind, stream, offset = struct.unpack(_HEAD, payload[:_HEAD_BYTES])
    if magic != b"FL" or kind != expected:
        raise Rejected("batch", "is no frame of this kind")
    if not VERSION <= version <= newest:
        raise Rejected("batch", "has version " + str(version) + ", this side knows " + str(newest))
    if offset > MAX_NUMBER:
        raise Rejected("batch.offset", "is beyond what a stream counts to")
    return version, stream, offset


def unpack_ack(payload: bytes) -> tuple[bytes, int]:
    """Return (stream, offset). Raises Rejected."""
    if len(payload) != _HEAD_BYTES:
        raise Rejected("ack", "has the wrong length")
    return _open(payload, _ACK, VERSION)[1:]


def unpack_head(payload: bytes) -> tuple[bytes, int, int, int]:
    """Return (stream, offset, first, number of records) of a batch, also of one whose rest is at fault.

    Raises Rejected; never for a batch of ours, so that its receiver can settle it whatever it holds.
    """
    version, stream, offset = _open(payload, _BATCH, COMPRESSED)
    if len(payload) < (_BODY if version == VERSION else _BODY + _SIZE_BYTES):
        raise Rejected("batch", "is cut off in its head")
    size = len(payload) - _BODY if version == VERSION else _size(payload)
    if size > BROKER_PACKET_BYTES:
        raise Rejected("batch.size", "is more than the " + str(BROKER_PACKET_BYTES) + " bytes that any may have")
    first, count, told = struct.unpack(_REST, payload[_HEAD_BYTES:_BODY])
    if not 1 <= first <= offset:
        raise Rejected("batch.first", "must be from 1 to the batch's offset")
    # A record has a byte at least, and one between it and the next.
    if not 1 <= count <= (size - told + 1) // 2:
        raise Rejected("batch.records", "are not as many as the head says")
    return stream, offset, first, count


def unpack(payload: bytes, inflate: Any = None) -> Batch:
    """Return the batch, its records as JSON texts that nobody has parsed yet. Raises Rejected.

    `inflate(data, size) -> bytes` decompresses to `size` bytes and no more, or raises Rejected; without it a compressed
    batch is refused.
    """
    stream, offset, first, count = unpack_head(payload)
    told = struct.unpack(_REST, payload[_HEAD_BYTES:_BODY])[2]
    if payload[_VERSION_AT] == VERSION:
        body = payload[_BODY:]
    elif inflate is None:
        raise Rejected("batch", "is compressed, which this side does not take")
    else:
        body = inflate(payload[_BODY + _SIZE_BYTES :], _size(payload))
    try:
        covers = loads(body[:told])
    except ValueError as error:
        raise Rejected("batch.covers", str(error)) from error
    _check_covers(covers)
    records = body[told:].split(b"\n")
    if len(records) != count:
        raise Rejected("batch.records", "are not as many as the head says")
    return Batch(stream, offset, first, covers, records)


def _size(payload: bytes) -> int:
    """Return how many bytes the rest of a compressed batch has without that."""
    return int(struct.unpack(_SIZE, payload[_BODY : _BODY + _SIZE_BYTES])[0])


def _check_covers(covers: object) -> None:
    if not isinstance(covers, list):
        raise Rejected("batch.covers", "must be a list")
    for cover in covers:
        if not isinstance(cover, list) or len(cover) != 4:
            raise Rejected("batch.covers", "must be lists of device, boot, first and last seq")
        device_id(cover[0])
        told = {"batch.boot": cover[1], "batch.first_seq": cover[2], "batch.last_seq": cover[3]}
        number(told, "batch.boot", 1, MAX_BOOT)
        number(told, "batch.last_seq", number(told, "batch.first_seq", 1))
