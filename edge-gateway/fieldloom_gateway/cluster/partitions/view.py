"""What the log says of partitions and leases, as far as it is applied here, and how long ago that was. (D4)"""

import math
from collections.abc import Iterator
from typing import NamedTuple

from fieldloom_gateway.cluster.partitions.partition import PARTITIONS
from fieldloom_gateway.cluster.partitions.records import (
    HEIR,
    LEASE,
    LOAD,
    OWNER,
    Heir,
    Renewal,
    decode_heir,
    decode_loads,
    decode_renewal,
)
from fieldloom_gateway.cluster.state.history import Change, Changes

WAIT_S = 2.5
"""Who has renewed nothing for so long, as seen here, is taken for dead."""


class Renewed(NamedTuple):
    """A gateway's last renewal, the index of it, and when it was applied here; no renewal where that was deleted."""

    renewal: Renewal | None
    number: int
    at: float


class Assignment(NamedTuple):
    """Who owns a partition, under which version, and when that was applied here."""

    owner: str
    version: int
    at: float


class NamedHeir(NamedTuple):
    """Who is to have a partition next, and the index at which that was said."""

    gateway: str
    number: int


class View:
    """The assignments, heirs and renewals of the local copy; `now` is always this gateway's monotonic clock, in s."""

    def __init__(self, now: float) -> None:
        self.index = 0
        """The index up to which changes are applied."""
        self._started = now
        self._assignments: dict[int, Assignment] = {}
        self._heirs: dict[int, tuple[Heir, int]] = {}
        self._renewed: dict[str, Renewed] = {}
        self._loads: dict[int, tuple[float, int]] = {}
        """By partition what was told last, and at which index."""
        self._told: dict[str, tuple[int, float]] = {}
        """By gateway the round in which it told its loads last, and when that was applied here."""

    def apply(self, changes: Changes, now: float) -> None:
        """Take what one command changed; what is no partition's says nothing here."""
        self.index = changes.index
        for change in changes.changes:
            self._take(change, now)

    def assignment(self, partition: int) -> Assignment | None:
        """Return who owns a partition, None if nobody ever did."""
        return self._assignments.get(partition)

    def owned_by(self, gateway: str) -> Iterator[tuple[int, int]]:
        """Give the partitions that a gateway owns, each with its version."""
        for partition, found in self._assignments.items():
            if found.owner == gateway:
                yield partition, found.version

    def heir(self, partition: int) -> NamedHeir | None:
        """Return who is to have a partition after its present assignment, None if nobody is named."""
        heir, number = self._heirs.get(partition, (None, 0))
        assignment = self._assignments.get(partition)
        if heir is None or assignment is None or heir.version != assignment.version:
            return None
        return NamedHeir(heir.gateway, number)

    def renewed(self, gateway: str) -> Renewed:
        """Return a gateway's last renewal; its number is 0 if there is none."""
        return self._renewed.get(gateway, Renewed(None, 0, self._started))

    def since_seen(self, partition: int, now: float) -> float:
        """Return for how long nothing renewed or changed a partition's assignment, as seen here, in s."""
        assignment = self._assignments.get(partition)
        if assignment is None:
            return now - self._started
        return now - max(assignment.at, self.renewed(assignment.owner).at)

    def silent(self, now: float) -> list[int]:
        """Return the partitions of which nothing was heard for as long as a successor waits, in their order."""
        return [at for at in range(PARTITIONS) if self.since_seen(at, now) >= WAIT_S]

    def is_settled(self, now: float) -> bool:
        """Whether this gateway has run for long enough to know who is dead."""
        return now - self._started >= WAIT_S

    def living(self, now: float) -> dict[str, Renewal]:
        """Return the gateways that have renewed lately, with their last renewals."""
        return {name: one.renewal for name, one in self._renewed.items() if one.renewal and now - one.at < WAIT_S}

    def load(self, partition: int) -> float:
        """Return what was told of a partition last, by whoever owned it then, in units a second."""
        return self._loads.get(partition, (0.0, 0))[0]

    def since_told(self, gateway: str, now: float) -> float:
        """Return how long ago a gateway told its loads, as seen here, in s; for ever if it never did."""
        return now - self._told.get(gateway, (0, -math.inf))[1]

    @property
    def round(self) -> int:
        """The last round in which a gateway told its loads, 0 if none ever did."""
        return max((told for told, _ in self._told.values()), default=0)

    def is_behind(self, gateway: str) -> bool:
        """Whether a gateway has not told its loads in the last round."""
        return gateway not in self._told or self._told[gateway][0] < self.round

    def _take(self, change: Change, now: float) -> None:
        key, entry = change.key, change.entry
        if key.startswith(LEASE):
            renewal, number = (decode_renewal(entry.value), entry.modified) if entry else (None, 0)
            self._renewed[key.removeprefix(LEASE)] = Renewed(renewal, number, now)
        elif entry is None:
            return  # owners and heirs are written over, never deleted
        elif key.startswith(OWNER):
            partition = int(key.removeprefix(OWNER))
            self._assignments[partition] = Assignment(entry.value.decode(), entry.modified, now)
        elif key.startswith(HEIR):
            self._heirs[int(key.removeprefix(HEIR))] = decode_heir(entry.value), entry.modified
        elif key.startswith(LOAD):
            loads = decode_loads(entry.value)
            self._told[key.removeprefix(LOAD)] = loads.round, now
            for partition, per_minute in loads.per_minute.items():
                if entry.modified > self._loads.get(partition, (0.0, 0))[1]:
                    self._loads[partition] = per_minute / 60, entry.modified
