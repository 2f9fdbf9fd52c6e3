"""MQTT 3.1.1 over TLS: umqtt packs and unpacks, the stream moves the bytes. (F1)"""

import gc
import struct

from umqtt.simple import MQTTClient

from fieldloom_agent import overlay
from fieldloom_agent.tls import TlsStream
from fieldloom_contract.compat import const

_KEEP_ALIVE_S = const(30)
_BUFFER = const(512)
_IN_MEMORY = const(2176)  # a chunk of a release (2,068), its topic and its header
_LONGEST = const(4352)  # a message of the contract (4,096), its topic and its header
_CONNACK = const(0x20)
_PUBLISH = const(0x30)
_SUBACK = const(0x90)


class _Packer(MQTTClient):
    """Umqtt, its own socket: what it writes leaves as one TLS record, what it reads is one whole packet."""

    def __init__(self, deliver):
        self.sock = self
        self.cb = deliver
        self.out = None  # a packet that is being made
        self.packet = None
        self.at = 0

    def write(self, data, length=None):
        if self.out is None:
            self.out = bytearray()
        self.out += data if length is None else data[:length]

    def read(self, count):
        self.at += count
        return self.packet[self.at - count : self.at]

    def setblocking(self, flag):
        pass


class Link:
    """One connection to a gateway's broker. Raises OSError and ValueError when it fails; then it is to be closed.

    Heap: 512 bytes to receive in, up to 2,176 while a longer message comes in; one that is longer still goes to flash.
    """

    def __init__(self, device, context):
        self._device = device
        self.context = context  # may be another one for the next connection
        self._stream = TlsStream()
        self._packer = _Packer(self._deliver)
        self._buffer = bytearray(_BUFFER)
        self._message = None
        self._rest = 0  # bytes of a packet that are still to come

    async def open(self, host, port, will, topics):
        """Connect, with a last will (topic, payload), and subscribe to topics."""
        await self._stream.open(host, port, self.context)
        body = b"\x00\x04MQTT\x04\x06" + struct.pack("!H", _KEEP_ALIVE_S)  # a clean session, with a will
        for part in (self._device, will[0], will[1]):
            body += struct.pack("!H", len(part)) + (part if isinstance(part, bytes) else part.encode())
        gc.collect()  # the same for what the handshake leaves
        await self._stream.write(_packet(0x10, body))
        packet = await self._expect(_CONNACK)
        if packet[3]:
            raise OSError("the broker refuses this board: " + str(packet[3]))
        body = b"\x00\x01"
        for topic in topics:
            body += struct.pack("!H", len(topic)) + topic.encode() + b"\x00"
        await self._stream.write(_packet(0x82, body))
        packet = await self._expect(_SUBACK)
        if max(packet[4 : 4 + len(topics)]) > 2:
            raise OSError("the broker refuses a subscription")

    async def send(self, topic, payload):
        """Publish, QoS 0."""
        self._packer.publish(topic.encode(), payload)
        await self._flush()

    async def ping(self):
        """Ask for a sign of life."""
        self._packer.ping()
        await self._flush()

    async def part(self):
        """End the session, so that the last will is not sent."""
        await self._stream.write(b"\xe0\x00")

    async def receive(self):
        """Return (topic, payload) of the next message, None for a packet that is none; good until the next call.

        A payload is a view, or Stored.
        """
        packet = await self._packet()
        self._message = None
        if packet is not None:
            self._packer.packet, self._packer.at = packet, 0
            self._packer.wait_msg()
        if self._rest:
            await self._store()
        return self._message

    def close(self):
        """End the connection."""
        self._stream.close()
        self._packer.out = None

    async def _flush(self):
        out, self._packer.out = self._packer.out, None
        await self._stream.write(out)

    def _deliver(self, topic, payload):
        self._message = (str(topic, "utf-8"), payload)

    async def _expect(self, kind):
        packet = await self._packet()
        if packet is None or packet[0] & 0xF0 != kind:
            raise OSError("the broker answers out of turn")
        return packet

    async def _packet(self):
        """Return the next packet as a view; one beyond the contract's limits is passed over, and None."""
        head, self._rest = memoryview(self._buffer), 0
        await self._stream.read_into(head[:2])
        length, shift, at = self._buffer[1] & 0x7F, 7, 2
        while self._buffer[at - 1] & 0x80:
            await self._stream.read_into(head[at : at + 1])
            length |= (self._buffer[at] & 0x7F) << shift
            shift += 7
            at += 1
        if at + length > (_LONGEST if self._buffer[0] & 0xF0 == _PUBLISH else _IN_MEMORY):
            await self._skip(length)
            return None
        if at + length > _IN_MEMORY:
            self._rest = at + length - _BUFFER
        size = at + length - self._rest
        view = (head if size <= _BUFFER else memoryview(bytearray(size)))[:size]
        view[:at] = head[:at]
        await self._stream.read_into(view[at:])
        return view

    async def _store(self):
        topic, begun = self._message
        view = memoryview(self._buffer)
        payload = await overlay.call("storing", "receive", self._stream, view, begun, self._rest)
        self._message = None if payload is None else (topic, payload)

    async def _skip(self, length):
        print("a message of", length, "bytes is over the limit")
        view = memoryview(self._buffer)
        while length:
            part = min(length, len(view))
            await self._stream.read_into(view[:part])
            length -= part


def _packet(kind, body):
    size, head = len(body), bytes([kind])
    while size > 0x7F:
        head += bytes([size & 0x7F | 0x80])
        size >>= 7
    return head + bytes([size]) + body
