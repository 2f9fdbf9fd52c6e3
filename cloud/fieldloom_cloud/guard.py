"""What a store has already: the two guards of decision 2, kept by each store in the transaction of its own rows.

The offset guards a resend within a stream; the ranges of seq guard the same record over two gateways.
"""

from typing import NamedTuple

from fieldloom_contract.batch import DISK_BYTES
from fieldloom_contract.ranges import Ranges
from fieldloom_runtime.records import AnyRecord


class Incoming(NamedTuple):
    """A batch of a gateway whose records are parsed; `offset` numbers the first of them."""

    gateway: str
    stream: bytes
    offset: int
    first: int
    covers: list[tuple[str, int, int, int]]
    records: list[AnyRecord]


class Changes(NamedTuple):
    """What a store has to write down of its guards."""

    positions: dict[bytes, int]
    """The last number by stream."""
    spans: dict[tuple[str, int], list[list[int]]]
    """Seqs by (device, boot)."""


class Guard:
    """Positions of streams and ranges of (device, boot). What it takes is not on the disk yet: see `changes`."""

    def __init__(self, positions: dict[bytes, int], received: dict[tuple[str, int], Ranges]) -> None:
        self._positions = positions
        self._disks = {stream[:DISK_BYTES] for stream in positions}
        self._received = received
        self._moved: set[bytes] = set()
        self._touched: set[tuple[str, int]] = set()

    def position(self, stream: bytes) -> int:
        """Return the last number that is taken of a stream."""
        return self._positions.get(stream, 0)

    def run(self, device: str, boot: int) -> int:
        """Return the last seq of a boot of a device before which none is missing; 0 without one."""
        received = self._received.get((device, boot))
        return 0 if received is None else received.end

    def knows_disk(self, stream: bytes) -> bool:
        """Whether anything is taken of the disk that a stream is on."""
        return stream[:DISK_BYTES] in self._disks

    def take(self, sent: Incoming) -> list[AnyRecord]:
        """Take a batch that continues its stream and return its new records; of one that leaves a gap take nothing."""
        had = max(self.position(sent.stream), sent.first - 1)
        if sent.offset > had + 1:
            return []
        fresh = [record for record in sent.records[had + 1 - sent.offset :] if self._is_new(record)]
        self._positions[sent.stream] = max(had, sent.offset + len(sent.records) - 1)
        self._disks.add(sent.stream[:DISK_BYTES])
        self._moved.add(sent.stream)
        for device, boot, low, high in sent.covers:
            self._add((device, boot), low, high)
        return fresh

    def changes(self) -> Changes:
        """Return what was taken since the last call, to be written in the transaction of the records."""
        positions = {stream: self._positions[stream] for stream in self._moved}
        spans = {life: self._received[life].spans for life in self._touched}
        self._moved.clear()
        self._touched.clear()
        return Changes(positions, spans)

    def _is_new(self, record: AnyRecord) -> bool:
        """Whether nobody has brought a record before; from now on somebody has."""
        if record.boot is None or record.seq is None:
            return True
        return self._add((record.device, record.boot), record.seq, record.seq)

    def _add(self, life: tuple[str, int], low: int, high: int) -> bool:
        ranges = self._received.get(life)
        if ranges is None:
            ranges = self._received[life] = Ranges()
        self._touched.add(life)
        return ranges.add(low, high)
