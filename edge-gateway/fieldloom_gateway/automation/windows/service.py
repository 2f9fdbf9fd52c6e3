"""Rules that remember in a cluster's gateway: what they are to hear is kept with its record. (D4, E8, ADR 66)"""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from fieldloom_engine.rules import Event, Explanation, Firing, RuleSet
from fieldloom_engine.rules.ruleset import Way
from fieldloom_gateway.automation.windows.homes import Homes, Meet
from fieldloom_gateway.automation.windows.parcel import Heard, Lot, Moved
from fieldloom_gateway.automation.windows.rows import TOPIC, Bury, Rows
from fieldloom_gateway.cluster.partitions.partition import partition_of

WAYS = 100_000  # of types and sources, which are remembered

Fire = Callable[[Firing, int], None]
"""Does what follows from a firing as of a time (Unix ms), unless that was done already."""


class Ports(NamedTuple):
    """What the rest of a gateway does for it, in the transaction that is open."""

    bury: Bury
    fire: Fire
    describe: Callable[[str], dict[str, Any] | None]
    """Returns what a device has told of itself, None where nothing is known."""
    meet: Meet


class Windows:
    """On the gateway's database and on its thread; all that changes something belongs into a transaction."""

    def __init__(self, connection: sqlite3.Connection, ports: Ports) -> None:
        self.rows = Rows(connection, ports.bury)
        self.homes = Homes(ports.meet)
        self._ports = ports
        self._is_for_described = False
        """Whether a rule is for devices that tell something of themselves."""
        self._ways: dict[tuple[str, str], Way] = {}
        self.cursors: dict[int, int] = {}
        """By partition the number up to which its owner has judged; changed on the thread that hands over."""

    @property
    def rules(self) -> RuleSet:
        """The rules that remember."""
        return self.homes.rules

    def use(self, rules: RuleSet) -> None:
        """Go on with other rules."""
        self._ways.clear()
        self._is_for_described = any(one.rule.devices is not None for one in rules.rules.values())
        self.homes.use(rules)

    def retarget(self) -> None:
        """Ask again who is of a type, and tagged."""
        self._ways.clear()
        self.homes.retarget()

    def keep(self, event: Event, watermark: int | None, now: int) -> None:
        """Keep an event for its owner, if it matters to any rule that remembers."""
        if self.rules.shared(event.type).is_for(event) or self._way(event).is_for(event):
            described = self._ports.describe(event.source) if self._is_for_described else None
            self.rows.put(event.source, Heard(now, watermark, event, described), now)

    def begin(self, remembered: Mapping[str, dict[str, Any]], now: int) -> None:
        """Begin to share; what this gateway, as it was alone, has remembered of sources goes to their owners."""
        self.rows.begin()
        for source, record in remembered.items():
            if not self.rules.rules.keys().isdisjoint(record["tracks"]):
                self.rows.put(source, Moved(source, record), now)

    def judge(self, stream: str, lots: Sequence[Lot], now: int) -> list[int | None]:
        """Judge as an owner what is handed over of a stream; return up to which number that is done, for each lot."""
        self.homes.begin()
        through: list[int | None] = []
        for lot in lots:
            judged = self.homes.judge(stream, lot)
            through.append(judged.through)
            for fired in judged.fired:
                self._ports.fire(*fired)
            for body, reason in judged.unread:
                self._ports.bury(TOPIC, body, reason, now)
        return through

    def elapse(self, partitions: Sequence[int], now: int) -> None:
        """Do what the time leads to in partitions, Unix ms."""
        self.homes.begin()
        for fired in self.homes.elapse(partitions, now):
            self._ports.fire(*fired)

    def explain(self, rule: str, event: Event) -> Explanation:
        """Return what a rule makes of an event that would come now, by what is known here. Raises KeyError."""
        return self.homes.explain(rule, event, partition_of(event.source))

    def write(self) -> None:
        """Write what memory took since the last time."""
        self.rows.write()

    def forget(self) -> None:
        """Undo what memory took of a transaction that was rolled back."""
        self.rows.forget()
        self.homes.forget()

    def status(self) -> dict[str, int]:
        """Return what `status` tells.

        Rows that no owner has judged, that no checkpoint covers, and that were given up; as an owner the sources of
        which a checkpoint is due, and the checkpoints that the map has refused.
        """
        rows = self.rows
        return {
            "waiting": rows.waiting(self.cursors),
            "kept": rows.kept,
            "dropped": rows.dropped,
            "unkept": self.homes.unkept,
            "refused": self.homes.refused,
        }

    def _way(self, event: Event) -> Way:
        place = (event.type, event.source)
        way = self._ways.get(place)
        if way is None:
            if len(self._ways) >= WAYS:
                self._ways.clear()
            way = self._ways[place] = self.rules.own(*place)
        return way
