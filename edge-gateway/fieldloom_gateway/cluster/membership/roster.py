"""The members as any gateway sees them: listed, followed, and what all of them know. (D3, D6)"""

from collections.abc import AsyncIterator

from fieldloom_gateway.cluster.membership.records import (
    PREFIX,
    Member,
    Record,
    alive_key,
    decode_record,
    member_of,
    record_key,
    seen,
)
from fieldloom_gateway.cluster.state.commands import OLDEST
from fieldloom_gateway.cluster.state.store import Store


class Roster:
    """All that the local copy of the map says of members."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def record(self, name: str) -> Record | None:
        """Return what is written of a gateway, None if it is no member."""
        entry = self._store.peek(record_key(name))
        return None if entry is None else decode_record(entry.value)

    def member(self, name: str) -> Member:
        """Return a gateway in its state, which is `unknown` where it is no member."""
        return seen(name, self.record(name), is_alive=self._store.peek(alive_key(name)) is not None)

    def members(self) -> list[Member]:
        """Return all members in the order of their names."""
        keys = (entry.key for entry in self._store.below(PREFIX))
        return [self.member(member_of(key)) for key in keys if key == record_key(member_of(key))]

    def agreed_version(self) -> int:
        """Return the newest version of commands that all members know, those that are down too."""
        known = [member.software.commands for member in self.members() if member.software]
        return min(known, default=OLDEST)

    def agreed_engine(self) -> int:
        """Return the newest rule engine that all members have: a rule for any of them may need no newer one. (E5)"""
        return min((member.software.engine for member in self.members() if member.software), default=1)

    async def follow(self) -> AsyncIterator[Member]:
        """Give all members, and then each whose state or record has changed."""
        async for changes in self._store.follow(PREFIX):
            for name in sorted({member_of(change.key) for change in changes.changes}):
                yield self.member(name)
