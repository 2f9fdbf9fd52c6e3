"""The agent: measures at its interval, keeps the link up, sends what the buffer holds, does what it is told."""

import asyncio
import gc
import os
import random
from binascii import hexlify

import machine

from fieldloom_agent import drivers, identity, wifi
from fieldloom_agent.actions import Actions
from fieldloom_agent.boots import next_boot
from fieldloom_agent.buffer import Buffer
from fieldloom_agent.clock import Clock
from fieldloom_agent.commands import Commands
from fieldloom_agent.journal import Journal
from fieldloom_agent.link import Link
from fieldloom_agent.settings import Settings
from fieldloom_contract import device, topics
from fieldloom_contract.errors import Rejected
from fieldloom_contract.stream import Sender

HEARS = (topics.ACK, topics.TIME, topics.COMMAND)
WATCHDOG_MS = 60000
TICK_MS = 500
FLUSH_MS = 30000  # a power cut takes no record older than this
PING_MS = 15000
SILENCE_MS = 45000
OPEN_MS = 120000  # a gateway that a thousand boards come back to needs its time
BACK_OFF_MS = 1000
BACK_OFF_MAX_MS = 60000
DISCOVERY_MS = 3000
MESSAGE_BYTES = 1024
RESTART_MS = 500
PAUSE_MS = 1000


class Agent:
    """One board's agent; `run` never returns."""

    def __init__(self):
        self.settings = Settings()
        self.release = identity.release()
        self.clock = Clock()
        self.boot = next_boot()
        self.buffer = Buffer(self.boot, self.settings.pages)
        self.drivers = drivers.load(self.settings.drivers)
        self.link = Link(self.settings.device, identity.context(self.clock, self.release["built"]))
        self.sender = Sender(self.buffer, _encode, random.random, MESSAGE_BYTES)
        actions = Actions(self.settings, self.drivers, self.restart, self.disconnect)
        self.commands = Commands(Journal(), actions.table(), self.report, self.clock.now)
        self._awake = asyncio.Event()
        self._outgoing = []
        self._connected = False
        self._reached = False  # whether this attempt found its gateway: if not, the next one of the list is tried
        self._heard = self._sent = self._flushed = 0

    async def run(self):
        """Run until the power goes."""
        self.commands.resume()
        asyncio.create_task(self.measure())
        asyncio.create_task(self.tick())
        back_off = BACK_OFF_MS
        while True:
            try:
                await self.session(self.settings.gateways[0])
            except (OSError, ValueError, MemoryError, asyncio.TimeoutError) as error:
                print("link:", repr(error))
            if self._reached:
                back_off = BACK_OFF_MS
            else:
                self.settings.gateways.append(self.settings.gateways.pop(0))
            self._connected = self._reached = False
            self.sender.disconnected()
            self.link.close()
            await asyncio.sleep_ms(random.randrange(back_off // 2, back_off))
            back_off = min(back_off * 2, BACK_OFF_MAX_MS)

    async def session(self, gateway):
        """Connect to a gateway and serve the connection until it fails."""
        gc.collect()
        wifi.connect(self.settings.wifi)
        name = self.settings.device
        session = hexlify(os.urandom(4)).decode()
        will = (topics.device(name, topics.STATE), device.state(False, self.boot, session))
        hears = [topics.device(name, verb) for verb in HEARS]
        hears.append(topics.DISCOVERY_REQUEST)
        await asyncio.wait_for_ms(self.link.open(gateway["host"], gateway["port"], will, hears), OPEN_MS)
        print("link: connected to", gateway["id"])
        self._connected = self._reached = True
        self._heard = self._sent = self.clock.up()
        self._outgoing = [(topics.STATE, device.state(True, self.boot, session, self.facts()))]
        self.buffer.report_drops(self.clock.stamp)
        self.sender.connected(self.clock.up())
        hearing = asyncio.create_task(self.hear())
        try:
            while self._connected:
                self._awake.clear()
                await self.say()
                await self._awake.wait()
        finally:
            hearing.cancel()

    async def say(self):
        """Send what there is to send."""
        now = self.clock.up()
        while self._outgoing:
            verb, payload = self._outgoing.pop(0)
            await self._publish(verb, payload)
        message = self.sender.poll(now)
        while message is not None:
            await self._publish(message.kind, message.payload)
            message = self.sender.poll(self.clock.up())
        if now - self._sent >= PING_MS:
            self._sent = now
            await self.link.ping()

    async def hear(self):
        """Take what comes in, until the connection fails."""
        try:
            while True:
                message = await self.link.receive()
                self._heard = self.clock.up()
                if message is not None:
                    self.take(*message)
        except (OSError, ValueError, MemoryError) as error:
            print("link:", repr(error))
            self.disconnect()

    def take(self, topic, payload):
        """Do what a message asks for; one that can't be read is told in the stream."""
        try:
            if topic == topics.DISCOVERY_REQUEST:
                asyncio.create_task(self.introduce(device.parse_discovery_request(payload)))
                return
            verb = topics.parse_device(topic)[1]
            if verb == topics.ACK:
                self.acknowledge(device.parse_ack(payload))
            elif verb == topics.TIME:
                self.clock.learn(device.parse_time(payload))
            elif verb == topics.COMMAND:
                self.commands.take(payload)
        except Rejected as error:
            data = {"topic": topic, "field": error.field, "reason": error.reason}
            self.record(topics.EVENT, {"type": "message.rejected", "data": data})

    def acknowledge(self, ack):
        """Let go of what the gateway has."""
        now = self.clock.up()
        if ack["boot"] is not None:
            self.sender.acknowledge(ack["boot"], ack["seq"], now)
        if ack["error"] is not None:
            self.sender.refuse(ack["error"], ack["refused"], now)
            self.buffer.report_drops(self.clock.stamp)
        self._awake.set()

    async def introduce(self, request):
        """Answer a discovery, not all boards at once."""
        await asyncio.sleep_ms(random.randrange(DISCOVERY_MS))
        told = dict(self.facts(), type=self.settings.type, capabilities=list(self.drivers))
        self._outgoing.append((topics.DISCOVERY, device.discovery(request, told)))
        self._awake.set()

    def facts(self):
        """Return what `state` says beside presence."""
        return {
            "up": self.clock.up(),
            "firmware": self.release["version"],
            "rssi": wifi.rssi(self.settings.wifi),
            "cause": machine.reset_cause(),
            "free": gc.mem_free(),
            "held_in_ram": self.buffer.waiting_in_ram(),
        }

    async def measure(self):
        """Read the sensors at the interval, which a command may change at any time."""
        due = self.clock.up()
        while True:
            now, interval = self.clock.up(), self.settings.interval
            due = min(due, now + interval) if interval else now + PAUSE_MS
            if now >= due:
                self.sample()
                due = max(due + interval, now)
            await asyncio.sleep_ms(min(max(1, due - now), PAUSE_MS))

    def sample(self):
        """Put what the sensors measure now into the stream."""
        values = {}
        for driver in self.drivers.values():
            if driver.measures:
                values.update(driver.read())
        if values:
            self.record(topics.TELEMETRY, {"values": values})

    def record(self, kind, content):
        """Put a record into the stream, dated."""
        field, at = self.clock.stamp()
        content[field] = at
        self.buffer.append(kind, content)
        self._awake.set()

    def report(self, command, status, result, error):
        """Put a command's result into the stream."""
        content = {"id": command, "status": status}
        if result is not None:
            content["result"] = result
        if error is not None:
            content["error"] = error
        self.record(topics.RESULT, content)

    async def tick(self):
        """Feed the watchdog, resend, give up a dead link, write old records to flash."""
        watchdog = machine.WDT(timeout=WATCHDOG_MS)
        while True:
            watchdog.feed()
            now = self.clock.up()
            if not self.buffer.waiting_in_ram():
                self._flushed = now
            elif now - self._flushed >= FLUSH_MS:
                self.buffer.flush()
            if self._connected and (now - self._heard >= SILENCE_MS or self.sender.is_dead(now)):
                self.disconnect()
            self._awake.set()
            await asyncio.sleep_ms(TICK_MS)

    def disconnect(self):
        """End the connection; the next one is made by itself."""
        self._connected = False
        self._awake.set()

    def restart(self):
        """Start the board anew, with nothing lost, once the link has had a moment."""
        asyncio.create_task(self._restart())

    async def _restart(self):
        await asyncio.sleep_ms(RESTART_MS)
        self.buffer.flush()
        machine.reset()

    async def _publish(self, verb, payload):
        self._sent = self.clock.up()
        await self.link.send(topics.device(self.settings.device, verb), payload)


def _encode(items, first):
    return device.frame([item.body for item in items], first)


def main():
    """Run the agent of this board."""
    asyncio.run(Agent().run())
