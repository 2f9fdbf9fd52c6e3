"""What a gateway sends, checked before it reaches a store: what does not fit becomes a dead letter in its place. (T1)

So no batch can be one that no store takes, which would hold up its gateway's stream for ever.
"""

import base64

import msgspec

from fieldloom_contract import batch, topics
from fieldloom_contract.errors import Rejected
from fieldloom_contract.limits import DEAD_LETTER_BYTES, MAX_DEPTH
from fieldloom_contract.plain import plain
from fieldloom_runtime.compression import inflate
from fieldloom_runtime.decoding import UNREADABLE
from fieldloom_runtime.records import GIVEN_UP, AnyRecord, DeadLetter, Discovered, Event, Telemetry, decode

FOREIGN = "the device is not registered at the site of this gateway"
VOID = Telemetry(device="", ts=0, at=0, values={})
"""Takes the place of a record that nobody can read or that its gateway gave up; the numbers of its stream go on."""


def parsed(text: bytes, now: int) -> AnyRecord:
    """Return a record, or the dead letter that takes the place of what is none; `now`, in Unix ms, dates that."""
    if text == GIVEN_UP:
        return VOID
    try:
        record = decode(text)
        if isinstance(record, Discovered):
            topics.device_id(record.device)
        if not isinstance(record, Telemetry):
            plain(msgspec.to_builtins(record), "record", MAX_DEPTH + 1)
    except (*UNREADABLE, Rejected) as error:
        return letter(text, f"unreadable: {error}", now)
    return record


def allowed(record: AnyRecord, devices: set[str], gateway: str) -> AnyRecord:
    """Return a record of a device that its gateway may speak for, or the dead letter that takes its place.

    Of itself a gateway may tell events, which nobody numbers.
    """
    if record.device in devices or record is VOID:
        return record
    if record.device == gateway and isinstance(record, Event):
        return msgspec.structs.replace(record, boot=None, seq=None)
    if isinstance(record, (DeadLetter, Discovered)):  # it is kept, and says nothing of what is received of that device
        return msgspec.structs.replace(record, boot=None, seq=None)
    return DeadLetter(device=record.device, ts=record.ts, at=record.at, reason=FOREIGN, was=msgspec.to_builtins(record))


def letter(payload: bytes, reason: str, now: int) -> DeadLetter:
    """Return the dead letter of what has no readable device: the first bytes, the length and the reason."""
    kept = base64.b64encode(payload[:DEAD_LETTER_BYTES]).decode()
    return DeadLetter(device="", ts=now, at=now, reason=reason, payload=kept, length=len(payload))


def opened(payload: bytes, now: int) -> tuple[batch.Batch, list[AnyRecord]]:
    """Return a batch and its records; of one whose head alone can be read, one dead letter holds all of it.

    Raises Rejected when not even the head can be read.
    """
    try:
        sent = batch.unpack(payload, inflate)
    except Rejected as error:
        stream, offset, first, count = batch.unpack_head(payload)
        return batch.Batch(stream, offset, first, [], []), [letter(payload, str(error), now), *[VOID] * (count - 1)]
    return sent, [parsed(text, now) for text in sent.records]
