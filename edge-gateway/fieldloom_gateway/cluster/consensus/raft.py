"""A member's core: PySyncObj 0.3.17 with its faults mended, without sockets, threads or disk. (D1, ADR 48)

Messages go in by `receive`, commands by `propose`; `step` decides, and what it decided lies in the journal's batch and
in the outbox. PySyncObj keeps elections, counting of votes and of copies, proposals and their outcomes. Mended here, by
methods of its private names (hence the pinned version), each with a test that the bare library fails:

- a batch that comes again makes a follower throw away entries that it has acknowledged: `_take_entries`;
- a commit index is believed beyond what was compared, or while a snapshot comes: `_take_entries`, `_take_piece`;
- a log that differs is compared one entry a message, and under load never to the end: `_take_entries`;
- a snapshot older than what is committed empties the log: `_take_piece`;
- an answer counts for a later leadership, a vote that comes twice for two: `_take_answer`, `_take_vote`;
- a restart forgets changes of the members that are not committed yet: `_begin_from_disk`;
- a snapshot that does not lie where the log begins empties the log at a start: `_begin_from_disk`;
- the number of a question is used again after a restart, so that an old answer is taken for it: `_begin_from_disk`;
- a member that is cut off raises the term, and throws the leader off when it returns: `_canvass`;
- nothing says whether a leader still leads, so that no read is safe: `confirm`;
- members change by pickles: `_SyncObj__parseChangeClusterRequest`.
"""

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import msgspec
from pysyncobj import syncobj
from pysyncobj.config import FAIL_REASON, SyncObjConf
from pysyncobj.node import Node
from pysyncobj.syncobj import SyncObj

from fieldloom_gateway.cluster.consensus.confirming import Confirming
from fieldloom_gateway.cluster.consensus.journal import Entry, Snapshot, SqliteJournal
from fieldloom_gateway.cluster.consensus.messages import Message
from fieldloom_gateway.cluster.consensus.outbox import Outbox
from fieldloom_gateway.cluster.consensus.pieces import Pieces
from fieldloom_gateway.cluster.consensus.port import COMMAND_BYTES, Applied, Committed, StateMachine

HEARTBEAT_S = 0.05
NEWS_S = 0.002
ELECTION_S = (0.3, 0.6)
"""Without a word of the leader for a random time between these a member asks whether it should lead."""
COMPACT_ENTRIES = 20_000
COMPACT_BYTES = 64 * 1024 * 1024
KEEP_ENTRIES = 2_000
"""Entries that stay behind a snapshot, for members that lag a little and for `read`."""

REGULAR, NO_OP, MEMBERSHIP = b"\x00", b"\x01", b"\x02"
FOLLOWER, CANDIDATE, LEADER = 0, 1, 2

Answer = Callable[[Any, int], None]
"""Gets (outcome, FAIL_REASON) of a proposal."""


class Diverged(Exception):  # noqa: N818 - it reads as what happened
    """A leader contradicts what is committed here: one of the two disks is not what it was. The member must stop."""


@dataclass
class _Canvassing:
    """Who would vote for this member in a term that has not begun."""

    term: int
    backers: set[str]


class Raft(SyncObj):  # type: ignore[misc]  # PySyncObj has no types
    """The core. A call that raises has left it unusable."""

    def __init__(
        self,
        me: tuple[str, str],
        journal: SqliteJournal,
        outbox: Outbox,
        machine: StateMachine,
        on_applied: Callable[[Committed], None],
        rng: random.Random,
    ) -> None:
        """Begin where the journal ends; `me` is (name, address). `on_applied` hears of commands, after each."""
        self._journal = journal
        self._outbox = outbox
        self._machine = machine
        self._on_applied = on_applied
        self._rng = rng
        self._pieces = Pieces(self._newest_snapshot, syncobj.monotonicTime)
        self._confirming = Confirming(rng.getrandbits(48), outbox.send)
        self._SyncObj__raftElectionDeadline: float
        self._canvassing: _Canvassing | None = None
        self._votes: set[str] = set()
        self._heard = float("-inf")
        self._agreed = (0, 0)
        """The term of a leader, and the last index at which the log was the leader's."""
        self._said, self._said_at = (0, 0, 0), 0.0
        """Term, round and index of the last answer, and until when it need not be given again."""
        self._hearing = 0
        """The round of the message that is being taken."""
        self._told, self._told_at = (0, 0, 0), 0.0
        """Last index, commit index and round that the members were told of, and when."""
        self._was_asked = False
        """Whether a member's command came since they were told."""
        self._awaited = 0
        """An index of whose commit a member waits to hear."""
        self.elections = self.snapshots_taken = self.snapshots_got = 0
        outbox.stamp = self._stamp
        super().__init__(Node(me[0], address=me[1]), [], _configuration(), transport=outbox)
        self._begin_from_disk()

    # What a member's shell calls.

    def receive(self, name: str, address: str, message: Message) -> None:
        """Take a message of a peer that has proven to know the secret. Raises Diverged."""
        self._SyncObj__onMessageReceived(self._outbox.node(name, address), message)

    def step(self) -> None:
        """Do what is due; afterwards the journal may be dirty and the outbox full."""
        self._canvass()
        self._onTick(0.0)
        if not self.is_leader:
            return
        if self.applied_index >= self._SyncObj__noopIDx:
            self._confirming.begin_round(self.commit_index)
        if self._is_news_urgent():
            self._SyncObj__sendAppendEntries()
        self._confirming.answer(lambda names: self._is_majority({self.selfNode.id, *names}))

    def beat(self) -> None:
        """Tell the members that the leader is alive, while its disk works; nothing else is decided."""
        if self.is_leader:
            self._SyncObj__sendAppendEntries()

    def propose(self, command: bytes, answer: Answer) -> None:
        """Hand a command to the leader, wherever it is."""
        self._applyCommand(REGULAR + command, answer)

    def propose_member(self, verb: str, name: str, address: str, answer: Answer) -> None:
        """Hand in a change of the members: `add` or `rem`, one at a time."""
        self._applyCommand(MEMBERSHIP + msgspec.msgpack.encode([verb, name, address]), answer)

    def confirm(self, answer: Callable[[int | None], None]) -> None:
        """Ask how far all was committed now; None when it can't be said. Linearizable. (Raft's thesis, 6.4)"""
        leader = self._getLeader()
        if leader is None:
            answer(None)
            return
        self._confirming.ask(answer, None if self.is_leader else leader)

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
    def last_in_log(self) -> int:
        return self._journal[-1][1]

    @property
    def applied_index(self) -> int:
        return int(self._SyncObj__raftLastApplied)

    @property
    def commit_index(self) -> int:
        return int(self._SyncObj__raftCommitIndex)

    def command_at(self, index: int) -> bytes:
        """Return the command of an entry in the log; empty for the cluster's own."""
        command = self._journal[index - self._journal[0][1]][0]
        return command[1:] if command[:1] == REGULAR else b""

    @property
    def is_changing(self) -> bool:
        """Whether a change of the members lies in the log and is not applied here."""
        above = self.applied_index + 1 - self._journal[0][1]
        return any(entry[0][:1] == MEMBERSHIP for entry in self._journal[above:])

    # Starting.

    def _begin_from_disk(self) -> None:
        journal, snapshot = self._journal, self._newest_snapshot()
        self._SyncObj__raftLog = journal
        self._SyncObj__serializer = self._pieces
        self._SyncObj__needLoadDumpFile = False
        self._SyncObj__raftCurrentTerm = journal.getCurrentTerm()
        self._SyncObj__votedForNodeId = journal.getVotedForNodeId()
        self._SyncObj__raftLastApplied = snapshot.index
        known = min(journal.getRaftCommitIndex(), self.last_in_log)
        self._SyncObj__raftCommitIndex = max(snapshot.index, known)
        self._poller = _NoPoller()
        # Never a number of an earlier life: an answer that comes late would be taken for another command's.
        self._SyncObj__commandsLocalCounter = self._rng.getrandbits(48)
        if snapshot.state is not None:
            self._machine.restore(snapshot.state)
        self._set_members(snapshot)
        self._follow_changes(entry for entry in journal[:] if entry[1] > snapshot.index)

    def _newest_snapshot(self) -> Snapshot:
        snapshot = self._journal.snapshot
        if snapshot is None:
            raise LookupError("the journal was not begun")
        return snapshot

    def _set_members(self, snapshot: Snapshot) -> None:
        others = {name: address for name, address in snapshot.members.items() if name != self.selfNode.id}
        self._SyncObj__updateClusterConfiguration([Node(name, address=address) for name, address in others.items()])

    def _follow_changes(self, entries: Iterable[Entry]) -> None:
        for command, _, _ in entries:
            change = self._SyncObj__parseChangeClusterRequest(command)
            if change is not None:
                self._SyncObj__doChangeCluster(change)

    # Elections.

    def _canvass(self) -> None:
        """Ask the members before a term begins, once the leader was silent for too long. (thesis, 9.6)"""
        now = syncobj.monotonicTime()
        due = self._SyncObj__raftElectionDeadline < now and not self.is_leader
        if not due or self._SyncObj__transferInProgress or self._is_backed():
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

    # Following.

    def _take_append(self, node: Node, message: Message) -> None:
        self._hearing = message["round"]
        if message["term"] < self.term:
            self._SyncObj__sendNextNodeIdx(node, nextNodeIdx=0)  # our term is in it
            return
        self._heard = syncobj.monotonicTime()
        self._canvassing = None
        if "prevLogIdx" in message:
            self._take_entries(node, message)
        else:
            self._take_piece(node, message)

    def _take_entries(self, node: Node, message: Message) -> None:
        """Compare before anything is cut, and believe the commit index as far as was compared. (Raft, section 5.3)"""
        index, term = message["prevLogIdx"], message["prevLogTerm"]
        if self._journal.term_at(index) != term:
            self._follow(node, message, self.commit_index)
            self._SyncObj__sendNextNodeIdx(node, reset=True, nextNodeIdx=self._agreed_index + 1)
            return
        entries = message["entries"]
        same = 0
        while same < len(entries) and self._journal.term_at(entries[same][1]) == entries[same][2]:
            same += 1
        if same:
            _, index, term = entries[same - 1]
        if same == len(entries):
            self._follow(node, message, min(message["commit_index"], index))
            self._agreed = message["term"], index
            if entries or self._said != (message["term"], message["round"], index) or self._heard > self._said_at:
                self._SyncObj__sendNextNodeIdx(node, nextNodeIdx=index + 1, success=True)
                self._said, self._said_at = (message["term"], message["round"], index), self._heard + HEARTBEAT_S / 2
            return
        if index < self.commit_index:
            raise Diverged(f"{node.id} in term {message['term']} replaces entry {index + 1}, which is committed here")
        new = entries[same:]
        self._agreed = message["term"], new[-1][1]
        commit = min(message["commit_index"], new[-1][1])
        told = {"entries": new, "prevLogIdx": index, "prevLogTerm": term, "commit_index": commit}
        super()._SyncObj__onMessageReceived(node, {**message, **told})

    @property
    def _agreed_index(self) -> int:
        """The last index up to which the log is surely the leader's."""
        term, index = self._agreed
        return max(self.commit_index, index) if term == self.term else self.commit_index

    def _take_piece(self, node: Node, message: Message) -> None:
        piece = message["serialized"]
        if piece[4] <= self.commit_index:
            self._follow(node, message, self.commit_index)
            self._SyncObj__sendNextNodeIdx(node, nextNodeIdx=self.commit_index + 1, success=True)
            return
        if piece[2]:
            super()._SyncObj__onMessageReceived(node, {**message, "commit_index": self.commit_index})
        else:
            self._follow(node, message, self.commit_index)
            self._pieces.setTransmissionData(piece)
            self._SyncObj__sendNextNodeIdx(node, nextNodeIdx=self._pieces.place)

    def _follow(self, node: Node, message: Message, commit: int) -> None:
        """Take no more of a leader's message than that it leads, and a commit index."""
        told = {"type": "append_entries", "term": message["term"], "commit_index": commit}
        super()._SyncObj__onMessageReceived(node, told)

    # Leading.

    def _stamp(self, message: Message) -> None:
        if message["type"] == "append_entries":
            message["round"] = self._confirming.round

    def _take_answer(self, node: Node, message: Message) -> None:
        self._notice(message["term"])
        if message["term"] != self.term or not self.is_leader or node.id not in self.others:
            return
        self._confirming.note(node.id, message["round"])
        if message["success"]:
            self._pieces.cancelTransmisstion(node)
        elif not message["reset"]:
            self._pieces.arrived(node, message["next_node_idx"])
        super()._SyncObj__onMessageReceived(node, message)

    def _send_piece(self, node: Node) -> None:
        """Send a member the next piece of a snapshot, and let PySyncObj do no more than greet it."""
        piece = self._pieces.following(node)
        if piece is not None:
            told = {"term": self.term, "commit_index": self.commit_index, "serialized": piece}
            self._outbox.send(node, {"type": "append_entries", **told})
        self._SyncObj__raftNextIndex[node] = self.last_in_log + 1

    @property
    def owes_news(self) -> bool:
        """Whether the members were not yet told of the commit index; `step` does so NEWS_S later."""
        return self.is_leader and self._told != self._news()

    def _is_news_urgent(self) -> bool:
        """Whether to send now; of a commit that no member waits for, the next command may bring the news."""
        told, news = self._told, self._news()
        if told == news:
            return self._pieces.is_waiting
        is_commit_alone = told[0] == news[0] and told[2] == news[2] and not self._pieces.is_waiting
        return not is_commit_alone or told[1] < self._awaited or syncobj.monotonicTime() - self._told_at >= NEWS_S

    def _news(self) -> tuple[int, int, int]:
        return self.last_in_log, self.commit_index, self._confirming.round

    # PySyncObj's private methods, in place of its own.

    def _SyncObj__onMessageReceived(self, node: Node, message: Message) -> None:  # noqa: N802
        match message["type"]:
            case "append_entries":
                self._take_append(node, message)
            case "next_node_idx":
                self._take_answer(node, message)
            case "response_vote":
                self._take_vote(node, message)
            case "canvass":
                self._take_canvass(node, message)
            case "backing":
                self._take_backing(node, message)
            case "read_request":
                self._confirming.take(node, message["request_id"], is_leader=self.is_leader)
            case "read_response":
                self._confirming.settle(message["request_id"], message["index"])
            case _:
                self._was_asked |= message["type"] == "apply_command"
                super()._SyncObj__onMessageReceived(node, message)

    def _SyncObj__sendNextNodeIdx(  # noqa: N802
        self,
        node: Node,
        reset: bool = False,
        nextNodeIdx: int | None = None,  # noqa: N803
        success: bool = False,
    ) -> None:
        # PySyncObj leaves the index out after a snapshot, which says nothing about what the log holds beyond it.
        index = self._agreed_index + 1 if nextNodeIdx is None else nextNodeIdx
        answer = {"next_node_idx": index, "reset": reset, "success": success}
        self._outbox.send(node, {"type": "next_node_idx", "term": self.term, "round": self._hearing, **answer})

    def _SyncObj__sendAppendEntries(self) -> None:  # noqa: N802
        for node in self._SyncObj__otherNodes:
            if self._SyncObj__raftNextIndex[node] <= self._journal[0][1] or self._pieces.are_leaving(node):
                self._send_piece(node)
        super()._SyncObj__sendAppendEntries()
        self._told, self._told_at = self._news(), syncobj.monotonicTime()
        if self._was_asked:
            self._awaited, self._was_asked = self.last_in_log, False

    def _SyncObj__onBecomeLeader(self) -> None:  # noqa: N802
        self._confirming.lead()
        self.elections += 1
        super()._SyncObj__onBecomeLeader()

    def _SyncObj__setCurrentTerm(self, term: int, voted: str | None) -> None:  # noqa: N802
        if term != self.term:
            self._votes.clear()
            self._canvassing = None
        super()._SyncObj__setCurrentTerm(term, voted)

    def _SyncObj__setState(self, state: int) -> None:  # noqa: N802
        was_leader = self.is_leader
        super()._SyncObj__setState(state)
        if was_leader and state != LEADER:
            self._confirming.abandon()

    def _SyncObj__onLeaderChanged(self) -> None:  # noqa: N802
        super()._SyncObj__onLeaderChanged()
        self._confirming.abandon()

    def _SyncObj__onNodeDisconnected(self, node: Node) -> None:  # noqa: N802
        super()._SyncObj__onNodeDisconnected(node)
        self._pieces.cancelTransmisstion(node)
        if node == self._getLeader():
            self._SyncObj__onLeaderChanged()  # its answers are lost

    def _SyncObj__generateRaftTimeout(self) -> float:  # noqa: N802
        return self._rng.uniform(*ELECTION_S)

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

    def _SyncObj__doApplyCommand(self, command: bytes) -> Applied:  # noqa: N802
        """Apply a command; the members have changed when the entry came into the log. (Raft's thesis, 4.1)"""
        index = self.applied_index + 1
        if command[:1] != REGULAR:
            return Applied(index, b"")
        body = command[1:]
        outcome = self._machine.apply(index, body)
        self._on_applied(Committed(index, body, outcome))
        return Applied(index, outcome)

    def _SyncObj__tryLogCompaction(self) -> None:  # noqa: N802
        journal = self._journal
        if len(journal) >= COMPACT_ENTRIES:
            self.take_snapshot(KEEP_ENTRIES)
        elif journal.size >= COMPACT_BYTES:
            self.take_snapshot(len(journal) // 4)

    def take_snapshot(self, keep: int) -> None:
        """Put the state in place of the entries that lie more than `keep` before it, unless there is one already."""
        index = self.applied_index
        term = self._journal.term_at(index)
        if term is None or index == self._newest_snapshot().index or self.is_changing:
            return
        self._journal.compact(Snapshot(index, term, self.members, self._machine.snapshot()), keep)
        self.snapshots_taken += 1

    def _SyncObj__loadDumpFile(self, clearJournal: bool) -> None:  # noqa: ARG002, N802, N803
        """Take the snapshot of a leader that has just become whole."""
        snapshot = self._pieces.whole()
        self._journal.install(snapshot)
        self._SyncObj__raftLastApplied = self._SyncObj__raftCommitIndex = snapshot.index
        if snapshot.state is not None:
            self._machine.restore(snapshot.state)
        self._set_members(snapshot)
        self._follow_changes(entry for entry in self._journal[:] if entry[1] > snapshot.index)
        waiting = self._SyncObj__commandsWaitingCommit
        for index in [index for index in waiting if index <= snapshot.index]:
            for _, answer in waiting.pop(index):
                answer(None, FAIL_REASON.UNKNOWN_OUTCOME)
        self.snapshots_got += 1


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
        appendEntriesBatchSizeBytes=2 * COMMAND_BYTES,  # above a command, so that none is sent as a pickle in parts
        raftMinTimeout=ELECTION_S[0],
        raftMaxTimeout=ELECTION_S[1],
        leaderFallbackTimeout=2 * ELECTION_S[1],
        pollerType="select",
    )
