"""The agent: measures at its interval, keeps what it measured until the gateway has it, does what it is told."""

import asyncio
import gc

import machine

from fieldloom_agent import overlay, tasks  # noqa: F401 - tasks: for what it does to asyncio
from fieldloom_agent.buffer import Buffer
from fieldloom_agent.clock import Clock
from fieldloom_agent.connection import Connection
from fieldloom_contract import board_topics as topics
from fieldloom_contract import device
from fieldloom_contract.compat import const
from fieldloom_contract.errors import Rejected

_WATCHDOG_MS = const(60000)
_RENEW_AGAIN_MAX_MS = const(3600000)
_TICK_MS = const(500)
_LOOK_MS = const(4000)
_PAUSE_MS = const(1000)
_FLUSH_MS = const(30000)  # a power cut takes no record older than this
_RESTART_MS = const(500)

TAKERS = {topics.CERTIFICATE: "renewal", topics.DESIRED: "twin", topics.DISCOVERY_REQUEST: "introduction"}


class Agent:
    """One board's agent; `run` never returns."""

    def __init__(self):
        self.settings = overlay.call("settings", "load")
        self.busy = set()  # what takes its time, and should not be cut short
        self.trying = None  # which identity is tried after a renewal: "next", "old"
        self.renew_at = None  # Unix ms
        self.renew_again = None  # ms
        self.lowest = gc.mem_free()  # the least that was free
        self.trial = None  # of network settings: until when, and what `network` knows of it
        context = overlay.call("identity", "load", self)
        self.clock = Clock()
        woken = overlay.call("sleep", "woken") if self.settings.sleep else None
        self.boot = woken["boot"] if woken else overlay.call("boots", "next_boot")
        newest = self.settings.drop == "newest"
        self.buffer = Buffer(self.boot, self.settings.pages, newest, woken["next"] if woken else 1)
        self.reporting = overlay.call("reporting", "load", self.settings.report) if self.settings.report else None
        self.update = None  # what takes chunks while a release is being downloaded
        self.faulty = set()  # drivers that failed, and kinds of records that were too long, and not been well since
        if woken:
            overlay.call("sleep", "go_on", self, woken)
        self.woke_at = self.clock.up()
        self.drivers, faults = overlay.call("drivers", "load", self, self.settings.drivers)
        del self.settings.drivers  # they have what they need of it
        self.connection = Connection(self, context)
        for name, error in faults:
            self.fail(name, error)

    async def run(self):
        """Run until the power goes."""
        print("fieldloom", self.settings.release["version"], "on", self.settings.device, "boot", self.boot)
        overlay.call("crash", "report", self)
        updates = overlay.call("slots", "is_busy") and overlay.call("update", "resume", self)
        overlay.call("endings", "resume", self, updates)
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
                    self.faulty.discard(name)
            except Exception as error:
                self.fail(name, error)
        if self.reporting is not None:
            values = self.reporting.due(values, self.clock.up())
        if values:
            self.record(topics.TELEMETRY, {"values": values})

    def fail(self, name, error):
        """Tell a driver's fault once, when it begins."""
        if name not in self.faulty:
            self.faulty.add(name)
            data = {"driver": name, "error": repr(error)[:128]}
            self.record(topics.EVENT, {"type": "driver.failed", "data": data})

    async def tick(self):
        """Feed the watchdog, look after the connection, write old records to flash."""
        feed = machine.WDT(timeout=_WATCHDOG_MS).feed
        flushed = looked = 0
        while True:
            feed()
            now = self.clock.up()
            if now - looked >= _LOOK_MS:  # it goes through the whole heap
                looked, self.lowest = now, min(self.lowest, gc.mem_free())
            if not self.buffer.waiting_in_ram():
                flushed = now
            elif now - flushed >= _FLUSH_MS:
                self.buffer.flush()
            self.connection.check(now)
            if self.renew_at is not None and self.connection.is_up:
                self.renew()
            if self.settings.sleep and overlay.call("sleep", "is_due", self):
                await overlay.call("sleep", "go", self)
            await asyncio.sleep_ms(_TICK_MS)

    def renew(self):
        """Ask for the next certificate when it is time, and again while no answer has come: any hop may lose it."""
        ts = self.clock.now()
        if ts is not None and ts >= self.renew_at:
            self.renew_at = ts + self.renew_again
            self.renew_again = min(self.renew_again * 2, _RENEW_AGAIN_MAX_MS)
            overlay.call("renewal", "begin", self)

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
            elif verb in TAKERS:
                overlay.call(TAKERS[verb], "take", self, payload)
            elif verb == topics.UPDATE_CHUNK and self.update is not None:
                self.update.take(payload)
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
        """Put a record into the stream, dated; of those that are over the limits only that is told, when it begins."""
        field, at = self.clock.stamp()
        content[field] = at
        try:
            self._append(kind, content)
            self.faulty.discard(kind)
        except Rejected as error:
            if kind == topics.RESULT:
                raise  # `report` tells it shorter
            self.buffer.lost += 1
            if kind in self.faulty:
                return
            self.faulty.add(kind)
            data = {"topic": kind, "field": error.field, "reason": error.reason}
            self._append(topics.EVENT, {field: at, "type": "record.rejected", "data": data})
        self.connection.wake()

    def _append(self, kind, content):
        try:
            self.buffer.append(kind, content)
        except MemoryError:  # nothing was taken; what a message left behind may be collected now
            gc.collect()
            self.buffer.append(kind, content)

    def report(self, command, status, result, error):
        """Put a command's result into the stream; one that is too long is told by its status alone."""
        told = {"id": command, "status": status, "result": result, "error": error}
        try:
            self.record(topics.RESULT, told)
        except Rejected as error:
            told["result"], told["error"] = None, "the result can't be sent: " + error.reason
            self.record(topics.RESULT, told)

    def facts(self):
        """Return what `state` says beside presence."""
        return overlay.call("condition", "facts", self)

    def restart(self):
        """Start the board anew, with nothing lost, once the link has had a moment."""
        asyncio.create_task(self._restart())

    async def _restart(self):
        await asyncio.sleep_ms(_RESTART_MS)
        self.buffer.flush(is_end=True)
        machine.reset()


def main():
    """Run the agent of this board. What ends it is kept for the next start, and raised."""
    asyncio.get_event_loop().set_exception_handler(_fall)
    agent = None
    try:
        agent = Agent()
        asyncio.run(agent.run())
    except Exception as error:
        if agent is None and isinstance(error, Rejected):
            overlay.call("misconfigured", "wait", error)
        try:
            overlay.call("crash", "keep", error, agent.clock.up() if agent else 0)
        except (MemoryError, OSError):
            pass  # no room for it, but on the console
        raise


def _fall(loop, context):
    """Let a task's exception end the agent: half of it would run on, measuring nothing or feeding no watchdog."""
    raise context["exception"]
