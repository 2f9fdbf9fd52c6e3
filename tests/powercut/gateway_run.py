"""A gateway's way to its disk, to be recorded: the real Ingest, Store, Outbox and Uplink between a scripted board and a
scripted cloud. Whatever leaves the process is marked at the moment when it does.

    python gateway_run.py DATA [FAULT]
"""

import asyncio
import json
import os
import sqlite3
import sys
from binascii import crc32
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fieldloom_contract import batch, messages, topics
from fieldloom_gateway.adapters.base import Message
from fieldloom_gateway.ingest import database, uplink
from fieldloom_gateway.ingest import store as stores
from fieldloom_gateway.ingest.outbox import Outbox
from fieldloom_gateway.ingest.service import Ingest
from fieldloom_gateway.ingest.store import Store
from fieldloom_runtime.compression import inflate
from fixtures import sabotage
from powercut import script
from powercut.trace import mark

PAGES = 20  # SQLite checkpoints after 1,000; so many let a short run do it several times
WAIT_S = 20


class Board:
    """Stands for the adapter: gives what comes in, group by group, and hears what the devices would."""

    name = "board"

    async def groups(self, limit: int):
        for number in range(script.GROUPS):
            seqs = script.group(number)
            coming = [Message(*told) for told in script.sent_again(seqs[0], seqs[-1])]
            if number % 4 == 3:
                coming.append(Message(topics.device(script.DEVICE, topics.TELEMETRY), b"{nonsense"))
            for start in range(0, len(coming), limit):
                yield coming[start : start + limit]
            await asyncio.sleep(0.01)  # lets the uplink have its turn

    async def publish(self, topic: str, payload: bytes) -> bool:
        if topic == topics.device(script.DEVICE, topics.ACK):
            ack = messages.parse_ack(payload)
            if ack["boot"] == script.BOOT:
                mark("acknowledged", ack["seq"])
        return True


class Cloud:
    """Stands for the uplink's MqttLink: takes every batch, acknowledges every other, sends commands and patches.

    The link is new after each answer, so that what waits is sealed.
    """

    is_connected = True

    def __init__(self, *named) -> None:
        self.hear, self.connected = named[5:7]
        self.batches = 0
        self.answers: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()

    async def run(self) -> None:
        await self.connected()
        down = [script.command(number) for number in range(1, script.COMMANDS + 1)]
        down += [script.patch(number) for number in range(1, script.PATCHES + 1)]
        for number, record in enumerate(down, 1):
            sent = batch.pack(script.STREAM_DOWN, number, 1, [], [record])
            await self.hear(topics.gateway(script.GATEWAY, "down"), sent)
            await self.answer()
        while True:
            await self.answer()

    async def answer(self) -> None:
        stream, last = await self.answers.get()
        mark("cloud-has", stream.hex(), last)  # the gateway may forget it from now on
        await self.hear(topics.gateway(script.GATEWAY, "ack"), batch.pack_ack(stream, last))
        await self.connected()

    async def publish(self, topic: str, payload: bytes, qos: int = 0) -> bool:
        if topic == topics.up(script.GATEWAY):
            sent = batch.unpack(payload, inflate)
            for number, body in enumerate(sent.records, start=sent.offset):
                mark("sent", sent.stream.hex(), number, crc32(body), json.loads(body).get("seq") or 0)
            self.batches += 1
            if self.batches % 2 == 0:
                self.answers.put_nowait((sent.stream, sent.offset + len(sent.records) - 1))
        elif topic.endswith("down/ack"):
            mark("down", batch.unpack_ack(payload)[1])
        return True


async def run(data: Path) -> None:
    connection = database.open_database(data)
    connection.execute(f"PRAGMA wal_autocheckpoint = {PAGES}")
    reader = sqlite3.connect(data / database.FILE, check_same_thread=False, isolation_level=None)
    stores.WRITE_BACK_AFTER = 3
    store, outbox, writer = Store(connection, 1_000_000), Outbox(reader), ThreadPoolExecutor(1)
    store.express.from_bytes = 0  # each event overtakes
    steady = iter(range(10**9))
    clocks = uplink.Clocks(lambda: next(steady), lambda: script.START)
    up = uplink.Uplink(script.GATEWAY, ("", 0), None, outbox, store, writer, clocks)
    ingest = Ingest([Board()], store, writer, lambda: script.START, up.wake, lambda *_: None)
    async with asyncio.timeout(WAIT_S), asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(up.run())
        await ingest.run()
        sending.cancel()


if __name__ == "__main__":
    uplink.MqttLink = Cloud
    uplink.SEALED_FROM_BATCHES = 0
    sabotage.apply(sys.argv[2:])
    asyncio.run(run(Path(sys.argv[1])))
    sys.stdout.flush()
    os._exit(0)  # as a power cut would end it: nothing is closed
