"""The instances of a gateway in memory, and what has come of them since the last commit. No I/O, no clock. (W4, W6)"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from itertools import islice
from typing import Any, NamedTuple

from fieldloom_engine.rules import Effect, Event
from fieldloom_engine.workflows import (
    Answered,
    Happening,
    Instance,
    InvalidStart,
    NotPossible,
    Occurred,
    Program,
    Record,
    Replayed,
    Signalled,
    Started,
    Terminated,
    TimePassed,
    Waiting,
    awaits,
    create,
    decode,
    next_deadline,
    outstanding,
    step,
)
from fieldloom_engine.workflows.overlap import decide
from fieldloom_gateway.automation.workflows.checkpoints import (
    MOST_BYTES,
    MOST_PARTS,
    Change,
    Queued,
    Stored,
    instance_change,
    instance_key,
    queue_key,
    queued_change,
)
from fieldloom_gateway.automation.workflows.inbox import Again, Begins, Came, Ends, Moves, Outcome, Signals, Told

ENDED = 1000
"""Instances that are over and are kept, to be seen and begun again."""
ENDED_BYTES = 8 * 1024 * 1024
UNFINISHED = "it is to happen again"
MAX_DEPTH = 10
"""So many instances may wait for each other."""
PRUNED = 10
"""At most so many are forgotten with one commit."""

Version = tuple[str, str]
"""A workflow's id and version."""
Key = tuple[str, str | None]
"""A workflow's id and a correlation key."""


class Line(NamedTuple):
    """A start that waits."""

    instance: Instance
    queued: Queued


class World:
    """Instances and waiting starts; `programs` has the versions that they run."""

    def __init__(self, programs: Mapping[Version, Program]) -> None:
        self._programs = programs
        self.instances: dict[str, Instance] = {}
        """By id, those that changed last at the end."""
        self.lines: dict[str, Line] = {}
        """Starts that wait, by their ids."""
        self.counts: Counter[str] = Counter()
        self._active: dict[Key, dict[str, None]] = {}
        self._ended: dict[str, int] = {}
        """How many bytes those hold that are over, the oldest first."""
        self._deadlines: dict[str, int] = {}
        self._waiting: dict[str, frozenset[Waiting]] = {}
        self._homes: dict[str, int] = {}
        """The partition of each instance and of each start that waits."""
        self._last_number = 0
        self.begin_batch()

    def begin_batch(self) -> None:
        """Take what has come so far as committed."""
        self.changes: dict[str, Change] = {}
        self.history: dict[str, list[Record]] = {}
        self._asked: list[tuple[Instance, Effect]] = []
        self.abandoned: list[str] = []
        self.forgotten: list[str] = []
        """Instances that are not kept any more."""

    @property
    def asked(self) -> list[tuple[Instance, Effect]]:
        """What instances have asked for and not given up again."""
        given_up = set(self.abandoned)
        return [one for one in self._asked if one[1].id not in given_up]

    @property
    def is_large(self) -> bool:
        """Whether so much has come together that it is to be committed."""
        told = self.changes.values()
        return sum(one.parts for one in told) >= MOST_PARTS or sum(len(one.body or b"") for one in told) >= MOST_BYTES

    @property
    def versions(self) -> set[Version]:
        """The versions that run or will."""
        running = (one for one in self.instances.values() if not one.is_over)
        waiting = (one.instance for one in self.lines.values())
        return {(one.workflow, one.version) for group in (running, waiting) for one in group}

    def next_deadline(self, partitions: Collection[int]) -> int | None:
        """Return when time goes on with an instance of some partitions next, Unix ms."""
        return min((at for name, at in self._deadlines.items() if self._homes[name] in partitions), default=None)

    def load(self, stored: Iterable[Stored]) -> None:
        """Take what partitions hold, with those that changed last at the end."""
        for one in stored:
            self._homes[one.instance.id] = one.partition
            if one.queued is None:
                self._put(one.instance)
            else:
                self._wait(Line(one.instance, one.queued))

    def unload(self, partitions: Collection[int]) -> None:
        """Forget what some partitions hold."""
        for name in [name for name, home in self._homes.items() if home in partitions]:
            del self._homes[name]
            self.lines.pop(name, None)
            self._remove(name)

    def outstanding(self, instances: Iterable[Instance]) -> list[tuple[Instance, Effect]]:
        """Return all that instances wait for to be done."""
        return [
            (instance, effect)
            for instance in instances
            if not instance.is_over and (program := self._program(instance)) is not None
            for effect in outstanding(program, instance)
        ]

    def take(self, partition: int, told: Told, now: int) -> str | None:
        """Let something happen in a partition at a time, Unix ms; return why it could not, None if it could.

        UNFINISHED: it is to happen again after a commit, since it concerns too many.
        """
        match told:
            case Begins():
                return self._begin(partition, told, now)
            case Came(event):
                return self._occur(partition, event, now)
            case Moves():
                return self._move_in(partition, told)
            case Ends(instance, reason, undo):
                return self._end(instance, Terminated(reason, undo), now)
            case _:
                return self._happen(told.instance, _happening(told), now)

    def _occur(self, partition: int, event: Event, now: int) -> str | None:
        awaiting = [
            name
            for name, what in self._waiting.items()
            if self._homes[name] == partition and any(one.type == event.type for one in what)
        ]
        for name in awaiting:
            if self.is_large:
                return UNFINISHED
            self._happen(name, Occurred(event), now)
        return None

    def version_of(self, told: Told) -> Version | None:
        """Return which version it takes for something to happen, None where no instance is meant, or an unknown one."""
        if isinstance(told, Begins):
            return told.workflow, told.version
        if isinstance(told, Moves):
            instance: Instance | None = decode(bytes(told.instance))
        else:
            instance = None if isinstance(told, Came) else self.instances.get(told.instance)
        return None if instance is None else (instance.workflow, instance.version)

    def elapse(self, now: int, most: int, partitions: Collection[int]) -> None:
        """Let the time pass for at most so many instances of some partitions, or for as many as go together."""
        due = (name for name, at in self._deadlines.items() if at <= now and self._homes[name] in partitions)
        for name in [*islice(due, most)]:
            if self.is_large:
                return
            if self._happen(name, TimePassed(), now) is not None:
                self.leave(name)

    def leave(self, name: str) -> None:
        """Let no time pass for an instance any more."""
        self._deadlines.pop(name, None)

    def prune(self, partitions: Collection[int]) -> None:
        """Forget the oldest of those of some partitions that are over, where there are too many."""
        for name in [*islice((name for name in self._ended if self._homes[name] in partitions), PRUNED)]:
            if len(self._ended) <= ENDED and sum(self._ended.values()) <= ENDED_BYTES:
                return
            if name not in self.history:
                self._remove(name)
                self.forgotten.append(name)
                partition = self._homes.pop(name)
                self._change(Change(partition, instance_key(partition, name), None))

    def _begin(self, partition: int, told: Begins, now: int) -> str | None:
        if told.id in self.instances or told.id in self.lines:
            return None  # it comes again
        program = self._programs.get((told.workflow, told.version))
        if program is None:
            return self._refuse("not_started", f"{told.workflow} {told.version} is not here any more")
        metadata = self._descent(told.parent)
        if metadata.get("depth", 0) > MAX_DEPTH:
            return self._refuse("not_started", f"more than {MAX_DEPTH} workflows would wait for each other")
        key = told.correlation
        try:
            instance = create(program.workflow, told.id, told.variables, now, correlation=key, metadata=metadata)
        except InvalidStart as error:
            return self._refuse("not_started", str(error))
        self._homes[instance.id] = partition
        return self._start(instance, now) if told.correlation is None else self._fit_in(instance, told, now)

    def _descent(self, parent: str | None) -> dict[str, Any]:
        """Return what is kept with an instance of the one that waits for its end."""
        if parent is None:
            return {}
        above = self.instances.get(parent)
        return {"parent": parent, "depth": 1 + (above.metadata.get("depth", 0) if above is not None else 0)}

    def _end(self, name: str, happening: Terminated, now: int) -> str | None:
        """End an instance; one that waits for its turn does not begin."""
        line = self.lines.pop(name, None)
        if line is not None:
            partition = self._homes[name]
            self._change(Change(partition, queue_key(partition, name), None))
            self.instances[name] = line.instance
        return self._happen(name, happening, now)

    def _fit_in(self, instance: Instance, told: Begins, now: int) -> str | None:
        """Begin with an instance as far as those with its key let it."""
        key = (told.workflow, told.correlation)
        decision = decide(told.overlap, [*self._active.get(key, ())], len(self._line(key)))
        if decision.does == "skip":
            del self._homes[instance.id]
            return self._refuse("skipped", decision.reason or "another instance is active")
        if decision.does == "queue":
            self._queue(instance, told)
            return None
        for other in decision.terminates:
            self._happen(other, Terminated(f"{told.id} takes its place"), now)
        return self._start(instance, now)

    def _refuse(self, what: str, reason: str) -> str:
        self.counts[what] += 1
        return reason

    def _start(self, instance: Instance, now: int) -> str | None:
        self.counts["started"] += 1
        self.instances[instance.id] = instance
        return self._happen(instance.id, Started(), now)

    def _queue(self, instance: Instance, told: Begins) -> None:
        self.counts["queued"] += 1
        change, queued = queued_change(self._homes[instance.id], instance, self._last_number + 1, told.overlap)
        self._wait(Line(instance, queued))
        self._change(change)

    def _wait(self, line: Line) -> None:
        self.lines[line.instance.id] = line
        self._last_number = max(self._last_number, line.queued.number)

    def _move_in(self, partition: int, told: Moves) -> str | None:
        """Take an instance, or a start that waits, as it stands."""
        instance = decode(bytes(told.instance))
        if instance.id in self._homes:
            return None  # it comes again
        self._homes[instance.id] = partition
        if told.overlap is not None:
            change, queued = queued_change(partition, instance, told.number, told.overlap)
            self._wait(Line(instance, queued))
            self._change(change)
            return None
        self._put(instance)
        self._keep(instance, told.history)
        self._asked += self.outstanding([instance])
        return None

    def _line(self, key: Key) -> list[Line]:
        """Return the starts that wait by a key, the first at the front."""
        found = [one for one in self.lines.values() if (one.instance.workflow, one.instance.correlation) == key]
        return sorted(found, key=lambda one: one.queued.number)

    def _happen(self, name: str, happening: Happening, now: int) -> str | None:
        instance = self.instances.get(name)
        if instance is None:
            return f"there is no instance {name}"
        program = self._program(instance)
        if program is None:
            return f"{instance.workflow} {instance.version}, which it runs, is not here"
        try:
            done = step(program, instance, happening, now)
        except (NotPossible, InvalidStart) as error:
            return str(error)
        if done.instance is instance:
            return None
        self.counts["steps"] += 1
        self.counts["transitions"] += sum(record.kind == "state" for record in done.history)
        self._asked += [(done.instance, effect) for effect in done.effects]
        self.abandoned += done.abandoned
        self._put(done.instance)
        self._keep(done.instance, done.history)
        if done.instance.is_over:
            self.counts[done.instance.status] += 1
            self._go_on((done.instance.workflow, done.instance.correlation), now)
        return None

    def _go_on(self, key: Key, now: int) -> None:
        """Begin with what has waited longest by a key, if nothing is in its way any more."""
        first = next(iter(self._line(key)), None)
        if first is None or decide(first.queued.overlap, [*self._active.get(key, ())], 0).does != "start":
            return
        name = first.instance.id
        del self.lines[name]
        partition = self._homes[name]
        self._change(Change(partition, queue_key(partition, name), None))
        self._start(first.instance, now)

    def _keep(self, instance: Instance, records: Iterable[Record]) -> None:
        """Have an instance kept as it is now."""
        history = self.history.setdefault(instance.id, [])
        history += records
        waits = self._waiting.get(instance.id, frozenset())
        self._change(instance_change(self._homes[instance.id], instance, history, waits))

    def _remove(self, name: str) -> None:
        """Forget an instance, if there is one of this id."""
        instance = self.instances.pop(name, None)
        if instance is None:
            return
        key = (instance.workflow, instance.correlation)
        active = self._active.get(key, {})
        active.pop(name, None)
        if not active:
            self._active.pop(key, None)
        self._ended.pop(name, None)
        self._waiting.pop(name, None)
        self.leave(name)

    def _put(self, instance: Instance) -> None:
        name, key = instance.id, (instance.workflow, instance.correlation)
        self.instances.pop(name, None)
        self.instances[name] = instance
        self._ended.pop(name, None)
        active = self._active.setdefault(key, {})
        if instance.is_over:
            active.pop(name, None)
            self._ended[name] = instance.size
        else:
            active[name] = None
        if not active:
            del self._active[key]
        self.leave(name)
        if not instance.is_over and (deadline := next_deadline(instance)) is not None:
            self._deadlines[name] = deadline
        program = self._program(instance)
        waiting = frozenset(awaits(program, instance)) if program is not None and not instance.is_over else frozenset()
        self._waiting.pop(name, None)
        if waiting:
            self._waiting[name] = waiting

    def _change(self, change: Change) -> None:
        self.changes[change.key] = change

    def _program(self, instance: Instance) -> Program | None:
        return self._programs.get((instance.workflow, instance.version))


def _happening(told: Outcome | Signals | Again) -> Happening:
    """Return what happens to one instance, as the engine knows it."""
    match told:
        case Outcome(effect=effect, succeeded=succeeded, result=result, error=error):
            return Answered(effect, succeeded, result, error)
        case Signals(event=event):
            return Signalled(event)
        case Again(state=state, variables=variables):
            return Replayed(state, variables)
