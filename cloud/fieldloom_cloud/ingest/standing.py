"""How far a gateway's records are stored, as the proof of completeness takes it. (T8, ADR 31)"""

from typing import NamedTuple


class Standing(NamedTuple):
    """How a gateway stands. Times in Unix ms of its own clock."""

    id: str
    is_online: bool
    settled: int | None
    """All that it took before this time is stored; None if that is not known of any time."""
    since: int | None
    """When it began its stream, if it had another one before: what it held of that is lost."""
    is_behind: bool
    """Whether it has told of records that are not stored yet."""
    holds: list[tuple[int, int, int]]
    """(boot, first seq, last seq) of what it holds of one device."""
