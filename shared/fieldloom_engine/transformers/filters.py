"""Stages that let a reading go on, change it to a better one, or leave it out. (T2)

What they remember of each (device, metric) is in memory alone: after a restart the first value goes on.
"""

from typing import Any

from fieldloom_engine.transformers.definition import Clean, Deadband, Duplicates, Fixed, RateLimit
from fieldloom_engine.transformers.reading import Reading, Value

REMEMBERED = 100_000  # pairs of device and metric; beyond them all begin anew


class _Memory(dict[tuple[str, str], Any]):
    """What a stage remembers by (device, metric), bounded."""

    def keep(self, reading: Reading, what: Any) -> None:
        if len(self) >= REMEMBERED:
            self.clear()
        self[reading.device, reading.metric] = what

    def of(self, reading: Reading) -> Any:
        return self.get((reading.device, reading.metric))


class Cleaning:
    """Outliers and nulls: left out, or replaced by null, a fixed value or the last good one."""

    def __init__(self, told: Clean) -> None:
        self._low, self._high = told.min, told.max
        self._outliers, self._missing = told.outliers, told.missing
        self._good = _Memory()

    def apply(self, reading: Reading) -> bool:
        """Whether the reading goes on."""
        value = reading.value
        if value is None:
            return self._missing == "keep" or self._replace(reading, self._missing)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and self._is_outlier(value):
            return self._replace(reading, self._outliers)
        if "last" in (self._outliers, self._missing):
            self._good.keep(reading, value)
        return True

    def _is_outlier(self, value: float) -> bool:
        return (self._low is not None and value < self._low) or (self._high is not None and value > self._high)

    def _replace(self, reading: Reading, what: Any) -> bool:
        if isinstance(what, Fixed):
            reading.value = what.value
        elif what is None:
            reading.value = None
        elif what == "last" and (good := self._good.of(reading)) is not None:
            reading.value = good
        else:  # skip, or there is no last one yet
            return False
        return True

    def forget(self) -> None:
        """Remember nothing."""
        self._good.clear()


class Change:
    """A deadband: a number has to differ enough from the one that went on last, all else has to differ."""

    def __init__(self, told: Deadband) -> None:
        self._change, self._percent, self._repeat_after = told.change, told.percent or 0.0, told.repeat_after
        self._sent = _Memory()

    def apply(self, reading: Reading) -> bool:
        """Whether the reading goes on."""
        sent = self._sent.of(reading)
        if sent is not None and not self._is_due(reading.ts, sent[1]) and not self._differs(reading.value, sent[0]):
            return False
        self._sent.keep(reading, (reading.value, reading.ts))
        return True

    def _is_due(self, ts: int, sent_at: int) -> bool:
        return self._repeat_after is not None and ts - sent_at >= self._repeat_after

    def _differs(self, value: Value, sent: Value) -> bool:
        if not isinstance(value, (int, float)) or not isinstance(sent, (int, float)):
            return value != sent
        if isinstance(value, bool) or isinstance(sent, bool):
            return value is not sent
        band = abs(sent) * self._percent / 100 if self._change is None else self._change
        return abs(value - sent) > band

    def forget(self) -> None:
        """Remember nothing."""
        self._sent.clear()


class Repeats:
    """The same value within a time of the one that went on last is left out."""

    def __init__(self, told: Duplicates) -> None:
        self._within = told.within
        self._sent = _Memory()

    def apply(self, reading: Reading) -> bool:
        """Whether the reading goes on."""
        sent = self._sent.of(reading)
        if sent is not None and _is_same(reading.value, sent[0]) and abs(reading.ts - sent[1]) < self._within:
            return False
        self._sent.keep(reading, (reading.value, reading.ts))
        return True

    def forget(self) -> None:
        """Remember nothing."""
        self._sent.clear()


class Limit:
    """At most one reading in so long, by the readings' own time."""

    def __init__(self, told: RateLimit) -> None:
        self._every = told.every
        self._sent = _Memory()

    def apply(self, reading: Reading) -> bool:
        """Whether the reading goes on."""
        sent = self._sent.of(reading)
        if sent is not None and abs(reading.ts - sent) < self._every:
            return False
        self._sent.keep(reading, reading.ts)
        return True

    def forget(self) -> None:
        """Remember nothing."""
        self._sent.clear()


def _is_same(one: Value, other: Value) -> bool:
    """Whether two values are the same to a device: 1 and true are not."""
    return isinstance(one, bool) == isinstance(other, bool) and one == other
