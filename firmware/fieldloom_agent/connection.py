"""The way to the gateway: made again for ever, it sends what the buffer holds and hands on what comes. (F1, F2)"""

import asyncio
import os
import random
from binascii import hexlify

from fieldloom_agent import overlay
from fieldloom_agent.link import Link
from fieldloom_contract import board_topics as topics
from fieldloom_contract import device
from fieldloom_contract.compat import const
from fieldloom_contract.stream import Sender

HEARS = (topics.ACK, topics.TIME, topics.COMMAND, topics.UPDATE_CHUNK, topics.CERTIFICATE, topics.DESIRED)
_PING_MS = const(15000)
_SILENCE_MS = const(45000)
_OPEN_MS = const(120000)  # a gateway that a thousand boards come back to needs its time
_BACK_OFF_MS = const(1000)
_BACK_OFF_MAX_MS = const(60000)
_STATE_MS = const(900000)
_MESSAGE_BYTES = const(1024)


class Connection:
    """`board` is the agent, whose `take(topic, payload)` gets what comes; `context` is for TLS."""

    def __init__(self, board, context):
        self._board = board
        self.link = Link(board.settings.device, context)
        self._sender = Sender(board.buffer, _encode, random.random, _MESSAGE_BYTES)
        self._task = None
        self.speaker = None  # the task that sends, while there is something to send
        self.is_up = False
        self._opening = None  # since when the link is being opened
        self._outgoing = []
        self._heard = self._sent = self._look_at = 0
        self._told = 0  # when the state was told last
        self._is_behind = False  # since it connected, with records that had waited
        self.up_since = None  # ms of the board's clock
        self.reconnects = -1  # the first connection is none
        self.place = 0  # of its gateway in the list, whose first is its home
        self.home = None  # what `home` remembers of its looks

    async def run(self):
        """Keep the connection until the power goes."""
        self._task = asyncio.current_task()
        back_off = _BACK_OFF_MS
        while True:
            self._stays = False  # whether the next attempt is at the same gateway
            try:
                await self._open(self.gateway())
                await self._hear()
            except (OSError, ValueError, MemoryError, asyncio.CancelledError) as error:
                print("link:", repr(error))
            self.is_up, self._opening, self.up_since = False, None, None
            if self.speaker:
                self.speaker.cancel()  # before its socket is closed under it
            self.speaker = None  # a task that is cancelled before its first step does not say so itself
            self._sender.disconnected()
            self.link.close()
            if self._stays:
                back_off = _BACK_OFF_MS
            elif not (self._board.trying and overlay.call("renewal", "switch", self._board)):
                self.place = (self.place + 1) % len(self._board.settings.gateways)
            await asyncio.sleep_ms(random.randrange(back_off // 2, back_off))
            back_off = min(back_off * 2, _BACK_OFF_MAX_MS)

    def gateway(self):
        """Return the gateway of the list that the board is at, or tries."""
        return self._board.settings.gateways[self.place]

    def wake(self):
        """Have what there is to send sent, unless somebody is at it."""
        if self.is_up and not self.speaker:
            self.speaker = asyncio.create_task(self._say())

    def tell(self, verb, payload):
        """Send a message once; it is no part of the stream."""
        self._outgoing.append((verb, payload))
        self.wake()

    def acknowledge(self, ack):
        """Let go of what the gateway has."""
        now = self._board.clock.up()
        if ack["boot"] is not None:
            self._sender.acknowledge(ack["boot"], ack["seq"], now)
        if ack["error"] is not None:
            self._sender.refuse(ack["error"], ack["refused"], now)
        self._board.buffer.report_drops(self._board.clock.stamp)
        if self._is_behind and not self._board.buffer.waiting():
            self._tell_state()  # so that nobody takes it for one that still has something to send
        self.wake()

    def check(self, now):
        """Give up what hangs, and send again what is due; to be called twice a second or so."""
        if self._opening is not None and now - self._opening >= _OPEN_MS:
            self._fail("the gateway takes too long", False)
        elif self.is_up and (now - self._heard >= _SILENCE_MS or self._sender.is_dead(now)):
            self._fail("the gateway is silent", False)  # its broker may be there without it
        if self._board.trial is not None and now >= self._board.trial[0]:
            overlay.call("network", "back", self._board)
        if self.is_up and now - self._told >= _STATE_MS:
            self._tell_state()
        if self.is_up and self.place and now >= self._look_at:
            try:
                self._look_at = now + overlay.call("home", "look", self._board)
            except MemoryError:
                self._look_at = now + _SILENCE_MS
        if self._outgoing or self._sender.outstanding or now - self._sent >= _PING_MS:
            self.wake()

    def retry(self):
        """End the connection or the attempt that there is, for one with what has changed."""
        if self.is_up or self._opening is not None:
            self._fail("begins anew", True)

    def leave(self):
        """End the connection after the message that is being taken; the next one is made by itself, at home first."""
        self.is_up, self.place = False, 0

    async def _open(self, gateway):
        board = self._board
        self._opening = board.clock.up()
        overlay.call("wifi", "connect", board.settings.wifi, board.settings.address)
        name = board.settings.device
        session = hexlify(os.urandom(4)).decode()
        will = (topics.device(name, topics.STATE), device.state(False, board.boot, session))
        hears = [topics.device(name, verb) for verb in HEARS]
        hears.append(topics.DISCOVERY_REQUEST)
        await self.link.open(gateway["host"], gateway["port"], will, hears)
        print("link: connected to", gateway["id"])
        self._opening = None
        if board.trying:
            overlay.call("renewal", "reached", board)
        if board.trial is not None:
            overlay.call("network", "keep", board)
        self._heard = self._sent = self._look_at = board.clock.up()
        board.buffer.report_drops(board.clock.stamp)
        self._sender.connected(self._heard)
        self._outgoing.clear()
        self.is_up = True
        self.session = session
        self.up_since = self._heard
        self.reconnects += 1
        self._tell_state()

    def _tell_state(self):
        board = self._board
        self._told, self._is_behind = board.clock.up(), bool(board.buffer.waiting())
        self.tell(topics.STATE, device.state(True, board.boot, self.session, board.facts()))

    async def _hear(self):
        while self.is_up:
            message = await self.link.receive()
            self._heard = self._board.clock.up()
            if message is not None:
                self._stays = True  # it is the gateway's: its broker says nothing
                self._board.take(*message)

    async def _say(self):
        """Send until the buffer has nothing more for now."""
        up = self._board.clock.up
        try:
            message = True
            while self._outgoing or message is not None:  # in turn, so that neither holds the other up
                if self._outgoing:
                    await self.publish(*self._outgoing.pop(0))
                message = self._sender.poll(up())
                if message is not None:
                    await self.publish(message.kind, message.payload)
            if up() - self._sent >= _PING_MS:
                self._sent = up()
                await self.link.ping()
        except (OSError, ValueError, MemoryError) as error:
            self._fail(repr(error), self._stays)
        finally:
            self.speaker = None

    async def publish(self, verb, payload):
        """Send a message now; only one task at a time may."""
        self._sent = self._board.clock.up()
        await self.link.send(topics.device(self._board.settings.device, verb), payload)

    def _fail(self, reason, stays):
        """End the attempt or the connection, from another task than its own."""
        print("link:", reason)
        self.is_up, self._opening, self._stays = False, None, stays
        self._task.cancel()


def _encode(items, first):
    return device.frame([item.body for item in items], first)
