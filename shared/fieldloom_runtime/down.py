"""What travels from the cloud down to a gateway and is no command: one JSON object a record, typed on both sides."""

from collections.abc import Callable

import msgspec
from msgspec import Struct

WITHDRAWN = "withdrawn"
REVOKED = "revoked"
ANSWERED = "answered"


class Withdrawn(Struct, tag_field="kind", tag=WITHDRAWN):
    """What is left of a record that a later one has made needless: its place in the stream."""


class Revoked(Struct, tag_field="kind", tag=REVOKED):
    """A part of the CA's list of revoked certificates, and whom to cut off once all of it is there. (P3)"""

    number: int
    """Of the list; a higher one takes the place of a lower one."""
    part: int
    """From 1 to `parts`."""
    parts: int
    der: bytes
    cut: list[str] = []
    """Identities that have another certificate, and come back with it."""
    hold: list[str] = []
    """Identities that have none, and are kept out."""


class Answered(Struct, tag_field="kind", tag=ANSWERED):
    """What a device's request for a certificate came to. (P4)"""

    device: str
    request: str
    """SHA-256 of the request."""
    certificate: bytes | None = None
    """DER."""
    error: str | None = None


Down = Withdrawn | Revoked | Answered

encode = msgspec.json.Encoder().encode
decode: Callable[[bytes], Down] = msgspec.json.Decoder(Down).decode
