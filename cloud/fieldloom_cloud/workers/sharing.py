"""Who of several processes takes and gives which slots: pure, so that each comes to the same fair share. (A7)"""

from collections import Counter
from collections.abc import Collection, Mapping
from typing import NamedTuple


class Move(NamedTuple):
    """What one worker has to do to come to its share."""

    give: list[int]
    take: list[int]


def shares(owned: Mapping[str, int], slots: int) -> dict[str, int]:
    """Return by worker how many of some slots it shall have, from how many each has: who has most keeps the odd ones.

    No two shares differ by more than one.
    """
    least, odd = divmod(slots, len(owned))
    ranked = sorted(owned, key=lambda worker: (-owned[worker], worker))
    return {worker: least + (place < odd) for place, worker in enumerate(ranked)}


def move(owners: Mapping[int, str | None], living: Collection[str], me: str) -> Move:
    """Return what a living worker gives back or takes; `owners` has every slot, a dead owner's is free.

    The highest slots are given first, so that slot 0, whose owner does what only one may do, moves least.
    """
    counted = Counter(owner for owner in owners.values() if owner in living)
    share = shares({worker: counted[worker] for worker in living}, len(owners))[me]
    mine = sorted(slot for slot, owner in owners.items() if owner == me)
    free = sorted(slot for slot, owner in owners.items() if owner not in living)
    return Move(give=mine[share:], take=free[: max(0, share - len(mine))])


def spans(slots: Collection[int]) -> str:
    """Return slots as people read them: `128 slots (0-63, 128-191)`."""
    runs: list[list[int]] = []
    for slot in sorted(slots):
        if runs and runs[-1][1] == slot - 1:
            runs[-1][1] = slot
        else:
            runs.append([slot, slot])
    told = ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
    return f"{len(slots)} slots ({told})" if runs else "no slots"
