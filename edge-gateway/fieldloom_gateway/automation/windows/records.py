"""What the replicated map holds of rules that remember: a checkpoint a source, below its partition. (D4, ADR 66)

`rules/NNN/DEVICE/PART`: the first part begins with what is in the checkpoint of each receiver's stream; it alone is
read by who received the device's records.
"""

import zlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from fieldloom_gateway.cluster.state.entries import Entry
from fieldloom_gateway.cluster.state.parts import split

PREFIX = "rules/"
FAST = 1  # of zlib: a tenth of the time of its default for nearly the same, since events repeat names


class Kept(NamedTuple):
    """What is kept of a source."""

    taken: dict[str, int]
    """By stream the number of the last row that it takes into account."""
    state: bytes
    """The engine's record, packed; empty where it remembers nothing."""


class _Head(Struct, array_like=True):
    taken: dict[str, int]
    begin: bytes


_encode = msgspec.msgpack.Encoder().encode
_head: Callable[[bytes], _Head] = msgspec.msgpack.Decoder(_Head).decode
_pack = msgspec.json.Encoder().encode
_unpack = msgspec.json.Decoder().decode


def below(partition: int) -> str:
    """Return how the keys of a partition begin."""
    return f"{PREFIX}{partition:03}/"


def key_of(partition: int, source: str) -> str:
    """Return the key below which the parts of a source's checkpoint stand."""
    return below(partition) + source


def place_of(entry: str) -> tuple[int, str]:
    """Return the partition and the source of a part, by its key."""
    _, partition, source, _ = entry.split("/", 3)
    return int(partition), source


def packed(record: dict[str, Any] | None) -> bytes:
    """Return an engine's record as it is kept."""
    return b"" if record is None else zlib.compress(_pack(record), FAST)


def unpacked(state: bytes) -> dict[str, Any] | None:
    """Return an engine's record as it was. Raises zlib.error, MsgspecError."""
    return _unpack(zlib.decompress(state)) if state else None


def parts_of(kept: Kept) -> list[bytes]:
    """Return the values of a checkpoint's parts."""
    begin, *others = split(kept.state)
    return [_encode(_Head(kept.taken, begin)), *others]


def kept_of(parts: Sequence[Entry]) -> Kept:
    """Return a checkpoint of its parts. Raises MsgspecError."""
    head = _head(parts[0].value)
    return Kept(head.taken, head.begin + b"".join(entry.value for entry in parts[1:]))


def taken_of(first: Entry) -> dict[str, int]:
    """Return what a checkpoint takes into account, of its first part. Raises MsgspecError."""
    return _head(first.value).taken
