"""The slots of actuators in the map that the gateways of a site share: the one way to it, whichever it is. (E9)"""

from collections.abc import AsyncIterator
from typing import NamedTuple

from fieldloom_engine.holds import Actuator, decode, encode
from fieldloom_gateway.cluster.state.store import Store

PREFIX = "holds/"


class Key(NamedTuple):
    """An actuator of a device."""

    device: str
    actuator: str


class Place(NamedTuple):
    """The slots of an actuator, and the index at which they were modified last; 0 where nothing is kept."""

    actuator: Actuator
    modified: int


NOTHING = Place(Actuator(), 0)


class Kept:
    """On the map, an entry an actuator."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def all(self) -> dict[Key, Actuator]:
        """Return all slots."""
        return {_key(entry.key): decode(entry.value) for entry in self._store.below(PREFIX)}

    def one(self, key: Key) -> Place:
        """Return the slots of an actuator."""
        entry = self._store.peek(_text(key))
        return NOTHING if entry is None else Place(decode(entry.value), entry.modified)

    async def write(self, key: Key, before: Place, after: Actuator) -> None:
        """Put slots in the place of others. Raises Conflict if those are others meanwhile, NoLeader and Unknown."""
        await self._store.set(_text(key), encode(after), expected=before.modified)

    async def forget(self, key: Key, before: Place) -> None:
        """Keep nothing of an actuator that nobody holds. Raises as `write` does."""
        await self._store.delete(_text(key), expected=before.modified)

    async def changes(self) -> AsyncIterator[set[Key]]:
        """Yield which actuators have changed, by whatever gateway, for ever; first all that there are."""
        async for changes in self._store.follow(PREFIX):
            yield {_key(one.key) for one in changes.changes}


def _text(key: Key) -> str:
    return f"{PREFIX}{key.device}/{key.actuator}"


def _key(text: str) -> Key:
    device, _, actuator = text.removeprefix(PREFIX).partition("/")
    return Key(device, actuator)
