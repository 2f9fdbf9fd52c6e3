"""Rules inside the gateway's transactions: what they judge and all that follows commits together. (E2, E3, E8, E10)"""

import sqlite3
from collections import Counter
from dataclasses import asdict
from typing import Any

from fieldloom_engine.definitions import Fault
from fieldloom_engine.ports import Alone, Ownership
from fieldloom_engine.rules import Event as Judged
from fieldloom_engine.rules import Firing, RuleSet
from fieldloom_gateway.automation import deployed, firings
from fieldloom_gateway.automation.alarms import Alarms
from fieldloom_gateway.automation.deeds import Deeds
from fieldloom_gateway.automation.deployed import CLOUD, FOLDER, Deployed, Put
from fieldloom_gateway.automation.effects import Effects
from fieldloom_gateway.automation.firings import Firings
from fieldloom_gateway.automation.latest import Latest
from fieldloom_gateway.automation.memory import ENTRIES, Memory
from fieldloom_gateway.automation.watermarks import Watermarks
from fieldloom_gateway.ingest.judge import Downward
from fieldloom_gateway.ingest.store import Store
from fieldloom_runtime.down import Rule, Rules
from fieldloom_runtime.judged import event_of
from fieldloom_runtime.records import Event, Expired, Record, Result

FIRED = "rule.fired"
SHOWN = 20  # firings, and effects, of a rule
DAYS = 90
DAY_MS, FORGET_EVERY_MS = 86_400_000, 3_600_000


class Automation:
    """The Judge of a gateway's store: on the store's database, and on its thread."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        store: Store,
        gateway: str,
        ownership: Ownership | None = None,
        entries: int = ENTRIES,
        days: int = DAYS,
    ) -> None:
        """Keep for `days` what has fired and what became of actions; the journal is of at most `entries`."""
        self._gateway = gateway
        self._ownership = ownership or Alone()
        self._store = store
        self._tell = store.send_up
        self._deployed = Deployed(connection)
        self._memory = Memory(connection, entries)
        self._watermarks = Watermarks(connection, store.received_up_to)
        self._firings = Firings(connection)
        self._latest = Latest(connection)
        self.alarms = Alarms(connection, self._tell)
        self._deeds = Deeds(store.down, store.twins, self.alarms, self._latest)
        self.effects = Effects(connection, self._deeds.by_kind(), self._tell)
        self._keep_ms = days * DAY_MS
        self._forget_at = 0
        """When it is looked again for what is too old, Unix ms."""
        self._is_stale = False
        """Whether other rules may be at work than the engine has."""
        self.counts: Counter[str] = Counter()

    def start(self) -> None:
        """Go on from what is on the disk."""
        self._memory.start(self._at_work())

    def hear(self, record: Record) -> None:
        """Judge a record that goes up."""
        if isinstance(record, (Result, Expired)):
            self.effects.hear(record)
            return
        self._refresh()
        if not self._memory.engine.rules.rules:
            return
        event = event_of(record)
        if event is None or not self._ownership.owns(event.source):
            return
        self._latest.take(record)
        self.counts["events"] += 1
        watermark = self._watermarks.of(record)
        for firing in self._memory.judge(event, watermark, record.at):
            self._fire(firing, record.at)

    def look_at_the_clock(self, now: int) -> int:
        """Do what is due at a time (Unix ms), in a transaction of its own; return 1 if anything was."""
        if not self._memory.is_due(now) and not self.effects.has_old(now) and now < self._forget_at:
            return 0
        self._store.commit(self._elapse, now)
        return 1

    @property
    def next_deadline(self) -> int | None:
        """When a rule has waited long enough for what is missing, Unix ms."""
        return self._memory.engine.next_deadline()

    def prepare(self, told: Rule) -> None:
        """Read a rule of the cloud before it is taken down, on whatever thread."""
        deployed.prepare(deployed.of_cloud(told))

    def take_down(self, told: Rule | Rules, now: int) -> None:
        """Take what the cloud says of rules, and answer whether they are at work."""
        if isinstance(told, Rules):
            self._deployed.keep_only(CLOUD, told.ids)
        else:
            put = deployed.of_cloud(told)
            self._tell(deployed.word(self._gateway, put, self._deployed.put(put), now))
        self._is_stale = True

    def use_folder(self, told: list[Put]) -> dict[str, list[Fault]]:
        """Take all rules of the gateway's folder, in a transaction; return what is wrong with some, by id."""
        return self._store.commit(self._take_folder, told)

    def retarget(self) -> None:
        """Take note that a device tells another type or other tags of itself."""
        self._memory.retarget()

    def write(self) -> None:
        """Write what memory took since the last time."""
        self._refresh()
        self._memory.write()
        self._firings.write()
        self.effects.write()
        self._deeds.write()

    def forget(self) -> None:
        """Undo what memory took of a transaction that was rolled back."""
        self._deeds.forget()
        self._firings.forget()
        self.effects.forget()
        self._watermarks.forget()
        self._is_stale = False
        if self._deployed.have_changed():
            self.start()
        else:
            self._memory.forget()

    def messages(self) -> list[Downward]:
        """Return what devices are to be told of what was committed since it was asked last."""
        messages = self._deeds.messages[:]
        self._deeds.messages.clear()
        return messages

    def rules(self) -> list[dict[str, Any]]:
        """Return all rules, each with what it has done since it was put to work here."""
        return [self._with_figures(one) for one in self._deployed.all()]

    def rule(self, name: str) -> dict[str, Any] | None:
        """Return a rule with its last firings and effects, None if there is none of this id."""
        found = self._deployed.one(name)
        if found is None:
            return None
        last = {"firings": self._firings.newest(name, SHOWN), "effects": self.effects.newest(name, SHOWN)}
        return self._with_figures(found) | last

    def explain(self, name: str, event: Judged) -> dict[str, Any]:
        """Return what a rule makes of an event that would come now. Raises KeyError without such a rule. (E10)"""
        return self._memory.engine.explain(name, event).as_json()

    def status(self) -> dict[str, Any]:
        """Return what `status` tells."""
        known = self._deployed.all()
        return {
            "rules": len(self._memory.engine.rules.rules),
            "refused": [one["id"] for one in known if one["refused"] is not None],
            "evicted": self._memory.engine.evicted,
            **{name: self.counts[name] for name in ("events", "firings", "late", "amendments", "shadow")},
            "effects": [
                {"kind": kind, "status": status, "count": count}
                for (kind, status), count in sorted(self.effects.counts.items())
            ],
        }

    def _elapse(self, now: int) -> None:
        for firing in self._memory.elapse(now):
            self._fire(firing, now)
        self.effects.give_up(now)
        if now >= self._forget_at:
            self._forget_at = now + FORGET_EVERY_MS
            self._firings.forget_before(now - self._keep_ms)
            self.effects.forget_before(now - self._keep_ms)

    def _take_folder(self, told: list[Put]) -> dict[str, list[Fault]]:
        self._deployed.keep_only(FOLDER, [one.id for one in told])
        self._is_stale = True
        return {one.id: faults for one in told if (faults := self._deployed.put(one))}

    def _fire(self, firing: Firing, now: int) -> None:
        shadow = self._memory.engine.rules.rules[firing.rule].rule.shadow
        body = firings.told(firing, shadow=shadow)
        self._tell(Event(firing.event.source, firing.at, now, type=FIRED, data=body))
        self._firings.keep(firing, body, now)
        self.counts["firings"] += 1
        self.counts["late"] += firing.late
        self.counts["amendments"] += firing.amends is not None
        self.counts["shadow"] += shadow
        for effect in firing.effects:
            self.effects.take(firing, effect, now)

    def _refresh(self) -> None:
        """Have the engine go on with the rules that are at work."""
        if self._is_stale:
            self._is_stale = False
            if self._deployed.have_changed():
                self._memory.use(self._at_work())

    def _at_work(self) -> RuleSet:
        rules = self._deployed.rules()
        self._latest.use(rules)
        return RuleSet(rules, self._deployed.is_target)

    def _with_figures(self, told: dict[str, Any]) -> dict[str, Any]:
        figures = self._memory.engine.figures().get(told["id"])
        return {**told, "figures": None if figures is None else asdict(figures)}
