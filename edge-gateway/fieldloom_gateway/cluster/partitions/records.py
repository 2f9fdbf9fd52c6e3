"""What the replicated map holds of partitions: four kinds of entries. (D4, ADR 55, ADR 71)

`partitions/owner/NNN`    the gateway that owns a partition; written when it is assigned and never else: the index of
                          that is the assignment's version, the fencing number
`partitions/heir/NNN`     who is to have it next, after which version; after another it says nothing
`partitions/lease/NAME`   a gateway's last renewal, of all that it owns
`partitions/load/NAME`    what a gateway did lately for each partition that it owned, where they are shared by load
"""

import msgspec

from fieldloom_gateway.cluster.state.commands import Compare

PREFIX = "partitions/"
OWNER = PREFIX + "owner/"
HEIR = PREFIX + "heir/"
LEASE = PREFIX + "lease/"
LOAD = PREFIX + "load/"


class Heir(msgspec.Struct, frozen=True, array_like=True):
    """The gateway that is to have a partition after the one that has it under a version."""

    version: int
    gateway: str


class Renewal(msgspec.Struct, frozen=True, array_like=True):
    """That a gateway lives. No two attempts at a renewal have the same `attempt`."""

    attempt: str
    is_draining: bool = False
    """It gives away all that it has, and takes nothing."""
    by_load: bool = False
    """It shares partitions by load, and tells its loads."""


class Loads(msgspec.Struct, frozen=True, array_like=True):
    """What a gateway did lately for its partitions."""

    round: int
    """From 1. All tell theirs in a round that one has begun, so that what they tell is of about one moment."""
    per_minute: dict[int, int]
    """Units a minute by partition."""


_encode = msgspec.msgpack.Encoder().encode
_heir = msgspec.msgpack.Decoder(Heir)
_renewal = msgspec.msgpack.Decoder(Renewal)
_loads = msgspec.msgpack.Decoder(Loads)


def encode(record: Heir | Renewal | Loads) -> bytes:
    """Return the bytes of a value of the map."""
    return _encode(record)


def decode_heir(body: bytes) -> Heir:
    """Return who is to have a partition next."""
    return _heir.decode(body)


def decode_renewal(body: bytes) -> Renewal:
    """Return a gateway's renewal."""
    return _renewal.decode(body)


def decode_loads(body: bytes) -> Loads:
    """Return what a gateway did lately."""
    return _loads.decode(body)


def owner_key(partition: int) -> str:
    """Return the key of a partition's owner."""
    return f"{OWNER}{partition:03}"


def heir_key(partition: int) -> str:
    """Return the key of a partition's heir."""
    return f"{HEIR}{partition:03}"


def lease_key(gateway: str) -> str:
    """Return the key of a gateway's lease."""
    return LEASE + gateway


def load_key(gateway: str) -> str:
    """Return the key of what a gateway did."""
    return LOAD + gateway


def guard(partition: int, version: int) -> Compare:
    """Return the fence: a transaction with it takes place only while the partition has this very assignment.

    The version is the one under which was loaded what the transaction writes on.
    """
    return Compare(owner_key(partition), "modified", version)
