"""Goes on with instances: takes what happens, commits the steps to the shared map, then hands over what follows. (W6)

A kill after a commit and before the hand-over repeats both the happening and the hand-over. Neither does harm: an
instance takes a happening once, and what it has asked for and recorded has ids.
"""

import asyncio
import sqlite3
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import structlog

from fieldloom_contract.errors import Rejected
from fieldloom_engine.ports import Ownership
from fieldloom_engine.workflows import Instance, Program
from fieldloom_gateway.automation.workflows.checkpoints import Checkpoints
from fieldloom_gateway.automation.workflows.inbox import Begins, Row, Told
from fieldloom_gateway.automation.workflows.service import Followed, Workflows
from fieldloom_gateway.automation.workflows.world import UNFINISHED, Line, Version, World
from fieldloom_gateway.cluster.consensus.port import NoLeader, Unknown
from fieldloom_gateway.cluster.state.errors import StateError

log = structlog.get_logger()

MOST = 100
"""Happenings that are taken together."""
LOOK_EVERY_S = 1.0
PAUSE_S = 1.0
ANSWERS = 1000
"""So many answers are kept for who asks for them."""
WITHIN_S = 10.0

InStore = Callable[..., Awaitable[Any]]
"""Calls something on the thread that has the gateway's database."""
Follow = Callable[[Followed], Awaitable[None]]
"""Keeps what has followed, in one transaction. Raises sqlite3.Error."""


class Runtime:
    """The instances of a gateway. `now` gives Unix ms. Calls belong to one event loop."""

    def __init__(
        self,
        service: Workflows,
        checkpoints: Checkpoints,
        ownership: Ownership,
        in_store: InStore,
        follow: Follow,
        now: Callable[[], int],
    ) -> None:
        self._service = service
        self._checkpoints = checkpoints
        self._ownership = ownership
        self._in_store = in_store
        self._follow = follow
        self._now = now
        self._programs: dict[Version, Program] = {}
        self._world = World(self._programs)
        self._woken = asyncio.Event()
        self._most = MOST
        self._answers: OrderedDict[int, str | None] = OrderedDict()
        self._answered = asyncio.Condition()

    def wake(self) -> None:
        """Look at once at what has happened."""
        self._woken.set()

    async def load(self) -> None:
        """Take the instances from the map, and hand over what may not have been. Raises UnreadableInstance."""
        self._programs.clear()
        kept, queued = self._checkpoints.read()
        own = [(instance, history) for instance, history in kept if self._is_own(instance)]
        lines = [Line(*one) for one in queued if self._is_own(one[0])]
        for instance in (*(one for one, _ in own if not one.is_over), *(line.instance for line in lines)):
            await self._have_program((instance.workflow, instance.version))
        world = World(self._programs)
        world.counts = self._world.counts
        world.load((instance for instance, _ in own), lines)
        self._world = world
        self._service.awaited = world.awaited()
        ended = [instance for instance, _ in own if instance.is_over]
        await self._hand_over(Followed(history=own, asked=world.outstanding(), running=world.versions, ended=ended))

    async def run(self) -> None:
        """Go on until cancelled."""
        while True:
            self._woken.clear()
            while await self.turn():
                pass
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause_s()):
                    await self._woken.wait()

    async def turn(self) -> bool:
        """Take what has happened, as much as goes together, and commit it; return whether there may be more."""
        rows: list[Row] = await self._in_store(self._service.waiting, self._most)
        taken = await self._take(rows)
        world = self._world
        if not taken and not world.changes:
            return False
        world.prune()
        try:
            if world.changes:
                await self._checkpoints.write(world.changes.values(), self._guards())
        except Rejected as error:
            await self._give_way(rows[: len(taken)], str(error))
            return True
        except (NoLeader, Unknown, StateError) as error:
            log.warning("workflows_not_committed", error=str(error))
            await asyncio.sleep(PAUSE_S)
            await self.load()
            return True
        if world.awaits_others:
            self._service.awaited = world.awaited()
        history = [(world.instances[name], records) for name, records in world.history.items()]
        outcomes = _outcomes(rows, taken)
        ended = self._ended(outcomes)
        followed = Followed([*taken], history, world.asked, world.abandoned, world.forgotten, None, outcomes, ended)
        world.begin_batch()
        self._most = MOST
        await self._hand_over(followed)
        await self._answer(taken)
        return True

    async def taken(self, number: int) -> str | None:
        """Wait until a happening of the inbox was taken; return why it did nothing, None if it did.

        Raises TimeoutError.
        """
        self.wake()
        async with asyncio.timeout(WITHIN_S), self._answered:
            await self._answered.wait_for(lambda: number in self._answers)
        return self._answers[number]

    def all(self) -> list[Instance]:
        """Return all instances, those that changed last at the end."""
        return [*self._world.instances.values()]

    def one(self, name: str) -> Instance | None:
        """Return an instance, None if there is none of this id."""
        return self._world.instances.get(name)

    def is_queued(self, name: str) -> bool:
        """Whether a start waits until others have ended."""
        return name in self._world.lines

    @property
    def next_deadline(self) -> int | None:
        """When time goes on with an instance next, Unix ms."""
        return self._world.next_deadline

    def status(self) -> dict[str, Any]:
        """Return what `status` tells."""
        counts = dict(self._world.counts + self._service.counts)
        active = Counter(one.status for one in self._world.instances.values() if not one.is_over)
        deadline = self.next_deadline
        delay_ms = 0 if deadline is None else max(0, self._now() - deadline)
        told = {"active": active.total(), "statuses": dict(active), "timer_delay_ms": delay_ms}
        return {**told, "queue": len(self._world.lines), "counts": counts}

    async def _take(self, rows: list[Row]) -> dict[int, str | None]:
        """Let happen what rows tell, and pass the time; return what became of each row that was taken."""
        taken: dict[int, str | None] = {}
        world, now = self._world, self._now()
        for number, told in rows:
            if (version := world.version_of(told)) is not None:
                await self._have_program(version)
            reason = world.take(told, now)
            if reason != UNFINISHED:
                taken[number] = reason
            if world.is_large:
                return taken
        if self._most > 1 or not rows:
            world.elapse(now, self._most)
        return taken

    async def _give_way(self, rows: list[Row], reason: str) -> None:
        """Go on without what the map refuses, once it is known what that is."""
        stuck = [*self._world.history] if not rows else []
        is_known = self._most == 1
        self._most = 1
        await self.load()
        if not is_known:
            return
        log.error("workflow_step_refused", reason=reason, happenings=[str(row.told)[:200] for row in rows], of=stuck)
        self._world.counts["refused"] += 1
        for name in stuck:
            self._world.leave(name)
        refused: dict[int, str | None] = {row.number: reason for row in rows}
        await self._hand_over(Followed([*refused], outcomes=_outcomes(rows, refused)))
        await self._answer(refused)

    async def _hand_over(self, followed: Followed) -> None:
        """Have the database keep what has followed, as soon as its disk takes it: before, nothing goes on."""
        while True:
            try:
                await self._follow(followed)
            except sqlite3.Error as error:
                log.error("disk_refused_steps", error=str(error))  # noqa: TRY400
                await asyncio.sleep(PAUSE_S)
            else:
                return

    def _ended(self, outcomes: Sequence[tuple[Told, str | None]]) -> list[Instance]:
        """Return the instances that are over, and those that were when somebody began to wait for them."""
        asked_for = (told.id for told, _ in outcomes if isinstance(told, Begins))
        found = (self._world.instances.get(name) for name in {*self._world.history, *asked_for})
        return [one for one in found if one is not None and one.is_over]

    async def _answer(self, taken: dict[int, str | None]) -> None:
        if not taken:
            return
        self._answers.update(taken)
        while len(self._answers) > ANSWERS:
            self._answers.popitem(last=False)
        async with self._answered:
            self._answered.notify_all()

    async def _have_program(self, version: Version) -> None:
        if version not in self._programs:
            program = await self._in_store(self._service.program, *version)
            if program is not None:
                self._programs[version] = program

    def _guards(self) -> set[tuple[str, int]]:
        found = (self._ownership.guard(_owned(self._world.instances[name])) for name in self._world.history)
        return {one for one in found if one is not None}

    def _is_own(self, instance: Instance) -> bool:
        return self._ownership.owns(_owned(instance))

    def _pause_s(self) -> float:
        deadline = self.next_deadline
        left = LOOK_EVERY_S if deadline is None else (deadline - self._now()) / 1000
        return min(max(left, 0), LOOK_EVERY_S)


def _outcomes(rows: Sequence[Row], taken: Mapping[int, str | None]) -> list[tuple[Told, str | None]]:
    """Return what became of the rows that were taken."""
    return [(row.told, taken[row.number]) for row in rows if row.number in taken]


def _owned(instance: Instance) -> str:
    """Return whose instance it is: its device's, else its workflow's."""
    return str(instance.variables.get("device_id") or instance.workflow)
