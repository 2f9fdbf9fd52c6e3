"""The replicated map for the other parts of a gateway, alone or in a cluster. (D2)

Reads are of the local copy unless they are asked to be linearizable. A write returns when it is in the local copy too.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Literal

from fieldloom_contract.errors import Rejected
from fieldloom_gateway.cluster.consensus.port import Consensus, NoLeader, Unknown
from fieldloom_gateway.cluster.state.checking import check
from fieldloom_gateway.cluster.state.clock import ClusterClock, Renewals
from fieldloom_gateway.cluster.state.commands import (
    OLDEST,
    Body,
    Command,
    Compare,
    Delete,
    Done,
    Expire,
    Open,
    Opened,
    Operation,
    Outcome,
    Refused,
    Set,
    Touch,
    Transaction,
    Unmet,
    decode_outcome,
    encode,
)
from fieldloom_gateway.cluster.state.entries import Entry
from fieldloom_gateway.cluster.state.errors import Conflict, NotAgreed
from fieldloom_gateway.cluster.state.machine import ReplicatedMap
from fieldloom_gateway.cluster.state.watch import Follow, News, Watch

Consistency = Literal["local", "linearizable"]

WITHIN_S = 5.0
ATTEMPT_S = 1.0
"""How long one attempt of a write waits, before the same is sent again."""
PAUSE_S = 0.02
GRACE_S = 2.0
"""How long a new leader lets live what should have expired: nobody could touch anything while there was none."""
TICK_S = 0.25
IN_FLIGHT = 64
EXPIRED = 1000
"""Entries of one command."""
NO_LEADER = "the cluster has no leader: a majority of its gateways has to be up and reachable"


class Store:
    """A member's access to the map. `run` has to run beside it: it lets entries expire while this member leads."""

    def __init__(
        self,
        consensus: Consensus,
        machine: ReplicatedMap,
        steady: Callable[[], float] = time.monotonic,
        grace_s: float = GRACE_S,
    ) -> None:
        self._consensus = consensus
        self._machine = machine
        self._steady = steady
        self._grace_s = grace_s
        self._clock = ClusterClock(steady)
        self._renewals = Renewals(steady)
        self._news = News()
        self._room = asyncio.Semaphore(IN_FLIGHT)
        self._opening = asyncio.Lock()
        self._session = 0
        self._sequence = 0
        self._outstanding: set[int] = set()
        self._led_since: float | None = None
        self.agreed_version = OLDEST
        """The version of commands that all members know; no newer one is proposed. (D6)"""
        self.retries = 0
        machine.observers.append(self._moved)
        self._moved([entry.key for entry in machine.entries])

    @property
    def name(self) -> str:
        """The name of this member."""
        return self._consensus.name

    @property
    def index(self) -> int:
        """The index of the last command in the local copy."""
        return self._machine.index

    @property
    def now(self) -> int:
        """The cluster's time in ms as this member reckons it, see `clock`."""
        return self._clock.now()

    async def run(self) -> None:
        """Let expire what has lived its time, until cancelled."""
        while True:
            await asyncio.sleep(self._until_expiry())
            if self._has_led_for_long():
                await self._expire()

    def peek(self, key: str) -> Entry | None:
        """Return an entry of the local copy, None if there is none."""
        return self._machine.entries.get(key)

    def silent_s(self, key: str) -> float | None:
        """Return the seconds since this member saw an entry with a time to live renewed, None without one."""
        return self._renewals.silent_s(key)

    def below(self, prefix: str) -> list[Entry]:
        """Return the entries of the local copy whose keys begin with a prefix, in the order of keys."""
        return self._machine.entries.below(prefix)

    async def get(self, key: str, consistency: Consistency = "local", within: float = WITHIN_S) -> Entry | None:
        """Return an entry, None if there is none. Raises NoLeader if it has to be linearizable."""
        await self._catch_up(consistency, within)
        return self._machine.entries.get(key)

    async def list_keys(self, prefix: str, consistency: Consistency = "local", within: float = WITHIN_S) -> list[str]:
        """Return the keys that begin with a prefix, in their order. Raises NoLeader if it has to be linearizable."""
        await self._catch_up(consistency, within)
        return self._machine.entries.keys(prefix)

    async def items(self, prefix: str, consistency: Consistency = "local", within: float = WITHIN_S) -> list[Entry]:
        """Return the entries whose keys begin with a prefix. Raises NoLeader if it has to be linearizable."""
        await self._catch_up(consistency, within)
        return self._machine.entries.below(prefix)

    async def set(
        self,
        key: str,
        value: bytes,
        *,
        ttl_ms: int = 0,
        holder: str = "",
        expected: int | None = None,
        within: float = WITHIN_S,
    ) -> int:
        """Write an entry and return the index at which that took place.

        It expires after `ttl_ms`, if that is not 0, and goes with its holder, another entry. `expected` is the index
        at which it was modified last, 0 if it has to be absent. Raises Conflict, Rejected, NoLeader, Unknown.
        """
        operation = Set(key, value, ttl_ms, holder)
        return (await self._change(operation, expected, within)).index

    async def delete(self, key: str, *, expected: int | None = None, within: float = WITHIN_S) -> bool:
        """Delete an entry and what it holds; return whether it was there. Raises as `set` does."""
        return (await self._change(Delete(key), expected, within)).changed > 0

    async def touch(self, key: str, *, expected: int | None = None, within: float = WITHIN_S) -> None:
        """Let an entry's time to live begin anew. Raises Conflict if it is gone, and as `set` does."""
        await self._change(Touch(key), expected, within)

    async def transaction(
        self, compares: Sequence[Compare], operations: Sequence[Operation], within: float = WITHIN_S
    ) -> Done | Unmet:
        """Do all operations at once if all compares hold, else nothing; return which.

        Raises Rejected, NoLeader, Unknown: the operations took place once or not at all; after Unknown they may yet.
        """
        transaction = Transaction(tuple(compares), tuple(operations))
        check(transaction)
        deadline = asyncio.get_running_loop().time() + within
        try:
            async with asyncio.timeout_at(deadline):
                await self._room.acquire()
        except TimeoutError:
            raise NoLeader(f"{IN_FLIGHT} writes wait for the cluster already") from None
        self._sequence += 1
        sequence = self._sequence
        self._outstanding.add(sequence)
        try:
            return await self._commit(transaction, sequence, deadline)
        finally:
            self._outstanding.discard(sequence)
            self._room.release()

    def watch(self, prefix: str, after: int | None = None) -> Watch:
        """Return the changes below a prefix after an index, by default after what is in the local copy now."""
        return Watch(self._machine, self._news, prefix, after)

    def observe(self, prefix: str, moved: Callable[[list[str]], None]) -> None:
        """Have somebody know at once of the keys below a prefix that a command has written, touched or removed."""

        def told(keys: Iterable[str]) -> None:
            if found := [key for key in keys if key.startswith(prefix)]:
                moved(found)

        self._machine.observers.append(told)

    async def reach(self, index: int, within: float = WITHIN_S) -> None:
        """Wait until the local copy has come to an index that another member has told, but no longer than that."""
        await self._reach(index, asyncio.get_running_loop().time() + within)

    def follow(self, prefix: str) -> Follow:
        """Return what lies below a prefix, and then what changes; without an end, and without Compacted."""
        return Follow(self._machine, self._news, prefix)

    def status(self) -> dict[str, Any]:
        """Return what `status` tells."""
        entries = self._machine.entries
        return {
            "index": self.index,
            "entries": len(entries),
            "bytes": entries.bytes,
            "commands": self.agreed_version,
            "retries": self.retries,
        }

    async def _catch_up(self, consistency: Consistency, within: float) -> None:
        if consistency == "linearizable":
            await self._consensus.barrier(within)

    async def _change(self, operation: Operation, expected: int | None, within: float) -> Done:
        compares = () if expected is None else (Compare(operation.key, "modified", expected),)
        outcome = await self.transaction(compares, (operation,), within)
        if isinstance(outcome, Unmet):
            raise Conflict(outcome.key, outcome.modified)
        return outcome

    async def _commit(self, transaction: Transaction, sequence: int, deadline: float) -> Done | Unmet:
        while True:
            session = await self._in_session(deadline)
            outcome, is_first = await self._insist(transaction, session, sequence, deadline)
            match outcome:
                case Done() | Unmet():
                    await self._reach(outcome.index, deadline)
                    return outcome
                case Refused(field, reason):
                    raise Rejected(field, reason)
            if session == self._session:
                self._session = 0
            if not is_first:
                raise Unknown("the cluster has forgotten this member's session meanwhile")

    async def _in_session(self, deadline: float) -> int:
        """Return the number of the session, opened by the first who needs it. Raises NoLeader, Unknown."""
        try:
            async with asyncio.timeout_at(deadline):
                await self._opening.acquire()
        except TimeoutError:
            raise NoLeader(NO_LEADER) from None
        try:
            if not self._session:
                outcome, _ = await self._insist(Open(self.name), 0, 0, deadline)
                if isinstance(outcome, Opened):
                    self._session = outcome.session
            return self._session
        finally:
            self._opening.release()

    async def _insist(self, body: Body, session: int, sequence: int, deadline: float) -> tuple[Outcome, bool]:
        """Send a command until it is answered; return the outcome, and whether nobody can have had it before.

        Raises NoLeader, Unknown.
        """
        is_first = True
        while (left := deadline - asyncio.get_running_loop().time()) > 0:
            try:
                return await self._propose(body, session, sequence, min(left, ATTEMPT_S)), is_first
            except Unknown:
                is_first = False
            except NoLeader:
                pass
            self.retries += 1
            await asyncio.sleep(PAUSE_S)
        if is_first:
            raise NoLeader(NO_LEADER)
        raise Unknown("no answer came in time: it may have happened, or may happen yet")

    async def _propose(self, body: Body, session: int, sequence: int, within: float) -> Outcome:
        if self.agreed_version < body.SINCE:
            raise NotAgreed(body.SINCE, self.agreed_version)
        settled = min(self._outstanding, default=self._sequence + 1) - 1
        command = Command(body.SINCE, self._clock.now(), session, sequence, settled, body)
        return decode_outcome((await self._consensus.submit(encode(command), within)).outcome)

    async def _reach(self, index: int, deadline: float) -> None:
        """Wait until the local copy has come to an index, at most until the deadline: it took place all the same."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                while self._machine.index < index:
                    await self._news.next().wait()

    def _moved(self, touched: Iterable[str]) -> None:
        self._clock.hear(self._machine.now)
        self._renewals.note((key, self._machine.entries.get(key)) for key in touched)
        self._news.tell()

    def _until_expiry(self) -> float:
        deadline = self._machine.entries.next_deadline()
        if deadline is None or self._consensus.leader != self.name:
            return TICK_S
        return min(max((deadline - self.now) / 1000, PAUSE_S), TICK_S)

    async def _expire(self) -> None:
        due = [entry for entry in self._machine.entries.due(self.now) if self._renewals.is_silent(entry)]
        if due:
            seen = tuple((entry.key, entry.renewed) for entry in due[:EXPIRED])
            with suppress(NoLeader, Unknown):  # a later one does it
                await self._propose(Expire(seen), 0, 0, ATTEMPT_S)

    def _has_led_for_long(self) -> bool:
        """Whether this member has led for long enough to say that something has lived its time."""
        if self._consensus.leader != self.name:
            self._led_since = None
            return False
        if self._led_since is None:
            self._led_since = self._steady()
        return self._steady() - self._led_since >= self._grace_s
