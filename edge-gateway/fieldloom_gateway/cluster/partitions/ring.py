"""Consistent hashing with virtual nodes: the same ring in every process. (D4)"""

from bisect import bisect
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b

from fieldloom_gateway.cluster.partitions.partition import PARTITIONS

VIRTUAL_NODES = 128
"""Points of a gateway on the ring: the more, the more even the shares."""
RINGS = 16
"""Sets of gateways whose orders are remembered."""


@lru_cache(RINGS)
def orders(gateways: frozenset[str]) -> tuple[tuple[str, ...], ...]:
    """Return for each partition all gateways, in the order in which they come after it on the ring."""
    points = sorted((_place(f"{name}#{at}"), name) for name in gateways for at in range(VIRTUAL_NODES))
    places = [place for place, _ in points]
    around = [name for _, name in points] * 2
    found = []
    for partition in range(PARTITIONS):
        begin = bisect(places, _place(str(partition)))
        found.append(tuple(dict.fromkeys(around[begin : begin + len(points)])))
    return tuple(found)


def replicas(partition: int, owner: str | None, gateways: Sequence[str], count: int) -> list[str]:
    """Return up to `count` gateways that are to have a partition: its owner, and who is next, in order."""
    first = [] if owner is None else [owner]
    order = orders(frozenset(gateways))[partition] if gateways else ()
    return [*first, *(name for name in order if name != owner)][:count]


def _place(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")
