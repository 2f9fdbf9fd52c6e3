"""When what has a time to live has lived it. No clock of the day has a part in it, since a Pi starts without one.

The cluster's time is how many ms it has been at work, as its log tells. A member reckons it: what the log told last,
and what passed since then by its own steady clock. That may be behind, never ahead.
"""

from collections.abc import Callable, Iterable

from fieldloom_gateway.cluster.state.entries import Entry

LEASE_MS = 60_000
"""Up to so long a time to live is exact for its holder, see `Renewals`."""


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


class Renewals:
    """When this member saw each entry renewed, by its own steady clock.

    A member whose reckoning is behind writes an early deadline. So a leader lets nothing expire of which it has itself
    seen no renewal for the whole time to live: whoever renewed it asked before the leader saw it, and may rely on the
    time from then on. After a start all count as renewed; for times longer than LEASE_MS it waits no longer than that.
    """

    def __init__(self, steady: Callable[[], float]) -> None:
        self._steady = steady
        self._seen: dict[str, float] = {}

    def note(self, touched: Iterable[tuple[str, Entry | None]]) -> None:
        """Take what was written, touched or removed just now."""
        now = self._steady()
        for key, entry in touched:
            if entry is not None and entry.ttl_ms:
                self._seen[key] = now
            else:
                self._seen.pop(key, None)

    def silent_s(self, key: str) -> float | None:
        """Return the seconds since an entry with a time to live was renewed, None without one."""
        seen = self._seen.get(key)
        return None if seen is None else self._steady() - seen

    def is_silent(self, entry: Entry) -> bool:
        """Whether this member has waited long enough for a renewal of an entry."""
        return (self._steady() - self._seen[entry.key]) * 1000 >= min(entry.ttl_ms, LEASE_MS)
