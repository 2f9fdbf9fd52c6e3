"""The clocks of a gateway's process."""

import time


def unix_ms() -> int:
    """Return the time in Unix ms."""
    return time.time_ns() // 1_000_000


def steady_ms() -> int:
    """Return ms of a clock that nobody sets."""
    return time.monotonic_ns() // 1_000_000
