"""A gateway's part in owning the partitions of its site: the engine's `Ownership` in a cluster. (D4, D7, W8, ADR 55)"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from secrets import token_hex
from typing import Any

import structlog

from fieldloom_contract.errors import Rejected
from fieldloom_gateway.cluster.consensus.port import Consensus, NoLeader, Unknown
from fieldloom_gateway.cluster.partitions.balancer import claims, is_by_load, transfers
from fieldloom_gateway.cluster.partitions.lease import AT_ONCE, RENEW_S, Lease
from fieldloom_gateway.cluster.partitions.meter import Meter
from fieldloom_gateway.cluster.partitions.partition import PARTITIONS, partition_of
from fieldloom_gateway.cluster.partitions.placement import Move, Strategy
from fieldloom_gateway.cluster.partitions.records import PREFIX, Heir, encode, guard, heir_key, load_key
from fieldloom_gateway.cluster.partitions.residence import Residence, State, Tenant
from fieldloom_gateway.cluster.partitions.ring import replicas
from fieldloom_gateway.cluster.state.commands import Compare, Done, Set, Transaction
from fieldloom_gateway.cluster.state.store import Store

log = structlog.get_logger()

GIVE_UP_S = 1.0
"""How long a proposal waits for its answer; it may be decided later, and is then another attempt's."""
LOOK_S = 0.1
"""How often is looked for what time alone brings about."""
BALANCE_S = 0.5
TELL_LOOK_S = 0.5
REPLICAS = 3


def since_start() -> float:
    """Return the seconds since the machine started, in which those count that it slept: a lease goes on then."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Partitions:
    """Owns partitions while `run` runs: renews, takes over from the dead, hands over to heirs, and balances as leader.

    `tenants` hold what there is to load and drain. What they write goes through `guard` of the version they loaded.
    """

    def __init__(
        self,
        store: Store,
        consensus: Consensus,
        tenants: Sequence[Tenant] = (),
        strategy: Strategy = "balanced",
        steady: Callable[[], float] = since_start,
        new_attempt: Callable[[], str] = token_hex,
    ) -> None:
        self._store = store
        self._consensus = consensus
        self._strategy: Strategy = strategy
        self._steady = steady
        self._lease = Lease(store.name, steady(), new_attempt)
        self._news = asyncio.Event()
        self._lease.is_by_load = strategy == "by_load"
        self._meter = Meter(store.name, self._lease.view, steady)
        self._tenants = [self._meter, *tenants]
        self._residence = Residence(self._lease, store.name, self._tenants, self._news.set, steady)
        self._is_following = False
        self.counts: Counter[str] = Counter()

    def attend(self, tenant: Tenant) -> None:
        """Have one more part of the gateway load and drain; before `run`."""
        self._tenants.append(tenant)

    async def run(self) -> None:
        """Take part, until cancelled. Nothing is handed over then: `drain` first."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow(tasks), name="partitions-follow")
            tasks.create_task(self._propose_all(tasks), name="partitions-propose")
            tasks.create_task(self._balance(), name="partitions-balance")
            if self._strategy == "by_load":
                tasks.create_task(self._tell_loads(), name="partitions-tell")

    def owns(self, device: str) -> bool:
        """Whether this gateway acts for a device at this moment; may be asked from any thread."""
        return self.acts(partition_of(device))

    def acts(self, partition: int) -> bool:
        """Whether this gateway acts for a partition at this moment; may be asked from any thread."""
        return self.state(partition) == "active"

    def version(self, partition: int) -> int | None:
        """Return the version of a partition's assignment to this gateway, None if it is another's."""
        return self._lease.version(partition)

    def state(self, partition: int) -> State:
        """Return a partition's state at this gateway."""
        return self._residence.state(partition)

    def owner(self, partition: int) -> str | None:
        """Return the gateway that a partition is assigned to, None if nobody ever had it."""
        found = self._lease.view.assignment(partition)
        return None if found is None else found.owner

    def did(self, partition: int, units: float) -> None:
        """Count what a tenant did for a partition, by which load it is shared; may be called from any thread."""
        self._meter.did(partition, units)

    def owners(self) -> Counter[str]:
        """Return for how many partitions each gateway acts, as far as is known here."""
        return Counter(owner for at in range(PARTITIONS) if (owner := self.owner(at)) is not None)

    def replicas(self, partition: int) -> list[str]:
        """Return a partition's owner and the gateways that are next, in order."""
        living = sorted(self._lease.view.living(self._steady()))
        return replicas(partition, self.owner(partition), living, REPLICAS)

    def shown(self) -> list[dict[str, Any]]:
        """Return all partitions: the state of each here, what is done for it, its owner, and who is next."""
        rates = self._meter.rates()
        return [
            {
                "partition": at,
                "state": self.state(at),
                "units_per_s": round(rates.get(at, self._lease.view.load(at)), 2),
                "replicas": self.replicas(at),
            }
            for at in range(PARTITIONS)
        ]

    def drain(self) -> None:
        """Give away all that this gateway has to others that live, and take nothing any more."""
        self._lease.is_draining = True

    def resume(self) -> None:
        """Take part again after `drain`."""
        self._lease.is_draining = False

    @property
    def is_drained(self) -> bool:
        """Whether this gateway owns nothing."""
        return not any(self._lease.view.owned_by(self._store.name))

    async def move(self, partition: int, heir: str) -> None:
        """Name the gateway that is to have a partition next; the balance may move it again later.

        Raises Rejected, NoLeader, Unknown.
        """
        if not 0 <= partition < PARTITIONS:
            raise Rejected("partition", f"{partition} is not from 0 to {PARTITIONS - 1}")
        if heir not in self._lease.view.living(self._steady()):
            raise Rejected("heir", f"{heir!r} is no gateway that takes part now")
        owner = self.owner(partition)
        if owner is None:
            raise Rejected("partition", f"{partition} has no owner yet: ask again in some seconds")
        if owner != heir:
            await self._name_heirs([Move(partition, owner, heir)])

    def status(self) -> dict[str, Any]:
        """Return what `status` tells: how many partitions are in which state here, and whether the lease holds."""
        states = Counter(self.state(at) for at in range(PARTITIONS))
        owned = PARTITIONS - states["inactive"]
        loads, moved = self._residence.loads, self._residence.transfers
        return {
            "strategy": self._strategy,
            "by_load": is_by_load(self._lease.view, self._strategy, self._steady()),
            "units_per_s": round(sum(self._meter.rates().values()), 2),
            "draining": self._lease.is_draining,
            "owned": owned,
            "active": states["active"],
            "loading": states["loading"],
            "transferring": states["transferring"],
            "read_only": states["read_only"],
            "has_lease": self._lease.is_held(self._steady()),
            "gateways": sorted(self._lease.view.living(self._steady())),
            "rebalances": self.counts["rebalances"],
            "moves": self.counts["moves"],
            "takeovers": self.counts["takeovers"],
            "refused": self.counts["refused"],
            "missed": self.counts["missed"],
            "load_failures": self._residence.counts["load_failures"],
            "drains_cut_short": self._residence.counts["drains_cut_short"],
            "loads": loads.count,
            "load_s": loads.total_s,
            "load_longest_s": loads.longest_s,
            "transfers": moved.count,
            "transfer_s": moved.total_s,
            "transfer_longest_s": moved.longest_s,
        }

    async def _follow(self, tasks: asyncio.TaskGroup) -> None:
        async for changes in self._store.follow(PREFIX):
            self._lease.apply(changes, self._steady())
            self._is_following = True
            self._residence.follow(tasks)
            self._news.set()

    async def _propose_all(self, tasks: asyncio.TaskGroup) -> None:
        """Have one proposal at a time on its way, as in the model."""
        while True:
            self._residence.follow(tasks)
            proposal = self._next()
            if proposal is None:
                await self._wait(min(self._lease.next_due(self._steady()), LOOK_S))
            else:
                await self._propose(proposal)

    def _next(self) -> Transaction | None:
        """Return the proposal that is due: RENEW before RELEASE before TAKE, None if none is."""
        if not self._is_following or self._store.name not in self._consensus.members:
            return None
        now = self._steady()
        if self._lease.is_due(now):
            return self._lease.renew(now)
        if left := self._lease.left():
            return self._lease.release(left)
        claimed = claims(self._lease.view, self._store.name, self._strategy, now)[:AT_ONCE]
        if not claimed:
            return None
        self.counts["takeovers"] += 1
        log.info("partitions_claimed", partitions=len(claimed))
        return self._lease.take(claimed, now)

    async def _propose(self, proposal: Transaction) -> None:
        try:
            outcome = await self._store.transaction(proposal.compares, proposal.operations, GIVE_UP_S)
        except (NoLeader, Unknown) as error:
            self._miss(error)
            return
        except Rejected as error:  # the map is full: not again at once
            self._miss(error)
            await asyncio.sleep(RENEW_S)
            return
        if not isinstance(outcome, Done):
            self.counts["refused"] += 1
            await self._wait(LOOK_S)  # what it was refused for is on its way here
            return
        while self._lease.view.index < outcome.index:
            await self._wait(LOOK_S)

    def _miss(self, error: Exception) -> None:
        self.counts["missed"] += 1
        log.warning("lease_proposal_missed", reason=str(error))

    async def _balance(self) -> None:
        while True:
            await asyncio.sleep(BALANCE_S)
            if self._consensus.leader != self._store.name:
                continue
            wanted = transfers(self._lease.view, self._strategy, self._steady())
            if wanted:
                with suppress(NoLeader, Unknown, Rejected):  # by the next look, or the next leader
                    await self._name_heirs(wanted)
                    self.counts["rebalances"] += 1

    async def _tell_loads(self) -> None:
        """Tell the others what is done here for each partition."""
        while True:
            await asyncio.sleep(TELL_LOOK_S)
            if self._is_following and (loads := self._meter.word()) is not None:
                with suppress(NoLeader, Unknown, Rejected):  # by the next look
                    await self._store.set(load_key(self._store.name), encode(loads))

    async def _name_heirs(self, wanted: Sequence[Move]) -> None:
        """Order moves, unless one of the partitions was assigned anew meanwhile. Raises NoLeader, Unknown."""
        compares: list[Compare] = []
        operations: list[Set] = []
        for partition, _, heir in wanted:
            found = self._lease.view.assignment(partition)
            if found is not None:
                compares.append(guard(partition, found.version))
                operations.append(Set(heir_key(partition), encode(Heir(found.version, heir))))
        if isinstance(await self._store.transaction(compares, operations), Done):
            self.counts["moves"] += len(operations)
            log.info("partitions_moved", partitions=len(operations))

    async def _wait(self, seconds: float) -> None:
        """Wait for news, or for some time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()
        self._news.clear()
