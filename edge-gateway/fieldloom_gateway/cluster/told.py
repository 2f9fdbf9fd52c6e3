"""What the gateways of a site tell each other of commands, in MessagePack. (D7, ADR 63)"""

from typing import NamedTuple

import msgspec

from fieldloom_runtime.records import Result


class Waiting(NamedTuple):
    """A command that waits for a device which is not at the gateway that tells of it; `expires` in Unix ms."""

    id: str
    device: str
    payload: bytes
    expires: int


class Ended(NamedTuple):
    """A command that nobody needs to keep any more: by its device's final word, or None where it was withdrawn."""

    id: str
    device: str
    expires: int
    result: Result | None


class Told(NamedTuple):
    """What one gateway tells another."""

    waiting: list[Waiting]
    ended: list[Ended]


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(Told)


def encode(told: Told) -> bytes:
    """Return the bytes of what is told."""
    return _encode(told)


def decode(body: bytes) -> Told:
    """Return what is told. Raises msgspec.MsgspecError."""
    return _decoder.decode(body)
