"""The agent: measures at its interval, keeps what it measured until the gateway has it, does what it is told."""

import asyncio
import gc
import random

import machine

from fieldloom_agent import overlay
from fieldloom_agent.buffer import Buffer
from fieldloom_agent.clock import Clock
from fieldloom_agent.connection import Connection
from fieldloom_contract import device, topics
from fieldloom_contract.compat import const
from fieldloom_contract.errors import Rejected

_WATCHDOG_MS = const(60000)
_TICK_MS = const(500)
_PAUSE_MS = const(1000)
_FLUSH_MS = const(30000)  # a power cut takes no record older than this
_DISCOVERY_MS = const(3000)
_RESTART_MS = const(500)
_BLINK_MS = const(250)


class Agent:
    """One board's agent; `run` never returns."""

    def __init__(self):
        self.settings = overlay.call("settings", "load")
        context = overlay.call("identity", "context", self.settings.release["built"])
        self.clock = Clock()
        self.boot = overlay.call("boots", "next_boot")
        self.buffer = Buffer(self.boot, self.settings.pages)
        self.reporting = overlay.call("reporting", "load", self.settings.report) if self.settings.report else None
        self.update = None  # what takes chunks while a release is being downloaded
        self._faulty = set()  # names of drivers that failed and have not worked since
        self.drivers, faults = overlay.call("drivers", "load", self, self.settings.drivers)
        self.connection = Connection(self, context)
        for name, error in faults:
            self.fail(name, error)

    async def run(self):
        """Run until the power goes."""
        print("fieldloom", self.settings.release["version"], "on", self.settings.device, "boot", self.boot)
        updates = overlay.call("slots", "is_busy") and overlay.call("update", "resume", self)
        overlay.call("journal", "resume", self, updates)
        if self.settings.twin:  # the names in a module stay, even when the module goes
            overlay.call("twin", "resume", self)
        asyncio.create_task(self.measure())
        asyncio.create_task(self.tick())
        await self.connection.run()

    async def measure(self):
        """Read the sensors at the interval, which a command may change at any time."""
        due = self.clock.up()
        while True:
            now, interval = self.clock.up(), self.settings.interval
            due = min(due, now + interval) if interval else now + _PAUSE_MS
            if now >= due:
                try:
                    await self.sample()
                except MemoryError:  # a reading less, as while an update's code is loaded; the next one is due
                    gc.collect()
                due = max(due + interval, now)
            await asyncio.sleep_ms(min(max(1, due - now), _PAUSE_MS))

    async def sample(self):
        """Put what the sensors measure into the stream, those that take their time all at once."""
        ready, wait, values = [], 0, {}
        for name, driver in self.drivers.items():
            try:
                if hasattr(driver, "prepare"):
                    wait = max(wait, driver.prepare())
                ready.append(name)
            except Exception as error:
                self.fail(name, error)
        await asyncio.sleep_ms(wait)
        for name in ready:
            try:
                if self.drivers[name].measures:
                    values.update(self.drivers[name].read())
                    self._faulty.discard(name)
            except Exception as error:
                self.fail(name, error)
        if self.reporting is not None:
            values = self.reporting.due(values, self.clock.up())
        if values:
            self.record(topics.TELEMETRY, {"values": values})

    def fail(self, name, error):
        """Tell a driver's fault once, when it begins."""
        if name not in self._faulty:
            self._faulty.add(name)
            data = {"driver": name, "error": repr(error)[:128]}
            self.record(topics.EVENT, {"type": "driver.failed", "data": data})

    async def tick(self):
        """Feed the watchdog, look after the connection, write old records to flash."""
        watchdog = machine.WDT(timeout=_WATCHDOG_MS)
        flushed = 0
        while True:
            watchdog.feed()
            now = self.clock.up()
            if not self.buffer.waiting_in_ram():
                flushed = now
            elif now - flushed >= _FLUSH_MS:
                self.buffer.flush()
            self.connection.check(now)
            await asyncio.sleep_ms(_TICK_MS)

    def take(self, topic, payload):
        """Do what a message asks for; one that can't be read is told in the stream."""
        try:
            verb = topic if topic == topics.DISCOVERY_REQUEST else topics.parse_device(topic)[1]
            if verb == topics.ACK:
                self.connection.acknowledge(device.parse_ack(payload))
            elif verb == topics.TIME:
                ts = device.parse_time(payload)
                self.clock.learn(ts)
                overlay.call("rtc", "keep", ts)
            elif verb == topics.COMMAND:
                # Read before its code is loaded: a long one needs the memory in one piece.
                overlay.call("commands", "take", self, device.parse_command(payload))
            elif verb == topics.UPDATE_CHUNK:
                if self.update is not None:
                    self.update.take(payload)
            elif verb == topics.DESIRED:
                overlay.call("twin", "take", self, payload)
            elif verb == topics.DISCOVERY_REQUEST:
                asyncio.create_task(self.introduce(device.parse_discovery_request(payload)))
        except Rejected as error:
            self.reject(topic, error.field, error.reason)
        except MemoryError:  # a long message; a command comes again until it expires
            gc.collect()
            self.reject(topic, "payload", "takes more memory than this board has left")

    def reject(self, topic, field, reason):
        """Tell in the stream what could not be read."""
        data = {"topic": topic, "field": field, "reason": reason}
        self.record(topics.EVENT, {"type": "message.rejected", "data": data})

    def record(self, kind, content):
        """Put a record into the stream, dated."""
        field, at = self.clock.stamp()
        content[field] = at
        self.buffer.append(kind, content)
        self.connection.wake()

    def report(self, command, status, result, error):
        """Put a command's result into the stream; one that is too long is told by its status alone."""
        told = {"id": command, "status": status, "result": result, "error": error}
        try:
            self.record(topics.RESULT, told)
        except Rejected as error:
            told["result"], told["error"] = None, "the result can't be sent: " + error.reason
            self.record(topics.RESULT, told)

    async def introduce(self, request):
        """Answer a discovery, not all boards at once."""
        await asyncio.sleep_ms(random.randrange(_DISCOVERY_MS))
        told = dict(self.facts(), type=self.settings.type, capabilities=list(self.drivers))
        self.connection.tell(topics.DISCOVERY, device.discovery(request, told))

    def facts(self):
        """Return what `state` says beside presence."""
        facts = overlay.call("wifi", "facts", self.settings.wifi)
        facts.update(
            twin=self.settings.twin, up=self.clock.up(), firmware=self.settings.release["version"], free=gc.mem_free()
        )
        if self.settings.board is not None:
            facts["board"] = self.settings.board
        return facts

    def restart(self):
        """Start the board anew, with nothing lost, once the link has had a moment."""
        asyncio.create_task(self._restart())

    async def _restart(self):
        await asyncio.sleep_ms(_RESTART_MS)
        self.buffer.flush()
        machine.reset()

    def blink(self, duration):
        """Blink the board's lamp for ms."""
        print("identify: this is", self.settings.device)
        if self.settings.led is not None:
            asyncio.create_task(self._blink(machine.Pin(self.settings.led, machine.Pin.OUT), duration))

    async def _blink(self, led, duration):
        for step in range(duration // _BLINK_MS):
            led.value(1 - step % 2)
            await asyncio.sleep_ms(_BLINK_MS)
        led.value(0)


def main():
    """Run the agent of this board."""
    asyncio.run(Agent().run())
