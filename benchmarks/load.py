"""Devices that send as fast as they are acknowledged, cheap enough to leave the machine to what is measured.

MQTT 3.1.1 over TLS by hand: PUBLISH at QoS 0, one packet a message, several packets a write. Each device keeps the
contract's window (64 records in flight) and goes back to its oldest record after 2 s without an answer.
"""

import asyncio
import json
import ssl
import struct
import time
from collections.abc import Callable

from fieldloom_contract import topics
from fieldloom_contract.limits import RESEND_MS, WINDOW_RECORDS

BOOT = 7
RECORD = b'{"boot":7,"seq":%d,%s"ts":%d,"values":{"temperature":21.5,"humidity":40.25}}'
PUBLISH, CONNECT, SUBSCRIBE = 0x30, 0x10, 0x82


def packet(kind: int, body: bytes) -> bytes:
    """Return an MQTT packet: its head, the length of its rest in groups of seven bits, its rest."""
    size, head = len(body), bytes([kind])
    while size > 0x7F:
        head += bytes([size & 0x7F | 0x80])
        size >>= 7
    return head + bytes([size]) + body


def text(value: str) -> bytes:
    return struct.pack("!H", len(value)) + value.encode()


class Connection(asyncio.Protocol):
    """One client: connects, subscribes, hands every message on as (topic, payload)."""

    def __init__(self, name: str, reads: list[str], heard: Callable[[bytes, bytes], None]) -> None:
        self._name = name
        self._reads = reads
        self._heard = heard
        self._data = b""
        self.ready = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport

    def connection_made(self, transport) -> None:
        self.transport = transport
        transport.write(packet(CONNECT, b"\x00\x04MQTT\x04\x02\x00\x00" + text(self._name)))
        filters = b"".join(text(topic) + b"\x00" for topic in self._reads)
        transport.write(packet(SUBSCRIBE, b"\x00\x01" + filters))

    def data_received(self, data: bytes) -> None:
        data, at = self._data + data, 0
        while (found := self._next(data, at)) is not None:
            kind, start, at = found
            if kind & 0xF0 == PUBLISH:
                (length,) = struct.unpack_from("!H", data, start)
                self._heard(data[start + 2 : start + 2 + length], data[start + 2 + length : at])
            elif kind & 0xF0 == 0x90 and not self.ready.done():  # SUBACK
                self.ready.set_result(None)
        self._data = data[at:]

    def _next(self, data: bytes, at: int) -> tuple[int, int, int] | None:
        """Return (kind, start of the rest, end) of the packet at a place, None while it is not whole."""
        length, shift, start = 0, 0, at + 1
        while start < len(data):
            length |= (data[start] & 0x7F) << shift
            shift += 7
            start += 1
            if not data[start - 1] & 0x80:
                return (data[at], start, start + length) if start + length <= len(data) else None
        return None


async def connect(name, address, tls, reads, heard) -> Connection:
    loop = asyncio.get_running_loop()
    _, client = await loop.create_connection(lambda: Connection(name, reads, heard), *address, ssl=tls)
    async with asyncio.timeout(20):
        await client.ready
    return client


class Device:
    """Sends records in messages of `batch`, within the window; counts what was acknowledged."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.batch = 1
        self.acknowledged = 0
        self.sent = 0
        self.resends = 0
        self._topic = text(topics.device(name, topics.TELEMETRY))
        self._client: Connection
        self._progress = 0.0

    async def connect(self, address: tuple[str, int], tls: ssl.SSLContext) -> None:
        self._client = await connect(self.name, address, tls, [topics.device(self.name, topics.ACK)], self._hear)

    def send(self, limit: int | None = None) -> None:
        """Fill the window, up to record `limit`."""
        now, packets = time.time_ns() // 1_000_000, []
        top = self.acknowledged + WINDOW_RECORDS if limit is None else min(limit, self.acknowledged + WINDOW_RECORDS)
        while self.sent + self.batch <= top:
            first = b'"first":%d,' % (self.acknowledged + 1)
            numbers = range(self.sent + 1, self.sent + 1 + self.batch)
            records = [RECORD % (seq, first if seq == numbers[0] else b"", now) for seq in numbers]
            payload = records[0] if self.batch == 1 else b"[" + b",".join(records) + b"]"
            packets.append(packet(PUBLISH, self._topic + payload))
            self.sent += self.batch
        if packets:
            self._client.transport.write(b"".join(packets))

    def take(self, count: int) -> None:
        """Take `count` further records as acknowledged."""
        self.acknowledged += count
        self._progress = time.monotonic()

    def look_after(self) -> None:
        """Go back when nobody has answered for too long."""
        if self.sent > self.acknowledged and time.monotonic() - self._progress > RESEND_MS / 1000:
            self.resends += 1
            self.sent = self.acknowledged
            self._progress = time.monotonic()

    def close(self) -> None:
        self._client.transport.close()

    def _hear(self, _: bytes, payload: bytes) -> None:
        ack = json.loads(payload)
        if ack["boot"] == BOOT and ack["seq"] > self.acknowledged:
            self.take(ack["seq"] - self.acknowledged)
            self.sent = max(self.sent, self.acknowledged)


async def run(devices: list[Device], seconds: float) -> None:
    """Have all devices send for that long, then wait until all that was sent is acknowledged."""
    ends = time.monotonic() + seconds
    for device in devices:
        device.take(0)
    while time.monotonic() < ends:
        for device in devices:
            device.look_after()
            device.send()
        await asyncio.sleep(0.001)
    last = {device.name: device.sent for device in devices}
    async with asyncio.timeout(30):
        while any(device.acknowledged < last[device.name] for device in devices):
            for device in devices:
                device.look_after()
                device.send(last[device.name])
            await asyncio.sleep(0.001)
