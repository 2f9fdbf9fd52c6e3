"""The commands of the replicated map and their outcomes, as they stand in the log: MessagePack, versioned. (D2, D6)

What a version means never changes: what is new gets a new version, proposed only when all members know it. A member
that meets a newer one in its log stops, since it can't know what the others made of it.
"""

from typing import ClassVar, Literal

import msgspec

from fieldloom_gateway.cluster.state.errors import NewerVersion

VERSION = 1
"""The newest version of commands that this code knows."""
OLDEST = 1
"""What every member knows."""

Attribute = Literal["created", "modified", "version", "value"]


class Compare(msgspec.Struct, frozen=True, array_like=True):
    """A condition: an attribute of an entry is as expected. All numbers of an absent entry are 0, its value is empty.

    So `modified` of 0 asks for absence, and a `modified` that was read before asks that nothing has changed since.
    """

    key: str
    attribute: Attribute
    expected: int | bytes


class Set(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Write an entry. It goes after `ttl_ms` (0: never) unless it is touched or set, and together with its holder."""

    key: str
    value: bytes
    ttl_ms: int = 0
    holder: str = ""
    """The key of an entry, itself without a holder, with which this one is deleted or expires."""


class Delete(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Delete an entry, and those that it holds; absent is deleted already."""

    key: str


class Touch(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Let the time to live of an entry begin anew. It is no change: no watch tells of it."""

    key: str


Operation = Set | Delete | Touch


class Transaction(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Do all operations at once if all compares hold, else nothing. No key is in two operations."""

    SINCE: ClassVar[int] = 1
    """The version of commands that brought it."""

    compares: tuple[Compare, ...]
    operations: tuple[Operation, ...]


class Open(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Begin a session; `name` is for people."""

    SINCE: ClassVar[int] = 1

    name: str


class Expire(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Delete entries that have lived their time, unless they were renewed after what the leader has seen."""

    SINCE: ClassVar[int] = 1

    seen: tuple[tuple[str, int], ...]
    """Keys, and the index at which each was renewed last."""


Body = Transaction | Open | Expire


class Command(msgspec.Struct, frozen=True, array_like=True):
    """An entry of the log."""

    version: int
    now: int
    """The cluster's time as its sender reckons it, in ms (see `clock`)."""
    session: int
    """0 for what may be done twice: opening a session, and expiry."""
    sequence: int
    settled: int
    """All of the session up to this sequence is answered, and its outcomes can be forgotten."""
    body: Body


class Done(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """A transaction took place at an index, and changed so many entries."""

    index: int
    changed: int


class Unmet(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """A compare did not hold, or what was touched is absent; the numbers are the entry's, 0 if it is absent."""

    index: int
    key: str
    created: int
    modified: int
    version: int


class Refused(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """A command that can't be done, by field and reason."""

    field: str
    reason: str


class Opened(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """The session's number."""

    session: int


class Lapsed(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """The session is not known any more, since many others were used after it."""


Outcome = Done | Unmet | Refused | Opened | Lapsed


class Header(msgspec.Struct, array_like=True):
    """What all versions begin with."""

    version: int


_encoder = msgspec.msgpack.Encoder()
_header = msgspec.msgpack.Decoder(Header)
_command = msgspec.msgpack.Decoder(Command)
_outcome: msgspec.msgpack.Decoder[Outcome] = msgspec.msgpack.Decoder(Outcome)


def encode(message: Command | Outcome) -> bytes:
    """Return the bytes of a command or an outcome."""
    return _encoder.encode(message)


def decode(body: bytes) -> Command:
    """Return a command of the log. Raises NewerVersion, and msgspec.DecodeError for what no version wrote."""
    version = _header.decode(body).version
    if version > VERSION:
        raise NewerVersion("command", version, VERSION)
    return _command.decode(body)


def decode_outcome(body: bytes) -> Outcome:
    """Return what became of a command."""
    return _outcome.decode(body)
