"""The live picture of a simulation: a cell a board, and what strikes the fleet. (F7)"""

import time
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fieldloom_sim.fleet import Fleet
from fieldloom_sim.scenario.weather import Weather

BEHIND_S = 3.0
A_ROW = 50
CELLS = {"report": ("■", "green"), "behind": ("■", "yellow"), "without link": ("□", "cyan"), "off": ("·", "red")}


@dataclass(frozen=True)
class Look:
    """The fleet at a moment."""

    at: float
    """Seconds after the start."""
    states: dict[str, str]
    """Of each board, one of CELLS."""
    acknowledged: int
    per_second: float

    @property
    def counts(self) -> dict[str, int]:
        """How many boards are in each state."""
        told = list(self.states.values())
        return {state: told.count(state) for state in CELLS}


class Observer:
    """Looks at a fleet again and again. A board reports while it got an acknowledgement lately."""

    def __init__(self, fleet: Fleet, boards: list[str], weather: Weather) -> None:
        self._fleet = fleet
        self._boards = boards
        self._weather = weather
        self._begun = self._looked = time.monotonic()
        self._last = dict.fromkeys(boards, (0, self._begun))
        self._first: int | None = None
        self._before = 0

    def look(self) -> Look:
        """Return what is to be seen now."""
        now = time.monotonic()
        for board in self._boards:
            count = sum(self._fleet.acknowledged(board).values())
            if count != self._last[board][0]:
                self._last[board] = (count, now)
        total = sum(count for count, _ in self._last.values())
        if self._first is None:  # what a continued fleet had before
            self._first = self._before = total
        rate = (total - self._before) / max(now - self._looked, 0.001)
        self._before, self._looked = total, now
        states = {board: self._state(board, now) for board in self._boards}
        return Look(now - self._begun, states, total - self._first, rate)

    def _state(self, board: str, now: float) -> str:
        if board in self._weather.dark:
            return "off"
        if board in self._weather.deaf:
            return "without link"
        return "report" if now - self._last[board][1] < BEHIND_S else "behind"


def picture(look: Look, weather: Weather, duration: float) -> RenderableType:
    """Return the whole picture."""
    title = (
        f"{look.at:.0f} s of {duration:.0f} · {len(look.states)} boards · {look.acknowledged:,} records acknowledged"
    )
    return Group(Text(f"{title} · {look.per_second:,.0f}/s", style="bold"), _map(look), _legend(look), _faults(weather))


def line(look: Look, weather: Weather, duration: float) -> str:
    """Return the same in a line, for where nothing can be drawn."""
    states = ", ".join(f"{count} {state}" for state, count in look.counts.items() if count)
    struck = sum(weather.struck.values())
    return (
        f"{look.at:.0f} s of {duration:.0f}: {states}; {look.acknowledged} records acknowledged, {struck} faults so far"
    )


def _map(look: Look) -> Text:
    drawn = Text()
    for number, state in enumerate(look.states.values()):
        cell, colour = CELLS[state]
        drawn.append("\n" if number and number % A_ROW == 0 else "")
        drawn.append(cell, colour)
    return drawn


def _legend(look: Look) -> Text:
    drawn = Text()
    for state, count in look.counts.items():
        cell, colour = CELLS[state]
        drawn.append(f"{cell} ", colour)
        drawn.append(f"{state} {count}   ")
    return drawn


def _faults(weather: Weather) -> Table:
    table = Table("fault", "struck", "planned", box=None, pad_edge=False)
    for fault, planned in sorted(weather.planned.items()):
        table.add_row(fault, str(weather.struck[fault]), str(planned))
    return table
