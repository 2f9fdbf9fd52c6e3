"""A member of a cluster: the core's cycle on the event loop, its disk in a thread, its callers. (D1, ADR 48)

One cycle takes the messages and commands that came meanwhile, has the core decide, sends what promises nothing about
this disk, writes one batch with one sync in a thread, and sends the rest: whatever came during a write forms the next
group. The loop never waits for the disk.
"""

import asyncio
import random
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

import structlog

from fieldloom_gateway.cluster.consensus.disk import Disk
from fieldloom_gateway.cluster.consensus.figures import Figures, Standing
from fieldloom_gateway.cluster.consensus.journal import FILE, SqliteJournal
from fieldloom_gateway.cluster.consensus.library import HEARTBEAT_S, Answer
from fieldloom_gateway.cluster.consensus.membership import MEMBERS_MOST, Membership
from fieldloom_gateway.cluster.consensus.messages import Message
from fieldloom_gateway.cluster.consensus.news import NEWS_S
from fieldloom_gateway.cluster.consensus.outbox import Letter, Outbox, grouped
from fieldloom_gateway.cluster.consensus.peers import Peers, split
from fieldloom_gateway.cluster.consensus.port import (
    COMMAND_BYTES,
    Applied,
    Committed,
    Compacted,
    NoLeader,
    NotCommitted,
    Refused,
    StateMachine,
    TooLarge,
)
from fieldloom_gateway.cluster.consensus.proposals import Proposals
from fieldloom_gateway.cluster.consensus.raft import Raft
from fieldloom_gateway.cluster.consensus.subscription import Subscription
from fieldloom_runtime.errors import StartFailed

log = structlog.get_logger()

TICK_S = HEARTBEAT_S / 2
STALL_S = 1.0
"""A leader whose disk takes longer falls silent, so that another member leads."""
AGAIN_S = 1.0
"""After this time a question that nobody answered is asked again."""


class Member:
    """Consensus on PySyncObj's core; see `port.Consensus` for what its calls mean."""

    def __init__(self, membership: Membership, machine: StateMachine) -> None:
        self._membership = membership
        self._machine = machine
        self._outbox = Outbox(self._members_changed)
        me = membership.name, membership.address
        self._peers = Peers(me, membership.secret, self._heard, self._reach)
        self._inbox: list[tuple[str, str, list[Message]]] = []
        self._proposals = Proposals()
        self._asking: list[asyncio.Future[int]] = []
        self._catching_up: list[tuple[int, int, asyncio.Future[int]]] = []
        self._numbers = count()
        self._subscriptions: list[Subscription] = []
        self._is_scheduled = self._is_over = self._will_tell = False
        self._beaten = 0.0
        self._got = 0
        self.figures = Figures()
        self.failed: asyncio.Future[Exception]
        """Done once this member can't go on: its disk or a leader's contradicts what it knows."""

    # Starting and stopping.

    async def start(self) -> None:
        """Read the disk and listen. Raises StartFailed."""
        self._membership.check()
        self._loop = asyncio.get_running_loop()
        self.failed = self._loop.create_future()
        self._journal = await asyncio.to_thread(self._open)
        self._disk = Disk(self.name, self._journal, self.figures, self._written)
        me = self._membership.name, self._membership.address
        rng = random.Random()  # noqa: S311 - spreads elections, hides nothing
        self._raft = Raft(me, self._journal, self._outbox, self._machine, self._applied, rng)
        self._timer = self._loop.call_later(TICK_S, self._tick)
        try:
            await self._peers.start()
        except StartFailed:
            await self.stop()
            raise
        self._schedule()

    async def stop(self) -> None:
        self._end()
        await self._peers.stop()
        await self._disk.close()

    async def __aenter__(self) -> "Member":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def _open(self) -> SqliteJournal:
        folder = self._membership.folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        journal = SqliteJournal(folder / FILE)
        if journal.snapshot is None:
            journal.begin(self._membership.members)
            journal.write(journal.take())
        return journal

    def _end(self) -> None:
        self._is_over = True
        self._timer.cancel()
        self._proposals.abandon()
        for future in [*self._asking, *(future for _, _, future in self._catching_up)]:
            if not future.done():
                future.set_exception(NoLeader("this member stops"))
        for subscription in self._subscriptions:
            subscription.end()

    # What callers see.

    @property
    def name(self) -> str:
        return self._membership.name

    @property
    def leader(self) -> str | None:
        return self._raft.leader

    @property
    def last_index(self) -> int:
        return self._raft.applied_index

    @property
    def members(self) -> tuple[str, ...]:
        return tuple(sorted(self._raft.members))

    @property
    def standing(self) -> Standing:
        raft = self._raft
        return Standing(
            term=raft.term,
            is_leader=raft.is_leader,
            leader=raft.leader,
            applied=raft.applied_index,
            committed=raft.commit_index,
            last_in_log=raft.last_in_log,
            log_bytes=self._journal.size,
            elections=raft.elections,
            snapshots_taken=raft.snapshots_taken,
            snapshots_got=raft.snapshots_got,
            refused=dict(self._peers.refused),
        )

    async def submit(self, command: bytes, within: float = 5.0) -> Applied:
        if len(command) > COMMAND_BYTES:
            raise TooLarge(len(command))
        return await self._propose(lambda answer: self._raft.propose(command, answer), len(command), within)

    async def barrier(self, within: float = 5.0) -> int:
        end = self._loop.time() + within
        while (left := end - self._loop.time()) > 0 and not self._is_over:
            future: asyncio.Future[int] = self._loop.create_future()
            self._asking.append(future)
            self._schedule()
            try:
                async with asyncio.timeout(min(left, AGAIN_S)):
                    return await future
            except TimeoutError:
                continue
        raise NoLeader(f"no leader has confirmed within {within} s that it leads")

    def read(self, index: int) -> bytes:
        if index > self.last_index:
            raise NotCommitted(index)
        first = self._journal[0][1]
        if index <= first:
            raise Compacted(index, first + 1)
        return self._raft.command_at(index)

    def subscribe(self) -> Subscription:
        subscription = Subscription(self.last_index)
        self._subscriptions.append(subscription)
        return subscription

    async def add_member(self, name: str, address: str, within: float = 5.0) -> None:
        try:
            split(address)
        except ValueError as error:
            raise Refused(str(error)) from error
        members = self._raft.members
        if members.get(name) == address:
            return
        if name in members:
            raise Refused(f"{name} is a member at {members[name]}: remove it first")
        if len(members) == MEMBERS_MOST:
            raise Refused(f"a cluster has at most {MEMBERS_MOST} members")
        await self._change("add", name, address, within)

    async def remove_member(self, name: str, within: float = 5.0) -> None:
        members = self._raft.members
        if name not in members:
            return
        if len(members) == 1:
            raise Refused("the last member can't be removed")
        await self._change("rem", name, members[name], within)

    async def _change(self, verb: str, name: str, address: str, within: float) -> None:
        await self._propose(lambda answer: self._raft.propose_member(verb, name, address, answer), 0, within)

    async def _propose(self, propose: Callable[[Answer], None], size: int, within: float) -> Applied:
        if self._is_over:
            raise NoLeader("this member has stopped")
        self._schedule()
        return await self._proposals.submit(propose, size, within)

    # A cycle.

    def _schedule(self) -> None:
        if not self._is_scheduled and not self._is_over:
            self._is_scheduled = True
            self._loop.call_soon(self._cycle)

    def _tick(self) -> None:
        self._timer = self._loop.call_later(TICK_S, self._tick)
        self._proposals.again()
        self._asking = [future for future in self._asking if not future.done()]
        if not self._disk.is_writing:
            self._cycle()
        elif self._loop.time() - max(self._disk.begun, self._beaten) > HEARTBEAT_S:
            self._beat()

    def _beat(self) -> None:
        """Show that the leader is alive while it waits for its disk, but not for ever."""
        now = self._loop.time()
        if now - self._disk.begun < STALL_S:
            self._beaten = now
            self._raft.beat()
            self._post(self._outbox.take_ahead())

    def _cycle(self) -> None:
        self._is_scheduled = False
        if self._disk.is_writing or self._is_over:
            return
        try:
            self._decide()
        except Exception as error:
            log.exception("consensus_failed", member=self.name)
            self._end()
            self.failed.set_result(error)
            return
        self._post(self._outbox.take_ahead())
        if self._journal.is_dirty:
            self._disk.write(self._journal.take())
        else:
            self._post(self._outbox.take())

    def _tell(self) -> None:
        self._will_tell = False
        if self._raft.owes_news:
            self._cycle()

    def _decide(self) -> None:
        inbox, self._inbox = self._inbox, []
        for name, address, group in inbox:
            for message in group:
                self._raft.receive(name, address, message)
        self._hand_in()
        self._raft.step()
        if self._raft.owes_news and not self._will_tell:
            self._will_tell = True
            self._loop.call_later(NEWS_S, self._tell)
        if self._raft.snapshots_got != self._got:
            self._got = self._raft.snapshots_got
            for subscription in self._subscriptions:
                subscription.miss()
        self._let_go()

    def _hand_in(self) -> None:
        leader = self._raft.leader
        if leader is None or not (leader == self.name or self._outbox.reaches(leader)):
            return
        if self._asking:
            asking, self._asking = self._asking, []
            self._raft.confirm(lambda index: self._confirmed(asking, index))
        self._proposals.hand_in()

    def _confirmed(self, asking: list[asyncio.Future[int]], index: int | None) -> None:
        waiting = [future for future in asking if not future.done()]
        if index is None:
            self._asking += waiting  # the tick asks again
            return
        for future in waiting:
            heappush(self._catching_up, (index, next(self._numbers), future))

    def _let_go(self) -> None:
        """Let those go on who wait for an index that is applied now."""
        while self._catching_up and self._catching_up[0][0] <= self._raft.applied_index:
            _, _, future = heappop(self._catching_up)
            if not future.done():
                future.set_result(self._raft.applied_index)

    def _applied(self, committed: Committed) -> None:
        self.figures.applied += 1
        if self._subscriptions:
            for subscription in self._subscriptions:
                subscription.put(committed)
            self._subscriptions = [one for one in self._subscriptions if not one.is_over]

    def _written(self) -> None:
        self._post(self._outbox.take())
        self._cycle()

    # The peers.

    def _post(self, letters: list[Letter]) -> None:
        for name, group in grouped(letters).items():
            self._peers.send(name, group)

    def _heard(self, name: str, address: str, group: list[Message]) -> None:
        self._inbox.append((name, address, group))
        self._cycle()

    def _reach(self, name: str, address: str, is_there: bool) -> None:
        if is_there:
            self._outbox.connected(name, address)
        else:
            self._outbox.disconnected(name)
        log.info("member_in_reach" if is_there else "member_out_of_reach", member=self.name, peer=name)

    def _members_changed(self, name: str, address: str | None) -> None:
        self._peers.talk_to(name, address)
