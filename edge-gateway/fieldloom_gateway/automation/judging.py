"""Which rules are judged where: all here, or those that remember at the owner of a device. (D4, ADR 66)"""

import sqlite3
from collections import ChainMap
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fieldloom_engine.rules import Event, Firing, Rule, RuleSet
from fieldloom_engine.rules.compiling import Compiled
from fieldloom_engine.rules.ruleset import Targets
from fieldloom_gateway.automation.memory import Memory
from fieldloom_gateway.automation.windows.parcel import Heard
from fieldloom_gateway.automation.windows.rows import Rows
from fieldloom_gateway.automation.windows.service import Ports, Windows


class Judging:
    """On the gateway's database; all that changes something belongs into a transaction of its caller.

    `read` returns the rules that are at work, and who they are for.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        read: Callable[[], tuple[Iterable[Rule], Targets]],
        ports: Ports,
        entries: int,
        *,
        shares: bool,
    ) -> None:
        self._db = connection
        self._read = read
        self._ports = ports
        self._memory = Memory(connection, entries)
        self.windows = Windows(connection, ports) if shares else None

    def start(self) -> None:
        """Go on from what is on the disk."""
        self._memory.start(self._rules())

    def settle(self, now: int) -> None:
        """Have owners go on with what a gateway remembers that was alone; or go on alone with what no owner has."""
        if self.windows is None:
            self._end_to_share(now)
        elif not self.windows.rows.stream:
            self._begin_to_share(self.windows, now)

    def use_others(self) -> None:
        """Go on with the rules that are at work by now; the state of those that are as they were goes on."""
        self._memory.use(self._rules())

    def retarget(self) -> None:
        """Ask again who is of a type, and tagged."""
        self._memory.retarget()
        if self.windows is not None:
            self.windows.retarget()

    @property
    def has_rules(self) -> bool:
        """Whether there is any rule."""
        return bool(self._memory.engine.rules.rules or (self.windows and self.windows.rules.rules))

    def judge(self, event: Event, watermark: int | None, now: int) -> list[Firing]:
        """Return what an event leads to here; nothing of its source up to the watermark (Unix ms) is missing then."""
        if self.windows is not None:
            self.windows.keep(event, watermark, now)
        return self._memory.judge(event, watermark, now)

    def elapse(self, now: int) -> list[Firing]:
        """Return what the time leads to here, Unix ms."""
        return self._memory.elapse(now)

    def is_due(self, now: int) -> bool:
        """Whether the time may lead to something here."""
        return self._memory.is_due(now)

    @property
    def next_deadline(self) -> int | None:
        """When a rule has waited long enough here for what is missing, Unix ms."""
        return self._memory.engine.next_deadline()

    @property
    def rules(self) -> Mapping[str, Compiled]:
        """All rules by their ids, wherever they are judged."""
        here = self._memory.engine.rules.rules
        return here if self.windows is None else ChainMap(here, self.windows.rules.rules)

    @property
    def evicted(self) -> int:
        """Sources whose state was given up since there were too many."""
        return self._memory.engine.evicted + (0 if self.windows is None else self.windows.homes.evicted)

    def explain(self, rule: str, event: Event) -> dict[str, Any]:
        """Return what a rule makes of an event that would come now. Raises KeyError without such a rule. (E10)"""
        if self.windows is not None and rule in self.windows.rules.rules:
            return self.windows.explain(rule, event).as_json()
        return self._memory.engine.explain(rule, event).as_json()

    def write(self) -> None:
        """Write what memory took since the last time."""
        self._memory.write()
        if self.windows is not None:
            self.windows.write()

    def forget(self) -> None:
        """Undo what memory took of a transaction that was rolled back."""
        self._memory.forget()
        if self.windows is not None:
            self.windows.forget()

    def _rules(self) -> RuleSet:
        """Return the rules that are judged here, and have the others judged at owners."""
        rules, targets = self._read()
        if self.windows is None:
            return RuleSet(rules, targets)
        told = list(rules)
        self.windows.use(RuleSet((rule for rule in told if rule.remembers), targets))
        return RuleSet((rule for rule in told if not rule.remembers), targets)

    def _begin_to_share(self, windows: Windows, now: int) -> None:
        self._memory.start(RuleSet(*self._read()))
        windows.begin(self._memory.engine.checkpoint(), now)
        self._memory.use(self._rules())
        self.write()

    def _end_to_share(self, now: int) -> None:
        rows = Rows(self._db, self._ports.bury)
        for told in rows.end(now) if rows.stream else ():
            if isinstance(told, Heard):
                for firing in self._memory.judge(told.event, told.watermark, told.at):
                    self._ports.fire(firing, told.at)
