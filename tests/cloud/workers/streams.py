"""Gateways that send streams up and take commands, by the contract's own Sender, over MQTT and TLS."""

import asyncio
import contextlib
import json
import os
import random
import time

from fieldloom_contract import batch, messages, topics
from fieldloom_contract.stream import Item, Sender

BATCH_BYTES = 16 * 1024


def now_ms():
    return time.monotonic_ns() // 1_000_000


class Stream:
    """One gateway: what it took waits here until the cloud has it, and what came down is acknowledged at once."""

    def __init__(self, fleet, name):
        self.fleet, self.name = fleet, name
        self.life = os.urandom(16)
        self.items, self.covers, self.numbered = [], {}, 0
        self.sender = Sender(self, self._encode, random.random, BATCH_BYTES)
        self.commands, self.down = [], {}

    def add(self, **record):
        """Take a record of a device."""
        self.numbered += 1
        self.covers[self.numbered] = [record["device"], record["boot"], record["seq"], record["seq"]]
        self.items.append(Item(self.life, self.numbered, "up", messages.dumps(record)))

    def peek(self, after, records, size):
        return [item for item in self.items if after is None or item.seq > after[1]][:records]

    def first(self, life):
        return self.items[0].seq if self.items else None

    def discard(self, life, seq):
        kept = [item for item in self.items if item.life != life or item.seq > seq]
        freed = len(self.items) - len(kept)
        self.items = kept
        return freed

    def _encode(self, items, first):
        covers = [self.covers[item.seq] for item in items]
        return batch.pack(self.life, items[0].seq, first, covers, [item.body for item in items])

    async def run(self):
        """Send and answer until cancelled."""
        async with self.fleet.gateway(self.name) as client:
            for verb in ("ack", "down"):
                await client.subscribe(topics.gateway(self.name, verb))
            self.sender.connected(now_ms())
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._hear(client))
                while True:
                    while (message := self.sender.poll(now_ms())) is not None:
                        await client.publish(topics.up(self.name), message.payload)
                    await asyncio.sleep(0.05)

    async def _hear(self, client):
        async for message in client.messages:
            if str(message.topic).endswith("/ack"):
                stream, number = batch.unpack_ack(message.payload)
                if stream == self.life:
                    self.sender.acknowledge(stream, number, now_ms())
            else:
                await self._take_down(client, batch.unpack(message.payload))

    async def _take_down(self, client, sent):
        """Take what continues the stream down, each number once, as a gateway does."""
        had = max(self.down.get(sent.stream, 0), sent.first - 1)
        if sent.offset > had + 1:
            return
        for text in sent.records[had + 1 - sent.offset :]:
            record = json.loads(text)
            if record["kind"] == "command":
                self.commands.append(record["id"])
        self.down[sent.stream] = max(had, sent.offset + len(sent.records) - 1)
        await client.publish(topics.gateway(self.name, "down/ack"), batch.pack_ack(sent.stream, self.down[sent.stream]))


@contextlib.asynccontextmanager
async def running(streams):
    """Have gateways send while a test goes on."""
    tasks = [asyncio.create_task(stream.run(), name=stream.name) for stream in streams]
    try:
        yield
    finally:
        ended = [task.exception() for task in tasks if task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert ended == []
