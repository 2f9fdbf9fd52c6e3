"""How much a device may ask for in a time."""

from collections import OrderedDict

DEVICES = 10_000


class Rate:
    """A bucket a device: `burst` at once, of bytes or whatever a cost counts, and so many again each second.

    Who asked longest ago is forgotten.
    """

    def __init__(self, burst: int) -> None:
        self._burst = burst
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allows(self, device: str, cost: int, now: float) -> bool:
        """Whether a request may be answered now, in seconds of a steady clock."""
        left, seen = self._left.pop(device, (self._burst, now))
        left = min(self._burst, left + (now - seen) * self._burst)
        allowed = left >= cost
        self._left[device] = (left - cost if allowed else left, now)
        if len(self._left) > DEVICES:
            self._left.popitem(last=False)
        return allowed
