"""Firings over time as a picture of characters: each where its time and the value that caused it are. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

WIDTH, HEIGHT = 72, 8  # of the picture without its axes
CHARTS = 3  # of values that are drawn, the first ones
BOTH = "◉"
LABEL = 12


class Mark(NamedTuple):
    """A firing."""

    sign: str
    at: datetime
    values: Mapping[str, Any]


def chart(marks: Sequence[Mark], start: datetime, end: datetime) -> Iterator[str]:
    """Give the lines of a picture for each number that caused firings, the first three."""
    names = dict.fromkeys(name for mark in marks for name, value in mark.values.items() if _is_number(value))
    for name in list(names)[:CHARTS]:
        points = [(mark, float(mark.values[name])) for mark in marks if _is_number(mark.values.get(name))]
        yield ""
        yield name
        yield from _picture(points, start, end)


def _picture(points: list[tuple[Mark, float]], start: datetime, end: datetime) -> Iterator[str]:
    low, high = min(value for _, value in points), max(value for _, value in points)
    cells: dict[tuple[int, int], str] = {}
    for mark, value in points:
        place = (_cell(value, low, high, HEIGHT), _cell(mark.at.timestamp(), start.timestamp(), end.timestamp(), WIDTH))
        cells[place] = mark.sign if cells.get(place, mark.sign) == mark.sign else BOTH
    for row in range(HEIGHT - 1, -1, -1):
        label = {0: f"{low:.6g}", HEIGHT - 1: f"{high:.6g}"}.get(row, "")
        line = "".join(cells.get((row, column), " ") for column in range(WIDTH))
        yield f"{label:>{LABEL}} │{line}".rstrip()
    first, last = (moment.isoformat(timespec="minutes")[:16] for moment in (start, end))
    yield " " * LABEL + " └" + "─" * WIDTH
    yield " " * (LABEL + 2) + first + last.rjust(WIDTH - len(first))


def _cell(value: float, low: float, high: float, cells: int) -> int:
    """Return in which cell of a scale a value is."""
    return 0 if high == low else min(max(int((value - low) / (high - low) * cells), 0), cells - 1)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
