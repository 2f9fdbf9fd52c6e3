"""Which records overtake what waits: events and results of commands, while much does. (T5, ADR 33)

They go up as a stream of their own, the express lane. Its rows stand in the table `outbox` too, above all other
numbers, so that a policy that gives up the oldest comes to them last.
"""

from collections import Counter
from collections.abc import Sequence

from fieldloom_runtime.records import Event, Expired, Record, Result

AFTER = 2**52
"""Numbers above it are the express lane's; the others end here."""
DROPPED = "records.dropped"
"""The type of a report of what was given up."""
FROM_BYTES = 512 * 1024
"""Less that waits is through before anybody notices."""
OF_ONE_BOOT = 256
"""So many of one (device, boot) overtake at a time: each leaves a hole in what is known of its seqs."""


class Express:
    """Tells who overtakes. Without effect on a disk."""

    def __init__(self) -> None:
        self.from_bytes = FROM_BYTES
        self._overtaken: Counter[tuple[str, int | None]] = Counter()
        """By (device, boot), since much waits."""

    def split(self, records: list[Record], waiting: int) -> tuple[Sequence[Record], Sequence[Record]]:
        """Return who overtakes and who does not, while so many bytes wait."""
        if waiting < self.from_bytes:
            self._overtaken.clear()
            return (), records
        first: list[Record] = []
        rest: list[Record] = []
        for record in records:
            (first if self._overtakes(record) else rest).append(record)
        return first, rest

    def _overtakes(self, record: Record) -> bool:
        if not isinstance(record, (Event, Result, Expired)):
            return False
        if record.seq is None:  # a report of what was given up goes on in the next one, so it stays with the rest
            return not (isinstance(record, Event) and record.type == DROPPED)
        life = (record.device, record.boot)
        self._overtaken[life] += 1
        return self._overtaken[life] <= OF_ONE_BOOT
