"""How fast the outbox fills, and for how long there is room at that rate. (T4)"""

from collections import deque

SPAN_MS = 600_000  # the rate is that of the last ten minutes
EVERY_MS = 10_000


class Fill:
    """Looks at how much was ever written, every ten seconds at most; times in ms of one clock."""

    def __init__(self) -> None:
        self._looks: deque[tuple[int, int]] = deque()

    def look(self, now: int, written: int) -> None:
        """Take note of how many bytes were ever written."""
        if self._looks and now < self._looks[-1][0] + EVERY_MS:
            if now < self._looks[-1][0]:
                self._looks.clear()  # the clock was set back
            return
        self._looks.append((now, written))
        while self._looks[0][0] < now - SPAN_MS:
            self._looks.popleft()

    def hours(self, now: int, written: int, room: int) -> float | None:
        """Return for how many hours so many bytes are enough, None while nobody knows."""
        if not self._looks or now <= self._looks[0][0]:
            return None
        since, before = self._looks[0]
        rate = (written - before) / (now - since)  # bytes a ms
        return round(max(room, 0) / rate / 3_600_000, 1) if rate > 0 else None
