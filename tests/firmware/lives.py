"""Lives of a board inside one VM, in virtual time: the firmware as it stands on its LittleFS flash. (F5)

Everything runs as on a board but what lies below the link: the MQTT connection is one to a gateway in memory, and
waiting takes no time. So a trial of two minutes, or an update whose power is cut at each of its flash operations, takes
milliseconds. Runs on MicroPython.
"""

import asyncio
import json
import os
import sys
import time as host_time
from asyncio import core

import vfs

from fieldloom_contract import messages, topics, update

BLOCK = 4096
BLOCKS = 256
NOW = 1800000000  # Unix seconds at the gateway, when a world begins
DEVICE = "board-1"
ERASED = b"\xff" * BLOCK
LIFE_MS = 1800000  # nothing takes longer


class PowerOff(BaseException):
    """The life ends without a word."""


class Reset(BaseException):
    """`machine.reset`, or the watchdog."""


class Flash:
    """A block device in memory that notes what is done to it: (address, bytes), or (address, None): a block erased."""

    def __init__(self, memory=None):
        self.memory = memory or bytearray(BLOCK * BLOCKS)
        self.operations = []  # None: what is done is not noted

    def readblocks(self, block, buffer, offset=0):
        start = block * BLOCK + offset
        buffer[:] = memoryview(self.memory)[start : start + len(buffer)]

    def writeblocks(self, block, buffer, offset=0):
        start = block * BLOCK + offset
        if self.operations is not None:
            self.operations.append((start, bytes(buffer)))
        self.memory[start : start + len(buffer)] = buffer

    def ioctl(self, operation, argument):
        if operation == 6:
            if self.operations is not None:
                self.operations.append((argument * BLOCK, None))
            self.memory[argument * BLOCK : (argument + 1) * BLOCK] = ERASED
        return {4: BLOCKS, 5: BLOCK}.get(operation, 0)


class Time:
    """`time`, and asyncio's waiting: what is waited for is over at once."""

    offset = 0
    ticks_diff, ticks_add = host_time.ticks_diff, host_time.ticks_add
    gmtime, mktime, localtime = host_time.gmtime, host_time.mktime, host_time.gmtime

    def ticks_ms():
        return host_time.ticks_add(host_time.ticks_ms(), Time.offset)

    def time():
        return NOW - 1000 + Time.offset // 1000

    def sleep_ms(ms):
        Time.offset += ms
        if Machine.bites_at is not None and Time.offset > Machine.bites_at:
            raise Reset(Machine.WDT_RESET)

    def sleep(seconds):
        Time.sleep_ms(int(seconds * 1000))


class Queue:
    """asyncio's poll of sockets; `until` ends the life when it says so."""

    until = None

    def wait_io_event(self, ms):
        if ms > 0:
            Time.sleep_ms(ms)
        if Time.offset > LIFE_MS or (Queue.until and Queue.until()):
            raise PowerOff


class Gc:
    """`gc` of a heap that has room: collecting as often as a board does would take most of the time here."""

    def collect():
        pass

    def threshold(count):
        pass

    def mem_free():
        return 0


class Machine:
    """`machine`."""

    PWRON_RESET, HARD_RESET, WDT_RESET, DEEPSLEEP_RESET, SOFT_RESET = 1, 2, 3, 4, 5
    cause = PWRON_RESET
    bites_at = timeout = None

    class RTC:
        def datetime(self, parts):
            pass

    class WDT:
        def __init__(self, timeout):
            Machine.timeout = timeout
            self.feed()

        def feed(self):
            Machine.bites_at = Time.offset + Machine.timeout

    def reset_cause():
        return Machine.cause

    def reset():
        raise Reset(Machine.SOFT_RESET)


class Link:
    """`fieldloom_agent.link.Link`."""

    gateway = None

    def __init__(self, name, context):
        self.inbox = []

    async def open(self, host, port, will, hears):
        await asyncio.sleep_ms(50)
        Link.gateway.greet(self)

    async def send(self, topic, payload):
        Link.gateway.hear(topics.parse_device(topic)[1], payload)
        await asyncio.sleep_ms(5)

    async def ping(self):
        self.inbox.append(None)

    async def receive(self):
        while not self.inbox:
            await asyncio.sleep_ms(10)
        message = self.inbox.pop(0)
        if isinstance(message, OSError):
            raise message
        return message

    def close(self):
        self.inbox = []


class Nothing:
    """What the chip tells, and the identity: not what is tried here."""

    def facts(wifi):
        return {}

    def connect(wifi, address):
        pass

    def load(agent):
        pass


class Gateway:
    """The other half of the contract: acknowledges, tells the time, sends commands, answers requests for releases."""

    def __init__(self, releases):
        self.releases = releases  # {id: {file: bytes}}
        self.records = {}  # (boot, seq): (kind, record)
        self.commands = []
        self.boots = []  # of the lives that came online
        self.requested = []
        self.sent = 0  # bytes of release files
        self.deaf_to = ()  # versions whose records get no acknowledgement
        self.refusal = None
        self.breaks = []  # numbers of bytes sent at which the connection breaks
        self.drops = 0  # every n-th chunk is lost

    def greet(self, link):
        self.link = link

    def tell(self, verb, payload):
        self.link.inbox.append((topics.device(DEVICE, verb), payload))

    def command(self, kind, name=None, **parameters):
        name = name or "c%d" % len(self.commands)
        self.commands.append((name, messages.command(name, kind, parameters, (NOW + 100000) * 1000)))
        return name

    def hear(self, verb, payload):
        if verb == topics.STATE:
            self.version = json.loads(payload)["firmware"]
            self.boots.append(json.loads(payload)["boot"])
            if self.version in self.deaf_to:
                return
            self.tell(topics.TIME, json.dumps({"ts": (NOW + Time.offset // 1000) * 1000}).encode())
            for name, command in self.commands:
                if not self.result(name):
                    self.tell(topics.COMMAND, command)
        elif verb == topics.UPDATE_REQUEST:
            self.answer(update.parse_request(payload))
        elif verb in topics.UP_STREAM and self.version not in self.deaf_to:
            records, faults = messages.parse_records(verb, payload)
            assert not faults, faults
            for record in records:
                self.records[record["boot"], record["seq"]] = (verb, record)
            ack = {"boot": records[-1]["boot"], "seq": records[-1]["seq"]}
            self.tell(topics.ACK, json.dumps(ack).encode())

    def answer(self, asked):
        release, file = asked["release"], asked["file"]
        self.requested.append(file)
        content = self.releases.get(release, {}).get(file)
        if content is None or self.refusal:
            told = update.pack_unknown(release, file, self.refusal or "no such release")
            self.tell(topics.UPDATE_CHUNK, told)
            return
        at, end = asked["offset"], min(asked["offset"] + asked["length"], len(content))
        while at < end:
            piece = content[at : min(at + update.CHUNK_BYTES, end)]
            self.sent += len(piece)
            if not self.drops or self.sent // update.CHUNK_BYTES % self.drops:
                self.tell(topics.UPDATE_CHUNK, update.pack_chunk(release, file, at, len(content), piece))
            at += len(piece)
            if self.breaks and self.sent >= self.breaks[0]:
                self.breaks.pop(0)
                self.link.inbox.append(OSError(104))
                return

    def result(self, name):
        """Return the final result of a command, None before it came."""
        for kind, record in self.records.values():
            if kind == topics.RESULT and record["id"] == name and record["status"] in messages.FINAL_STATUSES:
                return record
        return None

    def events(self, *types):
        """Return [type, data] of the events of some types, or of all that are an update's."""
        found = [(key, record) for key, (kind, record) in self.records.items() if kind == topics.EVENT]
        told = [[record["type"], record["data"]] for _, record in sorted(found, key=lambda one: one[0])]
        return [one for one in told if one[0] in types or (not types and one[0].startswith("update."))]


class Board:
    """One board's flash and its lives."""

    def __init__(self, flash, files=None):
        self.flash = flash
        self.lives = 0
        if files is not None:
            vfs.VfsLfs2.mkfs(flash, progsize=32, readsize=32)
            self.mount()
            for path, content in files.items():
                write(path, content)

    def mount(self):
        try:
            vfs.umount("/")
        except OSError:
            pass
        vfs.mount(vfs.VfsLfs2(self.flash, progsize=32, readsize=32), "/")

    def live(self, gateway, until, cause=Machine.PWRON_RESET):
        """Give the board power until a reset, or until something holds; return the reset's cause, None without one."""
        self.mount()
        self.lives += 1
        forget()
        Link.gateway, Queue.until = gateway, until
        Time.offset, Machine.cause, Machine.bites_at = 0, cause, None
        try:
            execute("/boot.py")
            link_to_gateway()
            execute("/main.py")
        except Reset as reset:
            return reset.args[0]
        except PowerOff:
            return None
        return Machine.WDT_RESET  # at the prompt nobody feeds it

    def live_on(self, gateway, until, most=8):
        """Live over resets until something holds; return whether it came to that."""
        cause = Machine.PWRON_RESET
        for _ in range(most):
            cause = self.live(gateway, until, cause)
            if cause is None:
                return until()
        return False


def forget():
    """Begin with an empty memory, as after a reset."""
    for name in list(sys.modules):
        if name.startswith(("fieldloom_", "umqtt")):
            del sys.modules[name]
    sys.path[:] = ["", ".frozen", "/lib"]
    sys.modules["time"], sys.modules["machine"], sys.modules["gc"] = Time, Machine, Gc
    sys.modules["fieldloom_agent.wifi"] = sys.modules["fieldloom_agent.identity"] = Nothing
    asyncio.new_event_loop()
    core.ticks, core._io_queue = Time.ticks_ms, Queue()


def link_to_gateway():
    """Have the agent that will run use our link."""
    try:
        from fieldloom_agent import agent  # noqa: PLC0415 - the board's own, found since boot.py has run
    except Exception:  # noqa: BLE001 - main.py will meet it too
        return
    agent.Link = Link


def execute(path):
    with open(path) as file:
        source = file.read()
    exec(compile(source, path, "exec"), {"__name__": "__main__"})


def write(path, content):
    at = path.find("/", 1)
    while at > 0:
        try:
            os.mkdir(path[:at])
        except OSError:
            pass
        at = path.find("/", at + 1)
    with open(path, "wb") as file:
        file.write(content)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def tree(folder):
    """Return {path below it: content} of a folder."""
    found = {}
    for entry in os.ilistdir(folder):
        if entry[1] == 0x4000:
            below = tree(folder + "/" + entry[0])
            found.update({entry[0] + "/" + path: content for path, content in below.items()})
        else:
            found[entry[0]] = read(folder + "/" + entry[0])
    return found


def world(folder):
    """Return (the files of a new board, {release id: its files}) from a host's folder; the host is gone afterwards.

    What is in its `rom.img` is in the board's ROM.
    """
    if "rom.img" in os.listdir(folder):
        vfs.mount(vfs.VfsRom(read(folder + "/rom.img")), "/rom")
    releases = {name: tree(folder + "/releases/" + name) for name in os.listdir(folder + "/releases")}
    files = {"/" + path: content for path, content in tree(folder + "/board").items()}
    return files, releases


def runs(releases):
    """Return the id of the release that the chosen slot holds, whole, byte for byte; None if it holds none."""
    slot = sys.path[0][: -len("/lib")]
    for name, files in releases.items():
        wanted = {path[len("files/") :]: content for path, content in files.items() if path.startswith("files/")}
        if wanted and all(is_same(slot + "/" + path, content) for path, content in wanted.items()):
            return name
    return None


def is_same(path, content):
    try:
        return read(path) == content
    except OSError:
        return False


def told(board, gateway, releases, command):
    """Return what is to be known of an update, for CPython."""
    result = gateway.result(command)
    return {
        "runs": runs(releases),
        "lives": board.lives,
        "status": result and result["status"],
        "error": result and result["error"],
        "events": gateway.events(),
        "bytes": gateway.sent,
        "requested": gateway.requested,
        "slots": json.loads(read("/slots.json")) if "slots.json" in os.listdir("/") else None,
    }
