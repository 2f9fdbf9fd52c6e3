"""Who is to have what, given who lives: what a successor takes over, and what the leader moves. Pure. (D4, W8)

All gateways work out the same from the same log. Where their views differ for a moment, the map takes one proposal.
"""

from fieldloom_gateway.cluster.partitions.levelling import level
from fieldloom_gateway.cluster.partitions.partition import PARTITIONS
from fieldloom_gateway.cluster.partitions.placement import Move, Strategy, moves, place
from fieldloom_gateway.cluster.partitions.view import WAIT_S, View

TRANSFERS = 32
"""Partitions that are handed over at a time: while one is, nobody acts for its devices."""

ABANDONED_S = 3 * WAIT_S


def candidates(view: View, now: float) -> set[str]:
    """Return the gateways that may have partitions: who lives and does not drain; if all drain, who lives."""
    living = view.living(now)
    return {name for name, renewal in living.items() if not renewal.is_draining} or set(living)


def is_by_load(view: View, strategy: Strategy, now: float) -> bool:
    """Whether partitions are shared by their load now: every gateway that lives does so, and tells its own."""
    living = view.living(now)
    return strategy == "by_load" and bool(living) and all(renewal.by_load for renewal in living.values())


def claims(view: View, gateway: str, strategy: Strategy, now: float) -> list[int]:
    """Return the partitions that a gateway is to take over, from the dead or from nobody, in their order.

    What the others leave to each other for long is anybody's, as where their strategies differ.
    """
    silent = view.silent(now)
    if not silent:
        return []
    able = candidates(view, now)
    target, others = place(strategy, _holders(view, able), able), [at for at in silent if _owner(view, at) != gateway]
    mine = [at for at in others if target.get(at) == gateway]
    if mine or gateway not in able:
        return mine
    return [at for at in others if view.since_seen(at, now) >= ABANDONED_S]


def transfers(view: View, strategy: Strategy, now: float) -> list[Move]:
    """Return the moves to order now: between gateways that live, and no more than may be under way at a time."""
    if not view.is_settled(now):
        return []
    living, able = view.living(now), candidates(view, now)
    target = _target(view, strategy, able, now)
    owners = {at: found.owner for at in target if (found := view.assignment(at)) and found.owner in living}
    named = {at: heir.gateway for at in owners if (heir := view.heir(at)) and heir.gateway in able}
    wanted = [one for one in moves(owners, target) if one.partition not in named]
    return wanted[: max(0, TRANSFERS - len(named))]


def _target(view: View, strategy: Strategy, able: set[str], now: float) -> dict[int, str]:
    """Return who is to have what. By load nothing moves while not all have told theirs, but what must."""
    holders = _holders(view, able)
    target = place(strategy, holders, able)
    if not is_by_load(view, strategy, now):
        return target
    kept = {at: holder if holder in able else target[at] for at, holder in holders.items()}
    if any(view.is_behind(gateway) for gateway in view.living(now)):
        return kept
    return level(kept, able, {at: view.load(at) for at in kept})


def _holders(view: View, able: set[str]) -> dict[int, str]:
    """Return who has what; what is on its way to an heir that lives counts as its own."""
    holders = {}
    for partition in range(PARTITIONS):
        heir = view.heir(partition)
        holder = heir.gateway if heir is not None and heir.gateway in able else _owner(view, partition)
        if holder is not None:
            holders[partition] = holder
    return holders


def _owner(view: View, partition: int) -> str | None:
    found = view.assignment(partition)
    return None if found is None else found.owner
