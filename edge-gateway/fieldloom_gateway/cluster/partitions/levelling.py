"""Who is to have which partition so that the gateways of a site have about the same to do. Pure. (D4, ADR 71)

What is even is measured by the mean of the gateways, or by the heaviest partition where that alone is more: no plan
can do better than the larger of the two. Between TRIGGER and GOAL nothing moves, so that nothing moves back and forth.
"""

from collections.abc import Collection, Mapping

TRIGGER = 1.25
"""A gateway that has so many times what is even gives away."""
GOAL = 1.1
"""Until it has no more than so many times that; nobody is given more either."""
LEAST = 0.5
"""A gateway that has less than this part of an even share, as one that has joined, is given partitions."""
IDLE = 10.0
"""Units a second of a whole site under which loads say nothing, and partitions are shared by their number."""


def level(owners: Mapping[int, str], gateways: Collection[str], loads: Mapping[int, float]) -> dict[int, str]:
    """Return who is to have each partition that has an owner among `gateways`. The most loaded gets no more by it.

    `loads` are units a second by partition, 0 for what is not in it.
    """
    is_idle = sum(loads.get(at, 0.0) for at in owners) < IDLE
    plan = _Plan(owners, gateways, dict.fromkeys(owners, 1.0) if is_idle else loads)
    if not is_idle:
        _relieve(plan)
    _provide(plan)
    return plan.owners


class _Plan:
    """Who is to have what, as far as it is worked out."""

    def __init__(self, owners: Mapping[int, str], gateways: Collection[str], weights: Mapping[int, float]) -> None:
        self.owners = dict(owners)
        self.weights = {at: weights.get(at, 0.0) for at in sorted(owners)}
        self.held = dict.fromkeys(sorted(gateways), 0.0)
        for at, owner in owners.items():
            self.held[owner] += self.weights[at]

    @property
    def most(self) -> str:
        """The gateway with the most to do."""
        return max(self.held, key=self.held.__getitem__)

    @property
    def least(self) -> str:
        """The gateway with the least to do."""
        return min(self.held, key=self.held.__getitem__)

    def movable(self, gateway: str, mean: float) -> dict[int, float]:
        """Return the weights of what a gateway may give away: its heaviest stays where that alone is above the mean."""
        own = {at: weight for at, weight in self.weights.items() if self.owners[at] == gateway}
        heaviest = max(own, key=own.__getitem__)
        if own[heaviest] > mean:
            del own[heaviest]
        return own

    def move(self, partition: int, heir: str) -> None:
        """Have another gateway own a partition."""
        self.held[self.owners[partition]] -= self.weights[partition]
        self.held[heir] += self.weights[partition]
        self.owners[partition] = heir


def _relieve(plan: _Plan) -> None:
    """Have those give away who have far too much, in few moves: what is enough at once, else the heaviest that fits."""
    mean = sum(plan.held.values()) / len(plan.held)
    even = max(mean, *plan.weights.values())
    if plan.held[plan.most] <= TRIGGER * even:
        return
    while (excess := plan.held[plan.most] - GOAL * even) > 0:
        most, least = plan.most, plan.least
        room = max(GOAL * even, plan.held[most] - (TRIGGER - GOAL) * even) - plan.held[least]
        fitting = {at: weight for at, weight in plan.movable(most, mean).items() if 0 < weight <= room}
        if not fitting:
            return
        enough = [at for at, weight in fitting.items() if weight >= excess]
        plan.move(min(enough, key=fitting.__getitem__) if enough else max(fitting, key=fitting.__getitem__), least)


def _provide(plan: _Plan) -> None:
    """Have those be given something who have far too little, from whom it leaves with no less than them."""
    share = _share(sorted(plan.weights.values(), reverse=True), len(plan.held))
    while plan.held[least := plan.least] < LEAST * share:
        fitting = {
            at: (weight, plan.held[plan.owners[at]])
            for at, weight in plan.weights.items()
            if 0 < weight <= share - plan.held[least] and plan.held[least] + 2 * weight <= plan.held[plan.owners[at]]
        }
        if not fitting:
            return
        plan.move(max(fitting, key=fitting.__getitem__), least)


def _share(weights: list[float], gateways: int) -> float:
    """Return an even share, of weights in falling order, when those are set apart that alone are more."""
    rest = sum(weights)
    for at, weight in enumerate(weights[: gateways - 1]):
        if weight <= rest / (gateways - at):
            return rest / (gateways - at)
        rest -= weight
    return rest
