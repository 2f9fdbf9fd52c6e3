"""What a window can be made one number by: the built-in ways, and those that others register by name. (S2)"""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from importlib.metadata import entry_points
from typing import cast

from fieldloom_cloud.timeseries.ports import Query

GROUP = "fieldloom.aggregates"
"""The entry points by which another distribution brings its own."""

Points = Sequence[tuple[int, float]]
Aggregate = Callable[[Points], float]
"""Makes one number of a window's (ts, value), which are at least one and in ascending time."""


class AggregateFailed(Exception):  # noqa: N818 - it reads as what happened
    """A registered aggregate raised an error, or gave what is no finite number."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"the aggregate {name} failed: {reason}")


def _average(points: Points) -> float:
    return _sum(points) / len(points)


def _sum(points: Points) -> float:
    return sum(value for _, value in points)


def _min(points: Points) -> float:
    return min(value for _, value in points)


def _max(points: Points) -> float:
    return max(value for _, value in points)


def _count(points: Points) -> float:
    return float(len(points))


def _first(points: Points) -> float:
    return points[0][1]


def _last(points: Points) -> float:
    return points[-1][1]


def percentile(points: Points, share: float) -> float:
    """Return the value below which a share (0 to 1) lies, between two values by their distance (R's type 7)."""
    ordered = sorted(value for _, value in points)
    place = (len(ordered) - 1) * share
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


PERCENTILE = "percentile"
_OF_POINTS: dict[str, Aggregate] = {
    "average": _average,
    "sum": _sum,
    "min": _min,
    "max": _max,
    "count": _count,
    "first": _first,
    "last": _last,
}
BUILT_IN = (*_OF_POINTS, PERCENTILE)
_registered: dict[str, Aggregate] = {}


def register(name: str, aggregate: Aggregate) -> None:
    """Make an aggregate known to this process. Raises ValueError for a built-in one's name."""
    if name in BUILT_IN:
        raise ValueError(f"{name} is built in")
    _registered[name] = aggregate


def names() -> list[str]:
    """Return all names that a query may use: the built-in ones, then the others, sorted."""
    return [*BUILT_IN, *sorted({*_registered, *_installed()} - set(BUILT_IN))]


@cache
def _installed() -> frozenset[str]:
    return frozenset(entry_points(group=GROUP).names)


@cache
def _loaded(name: str) -> Aggregate:
    return cast(Aggregate, next(iter(entry_points(group=GROUP, name=name))).load())


def windowed(points: Iterable[tuple[int, float]], asked: Query) -> list[tuple[int, float]]:
    """Return one point a window of a series' points, which are in ascending time; `asked` has an aggregate.

    Raises AggregateFailed.
    """
    windows: dict[int, list[tuple[int, float]]] = {}
    for point in points:
        begins = asked.start if asked.window is None else point[0] - point[0] % asked.window
        windows.setdefault(begins, []).append(point)
    return [(begins, _one(inside, asked)) for begins, inside in windows.items()]


def _one(points: Points, asked: Query) -> float:
    name = asked.aggregate or ""
    if name == PERCENTILE:
        return percentile(points, asked.percentile)
    if name in _OF_POINTS:
        return _OF_POINTS[name](points)
    return _foreign(name, points)


def _foreign(name: str, points: Points) -> float:
    aggregate = _registered.get(name) or _loaded(name)
    try:
        number = float(aggregate(points))
    except Exception as error:
        raise AggregateFailed(name, f"{type(error).__name__}: {error}") from error
    if number - number != 0:
        raise AggregateFailed(name, f"it gave {number}")
    return number
