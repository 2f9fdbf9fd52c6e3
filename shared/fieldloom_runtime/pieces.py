"""A release's files on their way from the cloud to a gateway: a piece at a time, asked for and answered. (F5)

Over the gateway's one MQTT connection, QoS 0: who got no answer asks again. Neither side keeps anything for the other;
a file is whole when it has the SHA-256 that the release's index tells.
"""

from collections.abc import Callable
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from fieldloom_contract.limits import MAX_NAME
from fieldloom_contract.release import CONTENT, MAX_FILE_BYTES, MAX_PATH

PIECE_BYTES = 32 * 1024  # with its head it fits the broker's limit many times over, and a slow link in seconds
INDEX = "index"  # the name under which a release's index is asked for

Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Release = Annotated[str, Meta(min_length=1, max_length=MAX_NAME)]
File = Annotated[str, Meta(min_length=1, max_length=len(CONTENT) + MAX_PATH)]
Offset = Annotated[int, Meta(ge=0, le=MAX_FILE_BYTES)]


class Entry(Struct, frozen=True, array_like=True):
    """What an index tells of a file."""

    sha256: Sha256
    size: Offset


class Wanted(Struct, frozen=True):
    """A gateway's question."""

    release: Release
    file: File
    offset: Offset
    length: Annotated[int, Meta(ge=1, le=PIECE_BYTES)] = PIECE_BYTES


class Piece(Struct, frozen=True, tag="piece"):
    """The cloud's answer: what the file holds from `offset` on; `size` is the whole file's."""

    release: Release
    file: File
    offset: Offset
    size: Offset
    data: Annotated[bytes, Meta(max_length=PIECE_BYTES)]


class Unknown(Struct, frozen=True, tag="unknown"):
    """The cloud's answer where it has no such file."""

    release: Release
    file: File
    reason: str


Index = dict[File, Entry]

encode = msgspec.msgpack.Encoder().encode
decode_question: Callable[[bytes], Wanted] = msgspec.msgpack.Decoder(Wanted).decode
decode_answer: Callable[[bytes], Piece | Unknown] = msgspec.msgpack.Decoder(Piece | Unknown).decode
encode_index = msgspec.json.Encoder().encode
decode_index: Callable[[bytes], Index] = msgspec.json.Decoder(Index).decode
