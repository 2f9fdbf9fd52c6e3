"""Goes on with instances: takes what happens, commits the steps to the shared map, then hands over what follows. (W6)

A kill after a commit and before the hand-over repeats both the happening and the hand-over. Neither does harm: an
instance takes a happening once, and what it has asked for and recorded has ids. Instances are those of the partitions
that this gateway owns: they come and go with them, between two turns. (W8)
"""

import asyncio
import sqlite3
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, NamedTuple

import structlog

from fieldloom_contract.errors import Rejected
from fieldloom_engine.workflows import Instance, Program, UnreadableInstance
from fieldloom_gateway.automation.workflows.checkpoints import Checkpoints, Stored
from fieldloom_gateway.automation.workflows.inbox import Begins, Row, Told
from fieldloom_gateway.automation.workflows.service import Followed, Workflows
from fieldloom_gateway.automation.workflows.world import UNFINISHED, Version, World
from fieldloom_gateway.cluster.consensus.port import NoLeader, Unknown
from fieldloom_gateway.cluster.partitions.partition import PARTITIONS
from fieldloom_gateway.cluster.partitions.residence import LoadFailed
from fieldloom_gateway.cluster.state.errors import StateError

log = structlog.get_logger()

MOST = 100
"""Happenings that are taken together."""
LOOK_EVERY_S = 1.0
LOOK_AGAIN_S = 0.2
"""While partitions are loaded, of which it is told nowhere from when on this gateway acts for them."""
PAUSE_S = 1.0
ANSWERS = 1000
"""So many answers are kept for who asks for them."""
WITHIN_S = 10.0
HANDED_S = 5.0
"""How long what another gateway has handed over may wait to be taken."""
UNFENCED = 0
"""The version of partitions that nobody else can own."""

InStore = Callable[..., Awaitable[Any]]
"""Calls something on the thread that has the gateway's database."""
Follow = Callable[[Followed], Awaitable[None]]
"""Keeps what has followed, in one transaction. Raises sqlite3.Error."""


class Taken(NamedTuple):
    """That a happening was taken, and why it did nothing; None if it did."""

    reason: str | None
    since: int
    """The index of the map from which on it shows."""


class _Handed(NamedTuple):
    """A happening that another gateway keeps until it is taken here."""

    partition: int
    told: Told
    answer: asyncio.Future[Taken | None]


def acts_for_all(_partition: int) -> bool:
    """Return True: a gateway that is alone acts for all partitions."""
    return True


def count_nothing(_partition: int, _units: float) -> None:
    """Do nothing: a gateway that is alone shares its load with nobody."""


class Runtime:
    """The instances of a gateway, a tenant of its partitions. `now` gives Unix ms. Calls belong to one event loop.

    `acts` says whether this gateway acts for a partition at this moment; `did` is told what it did for one.
    """

    def __init__(
        self,
        service: Workflows,
        checkpoints: Checkpoints,
        acts: Callable[[int], bool],
        in_store: InStore,
        follow: Follow,
        now: Callable[[], int],
        did: Callable[[int, float], None] = count_nothing,
    ) -> None:
        self._service = service
        self._checkpoints = checkpoints
        self._acts = acts
        self._in_store = in_store
        self._follow = follow
        self._now = now
        self._did = did
        self._programs: dict[Version, Program] = {}
        self._world = World(self._programs)
        self._woken = asyncio.Event()
        self._turning = asyncio.Lock()
        self._most = MOST
        self._versions: dict[int, int] = {}
        """Under which version each partition was loaded."""
        self._arriving: dict[int, asyncio.Future[None]] = {}
        """Partitions that are to be loaded with the next turn, or anew."""
        self._gone: set[int] = set()
        self._handed: dict[int, _Handed] = {}
        self._last_handed = 0
        """Their numbers go down, those of the inbox up."""
        self._answers: OrderedDict[int, str | None] = OrderedDict()
        self._answered = asyncio.Condition()

    def wake(self) -> None:
        """Look at once at what has happened."""
        self._woken.set()

    def start(self) -> None:
        """Know from now on what instances there are at the site."""
        self._checkpoints.fill(self._service.index)

    async def load_all(self) -> None:
        """Take all partitions, which nobody else can own. Raises LoadFailed."""
        self.start()
        arriving = [self._arrive(partition, UNFENCED) for partition in range(PARTITIONS)]
        await self._move()
        for one in arriving:
            one.result()

    async def forget_versions(self) -> None:
        """Have those versions forgotten that are not at work and that no instance here runs."""
        await self._hand_over(Followed(running=self._world.versions))

    async def load(self, partition: int, version: int) -> None:
        """Take the instances of a partition, and hand over what may not have been. Raises LoadFailed."""
        arriving = self._arrive(partition, version)
        self.wake()
        await arriving

    async def drain(self, partition: int, version: int) -> None:  # noqa: ARG002 - the port's signature
        """Wait until what is under way is committed and handed over: nothing new comes."""
        async with self._turning:
            pass

    def unload(self, partition: int) -> None:
        """Go on with nothing of a partition any more."""
        self._arriving.pop(partition, None)
        self._versions.pop(partition, None)
        self._gone.add(partition)
        self.wake()

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
        async with self._turning:
            await self._move()
            return await self._go_on()

    async def hand(self, told: Sequence[tuple[int, Told]]) -> list[Taken | None]:
        """Have happenings taken that another gateway keeps, each with its partition; return what was taken.

        None: it was not, and is to be handed over again to who owns the partition then.
        """
        numbers = []
        for partition, happening in told:
            self._last_handed -= 1
            numbers.append(self._last_handed)
            answer = asyncio.get_running_loop().create_future()
            self._handed[self._last_handed] = _Handed(partition, happening, answer)
        self.wake()
        handed = [self._handed[number].answer for number in numbers]
        if handed:
            await asyncio.wait(handed, timeout=HANDED_S)
        for number in numbers:
            self._handed.pop(number, None)
        return [one.result() if one.done() else None for one in handed]

    async def taken(self, number: int) -> str | None:
        """Wait until a happening of the inbox was taken; return why it did nothing, None if it did.

        Raises TimeoutError.
        """
        self.wake()
        async with asyncio.timeout(WITHIN_S), self._answered:
            await self._answered.wait_for(lambda: number in self._answers)
        return self._answers[number]

    async def answer(self, taken: Mapping[int, str | None]) -> None:
        """Tell who waits what became of happenings of the inbox, here or at another gateway."""
        if not taken:
            return
        self._answers.update(taken)
        while len(self._answers) > ANSWERS:
            self._answers.popitem(last=False)
        async with self._answered:
            self._answered.notify_all()

    def all(self) -> list[Instance]:
        """Return the instances of the site, those that changed last at the end."""
        return self._checkpoints.all()

    def one(self, name: str) -> Instance | None:
        """Return an instance of the site, None if there is none of this id."""
        found = self._world.instances.get(name)
        home = self._service.index.homes.get(name)
        return found if found is not None or home is None else self._checkpoints.one(home, name)

    def is_queued(self, name: str) -> bool:
        """Whether a start waits until others have ended."""
        return name in self._service.index.queued

    @property
    def next_deadline(self) -> int | None:
        """When time goes on with an instance next, Unix ms."""
        return self._world.next_deadline(self._active())

    def status(self) -> dict[str, Any]:
        """Return what `status` tells."""
        counts = dict(self._world.counts + self._service.counts)
        active = Counter(one.status for one in self._world.instances.values() if not one.is_over)
        deadline = self.next_deadline
        delay_ms = 0 if deadline is None else max(0, self._now() - deadline)
        told = {"active": active.total(), "statuses": dict(active), "timer_delay_ms": delay_ms}
        return {**told, "queue": len(self._world.lines), "counts": counts}

    async def _go_on(self) -> bool:
        versions = {partition: self._versions[partition] for partition in self._active()}
        rows: list[Row] = await self._in_store(self._service.waiting, self._most, [*versions])
        rows += self._next_handed(versions, self._most - len(rows))
        taken = await self._take(rows, versions)
        world = self._world
        if not taken and not world.changes:
            return False
        world.prune(versions)
        index = 0
        try:
            if world.changes:
                index = await self._checkpoints.write(world.changes.values(), versions)
        except Rejected as error:
            await self._give_way(rows[: len(taken)], str(error))
            return True
        except (NoLeader, Unknown, StateError) as error:
            log.warning("workflows_not_committed", error=str(error))
            await asyncio.sleep(PAUSE_S)
            self._begin_anew()
            return True
        self._count(row.partition for row in rows if row.number in taken)
        self._count(change.partition for change in world.changes.values())
        history = [(world.instances[name], records) for name, records in world.history.items()]
        outcomes = _outcomes(rows, taken)
        ended = self._ended(outcomes)
        numbers = [number for number in taken if number > 0]
        followed = Followed(numbers, history, world.asked, world.abandoned, world.forgotten, None, outcomes, ended)
        world.begin_batch()
        self._most = MOST
        await self._hand_over(followed)
        await self._settle(taken, index)
        return True

    def _count(self, partitions: Iterable[int]) -> None:
        """Have each happening that was taken, and each checkpoint that was written, count for its partition."""
        for partition, units in Counter(partitions).items():
            self._did(partition, units)

    def _active(self) -> set[int]:
        return {partition for partition in self._versions if partition not in self._arriving and self._acts(partition)}

    def _arrive(self, partition: int, version: int) -> asyncio.Future[None]:
        self._versions[partition] = version
        self._arriving[partition] = asyncio.get_running_loop().create_future()
        return self._arriving[partition]

    def _begin_anew(self) -> None:
        """Have all partitions loaded anew with the next turn: memory is not as the map has it."""
        for partition, version in [*self._versions.items()]:
            if partition not in self._arriving:
                self._arrive(partition, version)
        self._world.begin_batch()

    async def _move(self) -> None:
        """Let partitions go that are another's now, and come that are this gateway's."""
        if not self._gone and not self._arriving:
            return
        gone, self._gone = self._gone, set()
        arriving, failed = self._arriving.copy(), dict[int, Exception]()
        self._world.unload(gone | arriving.keys())
        stored: list[Stored] = []
        for partition in arriving:
            try:
                stored += self._checkpoints.read(partition)
            except UnreadableInstance as error:
                failed[partition] = error
        await self._load(stored)
        for partition, future in arriving.items():
            if self._arriving.get(partition) is future:
                del self._arriving[partition]
            if future.done():
                continue
            if partition in failed:
                self._versions.pop(partition, None)
                future.set_exception(LoadFailed(f"an instance of a workflow can't be read ({failed[partition]})"))
                future.exception()  # it is told of to who waits for it, if anybody does
            else:
                future.set_result(None)

    async def _load(self, stored: list[Stored]) -> None:
        instances = [one.instance for one in stored]
        for instance in instances:
            if not instance.is_over:
                await self._have_program((instance.workflow, instance.version))
        self._world.load(sorted(stored, key=lambda one: (one.modified, one.instance.id)))
        if stored:
            history = [(one.instance, one.history) for one in stored if one.queued is None]
            asked = self._world.outstanding(one.instance for one in stored if one.queued is None)
            ended = [instance for instance in instances if instance.is_over]
            await self._hand_over(Followed(history=history, asked=asked, ended=ended))

    def _next_handed(self, partitions: Collection[int], most: int) -> list[Row]:
        """Return what others have handed over for some partitions; what is for others goes back to them."""
        for number, one in [*self._handed.items()]:
            if one.partition not in partitions:
                del self._handed[number]
                one.answer.set_result(None)
        return [Row(number, one.partition, one.told) for number, one in islice(self._handed.items(), most)]

    async def _take(self, rows: Iterable[Row], partitions: Collection[int]) -> dict[int, str | None]:
        """Let happen what rows tell, and pass the time; return what became of each row that was taken."""
        taken: dict[int, str | None] = {}
        world, now, is_idle = self._world, self._now(), True
        for number, partition, told in rows:
            is_idle = False
            if (version := world.version_of(told)) is not None:
                await self._have_program(version)
            reason = world.take(partition, told, now)
            if reason != UNFINISHED:
                taken[number] = reason
            if world.is_large:
                return taken
        if self._most > 1 or is_idle:
            world.elapse(now, self._most, partitions)
        return taken

    async def _give_way(self, rows: list[Row], reason: str) -> None:
        """Go on without what the map refuses, once it is known what that is."""
        stuck = [*self._world.history] if not rows else []
        is_known = self._most == 1
        self._most = 1
        self._begin_anew()
        await self._move()
        if not is_known:
            return
        log.error("workflow_step_refused", reason=reason, happenings=[str(row.told)[:200] for row in rows], of=stuck)
        self._world.counts["refused"] += 1
        for name in stuck:
            self._world.leave(name)
        refused: dict[int, str | None] = {row.number: reason for row in rows}
        numbers = [number for number in refused if number > 0]
        await self._hand_over(Followed(numbers, outcomes=_outcomes(rows, refused)))
        await self._settle(refused, 0)

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

    async def _settle(self, taken: Mapping[int, str | None], index: int) -> None:
        """Tell who waits what became of happenings, here and at the gateways that have handed some over."""
        await self.answer({number: reason for number, reason in taken.items() if number > 0})
        for number, reason in taken.items():
            one = self._handed.pop(number, None)
            if one is not None:
                one.answer.set_result(Taken(reason, index))

    def _ended(self, outcomes: Sequence[tuple[Told, str | None]]) -> list[Instance]:
        """Return the instances that are over, and those that were when somebody began to wait for them."""
        asked_for = (told.id for told, _ in outcomes if isinstance(told, Begins))
        found = (self._world.instances.get(name) for name in {*self._world.history, *asked_for})
        return [one for one in found if one is not None and one.is_over]

    async def _have_program(self, version: Version) -> None:
        if version not in self._programs:
            program = await self._in_store(self._service.program, *version)
            if program is not None:
                self._programs[version] = program

    def _pause_s(self) -> float:
        active = self._active()
        longest = LOOK_EVERY_S if len(active) == len(self._versions) else LOOK_AGAIN_S
        deadline = self._world.next_deadline(active)
        return longest if deadline is None else min(max((deadline - self._now()) / 1000, 0), longest)


def _outcomes(rows: Sequence[Row], taken: Mapping[int, str | None]) -> list[tuple[Told, str | None]]:
    """Return what became of the rows that were taken."""
    return [(row.told, taken[row.number]) for row in rows if row.number in taken]
