"""What a gateway tells the cloud of itself, beside its streams: how far it is, what waits, its cluster. (T8, D3)"""

from collections.abc import Callable
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from fieldloom_contract.limits import MAX_BOOT, MAX_NUMBER
from fieldloom_runtime.records import Moment, Name, Number, Word

TELL_EVERY_S = 30.0
MAX_MEMBERS = 64

MemberState = Literal["unknown", "joining", "active", "leaving", "down"]

Count = Annotated[int, Meta(ge=0, le=MAX_NUMBER)]
Boot = Annotated[int, Meta(ge=1, le=MAX_BOOT)]


class Member(Struct, omit_defaults=True):
    """A gateway of a cluster, as another one of it sees it."""

    name: Name
    state: MemberState
    release: Word = ""
    partitions: Annotated[int, Meta(ge=0, le=65_536)] = 0
    """For how many it acts."""


class Cluster(Struct, omit_defaults=True):
    """The cluster of a gateway, as that one sees it."""

    members: Annotated[list[Member], Meta(max_length=MAX_MEMBERS)]
    leader: Word = ""
    """Empty while none is known."""
    fault: Annotated[str, Meta(max_length=4096)] = ""
    """Why nothing that is shared can be written; empty while it can."""


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
    release: Word = ""
    cluster: Cluster | None = None
    """Of a gateway that is in one."""


encode = msgspec.json.Encoder().encode
decode: Callable[[bytes], GatewayState] = msgspec.json.Decoder(GatewayState).decode
