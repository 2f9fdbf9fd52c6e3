"""Has the planned faults strike the boards and end again. (F7)"""

import heapq
from collections import Counter
from typing import Protocol

from fieldloom_sim.scenario.plan import Event


class Power(Protocol):
    """Who switches boards: the fleet."""

    def off(self, board: str) -> None:
        """Cut a board's power."""

    def on(self, board: str) -> None:
        """Give it back."""


class Air(Protocol):
    """Who carries what they send: the network."""

    def lose(self, board: str) -> None:
        """Let nothing of a board through."""

    def heal(self, board: str) -> None:
        """Let it through again."""

    def reset(self, board: str) -> None:
        """Reset a board's connections."""


class Weather:
    """The faults of one run. Where two of a kind overlap on a board, the later end counts."""

    def __init__(self, planned: list[Event], power: Power, air: Air) -> None:
        self.struck: Counter[str] = Counter()
        """How often each fault has struck."""
        self.planned = Counter(event.fault for event in planned)
        self._coming = sorted(planned, reverse=True)
        self._ends: list[tuple[float, str, str]] = []
        self._power = power
        self._air = air
        self._dark: Counter[str] = Counter()
        self._deaf: Counter[str] = Counter()

    @property
    def dark(self) -> set[str]:
        """The boards without power."""
        return {board for board, count in self._dark.items() if count}

    @property
    def deaf(self) -> set[str]:
        """The boards without a link."""
        return {board for board, count in self._deaf.items() if count}

    def blow(self, now: float) -> None:
        """Let begin and end all that is due `now` seconds after the start."""
        while self._ends and self._ends[0][0] <= now:
            _, board, fault = heapq.heappop(self._ends)
            self._end(board, fault)
        while self._coming and self._coming[-1].at <= now:
            event = self._coming.pop()
            self.struck[event.fault] += 1
            self._begin(event)

    def clear(self) -> None:
        """End all that is still going on, and let nothing more begin."""
        self._coming.clear()
        while self._ends:
            _, board, fault = heapq.heappop(self._ends)
            self._end(board, fault)

    def _begin(self, event: Event) -> None:
        if event.fault == "link_reset":
            self._air.reset(event.board)
            return
        heapq.heappush(self._ends, (event.at + event.lasts, event.board, event.fault))
        counts, begin = (self._deaf, self._air.lose) if event.fault == "link_loss" else (self._dark, self._power.off)
        counts[event.board] += 1
        if counts[event.board] == 1:
            begin(event.board)

    def _end(self, board: str, fault: str) -> None:
        counts, end = (self._deaf, self._air.heal) if fault == "link_loss" else (self._dark, self._power.on)
        counts[board] -= 1
        if not counts[board]:
            end(board)
