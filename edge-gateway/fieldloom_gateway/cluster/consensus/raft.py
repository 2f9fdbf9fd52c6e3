"""A member's core: PySyncObj 0.3.17 with its faults mended. (D1, ADR 48)

Messages go in by `receive`, commands by `propose`; `step` decides, and what it decided lies in the journal's batch and
in the outbox. PySyncObj keeps elections, counting of votes and of copies, proposals and their outcomes. Mended here, by
methods of its private names (hence the pinned version), each with a test that the bare library fails:

- a batch that comes again makes a follower throw away entries that it has acknowledged: `_take_entries`;
- a commit index is believed beyond what was compared, or while a snapshot comes: `_take_entries`, `_take_piece`;
- a log that differs is compared one entry a message, and under load never to the end: `_take_entries`;
- a snapshot older than what is committed empties the log: `_take_piece`;
- an answer counts for a later leadership, a vote that comes twice for two: `_take_answer`, `elections`;
- a restart forgets changes of the members that are not committed yet: `_begin_from_disk`;
- a snapshot that does not lie where the log begins empties the log at a start: `_begin_from_disk`;
- the number of a question is used again after a restart, so that an old answer is taken for it: `_begin_from_disk`;
- a member that is cut off raises the term, and throws the leader off when it returns: `elections`;
- nothing says whether a leader still leads, so that no read is safe: `confirm`;
- members change by pickles: `library`.
"""

import random
from collections.abc import Callable

from pysyncobj import syncobj
from pysyncobj.config import FAIL_REASON
from pysyncobj.node import Node

from fieldloom_gateway.cluster.consensus.confirming import Confirming
from fieldloom_gateway.cluster.consensus.elections import Elections
from fieldloom_gateway.cluster.consensus.journal import Snapshot, SqliteJournal
from fieldloom_gateway.cluster.consensus.library import HEARTBEAT_S, LEADER, MEMBERSHIP, REGULAR
from fieldloom_gateway.cluster.consensus.messages import Message
from fieldloom_gateway.cluster.consensus.news import News, State
from fieldloom_gateway.cluster.consensus.outbox import Outbox
from fieldloom_gateway.cluster.consensus.pieces import Pieces
from fieldloom_gateway.cluster.consensus.port import COMMAND_BYTES, Applied, Committed, StateMachine

TICK_S = 0.01
"""How often the core looks at the clock."""
COMPACT_ENTRIES = 20_000
COMPACT_BYTES = 64 * 1024 * 1024
BATCH_BYTES = 2 * COMMAND_BYTES
"""Of the commands in one message, at least one."""
KEEP_ENTRIES = 2_000
"""Entries that stay behind a snapshot, for members that lag a little and for `read`."""


class Diverged(Exception):  # noqa: N818 - it reads as what happened
    """A leader contradicts what is committed here: one of the two disks is not what it was. The member must stop."""


class Raft(Elections):
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
        self._machine = machine
        self._on_applied = on_applied
        self._pieces = Pieces(self._newest_snapshot, syncobj.monotonicTime)
        self._confirming = Confirming(rng.getrandbits(48), outbox.send)
        self._agreed = (0, 0)
        """The term of a leader, and the last index at which the log was the leader's."""
        self._said, self._said_at = (0, 0, 0), 0.0
        """Term, round and index of the last answer, and until when it need not be given again."""
        self._hearing = 0
        """The round of the message that is being taken."""
        self._news = News()
        self._tick_at = 0.0
        self.snapshots_taken = self.snapshots_got = 0
        outbox.stamp = self._stamp
        super().__init__(me, journal, outbox, rng)
        self._begin_from_disk()

    # What a member's shell calls.

    def receive(self, name: str, address: str, message: Message) -> None:
        """Take a message of a peer that has proven to know the secret. Raises Diverged."""
        self._SyncObj__onMessageReceived(self._outbox.node(name, address), message)

    def step(self) -> None:
        """Do what is due; afterwards the journal may be dirty and the outbox full."""
        now = syncobj.monotonicTime()
        self._canvass(now)
        if self.is_leader:
            self._count_copies()
        if now >= self._tick_at or self._is_silent(now):
            self._tick_at = now + TICK_S
            self._onTick(0.0)
        else:  # of PySyncObj's tick what messages and commands ask for; the clock's part is most of its time
            self._SyncObj__applyLogEntries()
            self._checkCommandsToApply()
        if not self.is_leader:
            return
        if self.applied_index >= self._SyncObj__noopIDx:
            self._confirming.begin_round(self.commit_index)
        if self._pieces.is_waiting or self._news.is_urgent(self._state(), now):
            self._SyncObj__sendAppendEntries()
        self._confirming.answer(lambda names: self._is_majority({self.selfNode.id, *names}))

    def beat(self) -> None:
        """Tell the members that the leader is alive, while its disk works; nothing else is decided."""
        if self.is_leader:
            self._SyncObj__sendAppendEntries()

    def confirm(self, answer: Callable[[int | None], None]) -> None:
        """Ask how far all was committed now; None when it can't be said. Linearizable. (Raft's thesis, 6.4)"""
        leader = self._getLeader()
        if leader is None:
            answer(None)
            return
        self._confirming.ask(answer, None if self.is_leader else leader)

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
        self._SyncObj__serializer = self._pieces
        self._SyncObj__raftLastApplied = snapshot.index
        known = min(journal.getRaftCommitIndex(), self.last_in_log)
        self._SyncObj__raftCommitIndex = max(snapshot.index, known)
        # Never a number of an earlier life: an answer that comes late would be taken for another command's.
        self._SyncObj__commandsLocalCounter = self._rng.getrandbits(48)
        if snapshot.state is not None:
            self._machine.restore(snapshot.state)
        self._set_members(snapshot.members)
        self._follow_changes(entry for entry in journal[:] if entry[1] > snapshot.index)

    def _newest_snapshot(self) -> Snapshot:
        snapshot = self._journal.snapshot
        if snapshot is None:
            raise LookupError("the journal was not begun")
        return snapshot

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

    def _count_copies(self) -> None:
        """Commit what a majority has on its disk, if an entry of this term is among it. (Raft, 5.4.2)

        PySyncObj asks every member about every entry. The log's own copy counts: no step is made while it is written.
        """
        copies = sorted(
            [self.last_in_log, *(self._SyncObj__raftMatchIndex[node] for node in self._SyncObj__otherNodes)]
        )
        index = copies[(len(copies) - 1) // 2]
        if index > self.commit_index and self._journal.term_at(index) == self.term:
            self._SyncObj__raftCommitIndex = index
            self._journal.setRaftCommitIndex(index)

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

    def _send_what_follows(self, node: Node) -> None:
        """Send a member what it lacks, or a piece of the snapshot if the log begins later; and the commit index."""
        following = self._SyncObj__raftNextIndex[node]
        told = {"type": "append_entries", "term": self.term, "commit_index": self.commit_index}
        if following <= self._journal[0][1] or self._pieces.are_leaving(node):
            piece = self._pieces.following(node)
            if piece is not None:
                self._outbox.send(node, {**told, "serialized": piece})
            following = self.last_in_log + 1
        while True:
            before = following - 1
            entries = self._SyncObj__getEntries(following, None, BATCH_BYTES) if before < self.last_in_log else []
            place = {"prevLogIdx": before, "prevLogTerm": self._journal.term_at(before)}
            self._outbox.send(node, {**told, **place, "entries": entries})
            following += len(entries)
            if following > self.last_in_log:
                break
        self._SyncObj__raftNextIndex[node] = following

    @property
    def owes_news(self) -> bool:
        """Whether the members were not yet told of the commit index; `step` does so NEWS_S later."""
        return self.is_leader and self._news.is_owed(self._state())

    def _state(self) -> State:
        return State(self.last_in_log, self.commit_index, self._confirming.round)

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
                if message["type"] == "apply_command":
                    self._news.await_next()
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
        now = syncobj.monotonicTime()
        for node in self._SyncObj__otherNodes:
            if self._outbox.reaches(node.id):
                self._send_what_follows(node)
            else:
                self._pieces.cancelTransmisstion(node)
        self._SyncObj__newAppendEntriesTime = now + HEARTBEAT_S
        self._news.told(self._state(), now)

    def _SyncObj__onBecomeLeader(self) -> None:  # noqa: N802
        self._confirming.lead()
        super()._SyncObj__onBecomeLeader()

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
        self._set_members(snapshot.members)
        self._follow_changes(entry for entry in self._journal[:] if entry[1] > snapshot.index)
        waiting = self._SyncObj__commandsWaitingCommit
        for index in [index for index in waiting if index <= snapshot.index]:
            for _, answer in waiting.pop(index):
                answer(None, FAIL_REASON.UNKNOWN_OUTCOME)
        self.snapshots_got += 1
