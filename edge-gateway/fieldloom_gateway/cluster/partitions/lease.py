"""A gateway's lease on its partitions, as shared/models/lease.pml has it, step by step; pure. (D4, D7, ADR 54, 55)

The model's names stand here: `apply`, `in_lease`, `acts`, `leaving`, and the proposals RENEW, TAKE and RELEASE, of
which a gateway has one at a time on its way. Each is a transaction on what it was made on, so that the map refuses it
once that is no more so. A partition's renewal is two numbers: its owner's lease, and its assignment.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from fieldloom_gateway.cluster.partitions.records import Renewal, encode, guard, heir_key, lease_key, owner_key
from fieldloom_gateway.cluster.partitions.view import View
from fieldloom_gateway.cluster.state.commands import Compare, Set, Transaction
from fieldloom_gateway.cluster.state.history import Changes

LEASE_S = 2.0
"""How long a lease lasts, from before it was asked for, by its holder's monotonic clock."""
RENEW_S = 0.5
AT_ONCE = 60
"""Partitions of one proposal: a transaction has 128 compares at most."""


class Asked(NamedTuple):
    """The latest proposal for the lease: by its number, when it was made, and for which assignments."""

    attempt: str
    at: float
    versions: dict[int, int]


class Held(NamedTuple):
    """The lease that was won: by which entry of the log, since when it counts, and for which assignments."""

    number: int
    at: float
    versions: dict[int, int]


class Lease:
    """What one gateway holds since its start. `new_attempt` gives numbers that no other start of it gives.

    A gateway that starts holds no lease, whatever the log says.
    """

    def __init__(self, gateway: str, now: float, new_attempt: Callable[[], str]) -> None:
        self.view = View(now)
        self.is_draining = False
        self.is_by_load = False
        self._gateway = gateway
        self._new_attempt = new_attempt
        self._asked: Asked | None = None
        self._renewed = now - RENEW_S
        """When RENEW was proposed last; a TAKE that is refused puts off no renewal."""
        self._held = Held(0, now - LEASE_S, {})
        self._leaving: dict[int, int] = {}

    def apply(self, changes: Changes, now: float) -> None:
        """Take what one command changed. A lease is as old as the proposal that won it, if that was the last one."""
        before = self.view.renewed(self._gateway)
        self.view.apply(changes, now)
        last, asked = self.view.renewed(self._gateway), self._asked
        if (
            asked is not None
            and last.number != before.number
            and last.renewal
            and last.renewal.attempt == asked.attempt
        ):
            self._held = Held(last.number, asked.at, asked.versions)
        self._leaving = {at: version for at, version in self._leaving.items() if self.version(at) == version}

    def version(self, partition: int) -> int | None:
        """Return the version under which the log has this gateway as a partition's owner, None if it is another."""
        found = self.view.assignment(partition)
        return found.version if found is not None and found.owner == self._gateway else None

    def in_lease(self, partition: int, now: float) -> bool:
        """Whether this gateway owns a partition and holds the lease for this very assignment."""
        version = self.version(partition)
        if version is None or not self.is_held(now):
            return False
        return version in (self._held.versions.get(partition), self._held.number)

    def is_held(self, now: float) -> bool:
        """Whether this gateway's last renewal still holds, whatever it owns."""
        return now - self._held.at < LEASE_S

    def acts(self, partition: int, now: float) -> bool:
        """Whether this gateway may act for a partition: in lease, and not about to let go."""
        return partition not in self._leaving and self.in_lease(partition, now)

    def leave(self, partition: int) -> None:
        """Act no more under the present assignment: all is done, and the heir may have it."""
        version = self.version(partition)
        if version is not None:
            self._leaving[partition] = version

    def left(self) -> list[int]:
        """Return the partitions to release: those that it has left, as many as one proposal takes."""
        return [at for at in sorted(self._leaving) if self.view.heir(at) is not None][:AT_ONCE]

    def is_due(self, now: float) -> bool:
        """Whether it is time to renew, or something was assigned that the lease was not asked for yet."""
        return self.next_due(now) <= 0 or any(
            version not in (self._asked_for(partition), self._held.number)
            for partition, version in self.view.owned_by(self._gateway)
            if partition not in self._leaving
        )

    def next_due(self, now: float) -> float:
        """Return in how many s it is time to renew, 0 if it is now."""
        return max(0.0, max(self._renewed, self._held.at) + RENEW_S - now)

    def renew(self, now: float) -> Transaction:
        """Return RENEW: the owner keeps its lease, by the renewal that it was made on."""
        self._renewed = now
        return Transaction((self._newest(),), (self._ask(now),))

    def take(self, partitions: Sequence[int], now: float) -> Transaction:
        """Return TAKE of what others were silent on for as long as a successor waits: by version and renewal."""
        compares = [self._newest()]
        for partition in partitions:
            found = self.view.assignment(partition)
            compares.append(guard(partition, found.version if found else 0))
            if found is not None:
                compares.append(Compare(lease_key(found.owner), "modified", self.view.renewed(found.owner).number))
        return Transaction(
            tuple(dict.fromkeys(compares)), (self._ask(now), *(self._assign(at, self._gateway) for at in partitions))
        )

    def release(self, partitions: Sequence[int]) -> Transaction:
        """Return RELEASE of what it has left, to the heirs: by version and renewal. It asks for no lease."""
        compares, operations = [self._newest()], []
        for partition in partitions:
            heir = self.view.heir(partition)
            if heir is None:
                continue
            compares.append(guard(partition, self._leaving[partition]))
            compares.append(Compare(heir_key(partition), "modified", heir.number))
            operations.append(self._assign(partition, heir.gateway))
        return Transaction(tuple(compares), tuple(operations))

    def _asked_for(self, partition: int) -> int | None:
        return None if self._asked is None else self._asked.versions.get(partition)

    def _newest(self) -> Compare:
        return Compare(lease_key(self._gateway), "modified", self.view.renewed(self._gateway).number)

    def _assign(self, partition: int, gateway: str) -> Set:
        return Set(owner_key(partition), gateway.encode())

    def _ask(self, now: float) -> Set:
        """Write the attempt, which counts from before it is proposed."""
        versions = {at: version for at, version in self.view.owned_by(self._gateway) if at not in self._leaving}
        self._asked = Asked(self._new_attempt(), now, versions)
        return Set(lease_key(self._gateway), encode(Renewal(self._asked.attempt, self.is_draining, self.is_by_load)))
