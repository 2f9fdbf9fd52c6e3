"""A member's log, term, vote and snapshot in SQLite, behind PySyncObj's interface of a journal. (D1, ADR 49)

Calls change the memory and are noted; `take` gives what was noted as one batch, and `write` brings it to the disk in
one transaction. Nothing that follows from a change may leave the member before its batch is written. Entries are
PySyncObj's: (command, index, term).

Entries that were added together are one row, numbered by the first: a statement a batch, however many came together. A
row says what the log holds from its number on, so that a cut in the midst of an earlier row leaves that row alone.
"""

import sqlite3
from dataclasses import dataclass, field
from pathlib import Path
from typing import overload
from zlib import crc32

import msgspec
from pysyncobj.journal import Journal

from fieldloom_runtime.errors import StartFailed, unusable

Entry = tuple[bytes, int, int]

VERSION = 2
FILE = "consensus.db"
NOTHING = b"\x01"
_WAY_OUT = "remove this member from the cluster, move the file away and add it again under a new name"
"""The command of an entry of the cluster's own: a kind (PySyncObj's NO_OP) and nothing else."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS batches (number INTEGER PRIMARY KEY, entries BLOB NOT NULL, checksum INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS kept (name TEXT PRIMARY KEY, value BLOB NOT NULL, checksum INTEGER NOT NULL) WITHOUT ROWID;
"""

_ADD = "INSERT OR REPLACE INTO batches VALUES (?, ?, ?)"
_FORGET = "DELETE FROM batches WHERE number < (SELECT max(number) FROM batches WHERE number <= ?)"
_ENTRIES = msgspec.msgpack.Decoder(list[Entry])


class Term(msgspec.Struct, array_like=True):
    """The newest term that a member has seen, whom it gave its vote in it, and how far it knows of commits."""

    number: int = 0
    vote: str | None = None
    commit: int = 1
    first: int = 0
    """Where the log begins; the row that holds this entry may begin before it."""


class Snapshot(msgspec.Struct, array_like=True, frozen=True):
    """The state after an index, the term of the entry there, and the members (name to address) as of it."""

    index: int
    term: int
    members: dict[str, str]
    state: bytes | None = None
    """None before the first command."""


@dataclass
class Batch:
    """Changes that reach the disk together."""

    cut_from: int | None = None
    """Entries from this index on are gone; 0 for all."""
    added: list[Entry] = field(default_factory=list)
    keep_from: int | None = None
    """Entries below this index are gone."""
    term: Term | None = None
    snapshot: Snapshot | None = None

    @property
    def only_adds(self) -> bool:
        """Whether it has entries and nothing else, as nearly every batch."""
        others = self.cut_from, self.keep_from, self.term, self.snapshot
        return bool(self.added) and others == (None, None, None, None)


class SqliteJournal(Journal):  # type: ignore[misc]  # PySyncObj has no types
    """The journal of one member. Commits survive a power cut: WAL, synchronous=FULL, a checksum a row."""

    def __init__(self, path: Path) -> None:
        """Open or create it. Raises StartFailed, also for a row that is not as it was written."""
        self._path = path
        self._batch = Batch()
        self._term = Term()
        self._entries: list[Entry] = []
        self._snapshot: Snapshot | None = None
        self.size = 0
        """Bytes of all commands in the log."""
        try:
            self._connection = self._opened()
            self._load()
        except (sqlite3.Error, msgspec.DecodeError) as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
                raise StartFailed(f"{self._path} is in use", "stop the other gateway that has it") from error
            raise unusable(self._path, error, _WAY_OUT) from error

    @property
    def snapshot(self) -> Snapshot | None:
        """The newest snapshot; None in a folder that is new."""
        return self._snapshot

    def begin(self, members: dict[str, str]) -> None:
        """Fill a new journal: the members that the cluster begins with, and the entry that all logs begin with."""
        self._note_snapshot(Snapshot(1, 0, members))
        self.add(NOTHING, 1, 0)

    def term_at(self, index: int) -> int | None:
        """Return the term of an entry; None if it is not in the log."""
        place = index - self._entries[0][1]
        return self._entries[place][2] if 0 <= place < len(self._entries) else None

    def compact(self, snapshot: Snapshot, keep: int) -> None:
        """Have a snapshot of an applied index in place of the entries that lie more than `keep`, at least 1, before it.

        PySyncObj counts on two entries in the log of a leader.
        """
        first = max(self._entries[0][1], snapshot.index - max(1, keep))
        self._note_snapshot(snapshot)
        self.deleteEntriesTo(first - self._entries[0][1])

    def install(self, snapshot: Snapshot) -> None:
        """Take another member's snapshot; entries after it stay if the log agrees with it. (Raft, section 7)"""
        self._note_snapshot(snapshot)
        if self.term_at(snapshot.index) == snapshot.term:
            self.deleteEntriesTo(snapshot.index - self._entries[0][1])
            return
        self.clear()
        self.add(NOTHING, snapshot.index, snapshot.term)

    @property
    def is_dirty(self) -> bool:
        """Whether something waits for the disk that others may rely on."""
        return self._batch.only_adds or self._batch != Batch()

    def take(self) -> Batch:
        """Return what was changed since the last call, for `write`."""
        batch, self._batch = self._batch, Batch()
        if batch.term is not None or batch.snapshot is not None or batch.keep_from is not None:
            self._term.first = self._entries[0][1] if self._entries else 0
            batch.term = msgspec.structs.replace(self._term)
        return batch

    def write(self, batch: Batch) -> None:
        """Commit a batch; callable from any one thread at a time, and again if it raised sqlite3.Error."""
        if batch.only_adds:
            self._add_row(batch.added[0][1], batch.added)  # a statement is a transaction by itself
            return
        execute = self._connection.execute
        with self._connection:
            execute("BEGIN IMMEDIATE")
            if batch.cut_from is not None:
                execute("DELETE FROM batches WHERE number >= ?", (batch.cut_from,))
            if batch.added:
                self._add_row(batch.added[0][1], batch.added)
            elif batch.cut_from:
                self._add_row(batch.cut_from, [])
            if batch.keep_from is not None:
                execute(_FORGET, (batch.keep_from,))
            for name, value in (("term", batch.term), ("snapshot", batch.snapshot)):
                if value is not None:
                    body = msgspec.msgpack.encode(value)
                    execute("INSERT OR REPLACE INTO kept VALUES (?, ?, ?)", (name, body, crc32(body)))

    def _add_row(self, number: int, entries: list[Entry]) -> None:
        self._connection.execute(_ADD, _row(number, entries))

    def close(self) -> None:
        self._connection.close()

    # From here on the names are PySyncObj's; its places count from the first entry in the log.

    def add(self, command: bytes, idx: int, term: int) -> None:
        entry = (command, idx, term)
        self._entries.append(entry)
        self._batch.added.append(entry)
        self.size += len(command)

    def clear(self) -> None:
        self.deleteEntriesFrom(0)

    def deleteEntriesFrom(self, entryFrom: int) -> None:  # noqa: N802, N803
        if entryFrom >= len(self._entries):
            return
        first = self._entries[entryFrom][1] if entryFrom else 0
        self.size -= sum(len(entry[0]) for entry in self._entries[entryFrom:])
        del self._entries[entryFrom:]
        self._batch.added = [entry for entry in self._batch.added if entry[1] < first]
        cut = self._batch.cut_from
        self._batch.cut_from = first if cut is None else min(cut, first)

    def deleteEntriesTo(self, entryTo: int) -> None:  # noqa: N802, N803
        if entryTo <= 0:
            return
        self.size -= sum(len(entry[0]) for entry in self._entries[:entryTo])
        del self._entries[:entryTo]
        self._batch.keep_from = self._entries[0][1]

    @overload
    def __getitem__(self, item: int) -> Entry: ...
    @overload
    def __getitem__(self, item: slice) -> list[Entry]: ...
    def __getitem__(self, item: int | slice) -> Entry | list[Entry]:
        return self._entries[item]

    def __len__(self) -> int:
        return len(self._entries)

    def setCurrentTerm(self, term: int, votedForNodeId: str | None) -> None:  # noqa: N802, N803
        self._term.number, self._term.vote = term, votedForNodeId
        self._batch.term = self._term

    def getCurrentTerm(self) -> int:  # noqa: N802
        return self._term.number

    def getVotedForNodeId(self) -> str | None:  # noqa: N802
        return self._term.vote

    def setRaftCommitIndex(self, raftCommitIndex: int) -> None:  # noqa: N802, N803
        self._term.commit = raftCommitIndex  # a hint: it goes along with a term or a snapshot

    def getRaftCommitIndex(self) -> int:  # noqa: N802
        return self._term.commit

    def _destroy(self) -> None:
        self.close()

    def _note_snapshot(self, snapshot: Snapshot) -> None:
        self._snapshot = self._batch.snapshot = snapshot

    def _opened(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, check_same_thread=False, isolation_level=None)
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")  # no lock is taken and given back a batch
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            connection.close()
            raise StartFailed(
                f"{self._path} has version {version}, this gateway knows {VERSION}",
                "install the newer fieldloom-gateway again",
            )
        self._path.chmod(0o600)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.executescript(_SCHEMA)
        if version == 1:
            self._gather(connection)
        connection.execute(f"PRAGMA user_version = {VERSION}")
        return connection

    def _gather(self, connection: sqlite3.Connection) -> None:
        """Take the entries of version 1, which had a row each."""
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            rows = connection.execute("SELECT number, term, command, checksum FROM entries ORDER BY number").fetchall()
            for number, term, command, checksum in rows:
                if crc32(command, crc32(b"%d %d" % (number, term))) != checksum:
                    raise self._unusable(f"entry {number} is damaged")
                connection.execute(_ADD, _row(number, [(command, number, term)]))
            connection.execute("DROP TABLE entries")
            connection.execute(f"PRAGMA user_version = {VERSION}")

    def _load(self) -> None:
        for name, value, checksum in self._connection.execute("SELECT name, value, checksum FROM kept"):
            if crc32(value) != checksum:
                raise self._unusable(f"{name} is damaged")
            if name == "term":
                self._term = msgspec.msgpack.decode(value, type=Term)
            else:
                self._snapshot = msgspec.msgpack.decode(value, type=Snapshot)
        for number, body, checksum in self._connection.execute("SELECT * FROM batches ORDER BY number"):
            if _checksum(number, body) != checksum:
                raise self._unusable(f"what begins with entry {number} is damaged")
            if self._entries:
                del self._entries[number - self._entries[0][1] :]
                if number != self._entries[-1][1] + 1:
                    raise self._unusable(f"entries before {number} are missing")
            self._entries += _ENTRIES.decode(body)
        if self._entries:
            del self._entries[: max(0, self._term.first - self._entries[0][1])]
        self.size = sum(len(entry[0]) for entry in self._entries)

    def _unusable(self, why: str) -> StartFailed:
        return StartFailed(f"{self._path} can't be used ({why})", _WAY_OUT)


def _row(number: int, entries: list[Entry]) -> tuple[int, bytes, int]:
    body = msgspec.msgpack.encode(entries)
    return number, body, _checksum(number, body)


def _checksum(number: int, body: bytes) -> int:
    return crc32(body, crc32(b"%d" % number))
