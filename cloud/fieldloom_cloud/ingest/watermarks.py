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
            for ts in self._times(record, run):
                reached[record.device] = max(ts, reached.get(record.device, ts))
        return reached

    def _times(self, record: AnyRecord, run: Callable[[str, int], int]) -> list[int]:
        """Return the times of records that nothing is missing before any more, now that this one has come."""
        if record.boot is None or record.seq is None:  # who numbers nothing is taken to send in order
            return [record.ts] if isinstance(record, Telemetry) and record.device else []
        if record.clock is not None:
            return []
        life, last = (record.device, record.boot), run(record.device, record.boot)
        if record.seq <= last and life not in self._ahead:
            return [record.ts]
        if life not in self._ahead and len(self._ahead) >= MAX_LIVES:
            self._ahead.clear()
        ahead = self._ahead.setdefault(life, [])
        insort(ahead, (record.seq, record.ts))
        del ahead[:-MAX_AHEAD]
        times = [ts for seq, ts in ahead if seq <= last]
        del ahead[: len(times)]
        if not ahead:
            del self._ahead[life]
        return times
