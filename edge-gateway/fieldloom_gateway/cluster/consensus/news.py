"""What a leader has told its members, and when they have to hear more. (D1, ADR 48)

Of a commit that no member waits for, the next command may bring the news: one message less a command.
"""

from typing import NamedTuple

NEWS_S = 0.005
"""After this time members hear of a commit, whether a command follows or not."""


class State(NamedTuple):
    """How a leader stands: the last index of its log, its commit index, and its round (`confirming`)."""

    last: int
    commit: int
    round: int


class News:
    """What the members of one leader were told. `now` is in seconds."""

    def __init__(self) -> None:
        self._told, self._told_at = State(0, 0, 0), 0.0
        self._was_asked = False
        self._awaited = 0

    def await_next(self) -> None:
        """Note that a member waits to hear of the commit of what is in the log when they are told next."""
        self._was_asked = True

    def told(self, state: State, now: float) -> None:
        """Note that all were told."""
        self._told, self._told_at = state, now
        if self._was_asked:
            self._awaited, self._was_asked = state.last, False

    def is_owed(self, state: State) -> bool:
        return self._told != state

    def is_urgent(self, state: State, now: float) -> bool:
        """Whether to tell them at once."""
        told = self._told
        if told == state:
            return False
        is_commit_alone = told.last == state.last and told.round == state.round
        return not is_commit_alone or told.commit < self._awaited or now - self._told_at >= NEWS_S
