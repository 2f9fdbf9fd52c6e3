"""PySyncObj 0.3.17 without sockets, threads and pickles, and what is read of it under names of its own. (D1, ADR 48)"""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from pysyncobj.config import SyncObjConf
from pysyncobj.node import Node
from pysyncobj.syncobj import SyncObj

from fieldloom_gateway.cluster.consensus.journal import Entry
from fieldloom_gateway.cluster.consensus.outbox import Outbox

HEARTBEAT_S = 0.05
ELECTION_S = (0.3, 0.6)
"""Without a word of the leader for a random time between these a member asks whether it should lead."""

REGULAR, NO_OP, MEMBERSHIP = b"\x00", b"\x01", b"\x02"
FOLLOWER, CANDIDATE, LEADER = 0, 1, 2

Answer = Callable[[Any, int], None]
"""Gets (outcome, FAIL_REASON) of a proposal."""


class Library(SyncObj):  # type: ignore[misc]  # PySyncObj has no types
    """A member as PySyncObj has it; its commands are bytes, and changes of the members MessagePack."""

    _SyncObj__raftElectionDeadline: float

    def __init__(self, me: tuple[str, str], outbox: Outbox) -> None:
        """Begin with an empty log; `me` is (name, address)."""
        super().__init__(Node(me[0], address=me[1]), [], _configuration(), transport=outbox)
        self._SyncObj__needLoadDumpFile = False
        self._poller = _NoPoller()

    @property
    def is_leader(self) -> bool:
        return bool(self._SyncObj__raftState == LEADER)

    @property
    def leader(self) -> str | None:
        """The leader's name."""
        leader = self._getLeader()
        return None if leader is None else str(leader.id)

    @property
    def others(self) -> dict[str, str]:
        """The other members, name to address."""
        return {node.id: node.address for node in self._SyncObj__otherNodes}

    @property
    def members(self) -> dict[str, str]:
        """All members, name to address."""
        return {self.selfNode.id: self.selfNode.address, **self.others}

    @property
    def term(self) -> int:
        return int(self._SyncObj__raftCurrentTerm)

    @property
    def applied_index(self) -> int:
        return int(self._SyncObj__raftLastApplied)

    @property
    def commit_index(self) -> int:
        return int(self._SyncObj__raftCommitIndex)

    def propose(self, command: bytes, answer: Answer) -> None:
        """Hand a command to the leader, wherever it is."""
        self._applyCommand(REGULAR + command, answer)

    def propose_member(self, verb: str, name: str, address: str, answer: Answer) -> None:
        """Hand in a change of the members: `add` or `rem`, one at a time."""
        self._applyCommand(MEMBERSHIP + msgspec.msgpack.encode([verb, name, address]), answer)

    def _set_members(self, members: dict[str, str]) -> None:
        others = {name: address for name, address in members.items() if name != self.selfNode.id}
        self._SyncObj__updateClusterConfiguration([Node(name, address=address) for name, address in others.items()])

    def _follow_changes(self, entries: Iterable[Entry]) -> None:
        """Change the members as entries of the log say."""
        for command, _, _ in entries:
            change = self._SyncObj__parseChangeClusterRequest(command)
            if change is not None:
                self._SyncObj__doChangeCluster(change)

    def _SyncObj__parseChangeClusterRequest(self, command: bytes) -> tuple[str, str, Node] | None:  # noqa: N802
        if command[:1] != MEMBERSHIP:
            return None
        verb, name, address = msgspec.msgpack.decode(command[1:], type=tuple[str, str, str])
        return verb, name, Node(name, address=address)

    def _SyncObj__changeCluster(self, request: tuple[str, str, Node]) -> bool:  # noqa: N802
        """Change the members, unless it is the leader who is to go: then another one has to lead first."""
        verb, name, _ = request
        if (verb, name) == ("rem", self.selfNode.id):
            self.transferLeadership()
            return False
        return bool(super()._SyncObj__changeCluster(request))


class _NoPoller:
    """Stands where PySyncObj would wait for sockets: it has none."""

    def poll(self, timeout: float) -> None:
        """Return at once."""


def _configuration() -> SyncObjConf:
    return SyncObjConf(
        autoTick=False,
        dynamicMembershipChange=True,
        commandsWaitLeader=False,
        appendEntriesPeriod=HEARTBEAT_S,
        raftMinTimeout=ELECTION_S[0],
        raftMaxTimeout=ELECTION_S[1],
        leaderFallbackTimeout=2 * ELECTION_S[1],
        pollerType="select",
    )
