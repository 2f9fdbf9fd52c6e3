"""Workflows inside the gateway's transactions: what happens to them commits with what caused it. (W4, W6)

All of it runs on the thread that has the gateway's disk.
"""

import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from typing import Any, NamedTuple

import structlog
from msgspec import structs

from fieldloom_contract import topics
from fieldloom_contract.errors import Rejected
from fieldloom_engine.definitions import Fault
from fieldloom_engine.rules import Effect, Firing
from fieldloom_engine.rules import Event as Judged
from fieldloom_engine.workflows import ENGINE, Instance, Program, Record, Waiting, decode
from fieldloom_engine.workflows.triggers import MESSAGE, NotStarted, Start, by_request
from fieldloom_gateway.automation import effects
from fieldloom_gateway.automation.deployed import CLOUD, FOLDER, Put, told_faults
from fieldloom_gateway.automation.effects import Effects
from fieldloom_gateway.automation.workflows.answers import Answers
from fieldloom_gateway.automation.workflows.askers import Askers
from fieldloom_gateway.automation.workflows.clock import Schedules
from fieldloom_gateway.automation.workflows.definitions import Definitions
from fieldloom_gateway.automation.workflows.inbox import (
    Again,
    Begins,
    Came,
    Ends,
    Inbox,
    Moves,
    Outcome,
    Row,
    Signals,
    Told,
)
from fieldloom_gateway.automation.workflows.index import Index
from fieldloom_gateway.automation.workflows.listening import Listening
from fieldloom_gateway.automation.workflows.recorded import Recorded
from fieldloom_gateway.cluster.partitions.partition import partition_of
from fieldloom_runtime import down
from fieldloom_runtime.records import Event
from fieldloom_runtime.records import Record as Sent

log = structlog.get_logger()

APPLIED, REFUSED = "workflow.applied", "workflow.refused"


class Followed(NamedTuple):
    """What has followed from steps that the map has."""

    taken: Sequence[int] = ()
    """Numbers of the inbox."""
    history: Sequence[tuple[Instance, list[Record]]] = ()
    asked: Sequence[tuple[Instance, Effect]] = ()
    abandoned: Sequence[str] = ()
    forgotten: Sequence[str] = ()
    """Instances that are not kept any more."""
    running: Set[tuple[str, str]] | None = None
    """All versions that run or will, where that is told: others that are not at work are forgotten."""
    outcomes: Sequence[tuple[Told, str | None]] = ()
    """What was taken, and why it did nothing; None if it did."""
    ended: Sequence[Instance] = ()
    """Instances that are over, of which nobody may have heard yet who waits for it."""


class Workflows:
    """On the gateway's database; all that changes something belongs into a transaction of its caller.

    `tell` sends a record up, `withdraw` has a command not sent that was not sent yet.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        gateway: str,
        tell: Callable[[Sent], None],
        withdraw: Callable[[str], None],
    ) -> None:
        self._db = connection
        self._gateway = gateway
        self._tell = tell
        self._withdraw = withdraw
        self._definitions = Definitions(connection)
        self._schedules = Schedules(connection)
        self._recorded = Recorded(connection, gateway, tell)
        self._askers = Askers(connection)
        self._answers = Answers(gateway, tell, self._tell_parent)
        self.listening = Listening(connection, gateway, tell)
        self.inbox = Inbox(connection)
        self.index = Index()
        """Kept by the runtime, on its own thread."""
        self.counts: Counter[str] = Counter()

    @property
    def listens(self) -> bool:
        """Whether any record matters."""
        return bool(self._definitions.triggers.types or self.index.awaited or self.metrics)

    @property
    def metrics(self) -> frozenset[str]:
        """The metrics whose newest values may be asked for; they may be templates."""
        return self._definitions.metrics

    @property
    def wants_messages(self) -> bool:
        """Whether a message may start something, here or in the cloud."""
        return MESSAGE in self._definitions.triggers.types or self.listening.wants_messages

    def is_for(self, topic: str) -> bool:
        """Whether a message on a topic may start something, here or in the cloud."""
        return self._definitions.triggers.is_for(topic) or self.listening.is_for(topic)

    def refresh(self) -> bool:
        """Go on with the workflows that are at work on the disk; return whether they are others than before."""
        self.listening.refresh()
        has_changed = self._definitions.refresh()
        if has_changed:
            self._schedules.use(self._definitions.triggers.schedules)
        return has_changed

    def forget(self) -> bool:
        """Undo what memory took of a transaction that was rolled back; return whether other workflows are at work."""
        self._schedules.look_again()
        return self.refresh()

    def hear(self, event: Judged, now: int) -> None:
        """Take note of an event that starts something or that an instance awaits."""
        if event.type in self._definitions.triggers.types:
            self._begin(self._definitions.triggers.by_event(event, now))
        self._come(event)

    def hear_message(self, topic: str, event: Judged, now: int) -> None:
        """Take note of a message here, and send it up if the cloud wants it. Raises Rejected if that can't be."""
        if self._definitions.triggers.is_for(topic):
            self.hear(event, now)
        if self.listening.is_for(topic):
            self.listening.send_up(event)

    def is_due(self, now: int) -> bool:
        """Whether a schedule asks for something."""
        return self._schedules.is_due(now)

    def look_at_the_clock(self, now: int) -> None:
        """Start what is due."""
        self._begin(self._schedules.take(now))

    def request(
        self,
        workflow: str,
        identifier: str,
        variables: Mapping[str, Any],
        now: int,
        *,
        parent: str | None = None,
        request: str = "",
    ) -> int:
        """Start a workflow for who asks for it; return the number of that in the inbox. Raises Rejected.

        `parent` is the instance that waits for its end, `request` that by which the cloud is answered.
        """
        found = self._definitions.at_work.get(workflow)
        if found is None:
            raise Rejected("workflow", f"no workflow {workflow} is at work here")
        if "device_id" in variables:
            topics.device_id(str(variables["device_id"]))
        start = by_request(found, identifier, variables, now)
        if isinstance(start, NotStarted):
            raise Rejected("variables", start.reason)
        return self.put(structs.replace(_begins(start), parent=parent, request=request))

    def put(self, told: Told) -> int:
        """Keep what is to happen to an instance; return its number in the inbox, 0 for what concerns none."""
        if isinstance(told, Came):
            return self._come(told.event)
        return self.inbox.put(told, self._home(told))

    def put_all(self, happenings: Iterable[Told]) -> None:
        """Keep several."""
        for told in happenings:
            self.put(told)

    def place(self) -> None:
        """Find the partitions of what an older gateway has left, once all its instances are known."""
        for number, told in self.inbox.unplaced():
            self.inbox.done([number])
            self.put(told)

    def answer(self, effect: str, outcome: effects.Outcome) -> bool:
        """Take what became of an effect, if an instance has asked for it; return whether one has."""
        asker = self._askers.of(effect)
        if asker is None:
            return False
        told = Outcome(asker.instance, effect, outcome.status == effects.DONE, outcome.result, outcome.error)
        self.inbox.put(told, self._home(told) if asker.partition is None else asker.partition)
        return True

    def asker(self, effect: str) -> str | None:
        """Return the instance that has asked for an effect, None where none has."""
        asker = self._askers.of(effect)
        return None if asker is None else asker.instance

    def follow(self, told: Followed, performer: Effects, now: int) -> None:
        """Keep what has followed from steps, once, and forget what they have taken."""
        self.inbox.done(told.taken)
        for happening, reason in told.outcomes:
            if isinstance(happening, Outcome):
                status = effects.DONE if happening.succeeded else effects.FAILED
                performer.close(happening.effect, effects.Outcome(status, happening.result, happening.error))
                self._withdraw(happening.effect)
            else:
                self._answers.take(happening, reason, performer, now)
        for instance, records in told.history:
            self._recorded.keep(instance, records, now)
        self._recorded.forget(told.forgotten)
        if told.running is not None:
            self._definitions.forget_unused(told.running)
        for given_up in told.abandoned:
            if performer.withdraw(given_up) == effects.START:
                self.put(Ends(given_up, "the workflow that waits for it goes on without it"))
            self._withdraw(given_up)
        for instance, effect in told.asked:
            if not performer.is_known(effect.id):
                self._askers.keep(effect.id, instance.id, self._home_of_instance(instance))
                performer.take(_asked(instance, effect, now), effect, now)
        for instance in told.ended:
            self._answers.end(instance, performer, now)

    def forget_effects(self) -> None:
        """Forget who asked for what is not kept any more."""
        self._askers.forget()

    def waiting(self, limit: int, partitions: Collection[int]) -> list[Row]:
        """Return what happens next in some partitions, the oldest first."""
        return self.inbox.oldest(limit, partitions)

    def program(self, workflow: str, version: str) -> Program | None:
        """Return a version ready to run, None where there is none."""
        return self._definitions.program(workflow, version)

    def take_down(self, told: down.Workflow | down.Workflows | down.Topics, now: int) -> None:
        """Take what the cloud says of workflows, and answer whether they are at work."""
        if isinstance(told, down.Topics):
            self.listening.take_down(told, now)
            return
        if isinstance(told, down.Workflows):
            self._definitions.keep_only(CLOUD, told.ids)
            return
        faults = self._definitions.put(Put(CLOUD, told.id, told.version, told.document, devices=told.devices))
        data: dict[str, Any] = {"workflow": told.id, "version": told.version}
        if faults:
            data |= {"faults": told_faults(faults), "engine": ENGINE}
        self._tell(Event(self._gateway, now, now, type=REFUSED if faults else APPLIED, data=data))

    def take_request(self, told: down.Request, now: int) -> None:
        """Take what the cloud asks of an instance: what can't be is answered at once, all else once it was taken."""
        instance = told.id if isinstance(told, down.Start) else told.instance
        try:
            match told:
                case down.Start(id=name):
                    self.request(told.workflow, name, told.variables, now, request=name)
                case down.Terminate(id=request):
                    self.put(Ends(instance, told.reason, told.undo, request))
                case down.Signal(id=request):
                    self.put(Signals(instance, Judged(request, told.type, "", now, told.data), request))
                case down.Retry(id=request):
                    self.put(Again(instance, told.state, told.variables, request))
        except Rejected as error:
            self._answers.answer(told.id, instance, str(error), now)

    def take_folder(self, told: Sequence[Put]) -> dict[str, list[Fault]]:
        """Take all workflows of the gateway's folder; return what is wrong with some, by id."""
        self._definitions.keep_only(FOLDER, [one.id for one in told])
        return {one.id: faults for one in told if (faults := self._definitions.put(one))}

    def all(self) -> list[dict[str, Any]]:
        """Return all workflows."""
        return self._definitions.all()

    def one(self, workflow: str) -> dict[str, Any] | None:
        """Return a workflow, None if there is none of this id."""
        return self._definitions.one(workflow)

    def history(self, instance: str) -> list[dict[str, Any]]:
        """Return the records that are kept of an instance."""
        return self._recorded.of(instance)

    def _begin(self, found: Sequence[Start | NotStarted]) -> None:
        for one in found:
            if isinstance(one, NotStarted):
                self.counts["not_started"] += 1
                log.warning("workflow_not_started", workflow=one.workflow.id, instance=one.id, reason=one.reason)
                continue
            self.put(_begins(one))

    def _come(self, event: Judged) -> int:
        """Keep an event for each partition of which an instance may await it; return the last number, 0 for none."""
        awaited, number = self.index.awaited.get(event.type, ()), 0
        for partition in sorted({home for home, waiting in awaited if _may_end(waiting, event)}):
            number = self.inbox.put(Came(event), partition)
        return number

    def _tell_parent(self, told: Outcome) -> None:
        """Keep how an instance has ended for the one that waits for it and that another gateway had when it asked."""
        if told.instance in self.index.homes:
            self.put(told)

    def _home(self, told: Begins | Outcome | Ends | Signals | Again | Moves) -> int:
        if isinstance(told, Begins):
            return _home_of(told.workflow, told.correlation, told.variables)
        if isinstance(told, Moves):
            return self._home_of_instance(decode(bytes(told.instance)))
        return self.index.homes.get(told.instance, 0)

    def _home_of_instance(self, instance: Instance) -> int:
        known = self.index.homes.get(instance.id)
        return _home_of(instance.workflow, instance.correlation, instance.variables) if known is None else known


def _home_of(workflow: str, correlation: str | None, variables: Mapping[str, Any]) -> int:
    """Return the partition in which an instance begins.

    Those that may be in each other's way are in one: it is that of their key, which is as a rule the device; without a
    key that of the device, and without one that of the workflow.
    """
    return partition_of(str(correlation or variables.get("device_id") or workflow))


def _begins(start: Start) -> Begins:
    """Return a start as the inbox keeps it."""
    return Begins(
        id=start.id,
        workflow=start.workflow.id,
        version=start.workflow.version,
        variables=start.variables,
        correlation=start.correlation,
        overlap=start.trigger.overlap,
    )


def _may_end(waiting: Waiting, event: Judged) -> bool:
    """Whether an event may be one that is awaited; the engine knows for sure."""
    return waiting.key is None or waiting.property is not None or waiting.key == event.source


def _asked(instance: Instance, effect: Effect, now: int) -> Firing:
    """Return who asks for an effect of an instance, as effects know it."""
    device = str(instance.variables.get("device_id", ""))
    cause = Judged(instance.id, instance.workflow, device, now, {})
    return Firing(instance.workflow, instance.version, cause, now, True, {}, False, None, (effect,), "workflow")
