"""The consensus of a gateway that is alone: its own disk. The same port, so that all else has one path. (D1, D7)

Commands that came in meanwhile are committed together; each is on the disk before it is applied.
"""

import asyncio
import sqlite3
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TypeVar

import structlog

from fieldloom_gateway.cluster.consensus.port import (
    COMMAND_BYTES,
    Applied,
    Committed,
    Compacted,
    NoLeader,
    NotCommitted,
    Refused,
    StateMachine,
    TooLarge,
    Unknown,
)
from fieldloom_gateway.cluster.consensus.subscription import Subscription
from fieldloom_runtime.errors import StartFailed, unusable

log = structlog.get_logger()

Result = TypeVar("Result")

FILE = "cluster.db"
GROUP_BYTES = 4 * 1024 * 1024
"""Of the commands of one transaction."""
COMPACT_ENTRIES = 20_000
COMPACT_BYTES = 16 * 1024 * 1024
"""Of the journal, before a snapshot takes its place."""
VERSION = 1
PAUSE_S = 1.0
"""After a commit that the disk refused."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS journal (number INTEGER PRIMARY KEY, command BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS snapshot (number INTEGER PRIMARY KEY, state BLOB NOT NULL) STRICT;
"""

Waiting = tuple[bytes, asyncio.Future[Applied]]


class LocalConsensus:
    """A cluster of one member, which leads while it runs. Its file is `cluster.db` in the folder."""

    def __init__(self, name: str, folder: Path, machine: StateMachine, compact_entries: int = COMPACT_ENTRIES) -> None:
        self.name = name
        self.last_index = 0
        self._path = folder / FILE
        self._machine = machine
        self._compact_entries = compact_entries
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="cluster-disk")
        self._waiting: deque[Waiting] = deque()
        self._arrived = asyncio.Event()
        self._subscriptions: list[Subscription] = []
        self._work: asyncio.Task[None] | None = None
        self._compacted = 0
        """The index of the snapshot."""
        self._journal_bytes = 0

    async def start(self) -> None:
        """Read the disk. Raises StartFailed."""
        await self._on_disk(self._open)
        for index, state in self._db.execute("SELECT number, state FROM snapshot"):
            self._machine.restore(state)
            self.last_index = self._compacted = index
        for index, command in self._db.execute("SELECT number, command FROM journal ORDER BY number"):
            self._apply(index, command)
        self._work = asyncio.create_task(self._commit_all(), name="cluster-commits")

    async def stop(self) -> None:
        """Close the disk; calls that wait raise NoLeader or Unknown."""
        if self._work is not None:
            self._work.cancel()
            await asyncio.wait([self._work])
            self._work = None
            await self._on_disk(self._db.close)
        self._answer_all(NoLeader("the gateway stops"))
        for subscription in self._subscriptions:
            subscription.end()
        self._disk.shutdown()

    @property
    def leader(self) -> str | None:
        """The member itself, while it runs."""
        return self.name if self._work is not None and not self._work.done() else None

    @property
    def members(self) -> tuple[str, ...]:
        """The member itself."""
        return (self.name,)

    async def submit(self, command: bytes, within: float = 5.0) -> Applied:
        """Commit a command and return its outcome. Raises NoLeader, Unknown, TooLarge."""
        if len(command) > COMMAND_BYTES:
            raise TooLarge(len(command))
        if self.leader is None:
            raise NoLeader(f"{self._path} is not open")
        answer: asyncio.Future[Applied] = asyncio.get_running_loop().create_future()
        self._waiting.append((command, answer))
        self._arrived.set()
        try:
            async with asyncio.timeout(within):
                return await answer
        except TimeoutError:
            raise Unknown(f"the disk has not taken the command within {within} s") from None

    async def barrier(self, within: float = 5.0) -> int:  # noqa: ARG002 - the port's signature
        """Return the last index: what is committed here is applied. Raises NoLeader."""
        if self.leader is None:
            raise NoLeader(f"{self._path} is not open")
        return self.last_index

    def read(self, index: int) -> bytes:
        """Return the command of an entry. Raises NotCommitted, Compacted."""
        if index > self.last_index:
            raise NotCommitted(index)
        if index <= self._compacted:
            raise Compacted(index, self._compacted + 1)
        with closing(sqlite3.connect(self._path)) as reader:  # the other connection may be in a commit
            row = reader.execute("SELECT command FROM journal WHERE number = ?", (index,)).fetchone()
        return bytes(row[0])

    def subscribe(self) -> AsyncIterator[Committed]:
        """Give every command from this call on, in order, once applied. Raises FellBehind."""
        subscription = Subscription(self.last_index)
        self._subscriptions.append(subscription)
        return subscription

    async def add_member(self, name: str, address: str, within: float = 5.0) -> None:  # noqa: ARG002 - the port's
        """Raise Refused."""
        raise Refused(f"{self.name} is alone: set up a cluster on it before {name} joins")

    async def remove_member(self, name: str, within: float = 5.0) -> None:  # noqa: ARG002 - the port's signature
        """Raise Refused."""
        raise Refused(f"{name} can't go: {self.name} is alone")

    def _open(self) -> None:
        try:
            self._path.touch(0o600)
            self._db = sqlite3.connect(self._path, check_same_thread=False, isolation_level=None)
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version > VERSION:
                self._db.close()
                raise StartFailed(
                    f"{self._path} has version {version}, this gateway knows {VERSION}",
                    "install the newer fieldloom-gateway again",
                )
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(SCHEMA)
            self._db.execute(f"PRAGMA user_version = {VERSION}")
        except (OSError, sqlite3.Error) as error:
            raise unusable(self._path, error, "restore it from a copy, or move it away to start anew") from error

    async def _commit_all(self) -> None:
        try:
            while True:
                await self._arrived.wait()
                self._arrived.clear()
                while self._waiting:
                    await self._commit(self._next_group())
                    await self._compact()
        except BaseException:
            self._answer_all(NoLeader("the gateway's consensus has ended"))
            raise

    def _next_group(self) -> list[Waiting]:
        group, size = [self._waiting.popleft()], 0
        while self._waiting and size < GROUP_BYTES:
            group.append(self._waiting.popleft())
            size += len(group[-1][0])
        return group

    async def _commit(self, group: list[Waiting]) -> None:
        rows = list(enumerate((command for command, _ in group), self.last_index + 1))
        try:
            await self._on_disk(partial(self._write, rows))
        except sqlite3.Error as error:
            log.error("cluster_disk_failed", file=str(self._path), reason=str(error))  # noqa: TRY400 - it says all
            for _, answer in group:
                _fail(answer, NoLeader(f"{self._path} can't be written ({error})"))
            await asyncio.sleep(PAUSE_S)
            return
        except asyncio.CancelledError:
            for _, answer in group:
                _fail(answer, Unknown("the gateway stops"))
            raise
        for (index, command), (_, answer) in zip(rows, group, strict=True):
            outcome = self._apply(index, command)
            if not answer.done():
                answer.set_result(Applied(index, outcome))

    async def _compact(self) -> None:
        if self.last_index - self._compacted < self._compact_entries and self._journal_bytes < COMPACT_BYTES:
            return
        index, state = self.last_index, self._machine.snapshot()
        try:
            await self._on_disk(partial(self._write_snapshot, index, state))
        except sqlite3.Error as error:  # the journal grows until there is room
            log.error("cluster_compaction_failed", file=str(self._path), reason=str(error))  # noqa: TRY400
            return
        self._compacted, self._journal_bytes = index, 0

    def _apply(self, index: int, command: bytes) -> bytes:
        outcome = self._machine.apply(index, command)
        self.last_index = index
        self._journal_bytes += len(command)
        for subscription in self._subscriptions:
            subscription.put(Committed(index, command, outcome))
        self._subscriptions = [one for one in self._subscriptions if not one.is_over]
        return outcome

    def _write(self, rows: list[tuple[int, bytes]]) -> None:
        with self._db:
            self._db.execute("BEGIN")
            self._db.executemany("INSERT INTO journal VALUES (?, ?)", rows)

    def _write_snapshot(self, index: int, state: bytes) -> None:
        with self._db:
            self._db.execute("BEGIN")
            self._db.execute("DELETE FROM snapshot")
            self._db.execute("INSERT INTO snapshot VALUES (?, ?)", (index, state))
            self._db.execute("DELETE FROM journal WHERE number <= ?", (index,))

    def _answer_all(self, error: Exception) -> None:
        while self._waiting:
            _fail(self._waiting.popleft()[1], error)

    async def _on_disk(self, work: Callable[[], Result]) -> Result:
        """Do something in the one thread that writes. What has begun ends, though its caller be cancelled."""
        return await asyncio.get_running_loop().run_in_executor(self._disk, work)


def _fail(answer: asyncio.Future[Applied], error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)
