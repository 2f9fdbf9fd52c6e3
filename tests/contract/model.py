"""A model of the stream end to end, for either interpreter: boards, two gateways and a cloud over hostile links.

Links lose, repeat, reorder and delay; boards lose what was only in RAM, lose their flash, drop by policy, move between
the gateways and carry poisoned records; gateways crash between taking a record and committing it. Every run is a pure
function of its seed, and `run(seed)` returns the CRC-32 of its trace, the same on both interpreters. (T5, V1)
"""

from binascii import crc32

from fieldloom_contract.ranges import Ranges
from fieldloom_contract.receiver import Receiver
from fieldloom_contract.stream import Item, Sender, fingerprint

STEPS = 400
STEP_MS = 250
CALM_STEPS = 4000
RAM_RECORDS = 40  # of a board: what is over goes by policy, the oldest first


class Random:
    """Xorshift (Marsaglia 2003), in 32 bits: the same numbers on every interpreter."""

    def __init__(self, seed):
        self.state = (seed * 2654435761 + 1) & 0xFFFFFFFF or 1

    def below(self, limit):
        x = self.state
        x ^= (x << 13) & 0xFFFFFFFF
        x ^= x >> 17
        x ^= (x << 5) & 0xFFFFFFFF
        self.state = x
        return (x >> 3) % limit

    def chance(self, percent):
        return self.below(100) < percent


class Store:
    """A board's buffer: `items` in the order of sending; what is below `flashed` survives a power cut."""

    def __init__(self, on_dropped):
        self.items = []
        self.flashed = []
        self.on_dropped = on_dropped

    def peek(self, after, records, size):
        start = 0
        if after is not None:
            passed = [i for i, item in enumerate(self.items) if item.life == after[0] and item.seq <= after[1]]
            start = passed[-1] + 1 if passed else 0
        return self.items[start : start + records]

    def first(self, life):
        held = [item.seq for item in self.items if item.life == life]
        return held[0] if held else None

    def discard(self, life, seq):
        before = len(self.items)
        self.items = [item for item in self.items if item.life != life or item.seq > seq]
        self.flashed = [item for item in self.flashed if item.life != life or item.seq > seq]
        return before - len(self.items)

    def give_up(self, item, reason):
        self.items.remove(item)
        if item in self.flashed:
            self.flashed.remove(item)
        self.on_dropped(item, reason)


class Board:
    def __init__(self, name, world):
        self.name = name
        self.world = world
        self.life = world.new_life()
        self.boots = 0
        self.seq = 0
        self.gateway = 0
        self.store = Store(self.dropped)
        self.sender = None
        self.wake()

    def wake(self):
        self.sender = Sender(self.store, encode, lambda: self.world.random.below(100) / 100, message_bytes=400)
        self.sender.connected(self.world.now)

    def report(self):
        self.seq += 1
        poisoned = self.world.random.chance(2)
        kind = "event" if self.world.random.chance(10) else "telemetry"
        body = (b"!" if poisoned else b"") + str(self.seq).encode()
        self.store.items.append(Item(self.life, self.seq, kind, body))
        if poisoned:
            self.world.poisoned.add((self.name, self.life, self.seq))
        if len(self.store.items) > RAM_RECORDS:
            self.store.give_up(self.store.items[0], "full")

    def dropped(self, item, reason):
        self.world.dropped(self.name, item, reason)

    def flush(self):
        self.store.flashed = list(self.store.items)

    def power_cut(self, erased):
        """Start again with what the flash holds; without a flash, with a life that nobody has seen."""
        self.store.items = [] if erased else list(self.store.flashed)
        self.store.flashed = list(self.store.items)
        self.life = self.world.new_life()
        self.seq = 0
        self.wake()

    def move(self):
        self.gateway = 1 - self.gateway
        self.sender.disconnected()
        self.sender.connected(self.world.now)

    def send(self):
        for _ in range(4):
            message = self.sender.poll(self.world.now)
            if message is None:
                break
            self.world.link(("up", self.gateway, self.name, message.payload))
        if self.sender.is_dead(self.world.now):
            self.sender.disconnected()
            self.sender.connected(self.world.now)

    def hear(self, life, seq, error, refused):
        if seq:
            self.world.acknowledged(self.name, life, seq)
            self.sender.acknowledge(life, seq, self.world.now)
        if error:
            self.sender.refuse(error, refused, self.world.now)


def encode(items, first):
    head = str(items[0].life) + " " + str(first)
    return (head + " " + " ".join([item.body.decode() for item in items])).encode()


class Gateway:
    """Takes records into memory, commits in groups and only then acknowledges; a crash loses what is not committed."""

    def __init__(self, index, world):
        self.index = index
        self.world = world
        self.disk = {}  # device -> {life: spans}
        self.outbox = []
        self.crash()

    def crash(self):
        self.receivers = {}
        for device in self.disk:
            lives = {life: Ranges(spans) for life, spans in self.disk[device].items()}
            self.receivers[device] = Receiver(lives)
        self.fresh = []
        self.owed = []

    def take(self, device, payload):
        life, first, *bodies = payload.decode().split(" ")
        life, first = int(life), int(first)
        receiver = self.receivers.setdefault(device, Receiver())
        if [body for body in bodies if body.startswith("!")]:
            self.owed.append((device, life, "poison", fingerprint(payload)))
            return
        for body in bodies:
            if receiver.take(life, int(body), first):
                self.fresh.append((device, life, int(body)))
        self.owed.append((device, life, None, None))

    def commit(self):
        self.outbox += self.fresh
        self.fresh = []
        owed, self.owed = self.owed, []
        for device, life, error, refused in owed:
            receiver = self.receivers[device]
            had = receiver._lives.get(life)
            self.disk.setdefault(device, {})[life] = [list(span) for span in had.spans] if had else []
            self.world.link(("ack", device, self.index, life, receiver.acknowledged(life), error, refused))

    def uplink(self):
        for record in self.outbox:
            self.world.stored(record)
        self.outbox = []


class World:
    def __init__(self, seed):
        self.random = Random(seed)
        self.now = 0
        self.lives = 0
        self.trace = 0
        self.flying = []
        self.hostile = True
        self.poisoned = set()
        self.given_up = set()
        self.promised = {}
        self.store = {}
        self.gateways = [Gateway(0, self), Gateway(1, self)]
        self.boards = [Board("board-" + str(number), self) for number in range(3)]

    def new_life(self):
        """Draw a boot number: unique, in no order that anybody may rely on."""
        self.lives += 1
        return (self.lives * 7919) % 104729 + 1

    def note(self, *what):
        self.trace = crc32(repr(what).encode(), self.trace) & 0xFFFFFFFF

    def dropped(self, device, item, reason):
        record = (device, item.life, item.seq)
        assert reason == "full" or record in self.poisoned, "an innocent record was given up: " + repr(record)
        self.given_up.add(record)
        self.note("dropped", record, reason)

    def acknowledged(self, device, life, seq):
        """Hold every record up to a promise against the gateways' disks: taken, or known as given up."""
        self.promised[(device, life)] = max(seq, self.promised.get((device, life), 0))

    def stored(self, record):
        """The cloud: ranges over all gateways decide what is new (decision 2)."""
        device, life, seq = record
        had = self.store.setdefault((device, life), Ranges())
        had.add(seq)

    def link(self, message):
        if self.hostile and self.random.chance(20):
            self.note("lost", message[0])
            return
        copies = 2 if self.hostile and self.random.chance(10) else 1
        for _ in range(copies):
            delay = self.random.below(12) * STEP_MS if self.hostile else STEP_MS
            self.flying.append((self.now + delay, message))

    def deliver(self):
        due = [message for at, message in self.flying if at <= self.now]
        self.flying = [(at, message) for at, message in self.flying if at > self.now]
        if self.hostile and len(due) > 1 and self.random.chance(30):
            due.reverse()
        for message in due:
            self.note(*message)
            if message[0] == "up":
                self.gateways[message[1]].take(message[2], message[3])
            else:
                _, device, _, life, seq, error, refused = message
                [board.hear(life, seq, error, refused) for board in self.boards if board.name == device]

    def misfortune(self):
        board = self.boards[self.random.below(len(self.boards))]
        draw = self.random.below(100)
        if draw < 3:
            board.power_cut(erased=False)
        elif draw < 4:
            board.power_cut(erased=True)
        elif draw < 8:
            board.move()
        elif draw < 14:
            self.gateways[draw % 2].crash()
        if draw < 14:
            self.note("misfortune", draw, board.name)

    def step(self):
        self.now += STEP_MS
        self.deliver()
        for board in self.boards:
            if self.hostile and self.random.chance(40):
                board.report()
            if self.random.chance(10):
                board.flush()
            board.send()
        for gateway in self.gateways:
            if not self.hostile or self.random.chance(50):
                gateway.commit()
            gateway.uplink()

    def check_promises(self):
        """Nothing that was acknowledged is missing, unless its board itself reported it as dropped."""
        for (device, life), seq in self.promised.items():
            had = self.store.get((device, life), Ranges())
            for number in range(1, seq + 1):
                record = (device, life, number)
                assert number in had or record in self.given_up, "lost after its acknowledgement: " + repr(record)

    def check_rest(self):
        """When the links are good again all arrives, and no poisoned record holds up the others."""
        for board in self.boards:
            assert not board.store.items, board.name + " is stuck with " + repr(board.store.items[:3])
        for device, life in self.store:
            for span in self.store[(device, life)].spans:
                for number in range(span[0], span[1] + 1):
                    assert (device, life, number) not in self.poisoned, "a poisoned record was stored"


def run(seed):
    world = World(seed)
    for _ in range(STEPS):
        world.step()
        world.misfortune()
    world.hostile = False
    for _ in range(CALM_STEPS):
        if not [board for board in world.boards if board.store.items] and not world.flying:
            break
        world.step()
    world.check_promises()
    world.check_rest()
    return world.trace
