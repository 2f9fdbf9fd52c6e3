"""What some results of checks in a row mean: a service is not judged by one. Pure. (D5)"""

from collections.abc import Sequence
from typing import NamedTuple

from fieldloom_gateway.cluster.services.definition import Check, Status


class Health(NamedTuple):
    """What is known by one check."""

    status: Status = "unknown"
    fault: str = ""
    """The last one, while it is not healthy."""
    streak: int = 0
    """Results in a row that speak against the status."""

    def after(self, fault: str | None, check: Check) -> "Health":
        """Return what is known after a result: None, or what was wrong."""
        speaks_for: Status = "healthy" if fault is None else "unhealthy"
        if speaks_for == self.status:
            return Health(self.status, fault or "")
        same_way = self.status != "unknown" or bool(self.fault) == bool(fault)
        streak = self.streak + 1 if same_way else 1
        if streak >= (check.successes if fault is None else check.failures):
            return Health(speaks_for, fault or "")
        return Health(self.status, fault or (self.fault if self.status == "unhealthy" else ""), streak)


def together(healths: Sequence[Health]) -> tuple[Status, str]:
    """Return what all checks of a service say together: the worst, and its fault. Without any it is healthy."""
    worst: tuple[Status, ...] = ("unhealthy", "unknown")
    for status in worst:
        for health in healths:
            if health.status == status:
                return status, health.fault
    return "healthy", ""
