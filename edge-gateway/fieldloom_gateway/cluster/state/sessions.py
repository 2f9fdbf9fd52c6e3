"""Which commands of a client took place, so that one that is sent again does not take place again.

As in section 6.3 of Ongaro's dissertation on Raft (2014): a client numbers its commands, and what became of each is
kept until the client says that it knows.
"""

from collections.abc import Iterable

import msgspec

from fieldloom_gateway.cluster.state.limits import OUTCOMES, SESSIONS


class Session(msgspec.Struct, array_like=True):
    """A client's; `number` is the index at which it was opened."""

    number: int
    name: str
    used: int
    """The index of its last command."""
    settled: int = 0
    outcomes: dict[int, bytes] = {}
    """By sequence, of those that are not settled."""

    @property
    def is_full(self) -> bool:
        """Whether it may take no further command before its client has taken note of some outcomes."""
        return len(self.outcomes) >= OUTCOMES

    def settle(self, sequence: int) -> None:
        """Forget what became of all up to a sequence."""
        if sequence > self.settled:
            self.settled = sequence
            self.outcomes = {number: told for number, told in self.outcomes.items() if number > sequence}


class Sessions:
    """All sessions; the one that was not used for the longest gives way to a further one."""

    def __init__(self, sessions: Iterable[Session] = ()) -> None:
        self._of = {session.number: session for session in sessions}

    def get(self, number: int) -> Session | None:
        """Return a session, None if there is none, or none any more."""
        return self._of.get(number)

    def open(self, index: int, name: str) -> None:
        """Begin a session, which has the index as its number."""
        if len(self._of) >= SESSIONS:
            del self._of[min(self._of, key=lambda number: (self._of[number].used, number))]
        self._of[index] = Session(index, name, index)

    def all(self) -> list[Session]:
        """Return the sessions by number, their outcomes by sequence."""
        for session in self._of.values():
            session.outcomes = dict(sorted(session.outcomes.items()))
        return [self._of[number] for number in sorted(self._of)]
