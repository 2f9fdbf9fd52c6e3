"""What a cluster agrees on: commands in one order, the same at every member. (D1)

ConsensusFailed
 ├── NoLeader        nothing was proposed: submit again whenever you like
 ├── Unknown         proposed, and nobody can say yet whether it will be committed
 ├── TooLarge        longer than a command may be
 ├── Refused         a change of the members that the cluster does not make
 ├── NotCommitted    no such entry is committed yet
 ├── Compacted       the entry is in a snapshot and no longer in the log
 └── FellBehind      a subscriber was too slow and has missed entries
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

COMMAND_BYTES = 1024 * 1024
"""A command's greatest length."""


class ConsensusFailed(Exception):  # noqa: N818 - it reads as what happened
    """The base of what can go wrong with a call of the port."""


class NoLeader(ConsensusFailed):
    """There was no leader within the time given, or it was out of reach; the command was not proposed."""


class Unknown(ConsensusFailed):
    """The command was proposed and its outcome did not come in time: it may be committed, now or later."""


class TooLarge(ConsensusFailed):
    """A command is longer than COMMAND_BYTES."""

    def __init__(self, size: int) -> None:
        super().__init__(f"a command of {size} bytes is longer than {COMMAND_BYTES}")
        self.size = size


class Refused(ConsensusFailed):
    """The members can't be changed like this; `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NotCommitted(ConsensusFailed):
    """No entry with this index is committed at this member yet."""

    def __init__(self, index: int) -> None:
        super().__init__(f"entry {index} is not committed")
        self.index = index


class Compacted(ConsensusFailed):
    """The entry is no longer in the log; `first` is the lowest index that is."""

    def __init__(self, index: int, first: int) -> None:
        super().__init__(f"entry {index} is compacted: the log begins at {first}")
        self.index = index
        self.first = first


class FellBehind(ConsensusFailed):
    """A subscriber did not keep up, or a snapshot took the place of entries; `index` is the last one that it got."""

    def __init__(self, index: int) -> None:
        super().__init__(f"the subscriber has missed entries after {index}: read the state anew and subscribe again")
        self.index = index


@dataclass(frozen=True)
class Applied:
    """What became of a command: its index in the log, and what the state machine gave back for it."""

    index: int
    outcome: bytes


@dataclass(frozen=True)
class Committed:
    """An entry that was applied at this member. Indices grow; those of the cluster's own entries are missing."""

    index: int
    command: bytes
    outcome: bytes


class StateMachine(Protocol):
    """A state that every member computes from the same commands: deterministic, without I/O or a clock.

    All calls come from the member's event loop, one after the other. None may raise: bad input is an outcome.
    """

    def apply(self, index: int, command: bytes) -> bytes:
        """Take the next command and return its outcome, which its submitter gets."""
        ...

    def query(self, question: bytes) -> bytes:
        """Answer from the state as it is here; after `Consensus.barrier` the answer is linearizable."""
        ...

    def snapshot(self) -> bytes:
        """Return the whole state."""
        ...

    def restore(self, snapshot: bytes) -> None:
        """Take the state of a snapshot in place of this one."""
        ...


class Consensus(Protocol):
    """A member of the cluster, as the rest of the gateway sees it. Calls belong to one event loop."""

    async def start(self) -> None:
        """Read the disk and talk to the peers. Raises StartFailed."""
        ...

    async def stop(self) -> None:
        """Leave the peers and close the disk; calls that wait raise Unknown or NoLeader."""
        ...

    async def submit(self, command: bytes, within: float = 5.0) -> Applied:
        """Commit a command and return its outcome; may be called at any member.

        Waits `within` seconds for a leader and the outcome. Raises NoLeader, Unknown, TooLarge.
        """
        ...

    async def barrier(self, within: float = 5.0) -> int:
        """Return an index up to which this member has applied all that was committed at the time of the call.

        The leader confirms by a round of the majority that it leads: a read after it is linearizable. Raises NoLeader.
        """
        ...

    def read(self, index: int) -> bytes:
        """Return the command of a committed entry; empty for the cluster's own. Raises NotCommitted, Compacted."""
        ...

    @property
    def name(self) -> str: ...

    @property
    def leader(self) -> str | None:
        """The name of the leader that this member follows, or its own; None while there is none."""
        ...

    @property
    def last_index(self) -> int:
        """The last index that this member has applied."""
        ...

    @property
    def members(self) -> tuple[str, ...]:
        """The members' names, sorted."""
        ...

    def subscribe(self) -> AsyncIterator[Committed]:
        """Give every command from this call on, in order, once applied. Raises FellBehind."""
        ...

    async def add_member(self, name: str, address: str, within: float = 5.0) -> None:
        """Have a further member, that listens at HOST:PORT with the same secret. Raises Refused, NoLeader, Unknown."""
        ...

    async def remove_member(self, name: str, within: float = 5.0) -> None:
        """Have one member less. Raises Refused, NoLeader, Unknown."""
        ...
