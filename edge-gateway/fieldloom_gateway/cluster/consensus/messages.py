"""What members send each other: PySyncObj's messages and ours, as MessagePack. No pickle is read from a peer. (D1)

PySyncObj's messages are dicts; on the way in each is checked against the type that its `type` names.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

Message = dict[str, Any]


class Malformed(Exception):  # noqa: N818 - it reads as what happened
    """A peer sent what is no message."""


class _Known(msgspec.Struct, tag_field="type", forbid_unknown_fields=True):
    pass


class _AppendEntries(_Known, tag="append_entries"):
    term: int
    commit_index: int
    round: int
    """Which round of the leader it belongs to; the answer names it again."""
    entries: list[tuple[bytes, int, int]] | UnsetType = UNSET
    prevLogIdx: int | UnsetType = UNSET  # noqa: N815
    prevLogTerm: int | UnsetType = UNSET  # noqa: N815
    serialized: tuple[bytes, bool, bool, int, int] | UnsetType = UNSET
    """A piece of a snapshot: bytes, whether it is the first and the last, its place, the snapshot's index."""


class _NextNodeIndex(_Known, tag="next_node_idx"):
    term: int
    round: int
    next_node_idx: int
    reset: bool
    success: bool


class _RequestVote(_Known, tag="request_vote"):
    term: int
    last_log_index: int
    last_log_term: int


class _ResponseVote(_Known, tag="response_vote"):
    term: int


class _Canvass(_Known, tag="canvass"):
    """Would you vote for me in this term? Asked before a term begins (Raft's pre-vote, section 9.6 of the thesis)."""

    term: int
    last_log_index: int
    last_log_term: int


class _Backing(_Known, tag="backing"):
    """The answer: `term` is the one that was asked for if it is granted, else the member's own."""

    term: int
    granted: bool


class _ApplyCommand(_Known, tag="apply_command"):
    command: bytes
    request_id: int


class _ApplyCommandResponse(_Known, tag="apply_command_response"):
    request_id: int
    log_idx: int | UnsetType = UNSET
    log_term: int | UnsetType = UNSET
    error: int | UnsetType = UNSET


class _ReadRequest(_Known, tag="read_request"):
    """How far has all been committed? (Raft's read index, section 6.4 of the thesis)"""

    request_id: int


class _ReadResponse(_Known, tag="read_response"):
    request_id: int
    index: int | None


class _TimeoutNow(_Known, tag="timeout_now"):
    """Begin an election now: the leader hands over."""

    term: int


_Any = (
    _AppendEntries
    | _NextNodeIndex
    | _RequestVote
    | _ResponseVote
    | _Canvass
    | _Backing
    | _ApplyCommand
    | _ApplyCommandResponse
    | _ReadRequest
    | _ReadResponse
    | _TimeoutNow
)
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[_Any])


def encode(messages: Sequence[Message]) -> bytes:
    return _encoder.encode(messages)


def decode(body: bytes) -> list[Message]:
    """Return the messages of a frame, in order. Raises Malformed."""
    try:
        return [_plain(known) for known in _decoder.decode(body)]
    except msgspec.DecodeError as error:
        raise Malformed(str(error)) from error


def _plain(known: _Known) -> Message:
    message: Message = {"type": known.__struct_config__.tag}
    for name in known.__struct_fields__:
        value = getattr(known, name)
        if value is not UNSET:
            message[name] = value
    return message
