"""Up to when nothing of a device's boot is missing: rules wait for it. (E8)

Cumulative acknowledgements make it exact. After a restart it stands where it was until the next record comes.
"""

from bisect import insort
from collections.abc import Callable, Iterable

from fieldloom_runtime.records import AnyRecord, Telemetry

MAX_AHEAD = 256  # records of a boot that have come before others; of more, the oldest counts no more
MAX_LIVES = 10_000  # boots of devices of which something is missing


class Watermarks:
    """The times of records that have come before others which are still missing."""

    def __init__(self) -> None:
        self._ahead: dict[tuple[str, int], list[tuple[int, int]]] = {}

    def take(self, records: Iterable[AnyRecord], run: Callable[[str, int], int]) -> dict[str, int]:
        """Take records, and return by device the time (Unix ms) up to which none is missing, where that has moved.

        `run` returns the last seq of a boot of a device before which none is missing.
        """
        reached: dict[str, int] = {}
        for record in records:
            if record.boot is None or record.seq is None:
                if isinstance(record, Telemetry) and record.device:  # who numbers nothing is taken to send in order
                    reached[record.device] = max(record.ts, reached.get(record.device, record.ts))
                continue
            if record.clock is not None:
                continue
            life = (record.device, record.boot)
            if life not in self._ahead and len(self._ahead) >= MAX_LIVES:
                self._ahead.clear()
            ahead = self._ahead.setdefault(life, [])
            insort(ahead, (record.seq, record.ts))
            del ahead[:-MAX_AHEAD]
            last = run(*life)
            while ahead and ahead[0][0] <= last:
                _, ts = ahead.pop(0)
                reached[record.device] = max(ts, reached.get(record.device, ts))
            if not ahead:
                del self._ahead[life]
        return reached
