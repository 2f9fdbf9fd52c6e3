"""What is wanted of devices in the map that the gateways of a site share: the one way to it, whichever it is. (R4)"""

from collections.abc import AsyncIterator
from typing import Any

import msgspec

from fieldloom_engine.twin import Answer, Desired
from fieldloom_gateway.cluster.state.entries import Entries
from fieldloom_gateway.cluster.state.store import Store
from fieldloom_gateway.twins.deciding import Wanted

PREFIX = "twins/"


class Kept:
    """On the map, an entry a device. Reads are of the local copy, at once, from any thread."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def gateway(self) -> str:
        """The name of this member."""
        return self._store.name

    def version(self, device: str) -> int:
        """Return the version of what is wanted of a device, 0 if nothing ever was."""
        entry = self._store.peek(PREFIX + device)
        return 0 if entry is None else _head(entry.value).version

    def desired(self, device: str) -> Desired:
        """Return what is wanted of a device."""
        return self.one(device).desired

    def one(self, device: str) -> Wanted:
        """Return what is kept of a device."""
        entry = self._store.peek(PREFIX + device)
        return Wanted() if entry is None else _decode(entry.value)._replace(modified=entry.modified)

    async def write(self, device: str, before: Wanted, after: Wanted) -> None:
        """Put something in the place of what was read before.

        Raises Conflict if that has changed meanwhile, Rejected for want of room, NoLeader and Unknown.
        """
        await self._store.set(PREFIX + device, _encode(after), expected=before.modified)

    async def changes(self) -> AsyncIterator[list[str]]:
        """Yield of which devices something else is wanted, by whatever gateway, for ever; first all that there are."""
        async for changes in self._store.follow(PREFIX):
            yield [one.key.removeprefix(PREFIX) for one in changes.changes]


def former_twins(entries: Entries) -> dict[str, Desired]:
    """Return by device what the map of a gateway that was alone has of twins."""
    return {entry.key.removeprefix(PREFIX): _decode(entry.value).desired for entry in entries.below(PREFIX)}


class _Head(msgspec.Struct, array_like=True):
    """How an entry begins: what is asked for often."""

    version: int


class _Entry(msgspec.Struct, array_like=True):
    """An entry, in MessagePack."""

    version: int
    values: dict[str, Any]
    answers: tuple[Answer, ...]
    is_met: bool
    done: dict[str, tuple[Answer, ...]]


_pack = msgspec.msgpack.Encoder().encode
_head = msgspec.msgpack.Decoder(_Head).decode
_entry = msgspec.msgpack.Decoder(_Entry).decode


def _encode(wanted: Wanted) -> bytes:
    return _pack(_Entry(*wanted.desired, wanted.done))


def _decode(value: bytes) -> Wanted:
    entry = _entry(value)
    return Wanted(Desired(entry.version, entry.values, entry.answers, entry.is_met), entry.done)
