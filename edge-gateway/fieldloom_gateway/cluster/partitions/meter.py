"""What a gateway does for each of its partitions, in units a second of about the last five minutes. (D4, ADR 71)

A unit is a happening that a tenant took and that another gateway would take if it owned the partition.
"""

import math
from collections.abc import Callable, Mapping
from threading import Lock
from typing import NamedTuple

from fieldloom_gateway.cluster.partitions.levelling import IDLE
from fieldloom_gateway.cluster.partitions.records import Loads
from fieldloom_gateway.cluster.partitions.view import View

LASTS_S = 300.0
"""After so long what was done counts for 1/e of what it did."""
TELL_S = 30.0
"""A gateway that has told its loads tells them again after so long, if they have changed noticeably."""
NEWS = 0.1
"""What is noticeable, as a part of all that it does."""


class _Rate(NamedTuple):
    per_s: float
    at: float


class Meter:
    """Counts for the partitions that are loaded: a tenant. May be called from any thread.

    What was told of a partition last is from where its next owner counts on.
    """

    def __init__(self, gateway: str, view: View, steady: Callable[[], float]) -> None:
        self._gateway = gateway
        self._view = view
        self._steady = steady
        self._rates: dict[int, _Rate] = {}
        self._lock = Lock()

    async def load(self, partition: int, version: int) -> None:  # noqa: ARG002 - the port's signature
        """Count on from what was told."""
        with self._lock:
            self._rates[partition] = _Rate(self._view.load(partition), self._steady())

    async def drain(self, partition: int, version: int) -> None:
        """Do nothing: there is nothing to finish."""

    def unload(self, partition: int) -> None:
        """Forget a partition."""
        with self._lock:
            self._rates.pop(partition, None)

    def did(self, partition: int, units: float) -> None:
        """Count what was done for a partition, if it is still loaded."""
        with self._lock:
            rate = self._rates.get(partition)
            if rate is not None:
                now = self._steady()
                self._rates[partition] = _Rate(_after(rate, now) + units / LASTS_S, now)

    def rates(self) -> dict[int, float]:
        """Return the units a second by partition, of all that are loaded."""
        with self._lock:
            now = self._steady()
            return {partition: _after(rate, now) for partition, rate in self._rates.items()}

    def word(self) -> Loads | None:
        """Return what the others are to be told now, None while nothing is.

        Who has news begins a round, and all tell theirs in it: rates of one moment can be compared.
        """
        view = self._view
        is_behind = view.is_behind(self._gateway)
        if not is_behind and view.since_told(self._gateway, self._steady()) < TELL_S:
            return None
        rates = self.rates()
        if not is_behind and not self._is_news(rates):
            return None
        number = max(view.round, 1) if is_behind else view.round + 1
        return Loads(number, {partition: round(rate * 60) for partition, rate in rates.items()})

    def _is_news(self, rates: Mapping[int, float]) -> bool:
        changed = sum(abs(rate - self._view.load(partition)) for partition, rate in rates.items())
        return changed > NEWS * max(IDLE, sum(rates.values()))


def _after(rate: _Rate, now: float) -> float:
    return rate.per_s * math.exp((rate.at - now) / LASTS_S)
