"""A cluster in virtual time: real cores and journals, and a network and power that fail as a seed says. (V4)

Each node does what `member.py` does in one cycle: takes messages, steps, sends what promises nothing, writes, sends the
rest; a crash may come between any two of these and loses what was not written. `Log` is the state machine: what it
gives for a command is its place, so that the checker sees order, loss and repetition at once.
"""

import heapq
import itertools
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pysyncobj.syncobj
from pysyncobj.config import FAIL_REASON

from cluster.linearizability import Operation
from fieldloom_gateway.cluster.consensus import messages, pieces
from fieldloom_gateway.cluster.consensus.journal import SqliteJournal
from fieldloom_gateway.cluster.consensus.outbox import Outbox, grouped
from fieldloom_gateway.cluster.consensus.raft import Raft

TICK = 0.02
SHM = Path("/dev/shm")


class Log:
    """A state machine that keeps all commands; each one's outcome is how many came before it."""

    def __init__(self) -> None:
        self.commands: list[bytes] = []

    def apply(self, index: int, command: bytes) -> bytes:
        self.commands.append(command)
        return str(len(self.commands) - 1).encode()

    def query(self, question: bytes) -> bytes:
        return str(len(self.commands)).encode()

    def snapshot(self) -> bytes:
        return msgspec.msgpack.encode(self.commands)

    def restore(self, snapshot: bytes) -> None:
        self.commands = msgspec.msgpack.decode(snapshot, type=list[bytes])


@dataclass
class Faults:
    """How often what goes wrong, a second and node, or a message."""

    crash: float = 0.15
    all_crash: float = 0.05
    cut: float = 0.5
    """Cuts of one node's connections, one way or both; every second time the leader's."""
    lost: float = 0.02
    twice: float = 0.02
    """Messages that come twice; not commands, which a connection brings once."""
    delay: float = 0.03
    """The longest time on the way; what is sent later may overtake."""
    write: float = 0.04
    """The longest write."""
    stall: float = 0.05
    """Stops of a whole process for up to 1.5 s."""
    snapshot: float = 0.3


@dataclass
class History:
    """What clients saw. Times are virtual seconds."""

    acknowledged: dict[bytes, tuple[int, float, float]] = field(default_factory=dict)
    """Command to (place, when submitted, when acknowledged)."""
    reads: list[tuple[int, float, float]] = field(default_factory=list)
    """(How many commands were there, when asked, when answered)."""
    refused: set[bytes] = field(default_factory=set)
    """Commands of which it was said that they were never proposed or are lost."""
    begun: dict[bytes, float] = field(default_factory=dict)
    """Commands that were submitted, and when."""
    unknown: int = 0


class Node:
    def __init__(self, world: "World", name: str) -> None:
        self.world, self.name = world, name
        self.folder = world.folder / name
        self.folder.mkdir()
        self.life = 0
        self.up = False
        self.inbox: list[tuple[str, list[dict]]] = []
        self.machine = Log()
        self.raft: Raft | None = None

    def start(self) -> None:
        world = self.world
        self.life += 1
        self.machine, self.inbox, self.busy_until = Log(), [], 0.0
        self.outbox = Outbox(lambda *_: None)
        self.journal = SqliteJournal(self.folder / "consensus.db")
        if self.journal.snapshot is None:
            self.journal.begin(dict.fromkeys(world.names, "here:1"))
            self.journal.write(self.journal.take())
        rng = random.Random(world.rng.getrandbits(64))
        self.raft = Raft((self.name, "here:1"), self.journal, self.outbox, self.machine, lambda _: None, rng)
        self.up = True
        for other in world.nodes.values():
            if other is not self:
                self.outbox.connected(other.name, "here:1")
                if other.up:
                    other.outbox.connected(self.name, "here:1")
        world.after(0, self.tick, self.life)

    def crash(self) -> None:
        if self.up:
            self.up = False
            self.journal.close()
            self.world.crashes += 1
            self.world.after(self.world.rng.uniform(0.2, 1.5), self.start_again)

    def start_again(self) -> None:
        if not self.up:
            self.start()

    def tick(self, life: int) -> None:
        if self.up and life == self.life:
            self.cycle()
            self.world.after(TICK, self.tick, life)

    def cycle(self) -> None:
        """One cycle of `member.py`."""
        world = self.world
        if not self.up or world.now < self.busy_until:
            return
        inbox, self.inbox = self.inbox, []
        for sender, group in inbox:
            for message in group:
                self.raft.receive(sender, "here:1", message)
        self.raft.step()
        world.post(self, self.outbox.take_ahead())
        if world.chance(0.003):
            self.crash()  # before the write
            return
        if not self.journal.is_dirty:
            world.post(self, self.outbox.take())
            return
        self.busy_until = world.now + world.rng.uniform(0, world.faults.write)
        world.after(self.busy_until - world.now, self.written, self.life)

    def written(self, life: int) -> None:
        if not self.up or life != self.life:
            return
        self.journal.write(self.journal.take())
        if self.world.chance(0.003):
            self.crash()  # after the write, before anybody hears of it
            return
        self.world.post(self, self.outbox.take())
        self.world.after(0, self.cycle)


class World:
    """Nodes, a clock, a network. Patch `pysyncobj.syncobj.monotonicTime` with `clock` before use."""

    def __init__(self, seed: int, faults: Faults, size: int = 3) -> None:
        self.rng, self.faults = random.Random(seed), faults
        self.now, self.crashes, self.cuts = 1000.0, 0, 0
        self.folder = Path(tempfile.mkdtemp(dir=SHM if SHM.is_dir() else None))
        self.names = [f"gw.{number}" for number in range(size)]
        self.nodes: dict[str, Node] = {}
        self.silent: set[tuple[str, str]] = set()
        self.history = History()
        self._events: list[tuple[float, int, Callable[..., None], tuple]] = []
        self._numbers = itertools.count()
        self.leaders: dict[int, str] = {}
        self.is_quiet = False

    def clock(self) -> float:
        return self.now

    def chance(self, probability: float) -> bool:
        return self.faults.crash > 0 and self.rng.random() < probability

    def after(self, seconds: float, call: Callable[..., None], *arguments) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._numbers), call, arguments))

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self._events and self._events[0][0] <= end:
            self.now, _, call, arguments = heapq.heappop(self._events)
            call(*arguments)
        self.now = end

    def post(self, sender: Node, letters) -> None:
        if sender.raft.is_leader:
            leader = self.leaders.setdefault(sender.raft.term, sender.name)
            assert leader == sender.name, f"two leaders in term {sender.raft.term}"
        for name, group in sorted(grouped(letters).items()):  # PySyncObj walks over sets
            if (sender.name, name) in self.silent or self.rng.random() < self.faults.lost:
                continue
            self._under_way(sender.name, name, group)
            if self.rng.random() < self.faults.twice:
                self._under_way(sender.name, name, [one for one in group if one["type"] != "apply_command"])

    def _under_way(self, sender: str, name: str, group) -> None:
        self.after(self.rng.uniform(0, self.faults.delay), self._arrive, sender, name, messages.encode(group))

    def _arrive(self, sender: str, name: str, body: bytes) -> None:
        node = self.nodes[name]
        if node.up and (sender, name) not in self.silent:
            node.inbox.append((sender, messages.decode(body)))
            node.cycle()

    def start(self) -> None:
        self.nodes = {name: Node(self, name) for name in self.names}
        for node in self.nodes.values():
            node.start()

    def break_things(self) -> None:
        """Let faults happen from now on, each second anew."""
        faults, rng = self.faults, self.rng
        at_once = rng.random() < faults.all_crash
        for node in self.nodes.values():
            if node.up and (at_once or rng.random() < faults.crash):
                self.after(0.5 if at_once else rng.random(), node.crash)
            if node.up and rng.random() < faults.stall:
                node.busy_until = self.now + rng.uniform(0.1, 1.5)
                self.after(node.busy_until - self.now, node.cycle)
            if node.up and rng.random() < faults.snapshot:
                node.raft.take_snapshot(rng.choice([1, 5, 30]))
        if rng.random() < faults.cut:
            leaders = [node.name for node in self.nodes.values() if node.up and node.raft.is_leader]
            self._cut(rng.choice(leaders if leaders and rng.random() < 0.5 else self.names))
        self.after(1.0, self.break_things)

    def _cut(self, name: str) -> None:
        self.cuts += 1
        out, into = self.rng.choice([(True, True), (True, False), (False, True)])
        pairs = {(name, other) for other in self.names if out} | {(other, name) for other in self.names if into}
        self.silent |= pairs
        self.after(self.rng.uniform(0.2, 3.0), lambda: self.silent.difference_update(pairs))

    def heal(self) -> None:
        """No more faults, everybody up."""
        self._events = [event for event in self._events if event[2] != self.break_things]
        heapq.heapify(self._events)
        self.faults = Faults(0, 0, 0, 0, 0, 0.01, 0.005, 0, 0)
        self.silent.clear()

    # Clients.

    def client(self, number: int, pause: float) -> None:
        """Submit or read at any node, now and after each pause."""
        if self.is_quiet:
            return
        node = self.rng.choice(list(self.nodes.values()))
        if node.up and self.rng.random() < 0.7:
            self.submit(node, f"{number}-{next(self._numbers)}".encode())
        elif node.up:
            self.read(node)
        self.after(self.rng.uniform(0, 2 * pause), self.client, number, pause)

    def submit(self, node: Node, command: bytes) -> None:
        begun, history, life = self.now, self.history, node.life
        history.begun[command] = begun

        def answered(applied, reason) -> None:
            if not node.up or node.life != life:
                return
            if reason == FAIL_REASON.SUCCESS:
                history.acknowledged[command] = (int(applied.outcome), begun, self.now)
            elif reason in (FAIL_REASON.LEADER_CHANGED, FAIL_REASON.UNKNOWN_OUTCOME):
                history.unknown += 1
            else:
                history.refused.add(command)

        node.raft.propose(command, answered)
        self.after(0, node.cycle)

    def read(self, node: Node) -> None:
        begun, life = self.now, node.life

        def confirmed(index: int | None) -> None:
            if index is not None:
                self.after(0, wait, index)

        def wait(index: int) -> None:
            if not node.up or node.life != life:
                return
            if node.raft.applied_index >= index:
                self.history.reads.append((len(node.machine.commands), begun, self.now))
            elif self.now < begun + 5:
                self.after(TICK, wait, index)

        node.raft.confirm(confirmed)
        self.after(0, node.cycle)

    def violations(self) -> list[str]:
        """Say what is wrong with what clients saw, against the log as it is in the end."""
        wrong = []
        logs = sorted((node.machine.commands for node in self.nodes.values()), key=len)
        log = logs[-1]
        if any(shorter != log[: len(shorter)] for shorter in logs):
            wrong.append("members have diverged")
        if len(logs[0]) != len(log):
            wrong.append("a member has not caught up")
        if len(set(log)) != len(log):
            wrong.append("a command was applied twice")
        for command, (place, _, _) in self.history.acknowledged.items():
            if place >= len(log) or log[place] != command:
                wrong.append(f"acknowledged and lost: {command!r} at {place}")
        if said := self.history.refused & set(log):
            wrong.append(f"said to be refused, and applied: {sorted(said)[:3]}")
        return wrong + self._out_of_order()

    def operations(self) -> list[Operation]:
        """Return the history for the general checker; of what nobody knows the outcome, that which was applied."""
        log = max((node.machine.commands for node in self.nodes.values()), key=len)
        found = [
            Operation("reader", "log", "read", (), [one.decode() for one in log[:count]], begun, ended)
            for count, begun, ended in self.history.reads
        ]
        for command, begun in self.history.begun.items():
            place, _, ended = self.history.acknowledged.get(command, (None, begun, None))
            if command in log:
                length = None if place is None else place + 1
                found.append(Operation("writer", "log", "append", (command.decode(),), length, begun, ended))
        return found

    def _out_of_order(self) -> list[str]:
        """A log is linearizable if what ended before another began lies before it, and a read sees all of that."""
        done = [(place + 1, begun, ended) for place, begun, ended in self.history.acknowledged.values()]
        events = [(ended, 1, seen, True) for seen, _, ended in done + self.history.reads]
        events += [(begun, 0, place, False) for place, begun, _ in ((one[0] - 1, *one[1:]) for one in done)]
        wrong, seen = [], 0
        reads = [(begun, 0, count, None) for count, begun, _ in self.history.reads]
        for at, _, number, kind in sorted(events + reads, key=lambda event: event[:2]):
            if kind is True:
                seen = max(seen, number)
            elif number < seen:
                wrong.append(f"at {at:.3f} begun, at place {number}, after {seen} had been seen")
        return wrong

    def close(self) -> None:
        for node in self.nodes.values():
            if node.up:
                node.journal.close()
        shutil.rmtree(self.folder)


@contextmanager
def simulated(seed: int, seconds: float, faults: Faults | None = None, size: int = 3) -> Iterator[World]:
    """Run a cluster under faults, heal it, and give it as it is then."""
    world = World(seed, faults or Faults(), size)
    clock, pysyncobj.syncobj.monotonicTime = pysyncobj.syncobj.monotonicTime, world.clock
    size_of_pieces, pieces.PIECE_BYTES = pieces.PIECE_BYTES, 500
    try:
        world.start()
        world.run(1.5)
        for number in range(3):
            world.client(number, 0.05)
        world.break_things()
        world.run(seconds)
        world.heal()
        world.run(4.0)
        world.is_quiet = True
        world.run(1.0)
        yield world
    finally:
        pysyncobj.syncobj.monotonicTime, pieces.PIECE_BYTES = clock, size_of_pieces
        world.close()
