"""The receiving half of the stream; a board sends only. (T5)"""

from fieldloom_contract.ranges import Ranges


class Receiver:
    """Knows, by life, which numbers it has; what it takes must be on the disk before `acknowledged` is told."""

    def __init__(self, lives: dict[int | bytes, Ranges] | None = None) -> None:
        self._lives = lives or {}

    def take(self, life: int | bytes, seq: int, first: int | None = None) -> bool:
        """Take a record and say whether it is new; all below `first` is settled, its sender holds none of it."""
        had = self._lives.get(life)
        if had is None:
            had = self._lives[life] = Ranges()
        if first is not None:
            had.settle(min(first, seq))
        return had.add(seq)

    def acknowledged(self, life: int | bytes) -> int:
        """Return the cumulative acknowledgement of a life, 0 while there is nothing to acknowledge."""
        had = self._lives.get(life)
        return had.end if had else 0
