"""A cloud's way to its disk, to be recorded: the real Worker with both stores, and a scripted gateway.

python cloud_run.py DATA [FAULT]
"""

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import event

from fieldloom_cloud.automation.runtime import Runtime
from fieldloom_cloud.database import Database, migrate
from fieldloom_cloud.ingest import worker
from fieldloom_cloud.registry import service as registry
from fieldloom_cloud.settings import DATABASE
from fieldloom_cloud.timeseries import checkpoint
from fieldloom_cloud.timeseries.store import TimeSeries
from fieldloom_cloud.workers.leases import AllSlots
from fieldloom_contract import batch, messages, topics
from fixtures import sabotage
from powercut import script
from powercut.trace import mark

PAGES = 20  # SQLite checkpoints after 1,000, DuckDB after 16 MB; so few let a short run do it several times
JOURNAL_BYTES = 2000
STREAM = b"u" * 16
WAIT_S = 20


def batch_of(first: int, last: int) -> bytes:
    """Return what a gateway sends that holds first to last; here a number of its stream is its record's seq."""
    bodies = [messages.dumps(script.as_stored(seq)) for seq in range(first, last + 1)]
    return batch.pack(STREAM, first, first, [[script.DEVICE, script.BOOT, first, last]], bodies)


class Gateway:
    """Stands for the worker's MqttLink: sends batch after batch and hears what is acknowledged."""

    is_connected = True
    batches: tuple[bytes, ...] = ()
    heard: int = 0
    done: asyncio.Event

    def __init__(self, host, port, identity, tls, reads, on_message, on_connected=None) -> None:
        self.hear = on_message
        self.answered = asyncio.Event()

    async def run(self) -> None:
        for sent in self.batches:
            self.answered.clear()
            await self.hear(topics.up(script.GATEWAY), sent)
            await self.answered.wait()
        self.done.set()

    async def watch(self, topics) -> None:
        """Stand for the subscriptions: what is sent here comes to the worker anyway."""

    async def publish(self, topic: str, payload: bytes, qos: int = 0) -> bool:
        Gateway.heard = batch.unpack_ack(payload)[1]
        mark("acknowledged", Gateway.heard)
        self.answered.set()
        return True


async def prepare(data: Path) -> None:
    """Make a cloud that knows one gateway and its device; it has run and stopped."""
    await asyncio.to_thread(migrate, data / DATABASE)
    database = Database(data / DATABASE)
    async with database.transaction() as session:
        await registry.add_site(session, "default", "default")
        await registry.add_gateway(session, script.GATEWAY, "default")
        await registry.add_device(session, {"id": script.DEVICE, "site": "default"})
    await database.close()


async def feed(data: Path, batches: list[bytes], look: Callable[[TimeSeries], None] | None = None) -> None:
    """Let a real worker take batches, as a start of the cloud on this folder would; `look` comes before the first."""
    Gateway.batches, Gateway.heard, Gateway.done = tuple(batches), 0, asyncio.Event()
    series, database = TimeSeries(data), Database(data / DATABASE)
    broker, slots = worker.Broker("", 0, "cloud.test", None), AllSlots()
    if look is not None:
        look(series)
    event.listen(database.engine.sync_engine, "connect", _checkpoint_often)
    try:
        async with asyncio.timeout(WAIT_S), asyncio.TaskGroup() as tasks:
            running = tasks.create_task(
                worker.Worker(broker, database, series, None, Runtime(database, slots), slots).run()
            )
            await Gateway.done.wait()
            running.cancel()
    finally:
        await database.close()
        series.close()


def _checkpoint_often(connection, _) -> None:
    connection.execute(f"PRAGMA wal_autocheckpoint = {PAGES}")


if __name__ == "__main__":
    worker.MqttLink = Gateway
    checkpoint.JOURNAL_BYTES = JOURNAL_BYTES
    sabotage.apply(sys.argv[2:])
    groups = [script.group(number) for number in range(script.GROUPS)]
    TimeSeries.close = lambda series: os._exit(0)  # as a power cut would end it: nothing is closed
    Database.close = lambda database: asyncio.sleep(0)
    asyncio.run(feed(Path(sys.argv[1]), [batch_of(seqs[0], seqs[-1]) for seqs in groups]))
