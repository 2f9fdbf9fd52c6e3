"""Which gateway is to have which partition, and what has to move for that. Pure. (D4)

`consistent_hash`   a partition's gateway is the first after it on the ring: it depends on who is there alone
`balanced`          shares differ by one at most; owners keep what they have, and no plan with such shares moves less
`by_load`           what has no owner goes as `balanced` has it; what has one moves by its load (levelling)
"""

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Literal, NamedTuple

from fieldloom_gateway.cluster.partitions.partition import PARTITIONS
from fieldloom_gateway.cluster.partitions.ring import orders

Strategy = Literal["consistent_hash", "balanced", "by_load"]


class Move(NamedTuple):
    """A partition is to go from its owner to another gateway."""

    partition: int
    owner: str
    heir: str


def place(strategy: Strategy, owners: Mapping[int, str], gateways: Collection[str]) -> dict[int, str]:
    """Return the gateway that is to have each partition, of some that there are; nothing if there are none.

    `owners` says who has what, also those that are not there any more; a partition without an owner is not in it.
    """
    if not gateways:
        return {}
    if strategy == "consistent_hash":
        return {partition: order[0] for partition, order in enumerate(orders(frozenset(gateways)))}
    return _balance(owners, gateways)


def moves(owners: Mapping[int, str], target: Mapping[int, str]) -> list[Move]:
    """Return what has to move between owners that there are."""
    return [Move(at, owner, target[at]) for at, owner in sorted(owners.items()) if target.get(at, owner) != owner]


def _balance(owners: Mapping[int, str], gateways: Collection[str]) -> dict[int, str]:
    shares = _shares(owners, gateways)
    room = Counter(shares)
    target: dict[int, str] = {}
    for partition, owner in sorted(owners.items()):
        if room[owner] > 0:
            target[partition] = owner
            room[owner] -= 1
    for partition, order in enumerate(orders(frozenset(gateways))):
        if partition not in target:
            heir = next(name for name in order if room[name] > 0)
            target[partition] = heir
            room[heir] -= 1
    return target


def _shares(owners: Mapping[int, str], gateways: Collection[str]) -> dict[str, int]:
    """Return how many partitions each is to have: who has the most keeps one more, where they don't come out even."""
    least, more = divmod(PARTITIONS, len(gateways))
    has = Counter(owners.values())
    by_count = sorted(gateways, key=lambda name: (-has[name], name))
    return {name: least + (at < more) for at, name in enumerate(by_count)}
