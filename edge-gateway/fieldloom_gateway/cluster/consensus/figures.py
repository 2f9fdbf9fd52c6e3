"""What is counted of a member, and how it stands. (D1)"""

from dataclasses import dataclass


@dataclass
class Figures:
    """What a member has done since its start."""

    writes: int = 0
    write_s: float = 0.0
    """Seconds that all writes took, with their syncs."""
    longest_write_s: float = 0.0
    disk_errors: int = 0
    applied: int = 0
    """Commands of callers."""


@dataclass(frozen=True)
class Standing:
    """How a member stands in the cluster now."""

    term: int
    is_leader: bool
    leader: str | None
    applied: int
    committed: int
    last_in_log: int
    log_bytes: int
    elections: int
    """How often it has begun to lead."""
    snapshots_taken: int
    snapshots_got: int
    refused: dict[str, int]
    """Connections refused, by reason."""
