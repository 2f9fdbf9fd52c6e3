"""The bare library and ours, as cores that take messages and say what they would send, for tests of one fault."""

import pickle
import random
from abc import ABC, abstractmethod
from pathlib import Path

import msgspec
from pysyncobj.config import SyncObjConf
from pysyncobj.journal import createJournal
from pysyncobj.node import Node
from pysyncobj.serializer import Serializer
from pysyncobj.syncobj import SyncObj

from cluster.simulation import Log
from fieldloom_gateway.cluster.consensus.journal import SqliteJournal
from fieldloom_gateway.cluster.consensus.outbox import Outbox
from fieldloom_gateway.cluster.consensus.raft import Raft

ADDRESS = "127.0.0.1:1"


class Core(ABC):
    """What the tests of a fault need of a member `a`; `folder` keeps what outlives it."""

    sync: SyncObj

    def __init__(self, folder: Path, others: str = "bc") -> None:
        self.folder, self.others = folder, others
        self.outbox = Outbox(lambda *_: None)
        self._begin()
        for name in "bcdefg":
            self.outbox.connected(name, ADDRESS)

    @abstractmethod
    def _begin(self) -> None: ...

    def tell(self, name: str, message: dict) -> list[dict]:
        """Give it a message of a member and return what it would answer."""
        self.outbox.take()
        self.outbox._onMessageReceived(self.outbox.node(name, ADDRESS), message)
        return [letter.message for letter in self.outbox.take()]

    def append(self, terms: list[int], after: int = 1, term: int | None = None, commit: int = 1, **more) -> list[dict]:
        """Have `b` replicate an entry a term given, behind entry `after`."""
        entries = [(b"\x01x%d" % number, after + number, one) for number, one in enumerate(terms, 1)]
        told = {"prevLogIdx": after, "prevLogTerm": 0 if after == 1 else terms[0], "entries": entries}
        message = {"type": "append_entries", "term": term or terms[-1], "commit_index": commit, "round": 0}
        return self.tell("b", message | told | more)

    def lead(self) -> None:
        """Have it elected by all others."""
        self.sync._SyncObj__raftElectionDeadline = 0
        self.tick()
        for name in self.others:
            self.tell(name, {"type": "backing", "term": self.term + 1, "granted": True})
        self.tick()
        for name in self.others:
            self.tell(name, {"type": "response_vote", "term": self.term})
        assert self.sync._isLeader()

    def tick(self) -> None:
        self.sync._onTick(0.0)

    def answered(self, name: str, index: int, term: int) -> None:
        """Have a member say, in a term, that it has all up to an index."""
        answer = {"next_node_idx": index + 1, "reset": False, "success": True}
        self.tell(name, {"type": "next_node_idx", "term": term, "round": 0} | answer)

    def last(self) -> int:
        return self.sync._SyncObj__raftLog[-1][1]

    @property
    def term(self) -> int:
        return self.sync.raftCurrentTerm

    @property
    def commit(self) -> int:
        return self.sync.raftCommitIndex

    @abstractmethod
    def change(self, verb: str, name: str) -> bytes:
        """Return an entry's command that changes the members."""

    @abstractmethod
    def snapshot(self, index: int) -> list[tuple]:
        """Return the pieces in which a snapshot of the entries up to an index (term 1) would come."""

    @abstractmethod
    def save(self) -> None:
        """Bring to the disk what waits for it."""

    def close(self) -> None:
        """Let go of the disk; what waits for it is lost, as by a kill."""
        self.sync._doDestroy()


class Bare(Core):
    """PySyncObj 0.3.17 as it comes, with its own journal; only the sockets are not there."""

    def _begin(self) -> None:
        self.journal = self.open(self.folder)
        conf = SyncObjConf(autoTick=False, dynamicMembershipChange=True, pollerType="select", useFork=False)
        conf.journalFile, conf.fullDumpFile = str(self.folder / "journal"), str(self.folder / "dump")
        Bare.close_journal(self.journal)
        others = [Node(name, address=ADDRESS) for name in self.others]
        self.sync = SyncObj(Node("a", address=ADDRESS), others, conf, transport=self.outbox)
        self.journal = self.sync._SyncObj__raftLog
        for node in others:
            self.outbox.addNode(node)

    @staticmethod
    def open(folder: Path):
        return createJournal(str(folder / "journal"))

    def change(self, verb: str, name: str) -> bytes:
        return b"\x02" + pickle.dumps([verb, name, Node(name, address=ADDRESS)], 2)

    def snapshot(self, index: int) -> list[tuple]:
        at, before = ((b"\x01", number, 1 if number > 1 else 0) for number in (index, index - 1))
        serializer = Serializer(None, 2**16, False, None, None, None)
        members = {Node(name, address=ADDRESS) for name in "abc"}
        serializer.serialize(({}, at, before, members), before[1])
        serializer.checkSerializing()
        pieces = []
        while not pieces or not pieces[-1][2]:
            pieces.append(serializer.getTransmissionData(None))
        return pieces

    def close(self) -> None:
        if self.journal is not None:
            self.sync._SyncObj__raftLog = createJournal()
            super().close()
            self.close_journal(self.journal)
            self.journal = None
            if (arriving := self.sync._SyncObj__serializer._Serializer__incomingTransmissionFile) is not None:
                arriving.close()

    @staticmethod
    def close_journal(journal) -> None:
        journal._destroy()
        journal._FileJournal__journalFile._ResizableFile__f.close()

    def save(self) -> None:
        """It writes at once."""

    def save_snapshot(self) -> None:
        """Have a snapshot of all that is applied on the disk, and die before the log is cut."""
        self.sync.forceLogCompaction()
        self.sync._SyncObj__tryLogCompaction()


class Ours(Core):
    """The core as the gateway has it."""

    def _begin(self) -> None:
        self.journal = self.open(self.folder)
        self.machine = Log()
        self.sync = Raft(("a", ADDRESS), self.journal, self.outbox, self.machine, lambda _: None, random.Random())

    def open(self, folder: Path):
        journal = SqliteJournal(folder / "consensus.db")
        if journal.snapshot is None:
            journal.begin(dict.fromkeys(["a", *self.others], ADDRESS))
            journal.write(journal.take())
        return journal

    def change(self, verb: str, name: str) -> bytes:
        return b"\x02" + msgspec.msgpack.encode([verb, name, ADDRESS])

    def snapshot(self, index: int) -> list[tuple]:
        state = msgspec.msgpack.encode([b"s"] * index)
        body = msgspec.msgpack.encode([index, 1, dict.fromkeys("abc", ADDRESS), state])
        half = len(body) // 2
        return [(body[:half], True, False, 0, index), (body[half:], False, True, half, index)]

    def tick(self) -> None:
        self.sync.step()

    def save(self) -> None:
        self.journal.write(self.journal.take())

    def save_snapshot(self) -> None:
        self.sync.take_snapshot(1)
        self.save()
