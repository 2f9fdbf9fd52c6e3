"""What the replicated map says of members, in MessagePack, and the state that follows. (D3)"""

import re
from typing import Literal

import msgspec

from fieldloom_contract.errors import Rejected

PREFIX = "members/"
INVITATIONS = "invitations/"

State = Literal["unknown", "joining", "active", "leaving", "down"]

_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]{1,253}):([0-9]{1,5})")


class Software(msgspec.Struct, frozen=True):
    """What a gateway runs: its release, the newest commands of the map that it knows, and its rule engine."""

    release: str
    commands: int
    engine: int


class Record(msgspec.Struct, frozen=True):
    """A gateway that belongs to the cluster; `address` is where its peers reach it, HOST:PORT."""

    address: str
    software: Software
    state: Literal["joining", "active", "leaving"]
    invitation: str = ""
    """The digest of the token by which it joins, while it does."""


class Invitation(msgspec.Struct, frozen=True):
    """That a gateway may join, made by a member."""

    member: str
    by: str


class Member(msgspec.Struct, frozen=True):
    """A gateway as the cluster sees it. One that is unknown has no address and no software."""

    name: str
    state: State
    address: str = ""
    software: Software | None = None


_encode = msgspec.msgpack.Encoder().encode
_record = msgspec.msgpack.Decoder(Record)
_invitation = msgspec.msgpack.Decoder(Invitation)


def encode(body: Record | Invitation) -> bytes:
    """Return the bytes of a value of the map."""
    return _encode(body)


def decode_record(body: bytes) -> Record:
    """Return what is written of a gateway."""
    return _record.decode(body)


def decode_invitation(body: bytes) -> Invitation:
    """Return who may join."""
    return _invitation.decode(body)


def record_key(name: str) -> str:
    """Return the key of what is written of a gateway."""
    return f"{PREFIX}{name}/record"


def alive_key(name: str) -> str:
    """Return the key of a gateway's heartbeat: an entry that expires when it is silent, and holds what goes with it."""
    return f"{PREFIX}{name}/alive"


def member_of(key: str) -> str:
    """Return the name of the gateway whose key this is."""
    return key.removeprefix(PREFIX).split("/", 1)[0]


def seen(name: str, record: Record | None, *, is_alive: bool) -> Member:
    """Return a gateway as the cluster sees it: what is written of it, and whether its heart beats."""
    if record is None:
        return Member(name, "unknown")
    state: State = "down" if record.state == "active" and not is_alive else record.state
    return Member(name, state, record.address, record.software)


def check_address(address: str) -> str:
    """Return an address. Raises Rejected unless it is HOST:PORT."""
    match = _ADDRESS.fullmatch(address)
    if match is None or not 1 <= int(match[2]) <= 65535:
        raise Rejected("address", f"{address[:80]!r} is not HOST:PORT, as 192.168.1.20:7420")
    return address
