"""Elections: when a member asks to lead, and whom it gives its vote. (D1, ADR 48)

A member asks the others before it begins a term (Raft's thesis, 9.6), so that one that was cut off throws no leader off
when it returns; a vote that comes twice is one.
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass

from pysyncobj import syncobj
from pysyncobj.node import Node

from fieldloom_gateway.cluster.consensus.journal import SqliteJournal
from fieldloom_gateway.cluster.consensus.library import ELECTION_S, FOLLOWER, Library
from fieldloom_gateway.cluster.consensus.messages import Message
from fieldloom_gateway.cluster.consensus.outbox import Outbox


@dataclass
class _Canvassing:
    """Who would vote for this member in a term that has not begun."""

    term: int
    backers: set[str]


class Elections(Library):
    """A member that stands for election, and votes."""

    def __init__(self, me: tuple[str, str], journal: SqliteJournal, outbox: Outbox, rng: random.Random) -> None:
        """Begin where the journal ends; `me` is (name, address)."""
        self._journal = journal
        self._outbox = outbox
        self._rng = rng
        self._canvassing: _Canvassing | None = None
        self._votes: set[str] = set()
        self._heard = float("-inf")
        """When a leader was heard."""
        self.elections = 0
        super().__init__(me, outbox)
        self._SyncObj__raftLog = journal
        self._SyncObj__raftCurrentTerm = journal.getCurrentTerm()
        self._SyncObj__votedForNodeId = journal.getVotedForNodeId()

    @property
    def last_in_log(self) -> int:
        return self._journal[-1][1]

    def _is_silent(self, now: float) -> bool:
        """Whether there was no word of a leader for too long."""
        return not self.is_leader and bool(self._SyncObj__raftElectionDeadline < now)

    def _canvass(self, now: float) -> None:
        """Ask the members before a term begins, once the leader was silent for too long. (thesis, 9.6)"""
        if not self._is_silent(now) or self._SyncObj__transferInProgress or self._is_backed():
            return
        self._SyncObj__raftElectionDeadline = now + self._SyncObj__generateRaftTimeout()
        self._SyncObj__raftLeader = None
        self._canvassing = _Canvassing(self.term + 1, {self.selfNode.id})
        for node in self._SyncObj__otherNodes:
            self._outbox.send(node, {"type": "canvass", **self._standing(), "term": self.term + 1})
        self._stand_if_backed()

    def _stand_if_backed(self) -> None:
        if self._is_backed():
            self._SyncObj__raftElectionDeadline = 0  # PySyncObj's tick begins the term

    def _is_backed(self) -> bool:
        canvassing = self._canvassing
        return canvassing is not None and canvassing.term == self.term + 1 and self._is_majority(canvassing.backers)

    def _is_majority(self, names: Iterable[str]) -> bool:
        return len(self.members.keys() & set(names)) * 2 > len(self.members)

    def _standing(self) -> Message:
        _, index, term = self._journal[-1]
        return {"last_log_index": index, "last_log_term": term}

    def _take_canvass(self, node: Node, message: Message) -> None:
        is_led = self.is_leader or syncobj.monotonicTime() - self._heard < ELECTION_S[0]
        theirs = message["last_log_term"], message["last_log_index"]
        ours = self._standing()
        is_behind = theirs < (ours["last_log_term"], ours["last_log_index"])
        granted = message["term"] > self.term and not is_led and not is_behind
        term = message["term"] if granted else self.term
        self._outbox.send(node, {"type": "backing", "term": term, "granted": granted})

    def _take_backing(self, node: Node, message: Message) -> None:
        canvassing = self._canvassing
        if not message["granted"]:
            self._notice(message["term"])
        elif canvassing is not None and canvassing.term == message["term"] and not self.is_leader:
            canvassing.backers.add(node.id)
            self._stand_if_backed()

    def _take_vote(self, node: Node, message: Message) -> None:
        self._notice(message["term"])
        if message["term"] == self.term and node.id in self.others and node.id not in self._votes:
            self._votes.add(node.id)
            super()._SyncObj__onMessageReceived(node, message)

    def _notice(self, term: int) -> None:
        """Follow into a later term that somebody is in."""
        if term > self.term:
            self._SyncObj__setCurrentTerm(term, None)
            self._SyncObj__setState(FOLLOWER)
            self._SyncObj__raftLeader = None

    # PySyncObj's private methods, in place of its own.

    def _SyncObj__setCurrentTerm(self, term: int, voted: str | None) -> None:  # noqa: N802
        if term != self.term:
            self._votes.clear()
            self._canvassing = None
        super()._SyncObj__setCurrentTerm(term, voted)

    def _SyncObj__onBecomeLeader(self) -> None:  # noqa: N802
        self.elections += 1
        super()._SyncObj__onBecomeLeader()

    def _SyncObj__generateRaftTimeout(self) -> float:  # noqa: N802
        return self._rng.uniform(*ELECTION_S)
