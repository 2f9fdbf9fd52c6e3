"""A member of a cluster: the core's cycle on the event loop, its disk in a thread, its callers. (D1, ADR 48)

One cycle takes the messages and commands that came meanwhile, has the core decide, sends what promises nothing about
this disk, writes one batch with one sync in a thread, and sends the rest: whatever came during a write forms the next
group. The loop never waits for the disk.
"""

import asyncio
import random
import sqlite3
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from typing import Any

import structlog
from pysyncobj.config import FAIL_REASON

from fieldloom_gateway.cluster.consensus.figures import Figures, Standing
from fieldloom_gateway.cluster.consensus.journal import FILE, Batch, SqliteJournal
from fieldloom_gateway.cluster.consensus.membership import MEMBERS_MOST, Membership
from fieldloom_gateway.cluster.consensus.messages import Message
from fieldloom_gateway.cluster.consensus.outbox import Letter, Outbox, grouped
from fieldloom_gateway.cluster.consensus.peers import Peers, split
from fieldloom_gateway.cluster.consensus.port import (
    COMMAND_BYTES,
    Applied,
    Committed,
    Compacted,
    ConsensusFailed,
    NoLeader,
    NotCommitted,
    Refused,
    StateMachine,
    TooLarge,
    Unknown,
)
from fieldloom_gateway.cluster.consensus.raft import HEARTBEAT_S, NEWS_S, Answer, Raft
from fieldloom_gateway.cluster.consensus.subscription import Subscription
from fieldloom_runtime.errors import StartFailed

log = structlog.get_logger()

TICK_S = HEARTBEAT_S / 2
PROPOSED = 10_000
PROPOSED_BYTES = 16 * 1024 * 1024
"""Commands that may be on their way at a time; others wait with their callers."""
STALL_S = 1.0
"""A leader whose disk takes longer falls silent, so that another member leads."""
AGAIN_S = 1.0
"""After this time a write that failed, or a question that nobody answered, is tried again."""

_LATER = (FAIL_REASON.DISCARDED, FAIL_REASON.NOT_LEADER, FAIL_REASON.MISSING_LEADER, FAIL_REASON.QUEUE_FULL)
"""What says that a proposal is not in the log and never will be: it is proposed again."""


@dataclass(eq=False)
class _Proposal:
    """Something on its way into the log, and who waits for it."""

    propose: Callable[[Answer], None]
    size: int
    future: asyncio.Future[Applied]
    is_proposed: bool = False
    denied: bool = field(default=False)
    """Whether the leader has turned a change of the members down; the next may do."""


class Member:
    """Consensus on PySyncObj's core; see `port.Consensus` for what its calls mean."""

    def __init__(self, membership: Membership, machine: StateMachine) -> None:
        self._membership = membership
        self._machine = machine
        self._outbox = Outbox(self._members_changed)
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="consensus-disk")
        me = membership.name, membership.address
        self._peers = Peers(me, membership.secret, self._heard, self._reach)
        self._inbox: list[tuple[str, str, list[Message]]] = []
        self._pending: deque[_Proposal] = deque()
        self._later: list[_Proposal] = []
        self._proposed: set[_Proposal] = set()
        self._proposed_bytes = 0
        self._asking: list[asyncio.Future[int]] = []
        self._catching_up: list[tuple[int, int, asyncio.Future[int]]] = []
        self._numbers = count()
        self._subscriptions: list[Subscription] = []
        self._is_scheduled = self._is_writing = self._is_over = self._will_tell = False
        self._write_begun = self._beaten = 0.0
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
        try:
            self._journal = await self._loop.run_in_executor(self._disk, self._open)
        except StartFailed:
            self._disk.shutdown(wait=False)
            raise
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
        await self._loop.run_in_executor(self._disk, self._close)
        self._disk.shutdown()

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

    def _close(self) -> None:
        try:
            self._journal.write(self._journal.take())
        except sqlite3.Error as error:
            log.error("consensus_disk_error", member=self.name, error=str(error))  # noqa: TRY400
        self._journal.close()

    def _end(self) -> None:
        self._is_over = True
        self._timer.cancel()
        for proposal in [*self._pending, *self._later, *self._proposed]:
            self._fail(proposal)
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
        proposal = _Proposal(propose, size, self._loop.create_future())
        self._pending.append(proposal)
        self._schedule()
        try:
            async with asyncio.timeout(within):
                return await proposal.future
        except TimeoutError:
            raise self._why(proposal, within) from None
        finally:
            self._settle(proposal)
            if not proposal.is_proposed:
                self._forget(proposal)

    def _forget(self, proposal: _Proposal) -> None:
        """Hold nothing for a caller that has gone."""
        for queue in (self._pending, self._later):
            with suppress(ValueError):
                queue.remove(proposal)

    def _why(self, proposal: _Proposal, within: float) -> ConsensusFailed:
        if proposal.is_proposed:
            return Unknown(f"nobody has said within {within} s whether it is committed")
        if proposal.denied:
            return Refused("another change of the members is under way, or this one is made already")
        return NoLeader(f"there was no leader within {within} s")

    # A cycle.

    def _schedule(self) -> None:
        if not self._is_scheduled and not self._is_over:
            self._is_scheduled = True
            self._loop.call_soon(self._cycle)

    def _tick(self) -> None:
        self._timer = self._loop.call_later(TICK_S, self._tick)
        if self._later:
            self._pending.extend(self._later)
            self._later.clear()
        self._asking = [future for future in self._asking if not future.done()]
        if not self._is_writing:
            self._cycle()
        elif self._loop.time() - max(self._write_begun, self._beaten) > HEARTBEAT_S:
            self._beat()

    def _beat(self) -> None:
        """Show that the leader is alive while it waits for its disk, but not for ever."""
        now = self._loop.time()
        if now - self._write_begun < STALL_S:
            self._beaten = now
            self._raft.beat()
            self._post(self._outbox.take_ahead())

    def _cycle(self) -> None:
        self._is_scheduled = False
        if self._is_writing or self._is_over:
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
            self._write(self._journal.take())
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
        while self._pending and len(self._proposed) < PROPOSED and self._proposed_bytes < PROPOSED_BYTES:
            proposal = self._pending.popleft()
            if not proposal.future.done():
                self._hand_in_one(proposal)

    def _hand_in_one(self, proposal: _Proposal) -> None:
        proposal.is_proposed = True
        self._proposed.add(proposal)
        self._proposed_bytes += proposal.size
        proposal.propose(lambda outcome, reason: self._answered(proposal, outcome, reason))

    def _answered(self, proposal: _Proposal, outcome: Any, reason: int) -> None:
        self._settle(proposal)
        if proposal.future.done():
            return
        if reason == FAIL_REASON.SUCCESS:
            proposal.future.set_result(outcome)
        elif reason in _LATER or reason == FAIL_REASON.REQUEST_DENIED:
            proposal.is_proposed, proposal.denied = False, reason == FAIL_REASON.REQUEST_DENIED
            self._later.append(proposal)
        else:
            self._fail(proposal)

    def _fail(self, proposal: _Proposal) -> None:
        if not proposal.future.done():
            lost = Unknown("the leader has changed") if proposal.is_proposed else NoLeader("this member stops")
            proposal.future.set_exception(lost)

    def _settle(self, proposal: _Proposal) -> None:
        if proposal in self._proposed:
            self._proposed.remove(proposal)
            self._proposed_bytes -= proposal.size

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

    # The disk.

    def _write(self, batch: Batch) -> None:
        self._is_writing = True
        self._write_begun = self._loop.time()
        self._disk.submit(self._write_in_thread, batch)

    def _write_in_thread(self, batch: Batch) -> None:
        begun = time.perf_counter()
        try:
            self._journal.write(batch)
        except sqlite3.Error as error:
            self._loop.call_soon_threadsafe(self._not_written, batch, str(error))
            return
        self._loop.call_soon_threadsafe(self._written, time.perf_counter() - begun)

    def _written(self, seconds: float) -> None:
        figures = self.figures
        figures.writes += 1
        figures.write_s += seconds
        figures.longest_write_s = max(figures.longest_write_s, seconds)
        self._is_writing = False
        self._post(self._outbox.take())
        self._cycle()

    def _not_written(self, batch: Batch, why: str) -> None:
        """Keep still until the disk takes the batch: nothing that rests on it has left."""
        self.figures.disk_errors += 1
        log.error("consensus_disk_error", member=self.name, error=why)
        self._write_begun = float("-inf")  # no beat: another member has to lead
        self._loop.call_later(AGAIN_S, self._write_again, batch)

    def _write_again(self, batch: Batch) -> None:
        if not self._is_over:
            self._disk.submit(self._write_in_thread, batch)

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
