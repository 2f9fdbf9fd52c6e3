"""Gateways that share partitions, in virtual time: real leases and a real map, and a log that is slow and loses things.

A gateway does what the service does, without tenants: it has one proposal at a time on its way, gives one up after a
second, applies the log late, and may be paused or killed between any two steps. Its clock runs up to a tenth too fast
or too slow. What may never be so is looked at after each step.
"""

import asyncio
import random
from dataclasses import dataclass, field

from cluster.commands import Client
from fieldloom_gateway.cluster.partitions.balancer import candidates, claims, transfers
from fieldloom_gateway.cluster.partitions.lease import AT_ONCE, Lease
from fieldloom_gateway.cluster.partitions.meter import Meter
from fieldloom_gateway.cluster.partitions.partition import PARTITIONS
from fieldloom_gateway.cluster.partitions.records import Heir, encode, guard, heir_key, load_key, owner_key
from fieldloom_gateway.cluster.state.commands import Compare, Done, Set, Transaction
from fieldloom_gateway.cluster.state.history import Changes

TICK = 0.1
GIVE_UP = 1.0
CHECKPOINT = "checkpoint/"
TOLD = 2
"""How often a second a gateway looks whether to tell what it does."""


@dataclass
class Faults:
    """How often something happens to a gateway, a second, or to a proposal."""

    killed: float = 0.05
    paused: float = 0.1
    lost: float = 0.05
    late: float = 0.1
    moved: float = 0.5
    lag: float = 0.5


QUIET = Faults(0, 0, 0, 0, 0, 0.05)


@dataclass
class Proposal:
    """A transaction on its way to the log."""

    gateway: str
    transaction: Transaction
    arrives: float
    is_answered: bool = False


@dataclass
class Gateway:
    """A gateway's process, or what is left of it."""

    name: str
    rate: float
    lease: Lease
    strategy: str
    meter: Meter | None = None
    metered: dict[int, int] = field(default_factory=dict)
    """By partition the version that the meter has loaded."""
    applied: int = 0
    proposal: Proposal | None = None
    asked: float = 0.0
    wakes: float = 0.0
    """When it goes on after a pause, or starts again; infinite for one that is dead for ever."""
    is_dead: bool = False
    checkpoints: dict[int, int] = field(default_factory=dict)
    """By partition the index of the last one that is applied here."""


class Site:
    """Some gateways and their log. `loads` is what there is to do for partitions, units a second by partition."""

    def __init__(self, seed, names, strategy="balanced", faults=None, lease_type=Lease):
        self.rng = random.Random(seed)
        self.lease_type = lease_type
        self.strategy = strategy
        self.faults = faults or Faults()
        self.now = 0.0
        self.log = Client()
        self.attempts = 0
        self.proposals = []
        self.loads = {}
        self.gateways = {}
        self.checkpoints = 0
        self.refused_by_fence = 0
        for name in names:
            self.join(name)

    def join(self, name):
        gateway = self.gateways[name] = Gateway(name, self.rng.uniform(0.9, 1.1), None, self.strategy)
        self.begin(gateway)

    def begin(self, gateway):
        """Have its process start: the log is on its disk, what it knew of time is gone."""
        gateway.lease = self.lease_type(gateway.name, self.clock(gateway), self.new_attempt)
        gateway.lease.is_by_load = gateway.strategy == "by_load"
        gateway.meter, gateway.metered = Meter(gateway.name, gateway.lease.view, lambda: self.clock(gateway)), {}
        gateway.is_dead, gateway.proposal = False, None
        applied = self.log.machine.history.after(0)
        first = tuple(one for changes in applied if changes.index <= gateway.applied for one in changes.changes)
        latest = {change.key: change for change in first}
        self.take(gateway, Changes(gateway.applied, tuple(latest.values())))

    def new_attempt(self):
        self.attempts += 1
        return str(self.attempts)

    def clock(self, gateway):
        return 1000 + self.now * gateway.rate

    def kill(self, name, until=float("inf")):
        gateway = self.gateways[name]
        gateway.is_dead, gateway.wakes = True, until

    def run(self, seconds):
        end = self.now + seconds
        while self.now < end:
            self.step()

    def step(self):
        self.now += TICK
        self.decide()
        for gateway in self.gateways.values():
            self.disturb(gateway)
            if self.now >= gateway.wakes:
                if gateway.is_dead:
                    self.begin(gateway)
                self.work(gateway)
        self.look()

    def look(self):
        """At most one gateway acts for a partition: decision 4, D4."""
        for partition in range(PARTITIONS):
            acting = [one.name for one in self.alive() if one.lease.acts(partition, self.clock(one))]
            assert len(acting) <= 1, (self.now, partition, acting)

    def alive(self):
        return [one for one in self.gateways.values() if not one.is_dead]

    def acting(self):
        """By partition the gateway that acts for it."""
        return {
            partition: one.name
            for one in self.alive()
            for partition in range(PARTITIONS)
            if one.lease.acts(partition, self.clock(one))
        }

    def happens(self, rate):
        return self.rng.random() < rate * TICK

    def disturb(self, gateway):
        if gateway.is_dead or self.now < gateway.wakes:
            return
        if self.happens(self.faults.killed):
            self.kill(gateway.name, self.now + self.rng.uniform(0.2, 5))
        elif self.happens(self.faults.paused):
            gateway.wakes = self.now + self.rng.uniform(0.2, 5)

    def decide(self):
        """Have the log take the proposals that have arrived, which overtake each other."""
        arrived = [one for one in self.proposals if one.arrives <= self.now]
        self.proposals = [one for one in self.proposals if one.arrives > self.now]
        self.rng.shuffle(arrived)
        for proposal in arrived:
            proposal.is_answered = True
            if self.rng.random() >= self.faults.lost:
                self.commit(proposal)

    def commit(self, proposal):
        key = proposal.transaction.operations[0].key
        owner = None
        if key.startswith(CHECKPOINT):
            owner = self.log.get(owner_key(int(key.removeprefix(CHECKPOINT)))).value.decode()
        outcome = self.log.do(*proposal.transaction.operations, compares=proposal.transaction.compares)
        if owner is None:
            return
        if isinstance(outcome, Done):
            assert owner == proposal.gateway, "the fence let through who is not the owner"
            self.checkpoints += 1
        else:
            self.refused_by_fence += owner != proposal.gateway

    def work(self, gateway):
        self.apply(gateway)
        now = self.clock(gateway)
        proposal = gateway.proposal
        if proposal is not None and (proposal.is_answered or self.now - gateway.asked >= GIVE_UP):
            gateway.proposal = None
        if gateway.proposal is None and (transaction := self.next(gateway, now)):
            gateway.asked = self.now
            gateway.proposal = self.propose(gateway, transaction)
        if gateway.name == min(one.name for one in self.alive()) and self.happens(2):
            self.balance(gateway, now)
        if gateway.strategy == "by_load":
            self.serve(gateway)

    def apply(self, gateway):
        """Apply some of what is decided: all of it, unless it lags."""
        for changes in self.log.machine.history.after(gateway.applied):
            if self.rng.random() < self.faults.lag:
                break
            self.take(gateway, changes)

    def take(self, gateway, changes):
        gateway.lease.apply(changes, self.clock(gateway))
        gateway.applied = changes.index
        for change in changes.changes:
            if change.key.startswith(CHECKPOINT):
                gateway.checkpoints[int(change.key.removeprefix(CHECKPOINT))] = change.entry.modified

    def next(self, gateway, now):
        lease = gateway.lease
        if lease.is_due(now):
            return lease.renew(now)
        able = candidates(lease.view, now)
        for partition, _ in list(lease.view.owned_by(gateway.name)):
            heir = lease.view.heir(partition)
            if heir is not None and heir.gateway in able:
                lease.leave(partition)
        if left := lease.left():
            return lease.release(left)
        if claimed := claims(lease.view, gateway.name, gateway.strategy, now):
            return lease.take(claimed[:AT_ONCE], now)
        return self.checkpoint(gateway, now)

    def checkpoint(self, gateway, now):
        partition = self.rng.randrange(PARTITIONS)
        if not gateway.lease.acts(partition, now):
            return None
        key = f"{CHECKPOINT}{partition}"
        compares = (
            guard(partition, gateway.lease.version(partition)),
            Compare(key, "modified", gateway.checkpoints.get(partition, 0)),
        )
        return Transaction(compares, (Set(key, b""),))

    def balance(self, gateway, now):
        view = gateway.lease.view
        wanted = [(move.partition, move.heir) for move in transfers(view, gateway.strategy, now)]
        if self.happens(self.faults.moved) and len(view.living(now)) > 1:
            partition = self.rng.randrange(PARTITIONS)
            wanted.append((partition, self.rng.choice(sorted(view.living(now)))))
        found = {at: (view.assignment(at), heir) for at, heir in wanted}
        moved = {at: (one.version, heir) for at, (one, heir) in found.items() if one is not None and one.owner != heir}
        if moved:
            compares = tuple(guard(at, version) for at, (version, _) in moved.items())
            operations = tuple(Set(heir_key(at), encode(Heir(*one))) for at, one in moved.items())
            self.propose(gateway, Transaction(compares, operations))

    def serve(self, gateway):
        """Do what there is to do for its partitions, and tell of it."""
        owned = dict(gateway.lease.view.owned_by(gateway.name))
        for partition in [at for at, version in gateway.metered.items() if owned.get(at) != version]:
            gateway.meter.unload(partition)
        for partition in [at for at, version in owned.items() if gateway.metered.get(at) != version]:
            asyncio.run(gateway.meter.load(partition, owned[partition]))
        gateway.metered = owned
        for partition, load in self.loads.items():
            if gateway.lease.acts(partition, self.clock(gateway)):
                gateway.meter.did(partition, load * TICK)
        if self.happens(TOLD) and (word := gateway.meter.word()):
            self.propose(gateway, Transaction((), (Set(load_key(gateway.name), encode(word)),)))

    def propose(self, gateway, transaction):
        takes = self.rng.uniform(0, 0.15)
        if self.rng.random() < self.faults.late:
            takes += self.rng.uniform(1, 4)
        proposal = Proposal(gateway.name, transaction, self.now + takes)
        self.proposals.append(proposal)
        return proposal
