"""What the gateways of a site tell each other of commands, in MessagePack. (D7, ADR 63)"""

from collections.abc import Set
from typing import NamedTuple

import msgspec

MAX_BYTES = 2**20
"""The most that is told at once."""
_ENOUGH_BYTES = 2**18
_BESIDE_BYTES = 256
"""What ids and times of one entry take at most; the rest is 64 KiB at most, a message of a device."""


class Waiting(NamedTuple):
    """A command that waits for a device which is not at the gateway that tells of it; `expires` in Unix ms."""

    id: str
    device: str
    payload: bytes
    expires: int
    source: bytes | None = None
    """Who has asked for it, a `Source` as JSON."""


class Ended(NamedTuple):
    """A command that nobody needs to keep any more."""

    id: str
    device: str
    expires: int
    word: bytes | None
    """Its device's final one, a Result of `fieldloom_runtime.records` as JSON; None where it was withdrawn."""


class Told(NamedTuple):
    """What one gateway tells another."""

    waiting: list[Waiting]
    ended: list[Ended]


def news(held: Told, waiting: Set[str], ended: Set[str]) -> Told:
    """Return as much as fits of what is held by one gateway, and is not among the ids that another one has."""
    told, room = Told([], []), _ENOUGH_BYTES
    for end in held.ended:
        if end.id not in ended and room > 0:
            told.ended.append(end)
            room -= len(end.word or b"") + _BESIDE_BYTES
    for command in held.waiting:
        if command.id not in waiting and room > 0:
            told.waiting.append(command)
            room -= len(command.payload) + len(command.source or b"") + _BESIDE_BYTES
    return told


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(Told)


def encode(told: Told) -> bytes:
    """Return the bytes of what is told."""
    return _encode(told)


def encode_for_older(told: Told) -> bytes:
    """Return the bytes of what is told, for a release that does not know who has asked. (D6)"""
    return _encode(([command[:4] for command in told.waiting], told.ended))


def decode(body: bytes) -> Told:
    """Return what is told. Raises msgspec.MsgspecError."""
    return _decoder.decode(body)
