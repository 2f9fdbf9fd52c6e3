"""Rules and workflows inside the gateway's transactions: what follows commits with its cause. (E2, E3, E8, E10)"""

import sqlite3
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from fieldloom_contract.errors import Rejected
from fieldloom_engine.definitions import Fault
from fieldloom_engine.rules import Event as Judged
from fieldloom_engine.rules import Firing, Rule
from fieldloom_engine.rules.ruleset import Targets
from fieldloom_gateway.automation import deployed, firings
from fieldloom_gateway.automation.alarms.service import Alarms
from fieldloom_gateway.automation.deeds import Deeds
from fieldloom_gateway.automation.deployed import CLOUD, FOLDER, Deployed, Put
from fieldloom_gateway.automation.effects import Effects
from fieldloom_gateway.automation.firings import Firings
from fieldloom_gateway.automation.holds.service import Holds
from fieldloom_gateway.automation.judging import Judging
from fieldloom_gateway.automation.latest import Latest, metrics_of
from fieldloom_gateway.automation.memory import ENTRIES
from fieldloom_gateway.automation.watermarks import Watermarks
from fieldloom_gateway.automation.windows.service import Ports
from fieldloom_gateway.automation.workflows.messages import SiteMessage
from fieldloom_gateway.automation.workflows.messages import event_of as event_of_message
from fieldloom_gateway.automation.workflows.service import Workflows
from fieldloom_gateway.ingest.judge import Downward, Order
from fieldloom_gateway.ingest.store import Store
from fieldloom_runtime import down
from fieldloom_runtime.down import ForAutomation
from fieldloom_runtime.judged import event_of
from fieldloom_runtime.records import Desired, Event, Expired, Record, Result

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
        entries: int = ENTRIES,
        days: int = DAYS,
        *,
        shares: bool = False,
    ) -> None:
        """Keep for `days` what has fired and what became of actions; the journal is of at most `entries`.

        A gateway that `shares` its devices with others has rules that remember judged at their owners. (D4)
        """
        self._gateway = gateway
        self._store = store
        self._tell = store.send_up
        self._deployed = Deployed(connection)
        ports = Ports(store.bury, self._fire_once, store.transforming.described, self._meet)
        self._judging = Judging(connection, self._at_work, ports, entries, shares=shares)
        self.windows = self._judging.windows
        """What is judged at owners, None where this gateway is alone."""
        self._watermarks = Watermarks(connection, store.received_up_to)
        self._firings = Firings(connection)
        self._latest = Latest(connection)
        self.alarms = Alarms(connection, self._tell)
        self.workflows = Workflows(connection, gateway, self._tell, store.down.withdraw)
        self.holds = Holds(connection, store.down, self._tell, store.answer)
        self._deeds = Deeds(store.down, store.twins, self.alarms, self._latest, self.workflows, self.holds)
        self.effects = Effects(connection, self._deeds.by_kind(), self._tell, self.workflows.answer)
        self._keep_ms = days * DAY_MS
        self._forget_at = 0
        """When it is looked again for what is too old, Unix ms."""
        self._asked: set[str] = set()
        """The metrics for which rules ask."""
        self._is_stale = False
        """Whether other rules or workflows may be at work than those that are judged by."""
        self.counts: Counter[str] = Counter()

    def start(self, now: int) -> None:
        """Go on from what is on the disk; before `attend`. `now` is Unix ms."""
        self.workflows.refresh()
        self._judging.start()
        self._store.commit(self._settle, now)

    def hear(self, record: Record) -> None:
        """Judge a record that goes up."""
        if isinstance(record, (Result, Expired)):
            self.effects.hear(record)
            return
        if isinstance(record, Desired):
            self.effects.hear_decided(record)
            return
        self._refresh()
        has_rules = self._judging.has_rules
        if not has_rules and not self.workflows.listens:
            return
        event = event_of(record)
        if event is None:
            return
        self._latest.take(record)
        if self.workflows.listens:
            self.workflows.hear(event, record.at)
        if not has_rules:
            return
        self.counts["events"] += 1
        watermark = self._watermarks.of(record)
        for firing in self._judging.judge(event, watermark, record.at):
            self._fire(firing, record.at)

    def take_message(self, message: SiteMessage, now: int) -> bool:
        """Take a message on a topic of the site, unless it is to go up and there is no room; say whether it was. (W4)

        One that is meant and can't be read becomes a dead letter.
        """
        self._refresh()
        if not self.workflows.is_for(message.topic):
            return True
        size = len(message.topic) + len(message.payload)
        if self.workflows.listening.is_for(message.topic) and not self._store.make_room(size, now):
            self.workflows.counts["messages_without_room"] += 1
            return False
        try:
            self.workflows.hear_message(message.topic, event_of_message(message, now), now)
        except Rejected as error:
            self._store.bury(message.topic, message.payload, str(error), now)
        return True

    def look_at_the_clock(self, now: int) -> int:
        """Do what is due at a time (Unix ms), in a transaction of its own; return 1 if anything was."""
        is_due = self._judging.is_due(now) or self.effects.has_old(now) or self.workflows.is_due(now)
        if not is_due and now < self._forget_at:
            return 0
        self._store.commit(self._elapse, now)
        return 1

    @property
    def next_deadline(self) -> int | None:
        """When a rule has waited long enough for what is missing, Unix ms."""
        return self._judging.next_deadline

    def prepare(self, told: down.Rule) -> None:
        """Read a rule of the cloud before it is taken down, on whatever thread."""
        deployed.prepare(deployed.of_cloud(told))

    def take_down(self, told: ForAutomation | down.Removed, now: int) -> None:
        """Take what the cloud says of holds, and of rules and workflows, and answer what came of these."""
        if isinstance(told, down.Release):
            self.holds.free(told)
            return
        if isinstance(told, down.Removed):
            self.holds.drop(told.device)
            return
        if isinstance(told, (down.Workflow, down.Workflows, down.Topics)):
            self.workflows.take_down(told, now)
        elif isinstance(told, down.Request):
            self._refresh()  # a workflow may have come in the same transaction
            self.workflows.take_request(told, now)
            return
        elif isinstance(told, down.Rules):
            self._deployed.keep_only(CLOUD, told.ids)
        else:
            put = deployed.of_cloud(told)
            self._tell(deployed.word(self._gateway, put, self._deployed.put(put), now))
        self._is_stale = True

    def admit(self, order: Order, now: int) -> bool:
        """Whether a command of the cloud goes to its device now."""
        return self.holds.admit_of_cloud(order, now)

    def use_folder(self, told: list[Put]) -> dict[str, list[Fault]]:
        """Take all rules of the gateway's folder, in a transaction; return what is wrong with some, by id."""
        return self._store.commit(self._take_folder, told)

    def take_workflows(self, told: list[Put]) -> dict[str, list[Fault]]:
        """Take all workflows of the folder, in the open transaction; return what is wrong with some, by id."""
        self._is_stale = True
        return self.workflows.take_folder(told)

    def retarget(self) -> None:
        """Take note that a device tells another type or other tags of itself."""
        self._judging.retarget()

    def write(self) -> None:
        """Write what memory took since the last time."""
        self._refresh()
        self._judging.write()
        self._firings.write()
        self.effects.write()
        self._deeds.write()

    def forget(self) -> None:
        """Undo what memory took of a transaction that was rolled back."""
        self._deeds.forget()
        self.holds.messages.clear()
        self._firings.forget()
        self.effects.forget()
        self._watermarks.forget()
        self._is_stale = False
        has_other_workflows = self.workflows.forget()
        if has_other_workflows or self._deployed.have_changed():
            self.workflows.refresh()
            self._judging.start()
        self._judging.forget()

    def messages(self) -> list[Downward]:
        """Return what devices are to be told of what was committed since it was asked last."""
        messages = self._deeds.messages + self.holds.messages
        self._deeds.messages.clear()
        self.holds.messages.clear()
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
        return self._judging.explain(name, event)

    def status(self) -> dict[str, Any]:
        """Return what `status` tells."""
        known = self._deployed.all()
        return {
            "rules": len(self._judging.rules),
            "refused": [one["id"] for one in known if one["refused"] is not None],
            "evicted": self._judging.evicted,
            "windows": None if self.windows is None else self.windows.status(),
            **{name: self.counts[name] for name in ("events", "firings", "late", "amendments", "shadow")},
            "effects": [
                {"kind": kind, "status": status, "count": count}
                for (kind, status), count in sorted(self.effects.counts.items())
            ],
        }

    def _elapse(self, now: int) -> None:
        self._refresh()
        if self.workflows.is_due(now):
            self.workflows.look_at_the_clock(now)
        for firing in self._judging.elapse(now):
            self._fire(firing, now)
        self.effects.give_up(now)
        if now >= self._forget_at:
            self._forget_at = now + FORGET_EVERY_MS
            self._firings.forget_before(now - self._keep_ms)
            self.effects.forget_before(now - self._keep_ms)
            self.workflows.forget_effects()

    def _take_folder(self, told: list[Put]) -> dict[str, list[Fault]]:
        self._deployed.keep_only(FOLDER, [one.id for one in told])
        self._is_stale = True
        return {one.id: faults for one in told if (faults := self._deployed.put(one))}

    def _meet(self, device: str, told: dict[str, Any]) -> None:
        """Take what a device has told of itself at another gateway."""
        if self._store.transforming.meet(device, told):
            self.retarget()

    def _fire_once(self, firing: Firing, now: int) -> None:
        """Do what follows from a firing that may have been found out before, here or at another gateway."""
        name = firings.name_of(firing)
        if not self._firings.is_known(name):
            self._fire(firing, now, name)

    def _fire(self, firing: Firing, now: int, name: str | None = None) -> None:
        shadow = self._judging.rules[firing.rule].rule.shadow
        body = firings.told(firing, shadow=shadow, name=name)
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
            if self.workflows.refresh():
                self._latest.use(self._asked | self.workflows.metrics)
            if self._deployed.have_changed():
                self._judging.use_others()

    def _settle(self, now: int) -> None:
        self._judging.settle(now)
        self.write()

    def _at_work(self) -> tuple[Iterable[Rule], Targets]:
        rules = self._deployed.rules()
        self._asked = metrics_of(rules)
        self._latest.use(self._asked | self.workflows.metrics)
        return rules, self._deployed.is_target

    def _with_figures(self, told: dict[str, Any]) -> dict[str, Any]:
        rule = self._judging.rules.get(told["id"])
        return {**told, "figures": None if rule is None else asdict(rule.figures)}
