"""What is held here of partitions: loaded once assigned, drained for an heir, unloaded once another's. (D4)"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import structlog

from fieldloom_gateway.cluster.partitions.balancer import candidates
from fieldloom_gateway.cluster.partitions.lease import Lease
from fieldloom_gateway.cluster.partitions.partition import PARTITIONS

log = structlog.get_logger()

State = Literal["inactive", "loading", "active", "transferring", "read_only"]

DRAIN_S = 5.0
"""How long a hand-over waits for what is under way; then the fence refuses it."""
LOAD_AGAIN_S = 1.0


class LoadFailed(Exception):  # noqa: N818 - it reads as what happened
    """What a partition needs could not be loaded; it is tried again."""


class Tenant(Protocol):
    """A part of a gateway that holds something for each partition: windows of rules, instances of workflows."""

    async def load(self, partition: int, version: int) -> None:
        """Read what the owner before wrote last; all that is written from here on is fenced by this version.

        Raises LoadFailed, and is then called again. Cancelled when the partition goes meanwhile.
        """
        ...

    async def drain(self, partition: int, version: int) -> None:
        """Finish what is under way and write a last checkpoint; nothing new comes. Cancelled if it takes too long."""
        ...

    def unload(self, partition: int) -> None:
        """Forget what was loaded, or begun to be: the partition is another's, or assigned anew."""
        ...


@dataclass
class _Resident:
    """A partition that is assigned to this gateway under a version."""

    version: int
    begun: float
    is_loaded: bool = False
    is_draining: bool = False
    task: asyncio.Task[None] | None = None


@dataclass
class Times:
    """How often something was done, and how long it took in all and at most, in s."""

    count: int = 0
    total_s: float = 0.0
    longest_s: float = 0.0

    def add(self, seconds: float) -> None:
        """Count one more."""
        self.count += 1
        self.total_s += seconds
        self.longest_s = max(self.longest_s, seconds)


class Residence:
    """Brings what is held here after what the lease says; `changed` is called when something is loaded or drained."""

    def __init__(
        self,
        lease: Lease,
        gateway: str,
        tenants: Sequence[Tenant],
        changed: Callable[[], None],
        steady: Callable[[], float],
    ) -> None:
        self._lease = lease
        self._gateway = gateway
        self._tenants = tenants
        self._changed = changed
        self._steady = steady
        self._residents: dict[int, _Resident] = {}
        self.loads = Times()
        self.transfers = Times()
        self.counts: Counter[str] = Counter()

    def state(self, partition: int) -> State:
        """Return a partition's state here; `read_only` is one that is loaded while the lease has run out."""
        resident = self._residents.get(partition)
        if resident is None or self._lease.version(partition) != resident.version:
            return "inactive"
        if not resident.is_loaded:
            return "loading"
        if resident.is_draining:
            return "transferring"
        return "active" if self._lease.acts(partition, self._steady()) else "read_only"

    def follow(self, tasks: asyncio.TaskGroup) -> None:
        """Begin and end what the assignments and heirs ask for."""
        able = candidates(self._lease.view, self._steady())
        for partition in range(PARTITIONS):
            version, resident = self._lease.version(partition), self._residents.get(partition)
            if resident is not None and resident.version != version:
                self._unload(partition, resident)
                resident = None
            if resident is None and version is not None:
                self._load(partition, version, tasks)
            elif resident is not None and resident.is_loaded and not resident.is_draining:
                heir = self._lease.view.heir(partition)
                if heir is not None and heir.gateway != self._gateway and heir.gateway in able:
                    self._drain(partition, resident, tasks)

    def _load(self, partition: int, version: int, tasks: asyncio.TaskGroup) -> None:
        resident = self._residents[partition] = _Resident(version, self._steady())
        resident.task = tasks.create_task(self._load_all(partition, resident), name=f"load-{partition}")

    async def _load_all(self, partition: int, resident: _Resident) -> None:
        for tenant in self._tenants:
            while True:
                try:
                    await tenant.load(partition, resident.version)
                    break
                except LoadFailed as error:
                    self.counts["load_failures"] += 1
                    log.warning("partition_not_loaded", partition=partition, reason=str(error))
                    await asyncio.sleep(LOAD_AGAIN_S)
        resident.is_loaded = True
        self.loads.add(self._steady() - resident.begun)
        self._changed()

    def _drain(self, partition: int, resident: _Resident, tasks: asyncio.TaskGroup) -> None:
        resident.is_draining, resident.begun = True, self._steady()
        resident.task = tasks.create_task(self._drain_all(partition, resident), name=f"drain-{partition}")

    async def _drain_all(self, partition: int, resident: _Resident) -> None:
        try:
            async with asyncio.timeout(DRAIN_S):
                for tenant in self._tenants:
                    await tenant.drain(partition, resident.version)
        except TimeoutError:
            self.counts["drains_cut_short"] += 1
            log.warning("partition_drain_cut_short", partition=partition, after_s=DRAIN_S)
        self._lease.leave(partition)
        self._changed()

    def _unload(self, partition: int, resident: _Resident) -> None:
        del self._residents[partition]
        if resident.task is not None:
            resident.task.cancel()
        for tenant in self._tenants:
            tenant.unload(partition)
        if resident.is_draining:
            self.transfers.add(self._steady() - resident.begun)
