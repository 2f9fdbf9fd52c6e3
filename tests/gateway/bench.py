"""The real ingest on a real disk, in the process of a test, between adapters of the test's choice."""

import asyncio
import contextlib
import json
from concurrent.futures import ThreadPoolExecutor

from fieldloom_gateway.adapters.base import AdapterMetrics, Message, Site
from fieldloom_gateway.adapters.inbox import Inbox
from fieldloom_gateway.adapters.kept import Kept
from fieldloom_gateway.ingest.credentials import Credentials
from fieldloom_gateway.ingest.database import open_database
from fieldloom_gateway.ingest.service import Ingest
from fieldloom_gateway.ingest.store import Store
from fieldloom_runtime import files

NOW = 1_790_000_000_000
WAIT_S = 60
BROKEN = b"broken"


async def until(holds):
    async with asyncio.timeout(WAIT_S):
        while not holds():  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0.005)


class Loopback:
    """An adapter whose devices are in this process."""

    def __init__(self):
        self.metrics = AdapterMetrics()
        self.is_connected = False
        self.inbox = Inbox()
        self.pending = self.inbox.pending
        self.heard = asyncio.Queue()
        self.faults = []

    async def subscribe(self, topics):
        self.topics = topics

    async def connect(self):
        if self.faults:
            raise self.faults.pop(0)
        self.is_connected = True

    async def receive(self):
        async for message in self.inbox.receive():
            if message.payload == BROKEN:
                raise ValueError("it broke")
            yield message

    async def publish(self, topic, payload, qos=0):
        if topic.endswith("broken"):
            raise RuntimeError("no way")
        self.heard.put_nowait((topic, payload))
        return True

    async def close(self):
        self.is_connected = False

    async def say(self, payload, verb="telemetry", **fields):
        """Give a message in, and return its outcome."""
        outcome = asyncio.get_running_loop().create_future()
        assert self.inbox.put(Message(f"fl/v1/d/dev-1/{verb}", payload, outcome.set_result, **fields))
        async with asyncio.timeout(WAIT_S):
            return await outcome


class Bench:
    """A gateway's way from adapters to its disk; `broker` is the first adapter, and a test may add others."""

    def __init__(self, folder):
        self.folder = folder
        self.db = open_database(folder)
        self.store = Store(self.db, 100_000_000)
        self.writer = ThreadPoolExecutor(1)
        self.broker = Loopback()
        self.kept = [Kept("broker", "mqtt", self.broker)]
        self.ingest = Ingest(self.kept, self.store, self.writer, lambda: NOW, lambda: None, lambda *_: None)
        self.told = 0

    def add(self, name, protocol, adapter):
        self.kept.append(Kept(name, protocol, adapter))

    def site(self, authority):
        """What this gateway lends to an adapter."""
        cert, key = authority.issue("gw.test")
        (self.folder / "broker").mkdir(exist_ok=True)
        files.write(self.folder / "broker" / "crl.pem", authority.crl.read_bytes())
        known = Credentials(self.db, lambda: NOW)
        return Site(
            "gw.test",
            self.folder,
            authority.ca,
            cert,
            key,
            known,
            self.ingest.waiting,
            self.ingest.greet_all,
            self.ingest.listen,
        )

    def hear(self, *records):
        """Take what a cloud sends down, and return what of it is news for devices."""
        self.told += 1
        return self.writer.submit(self.store.down.take, b"s" * 16, self.told, list(records), NOW).result()

    @contextlib.asynccontextmanager
    async def running(self):
        task = asyncio.create_task(self.ingest.run())
        try:
            await until(lambda: all(one.is_connected for one in self.kept))
            yield self
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            self.writer.shutdown()
            self.db.close()

    def records(self):
        """What waits for the cloud, beside the word who is there."""
        return [record for record in self._waiting() if record["kind"] != "discovered"]

    def found(self):
        """Who the cloud will be told is there."""
        return [record for record in self._waiting() if record["kind"] == "discovered"]

    def _waiting(self):
        bodies = self.db.execute("SELECT body FROM outbox ORDER BY last").fetchall()
        return [json.loads(line) for (body,) in bodies for line in body.splitlines()]

    def letters(self):
        return self.db.execute("SELECT topic, payload, reason FROM dead_letter ORDER BY number").fetchall()
