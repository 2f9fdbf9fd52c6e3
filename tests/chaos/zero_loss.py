"""Nothing lost, nothing twice: boards report while every process of the system is killed again and again. (T5)

Each round kills each kind once, in seeded order at seeded moments; every third round kills two at once. Nothing waits
for calm. What a board has written to its flash when its power is cut has to arrive as well.
"""

import random
import sys
import time
from contextlib import suppress

import httpx2
from littlefs import LittleFS

from e2e.system import System
from fieldloom_build.image import BLOCK
from fieldloom_cloud import census
from fieldloom_sim.fleet import Fleet
from fieldloom_sim.loader import FLASH_FILE
from fixtures import sabotage
from fixtures.processes import wait_for_port

BOARDS = 5
INTERVAL_MS = 50
DRAIN_S = 150.0


class ZeroLoss:
    """One system under attack."""

    def __init__(self, folder, seed, faults=None):
        self.rng = random.Random(seed)
        self.in_traffic = bool(faults)
        self.system = System(folder)
        for kind, fault in (faults or {}).items():
            self.sabotage(self.system.processes[kind], fault)
        wait_for_port(self.system.cloud.port)
        self.fleet = Fleet(folder / "boards")
        self.fleet.start()
        self.names = [f"board-{number}" for number in range(1, BOARDS + 1)]
        for name in self.names:
            self.fleet.add(self.system.enrol_device(name), self.system.gateways, interval=INTERVAL_MS)
        self.kinds = [*self.system.processes, "board"]
        self.on_flash = set()  # (board, boot, seq) that were on a flash when its power was cut
        self.kills = 0

    @staticmethod
    def sabotage(process, fault):
        """Start a process again with a fault in it, which every later start has too."""
        process.kill()
        process.command[:1] = [sys.executable, sabotage.__file__, fault]
        process.start()

    def round(self, number):
        order = self.rng.sample(self.kinds, len(self.kinds))
        size = 2 if number % 3 == 2 else 1
        for start in range(0, len(order), size):
            if self.in_traffic:
                self.wait_for_traffic()
            time.sleep(self.rng.uniform(0.1, 0.8))
            victims = order[start : start + size]
            for victim in victims:
                self.kill(victim)
            for victim in victims:
                self.revive(victim)

    def wait_for_traffic(self):
        """Wait until boards get acknowledgements: a kill of a system that is still starting finds no fault."""
        before, deadline = self.acknowledgements(), time.monotonic() + DRAIN_S
        while self.acknowledgements() < before + BOARDS:
            assert time.monotonic() < deadline, f"no acknowledgement within {DRAIN_S} s"
            time.sleep(0.05)

    def acknowledgements(self):
        return sum(sum(self.fleet.acknowledged(name).values()) for name in self.names)

    def kill(self, kind):
        self.kills += 1
        if kind == "board":
            self.cut = self.rng.choice(self.names)
            self.fleet.off(self.cut)
            self.on_flash |= {(self.cut, boot, seq) for boot, seq in held_on_flash(self.fleet.path(self.cut))}
        else:
            self.system.processes[kind].kill()

    def revive(self, kind):
        if kind == "board":
            self.fleet.on(self.cut)
        else:
            self.system.processes[kind].start()

    def drain(self):
        """Stop measuring, and wait until nothing moves any more."""
        deadline = time.monotonic() + DRAIN_S
        paused, before, calm_since = set(), None, time.monotonic()
        while time.monotonic() - calm_since < 5 or len(paused) < BOARDS:
            assert time.monotonic() < deadline, f"no calm after {DRAIN_S} s; paused: {sorted(paused)}"
            with suppress(httpx2.TransportError), self.system.api() as api:
                for name in set(self.names) - paused:
                    if api.post(f"/api/v1/devices/{name}/commands", json=PAUSE).is_success:
                        paused.add(name)
            now = {name: self.fleet.acknowledged(name) for name in self.names}, self.waiting()
            if now != before or now[1]:
                before, calm_since = now, time.monotonic()
            time.sleep(0.5)

    def waiting(self):
        """How many records wait on the gateway, or on boards' flashes."""
        page = self.system.status_pages[0]
        try:
            outbox = httpx2.get(page, timeout=5).json()["outbox"]["records"]
        except httpx2.TransportError:
            return 1
        return outbox + sum(len(list(held_on_flash(self.fleet.path(name)))) for name in self.names)

    def verdict(self):
        """Stop all, and return what is lost and what is twice."""
        self.fleet.stop()
        self.system.stop()
        counted = census.take(self.system.cloud.data)
        lost = {
            (board, boot, seq)
            for board in self.names
            for boot, acknowledged in self.fleet.acknowledged(board).items()
            for seq in counted.lost((board, boot), acknowledged)
        }
        gone = {
            (board, boot, seq)
            for board, boot, seq in self.on_flash
            if seq not in counted.stored[board, boot] and seq not in counted.dropped[board, boot]
        }
        return lost, gone, counted.duplicated, self.acknowledgements()

    def stop(self):
        try:
            self.fleet.stop()
        finally:
            self.system.stop()


PAUSE = {"type": "set_interval", "parameters": {"interval": 0}}


def held_on_flash(folder):
    """Yield (boot, seq) of every record in a board's flash log; a flash in the middle of a write is passed over."""
    image = (folder / FLASH_FILE).read_bytes()
    fs = LittleFS(mount=False, block_size=BLOCK, block_count=len(image) // BLOCK, prog_size=32, read_size=32)
    fs.context.buffer[:] = image
    try:
        fs.mount()
        pages = fs.listdir("/log")
    except OSError:
        return
    for page in pages:
        _, boot, first, last = (int(part, 16) for part in page.split("-"))
        yield from ((boot, seq) for seq in range(first, last + 1))


def attack(chaos, rounds):
    """Run the rounds and return the verdict."""
    try:
        for number in range(rounds):
            chaos.round(number)
        chaos.drain()
        return chaos.verdict()
    finally:
        chaos.stop()


def find(folder, rounds, seed, faults):
    """Run the rounds with {process: fault} and return the verdict in figures: lost, on a flash and gone, twice."""
    lost, gone, duplicated, _ = attack(ZeroLoss(folder, seed, faults), rounds)
    return {"lost": len(lost), "gone": len(gone), "duplicated": duplicated}


def prove(folder, rounds, seed):
    """Run the rounds and check the verdict. Return a line with the figures."""
    chaos = ZeroLoss(folder, seed)
    lost, gone, duplicated, acknowledged = attack(chaos, rounds)
    assert not lost, sorted(lost)[:20]
    assert not gone, sorted(gone)[:20]
    assert duplicated == 0
    assert acknowledged > rounds * BOARDS * 10, "the boards hardly reported: this has proven nothing"
    return f"{chaos.kills} kills, {acknowledged} records acknowledged, {len(chaos.on_flash)} on flash at a power cut"
