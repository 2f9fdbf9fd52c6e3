"""The board's time: the gateway tells it, since a board has no clock; until then the board knows how long it is up."""

import time


class Clock:
    """Unix milliseconds once the gateway has told them, and milliseconds since the start always."""

    def __init__(self):
        self._ticks = time.ticks_ms()
        self._up = 0
        self._offset = None
        self._last = 0

    def up(self):
        """Return ms since the start; has to be asked at least every six days, since ticks wrap around."""
        now = time.ticks_ms()
        self._up += time.ticks_diff(now, self._ticks)
        self._ticks = now
        return self._up

    def now(self):
        """Return Unix ms, or None while nobody has told."""
        return None if self._offset is None else self._offset + self.up()

    def stamp(self):
        """Return (field, ms) that dates a record: `ts`, strictly growing, or `up` before the time is known."""
        now = self.now()
        if now is None:
            return "up", self.up()
        self._last = max(now, self._last + 1)
        return "ts", self._last

    def known(self):
        """Return (ms since the start, what Unix ms are more than that or None, the last `ts`), for `go_on`."""
        return self.up(), self._offset, self._last

    def go_on(self, up, offset, last):
        """Be the clock that `known` spoke of, by now at `up`."""
        self._up, self._offset, self._last = up, offset, last

    def learn(self, ts):
        """Take the gateway's Unix ms."""
        self._offset = ts - self.up()
