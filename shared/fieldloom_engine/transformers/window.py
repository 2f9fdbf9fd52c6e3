"""Windows of readings, aligned to the epoch: what is open, what closes, what has to be kept on a disk. (T2)

A window closes when its device is past it and nothing before is missing (event time in the order of the stream), or
when nothing has come for it for a while by the gateway's clock. What is later still opens its window anew, and makes a
second record of the same time: nothing is lost, nothing counts twice.
"""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from fieldloom_contract.limits import MAX_METRICS, MAX_NAME
from fieldloom_engine.transformers.reading import TAG_CHARACTERS, Reading, StageFailed, Value, characters, number_of

MAX_OPEN = 1000  # of a device: a gap that is never filled must not keep windows without end


class Rule(NamedTuple):
    """How a chain's windows are; times in ms."""

    every: int
    aggregates: tuple[str, ...]
    idle: int


class Key(NamedTuple):
    """Which window of a device."""

    chain: str
    metric: str
    start: int


class Row(NamedTuple):
    """An open window as it is kept on a disk."""

    device: str
    chain: str
    metric: str
    start: int
    body: str


class Aggregate(NamedTuple):
    """What a device's closed windows of one start come to; `ts` is that start, `tags` are by metric."""

    device: str
    ts: int
    values: dict[str, Value]
    tags: dict[str, dict[str, str]]


@dataclass(slots=True)
class Window:
    """An open window. `touched` is when it last took a reading, by the gateway's clock."""

    rule: Rule
    touched: int
    count: int = 0
    total: float = 0
    low: float = math.inf
    high: float = -math.inf
    tags: dict[str, str] = field(default_factory=dict)

    def values(self, metric: str) -> dict[str, Value]:
        """Return the aggregates by name: the metric's own where there is one, else with the aggregate's after a dot."""
        found = {"mean": self.total / self.count, "min": self.low, "max": self.high, "count": self.count}
        wanted = self.rule.aggregates
        return {name_of(metric, wanted, aggregate): found[aggregate] for aggregate in wanted}


def name_of(metric: str, aggregates: tuple[str, ...], aggregate: str) -> str:
    """Return what an aggregate of a metric is called."""
    return metric if len(aggregates) == 1 else f"{metric}.{aggregate}"


class Windows:
    """The open windows of all devices. What has changed since the last `changes` is not on the disk yet."""

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self._open: dict[str, dict[Key, Window]] = {}
        self._changed: dict[tuple[str, Key], None] = {}
        for row in rows:
            key = Key(row.chain, row.metric, row.start)
            self._open.setdefault(row.device, {})[key] = _restored(row.body)

    def __len__(self) -> int:
        return sum(map(len, self._open.values()))

    def fold(self, chain: str, rule: Rule, reading: Reading, now: int) -> None:
        """Take a reading into its window. Raises StageFailed for what has no mean."""
        value = int(reading.value) if isinstance(reading.value, bool) else number_of(reading.value, "aggregated")
        if any(len(name_of(reading.metric, rule.aggregates, one)) > MAX_NAME for one in rule.aggregates):
            raise StageFailed(f"the name of an aggregate of {reading.metric} has more than {MAX_NAME} characters")
        key = Key(chain, reading.metric, reading.ts - reading.ts % rule.every)
        of_device = self._open.setdefault(reading.device, {})
        window = of_device.get(key)
        if window is None:
            window = Window(rule, now)
        total = window.total + value
        if not math.isfinite(total):
            raise StageFailed("the sum of the window is no finite number")
        window.total, window.touched, window.count = total, now, window.count + 1
        window.low, window.high = min(window.low, value), max(window.high, value)
        window.tags = reading.tags
        of_device[key] = window
        self._changed[reading.device, key] = None

    def close(self, device: str, before: int | None) -> list[Aggregate]:
        """Close the windows of a device that end at a time or before it, and the oldest ones of too many."""
        of_device = self._open.get(device)
        if not of_device:
            return []
        over: list[Key] = []
        if before is not None:
            over = [key for key, window in of_device.items() if key.start + window.rule.every <= before]
        if len(of_device) - len(over) > MAX_OPEN:
            over = sorted(of_device, key=lambda key: key.start)[:-MAX_OPEN]
        return self._close(device, over)

    def close_idle(self, now: int) -> list[Aggregate]:
        """Close the windows that have taken nothing for as long as their rule says."""
        closed: list[Aggregate] = []
        for device in sorted(self._open):
            of_device = self._open[device]
            idle = [key for key, window in of_device.items() if now - window.touched >= window.rule.idle]
            closed += self._close(device, idle)
        return closed

    def keep_only(self, rules: dict[str, Rule]) -> list[Aggregate]:
        """Close the windows whose chain is gone, or has other windows by now."""
        closed: list[Aggregate] = []
        for device in sorted(self._open):
            of_device = self._open[device]
            gone = [key for key, window in of_device.items() if rules.get(key.chain) != window.rule]
            closed += self._close(device, gone)
        return closed

    def changes(self) -> tuple[list[Row], list[tuple[str, Key]]]:
        """Return what to write and what to delete, to be done in the transaction of the readings."""
        rows: list[Row] = []
        gone: list[tuple[str, Key]] = []
        for device, key in self._changed:
            window = self._open.get(device, {}).get(key)
            if window is None:
                gone.append((device, key))
            else:
                rows.append(Row(device, *key, _kept(window)))
        self._changed.clear()
        return rows, gone

    def _close(self, device: str, keys: list[Key]) -> list[Aggregate]:
        """Return what these windows come to, those of one start together."""
        closed: list[Aggregate] = []
        room = TAG_CHARACTERS
        of_device = self._open[device]
        for key in sorted(keys, key=lambda key: (key.start, key.metric, key.chain)):
            window = of_device.pop(key)
            self._changed[device, key] = None
            values = window.values(key.metric)
            room -= characters(window.tags) * len(values)
            if not closed or room < 0 or not _has_place(closed[-1], key.start, values):
                closed.append(Aggregate(device, key.start, {}, {}))
                room = TAG_CHARACTERS - characters(window.tags) * len(values)
            closed[-1].values.update(values)
            if window.tags:
                closed[-1].tags.update(dict.fromkeys(values, window.tags))
        if not of_device:
            del self._open[device]
        return closed


def _has_place(record: Aggregate, start: int, values: dict[str, Value]) -> bool:
    is_new = not values.keys() & record.values.keys()
    return record.ts == start and is_new and len(record.values) + len(values) <= MAX_METRICS


def _kept(window: Window) -> str:
    figures = [window.touched, window.count, window.total, window.low, window.high]
    return json.dumps([window.rule, figures, window.tags], separators=(",", ":"))


def _restored(body: str) -> Window:
    (every, aggregates, idle), figures, tags = json.loads(body)
    touched, count, total, low, high = figures
    return Window(Rule(every, tuple(aggregates), idle), touched, count, total, low, high, tags)
