"""How often a device is told again what it does not take: a board may have no memory for it, or not know how."""

FIRST_MS = 5_000
LAST_MS = 300_000
DEVICES = 10_000


class Patience:
    """Doubles the time between two attempts with one version. In memory: after a start all begin anew."""

    def __init__(self) -> None:
        self._waits: dict[str, tuple[int, int, int]] = {}  # version, when it is over, the next wait

    def is_over(self, device: str, version: int, now: int) -> bool:
        """Whether a device is to be told a version again, which counts as done then; the first time is not yet."""
        known, due, wait = self._waits.get(device, (0, 0, 0))
        if known != version:
            if len(self._waits) >= DEVICES:
                self._waits.clear()
            self._waits[device] = (version, now + FIRST_MS, 2 * FIRST_MS)
            return False
        if now < due:
            return False
        self._waits[device] = (version, now + wait, min(2 * wait, LAST_MS))
        return True
