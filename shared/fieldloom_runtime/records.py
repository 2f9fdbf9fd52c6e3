"""What travels from a gateway to the cloud: one JSON object a record, typed on both sides.

`at` is when the gateway took it and `ts` when it happened, both Unix ms; boot and seq are missing where nobody numbered
it. The text of a record never holds a newline, so that a batch can be split without being decoded.
"""

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from fieldloom_contract.limits import MAX_METRICS, MAX_NAME, MAX_NUMBER
from fieldloom_engine.holds import Source

MAX_CAPABILITIES = 64  # of one device

Name = Annotated[str, Meta(min_length=1, max_length=MAX_NAME)]
Word = Annotated[str, Meta(max_length=MAX_NAME)]
Whole = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Value = Whole | float | bool | str | None
Values = Annotated[dict[Name, Value], Meta(min_length=1, max_length=MAX_METRICS)]
Number = Annotated[int, Meta(ge=1, le=MAX_NUMBER)]
Tags = dict[Name, Name]
Moment = Annotated[int, Meta(ge=0, le=253_402_300_799_999)]  # the end of the year 9999, as far as RFC 3339 goes


class Record(Struct, tag_field="kind", omit_defaults=True):
    """What all have in common."""

    device: Annotated[str, Meta(max_length=MAX_NAME)]
    ts: Moment
    at: Moment
    boot: Number | None = None
    seq: Number | None = None
    clock: str | None = None
    """`gateway` where the device's own time was missing or could not be."""
    traceparent: str | None = None


class Telemetry(Record, tag="telemetry", kw_only=True):
    """Readings of one moment."""

    values: Values
    tags: dict[Name, Tags] | None = None
    """By metric, what a gateway's chain of transformers says of it (T2)."""


class Event(Record, tag="event", kw_only=True):
    """Something that happened."""

    type: Name
    data: dict[str, Any]


class Moved(Struct):
    """What a command has set an actuator to, and who had asked for it. (E9)"""

    actuator: Name
    type: Name
    parameters: dict[str, Any]
    by: Source


class Result(Record, tag="result", kw_only=True):
    """A device's word on a command."""

    id: Name
    status: str
    result: dict[str, Any] | None = None
    error: str | None = None
    moved: Moved | None = None
    """Its gateway's word, where it has succeeded and moves an actuator."""


class Reported(Record, tag="reported", kw_only=True):
    """A device's half of its twin."""

    version: int
    values: dict[str, Any]
    errors: dict[str, str] = {}
    more: bool = False
    """Whether the rest of it is in the following record."""


class Desired(Record, tag="desired", kw_only=True):
    """The owner gateway's half of a twin, whenever it has heard of a patch."""

    version: int
    values: dict[str, Any]
    patch: str | None = None
    """The id of the patch."""
    error: str | None = None
    """Why the patch was refused, if it was."""


class State(Record, tag="state", kw_only=True):
    """Presence, and what a device tells of itself."""

    online: bool
    session: str
    facts: dict[str, Any] = {}
    began: Moment | None = None
    """When its gateway heard of the session first."""


class Expired(Record, tag="expired", kw_only=True):
    """A gateway's word on a command that no device has answered in time."""

    id: Name
    error: str | None = None
    """Why the gateway waits for it no more, where that is not the time."""


class CertificateRequest(Record, tag="certificate_request", kw_only=True):
    """A device's wish for its next certificate: PKCS#10, DER. (P4)"""

    csr: bytes


class Discovered(Record, tag="discovered", kw_only=True):
    """A device that is there: it has answered a discovery, or was heard where nobody can be asked. (C8)

    What it does not say of itself is empty.
    """

    adapter: Name
    """The gateway's adapter that heard it."""
    type: Word = ""
    board: Word = ""
    firmware: Word = ""
    capabilities: Annotated[list[Name], Meta(max_length=MAX_CAPABILITIES)] = []


class DeadLetter(Record, tag="dead_letter", kw_only=True):
    """What could not be used: its first bytes in base64, its length, the reason."""

    reason: str
    topic: str = ""
    payload: str = ""
    length: int = 0
    was: dict[str, Any] = {}
    """The record itself, where it could be read."""


AnyRecord = (
    Telemetry | Event | Result | Reported | Desired | State | Expired | CertificateRequest | Discovered | DeadLetter
)

GIVEN_UP = b"0"
"""The text of a record that its gateway gave up for want of room; it keeps the numbers of its stream. (T4)"""

encode = msgspec.json.Encoder().encode
decode: Callable[[bytes], AnyRecord] = msgspec.json.Decoder(AnyRecord).decode
