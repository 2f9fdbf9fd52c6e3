"""How often stores of time series are asked, how long it takes, and how often it fails. (S4)"""

import time
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from prometheus_client import Counter, Histogram

LABELS = ("backend", "operation")
SECONDS = Histogram(
    "fieldloom_cloud_series_seconds",
    "How long writes, queries and upkeep of time series took that went well.",
    LABELS,
    registry=None,
    buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30),
)
FAILURES = Counter(
    "fieldloom_cloud_series_failures", "Writes, queries and upkeep of time series that failed.", LABELS, registry=None
)
POINTS = Counter(
    "fieldloom_cloud_series_points", "Points of time series by what became of them.", ("outcome",), registry=None
)
ALL = (SECONDS, FAILURES, POINTS)


class Named(Protocol):
    """A backend by name."""

    name: str


Store = TypeVar("Store", bound=Named)
Given = ParamSpec("Given")
Answer = TypeVar("Answer")
Method = Callable[Concatenate[Store, Given], Answer]


def measured(operation: str) -> Callable[[Method[Store, Given, Answer]], Method[Store, Given, Answer]]:
    """Have a backend's method counted as `write`, `query` or `keep`."""

    def around(method: Method[Store, Given, Answer]) -> Method[Store, Given, Answer]:
        @wraps(method)
        def run(store: Store, /, *given: Given.args, **named: Given.kwargs) -> Answer:
            begun = time.monotonic()
            try:
                answer = method(store, *given, **named)
            except Exception:
                FAILURES.labels(store.name, operation).inc()
                raise
            SECONDS.labels(store.name, operation).observe(time.monotonic() - begun)
            return answer

        return run

    return around
