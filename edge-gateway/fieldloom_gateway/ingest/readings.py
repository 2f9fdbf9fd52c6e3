"""The quick way to read telemetry: what is plainly right is decoded in one step, the contract reads the rest."""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from fieldloom_contract.limits import MAX_NUMBER, MAX_UP_BYTES
from fieldloom_runtime.records import Name, Values

KEYS = 4  # boot, seq, ts, values


class Reading(Struct, forbid_unknown_fields=True):
    """A numbered and dated record of a device."""

    boot: Annotated[int, Meta(ge=1, le=2**31 - 1)]
    seq: Annotated[int, Meta(ge=1, le=MAX_NUMBER)]
    ts: int
    values: Values
    first: Annotated[int, Meta(ge=1)] | None = None
    traceparent: Name | None = None


_one = msgspec.json.Decoder(Reading)
_many = msgspec.json.Decoder(Annotated[list[Reading], Meta(min_length=1)])


def decode(payload: bytes) -> list[Reading] | None:
    """Return the readings of a message as `messages.parse_records` would, or None: then it has to look at them.

    A decoder does not tell of a key that stands twice, so the keys are counted.
    """
    if len(payload) > MAX_UP_BYTES or b"\\u" in payload:  # an escape may be a NUL, which no text may hold
        return None
    try:
        readings = _many.decode(payload) if payload[:1] == b"[" else [_one.decode(payload)]
    except (msgspec.DecodeError, UnicodeDecodeError):  # ValidationError is one too
        return None
    keys = 0
    for reading in readings:
        keys += KEYS + len(reading.values)
        if reading.first is not None:
            keys += 1
            if reading.first > reading.seq:
                return None
        if reading.traceparent is not None:
            keys += 1
    return readings if payload.count(b'":') == keys else None
