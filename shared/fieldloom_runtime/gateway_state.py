"""What a gateway tells the cloud of itself, beside its streams: how far it is, and what waits. (T8, ADR 31)"""

from collections.abc import Callable
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from fieldloom_contract.limits import MAX_BOOT, MAX_NUMBER
from fieldloom_runtime.records import Moment, Name, Number

TELL_EVERY_S = 30.0

Count = Annotated[int, Meta(ge=0, le=MAX_NUMBER)]
Boot = Annotated[int, Meta(ge=1, le=MAX_BOOT)]


class GatewayState(Struct, omit_defaults=True):
    """A gateway's presence; offline, it is the last will."""

    online: bool
    connected: bool = False
    """Whether it has just come, and may have missed what was sent down."""
    at: Moment = 0
    """When it looked, Unix ms; what it had taken before is at most `numbered`."""
    stream: Annotated[bytes, Meta(max_length=16)] = b""
    numbered: Count | None = 0
    """The last number of its stream; 0 if the cloud has acknowledged all, null while an older lane waits (ADR 32)."""
    waiting: Count = 0
    """Records that the cloud has not acknowledged."""
    holds: list[tuple[Name, Boot, Number, Number]] = []
    """(device, boot, first seq, last seq) of what waits, the oldest of it."""


encode = msgspec.json.Encoder().encode
decode: Callable[[bytes], GatewayState] = msgspec.json.Decoder(GatewayState).decode
