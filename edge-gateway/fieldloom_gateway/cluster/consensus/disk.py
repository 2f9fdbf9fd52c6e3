"""The thread that writes a member's journal, a batch at a time, and tries again what the disk refuses. (D1, ADR 49)"""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread

import structlog

from fieldloom_gateway.cluster.consensus.figures import Figures
from fieldloom_gateway.cluster.consensus.journal import Batch, SqliteJournal

log = structlog.get_logger()

AGAIN_S = 1.0
"""After this time a batch that was refused is written again."""


class Disk:
    """Takes a batch while it has none. `on_written` is called on the loop once the batch is on the disk."""

    def __init__(self, member: str, journal: SqliteJournal, figures: Figures, on_written: Callable[[], None]) -> None:
        self._member = member
        self._journal = journal
        self._figures = figures
        self._on_written = on_written
        self._loop = asyncio.get_running_loop()
        self._batches: SimpleQueue[Batch | None] = SimpleQueue()  # a pool's future a batch costs as much as the batch
        self._thread = Thread(target=self._work, name="consensus-disk", daemon=True)
        self._thread.start()
        self.is_writing = False
        self.begun = 0.0
        """When the batch was taken, by the loop's clock; long ago if it was refused."""

    def write(self, batch: Batch) -> None:
        self.is_writing = True
        self.begun = self._loop.time()
        self._batches.put(batch)

    async def close(self) -> None:
        """Write what the journal has noted, but nothing behind a batch that was refused, and close it."""
        self._batches.put(None)
        await asyncio.to_thread(self._thread.join)

    def _work(self) -> None:
        owes = False
        while (batch := self._batches.get()) is not None:
            begun = time.perf_counter()
            why = self._try(batch)
            owes = why is not None
            if why is not None:
                self._loop.call_soon_threadsafe(self._refused, batch, why)
            else:
                self._loop.call_soon_threadsafe(self._written, time.perf_counter() - begun)
        if not owes and (why := self._try(self._journal.take())) is not None:
            log.error("consensus_disk_error", member=self._member, error=why)
        self._journal.close()

    def _try(self, batch: Batch) -> str | None:
        """Write a batch; return why the disk refuses it."""
        try:
            self._journal.write(batch)
        except sqlite3.Error as error:
            return str(error)
        return None

    def _written(self, seconds: float) -> None:
        figures = self._figures
        figures.writes += 1
        figures.write_s += seconds
        figures.longest_write_s = max(figures.longest_write_s, seconds)
        self.is_writing = False
        self._on_written()

    def _refused(self, batch: Batch, why: str) -> None:
        """Keep still until the disk takes the batch: nothing that rests on it has left."""
        self._figures.disk_errors += 1
        log.error("consensus_disk_error", member=self._member, error=why)
        self.begun = float("-inf")  # no beat: another member has to lead
        self._loop.call_later(AGAIN_S, self._batches.put, batch)
