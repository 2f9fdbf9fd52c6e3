"""What everybody in a gateway needs of its disk: the store, and the one thread that writes."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fieldloom_gateway.ingest.ballast import Ballast
from fieldloom_gateway.ingest.database import FILE, open_database
from fieldloom_gateway.ingest.store import Store
from fieldloom_gateway.settings import Policy


class Disk:
    """The database of a gateway. All that writes it, and all calls of its store, run on the thread of `writer`."""

    def __init__(self, data: Path, outbox_bytes: int, outbox_policy: Policy) -> None:
        """Open the database of a data folder, or create it. Raises StartFailed."""
        self.connection = open_database(data)
        self.reader = sqlite3.connect(data / FILE, check_same_thread=False, isolation_level=None)
        """A connection that only reads, beside the thread that writes."""
        self.store = Store(self.connection, outbox_bytes, outbox_policy)
        self.store.hold(Ballast(data))
        self.writer = ThreadPoolExecutor(1, "disk")
        self._looks: list[Callable[[], None]] = []

    async def in_store(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """Call something on the thread that has the database."""
        return await asyncio.get_running_loop().run_in_executor(self.writer, call, *arguments)

    async def commit(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """Call something in a transaction of its own. Raises sqlite3.Error."""
        return await self.in_store(self.store.commit, call, *arguments)

    def ask(self, call: Callable[[], Any]) -> Any:
        """Call something on the thread that has the database, from a thread that may wait."""
        return self.writer.submit(call).result()

    def attend(self, look: Callable[[], None]) -> None:
        """Have a callback look, after commits, whether there is something for it to do; it must not raise."""
        self._looks.append(look)

    def tell(self) -> None:
        """Have those look who do something with what was committed."""
        for look in self._looks:
            look()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Close the database at the end, after what was begun."""
        try:
            yield
        finally:
            self.writer.shutdown()
            self.reader.close()
            self.connection.close()
