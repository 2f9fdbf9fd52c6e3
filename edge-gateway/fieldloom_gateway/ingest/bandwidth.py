"""What the uplink may take of a link that others use too. (T6)"""


class Bandwidth:
    """A bucket of one second: a message goes out while something is in it, and may leave it in debt. Times in ms."""

    def __init__(self, bytes_per_s: int) -> None:
        self._rate = bytes_per_s
        self._left = float(bytes_per_s)
        self._seen: int | None = None

    def has_room(self, now: int) -> bool:
        """Whether a message may go out."""
        passed = now - self._seen if self._seen is not None else 0
        self._seen = now
        self._left = min(self._rate, self._left + self._rate * passed / 1000)
        return self._left > 0

    def spend(self, size: int) -> None:
        """Take note of a message of so many bytes."""
        self._left -= size
