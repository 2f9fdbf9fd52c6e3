"""What travels between gateway and cloud, the same in both directions: batches of a stream and their acknowledgements.

A frame is `FL`, a version, a kind, the stream's id and an offset; a batch goes on with `first` (the oldest offset that
the sender still holds), its covers and its records, one JSON text a line, so that nobody decodes what he only carries.
"""

import struct
from collections import namedtuple

from fieldloom_contract.compat import loads
from fieldloom_contract.errors import Rejected
from fieldloom_contract.fields import dumps, number
from fieldloom_contract.limits import MAX_BOOT, MAX_NUMBER
from fieldloom_contract.topics import device_id

VERSION = 1
STREAM_BYTES = 16
DISK_BYTES = 8
"""The front of a stream's id, which all streams of one disk share."""
LANE_BYTES = STREAM_BYTES - DISK_BYTES

_BATCH = ord("B")
_ACK = ord("A")
_HEAD = "!2sBB16sQ"
_HEAD_BYTES = struct.calcsize(_HEAD)
_REST = "!QII"  # first, number of records, bytes of covers
_BODY = _HEAD_BYTES + struct.calcsize(_REST)

Batch = namedtuple("Batch", ("stream", "offset", "first", "covers", "records"))


def sibling(stream: bytes, drawn: bytes) -> bytes:
    """Return the id of a further stream of the same disk; `drawn` are LANE_BYTES random ones."""
    return stream[:DISK_BYTES] + drawn


def pack(stream: bytes, offset: int, first: int, covers: list[list[object]], records: list[bytes]) -> bytes:
    """Return a batch. `offset` numbers its first record; a cover is [device, boot, first seq, last seq]."""
    told = dumps(covers)
    head = struct.pack(_HEAD, b"FL", VERSION, _BATCH, stream, offset)
    return head + struct.pack(_REST, first, len(records), len(told)) + told + b"\n".join(records)


def pack_ack(stream: bytes, offset: int) -> bytes:
    """Return the acknowledgement of all up to `offset` of a stream."""
    return struct.pack(_HEAD, b"FL", VERSION, _ACK, stream, offset)


def _open(payload: bytes, expected: int) -> tuple[bytes, int]:
    if len(payload) < _HEAD_BYTES:
        raise Rejected("batch", "is cut off in its head")
    magic, version, kind, stream, offset = struct.unpack(_HEAD, payload[:_HEAD_BYTES])
    if magic != b"FL" or kind != expected:
        raise Rejected("batch", "is no frame of this kind")
    if version != VERSION:
        raise Rejected("batch", "has version " + str(version) + ", this side knows " + str(VERSION))
    if offset > MAX_NUMBER:
        raise Rejected("batch.offset", "is beyond what a stream counts to")
    return stream, offset


def unpack_ack(payload: bytes) -> tuple[bytes, int]:
    """Return (stream, offset). Raises Rejected."""
    if len(payload) != _HEAD_BYTES:
        raise Rejected("ack", "has the wrong length")
    return _open(payload, _ACK)


def unpack_head(payload: bytes) -> tuple[bytes, int, int, int]:
    """Return (stream, offset, first, number of records) of a batch, also of one whose rest is at fault.

    Raises Rejected; never for a batch of ours, so that its receiver can settle it whatever it holds.
    """
    stream, offset = _open(payload, _BATCH)
    if len(payload) < _BODY:
        raise Rejected("batch", "is cut off in its head")
    first, count, told = struct.unpack(_REST, payload[_HEAD_BYTES:_BODY])
    if not 1 <= first <= offset:
        raise Rejected("batch.first", "must be from 1 to the batch's offset")
    # A record has a byte at least, and one between it and the next.
    if not 1 <= count <= (len(payload) - _BODY - told + 1) // 2:
        raise Rejected("batch.records", "are not as many as the head says")
    return stream, offset, first, count


def unpack(payload: bytes) -> Batch:
    """Return the batch, its records as JSON texts that nobody has parsed yet. Raises Rejected."""
    stream, offset, first, count = unpack_head(payload)
    end = _BODY + struct.unpack(_REST, payload[_HEAD_BYTES:_BODY])[2]
    try:
        covers = loads(payload[_BODY:end])
    except ValueError as error:
        raise Rejected("batch.covers", str(error)) from error
    _check_covers(covers)
    records = payload[end:].split(b"\n")
    if len(records) != count:
        raise Rejected("batch.records", "are not as many as the head says")
    return Batch(stream, offset, first, covers, records)


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
