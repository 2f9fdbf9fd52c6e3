"""The real ingest on a real disk behind one adapter, in the process of the test."""

import asyncio
import contextlib
import json
from concurrent.futures import ThreadPoolExecutor

from fieldloom_gateway.adapters.base import Site
from fieldloom_gateway.adapters.kept import Kept
from fieldloom_gateway.ingest.credentials import Credentials
from fieldloom_gateway.ingest.database import open_database
from fieldloom_gateway.ingest.service import Ingest
from fieldloom_gateway.ingest.store import Store
from fieldloom_runtime.down import Credential

NOW = 1_790_000_000_000
DAY_MS = 24 * 3600 * 1000
STREAM = b"s" * 16
WAIT_S = 60


class Bench:
    """`build` makes the adapter of the site that it is lent."""

    def __init__(self, folder, build):
        self.db = open_database(folder)
        self.store = Store(self.db, 100_000_000)
        self.writer = ThreadPoolExecutor(1)
        credentials = Credentials(self.db, lambda: NOW)
        self.site = Site("gw.test", folder, folder, folder, folder, credentials, self.waiting, self.greet)
        self.adapter = build(self.site)
        self.kept = Kept("tried", "tried", self.adapter)
        self.ingest = Ingest([self.kept], self.store, self.writer, lambda: NOW, lambda: None, lambda *_: None)

    async def waiting(self, device):
        return await self.ingest.waiting(device)

    async def greet(self):
        await self.ingest.greet_all()

    def records(self):
        """What waits for the cloud, the oldest first."""
        bodies = self.db.execute("SELECT body FROM outbox ORDER BY last").fetchall()
        lines = [json.loads(line) for (body,) in bodies for line in body.splitlines()]
        return [line for line in lines if line["kind"] != "dead_letter"]

    def letters(self):
        return self.db.execute("SELECT topic, payload, reason FROM dead_letter ORDER BY number").fetchall()

    async def issue(self, device, protocol, secret, digits="0123456789ab"):
        """Have a credential come down from the cloud, and return its id."""
        told = Credential(f"{device}.{digits}", device, protocol, secret)
        await self._hear(told)
        return told.id

    async def revoke(self, credential_id, protocol):
        await self._hear(Credential(credential_id, credential_id.split(".")[0], protocol, b"", 0))

    async def command(self, device, command_id, parameters=None):
        """Have a command for a device come down from the cloud."""
        command = {"id": command_id, "device": device, "type": "read", "parameters": parameters or {}}
        await self._hear({**command, "expires": NOW + DAY_MS})

    async def _hear(self, record):
        loop = asyncio.get_running_loop()
        number = self.store.downstream(STREAM) + 1
        for news in await loop.run_in_executor(self.writer, self.store.take_down, STREAM, number, [record], NOW):
            await self.ingest.send(*news)


async def until(holds):
    """Wait until something holds."""
    async with asyncio.timeout(WAIT_S):
        while not holds():  # noqa: ASYNC110 - the adapter says it to nobody
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def running(bench):
    """Run a bench until the block ends."""
    task = asyncio.create_task(bench.ingest.run())
    try:
        await until(lambda: bench.adapter.is_connected)
        yield bench
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        bench.writer.shutdown()
        bench.db.close()
