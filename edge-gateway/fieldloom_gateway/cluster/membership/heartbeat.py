"""A gateway's own entry among the members: active as long as its heart beats. (D3, D6)"""

import asyncio

import msgspec
import structlog

from fieldloom_contract.errors import Rejected
from fieldloom_gateway.cluster.consensus.port import Consensus, NoLeader, Unknown
from fieldloom_gateway.cluster.membership.records import Record, Software, alive_key, decode_record, encode, record_key
from fieldloom_gateway.cluster.membership.roster import Roster
from fieldloom_gateway.cluster.state.commands import Compare, Operation, Set, Touch
from fieldloom_gateway.cluster.state.store import Store

log = structlog.get_logger()

BEAT_S = 1.0
TTL_MS = 3000
"""Who is silent for so long is down."""


class Heartbeat:
    """Keeps this gateway active while `run` runs, and the store at the version of commands that all members know."""

    def __init__(
        self,
        store: Store,
        consensus: Consensus,
        address: str,
        software: Software,
        beat_s: float = BEAT_S,
        ttl_ms: int = TTL_MS,
    ) -> None:
        self._store = store
        self._consensus = consensus
        self._roster = Roster(store)
        self._address = address
        self._software = software
        self._beat_s = beat_s
        self._ttl_ms = ttl_ms
        self.missed = 0
        """Beats that the cluster did not take."""

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            try:
                await self.beat()
            except (NoLeader, Unknown, Rejected) as error:
                self.missed += 1
                log.warning("heartbeat_missed", reason=str(error))
            await asyncio.sleep(self._beat_s)

    async def beat(self) -> None:
        """Say once that this gateway lives and what it runs. Raises NoLeader, Unknown, Rejected where the map is full.

        One that the consensus does not count among its members says nothing: it has left, or was removed.
        """
        name = self._store.name
        if name not in self._consensus.members:
            return
        entry = self._store.peek(record_key(name))
        found = None if entry is None else decode_record(entry.value)
        true = self._true(found)
        operations: list[Operation] = [] if found == true else [Set(record_key(name), encode(true))]
        operations += self._alive()
        if operations:
            compare = Compare(record_key(name), "modified", entry.modified if entry else 0)
            await self._store.transaction((compare,), operations, within=self._ttl_ms / 1000)
        self._store.agreed_version = self._roster.agreed_version()

    def _true(self, found: Record | None) -> Record:
        """Return what is so: who joins is active once its own heart beats."""
        if found is None:
            return Record(self._address, self._software, "active")
        state = "active" if found.state == "joining" else found.state
        return msgspec.structs.replace(
            found, address=self._address, software=self._software, state=state, invitation=""
        )

    def _alive(self) -> list[Operation]:
        """Return what tells that this gateway lives; one that is alone is missed by nobody, and spares the disk."""
        key = alive_key(self._store.name)
        entry = self._store.peek(key)
        ttl_ms = self._ttl_ms if len(self._consensus.members) > 1 else 0
        if entry is None or entry.ttl_ms != ttl_ms:
            return [Set(key, b"", ttl_ms)]
        return [Touch(key)] if ttl_ms else []
