"""Which of several instances of a service to use. (D5)"""

from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Literal

from fieldloom_gateway.cluster.services.definition import Instance

Strategy = Literal["random", "round_robin", "least_loaded"]


class Selection:
    """Selects, and remembers whose turn it was; `rng` is what is random."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._turns: Counter[str] = Counter()

    def select(self, name: str, instances: Sequence[Instance], strategy: Strategy) -> Instance:
        """Return one of the instances of a service, of which there is at least one, in the order of their ids."""
        match strategy:
            case "random":
                return self._rng.choice(instances)
            case "round_robin":
                self._turns[name] += 1
                return instances[(self._turns[name] - 1) % len(instances)]
            case "least_loaded":
                least = min(one.load for one in instances)
                return self._rng.choice([one for one in instances if one.load == least])
