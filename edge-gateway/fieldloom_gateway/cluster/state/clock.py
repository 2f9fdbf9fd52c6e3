"""The cluster's time: how many ms have passed since the cluster began, as its log tells.

No member's clock of the day has a part in it, since a Pi starts without one. A member reckons: what the log told last,
and what passed since then by its own steady clock. That is never ahead of the true time, so nothing expires early.
"""

from collections.abc import Callable


class ClusterClock:
    """The reckoning of one member; `steady` gives the seconds of its steady clock."""

    def __init__(self, steady: Callable[[], float]) -> None:
        self._steady = steady
        self._told = 0
        self._at = steady()

    def hear(self, told: int) -> None:
        """Take what the log tells now, in ms; it may be less than what is reckoned, and then says nothing new."""
        if told > self.now():
            self._told, self._at = told, self._steady()

    def now(self) -> int:
        """Return the cluster's time in ms."""
        return self._told + int((self._steady() - self._at) * 1000)
