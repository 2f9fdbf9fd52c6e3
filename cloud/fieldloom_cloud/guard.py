"""What a store has already: the two guards of decision 2, kept by each store in the transaction of its own rows.

The offset guards a resend within a stream; the ranges of seq guard the same record over two gateways.
"""

from collections.abc import Iterable
from typing import NamedTuple

from fieldloom_contract.ranges import Ranges


class Incoming(NamedTuple):
    """A batch whose records are parsed; `offset` numbers the first of them."""

    stream: bytes
    offset: int
    first: int
    covers: list[tuple[str, int, int, int]]
    records: list[dict[str, object]]


class Guard:
    """Positions of streams and ranges of (device, boot), with what has changed since the last commit."""

    def __init__(self, positions: dict[bytes, int], received: dict[tuple[str, int], Ranges]) -> None:
        self._positions = positions
        self._received = received

    def position(self, stream: bytes) -> int:
        """Return the last number that is stored of a stream."""
        return self._positions.get(stream, 0)

    def fresh(self, sent: Incoming) -> list[dict[str, object]] | None:
        """Return the records that continue the stream and are new; None if the batch leaves a gap.

        Nothing is remembered before `remember`.
        """
        had = max(self.position(sent.stream), sent.first - 1)
        if sent.offset > had + 1:
            return None
        seen: set[tuple[str, int, int]] = set()
        return [record for record in sent.records[had + 1 - sent.offset :] if self._is_new(record, seen)]

    def remember(self, sent: Incoming) -> tuple[int, Iterable[tuple[str, int]]]:
        """Take a batch as stored; return the stream's position and the (device, boot) whose ranges changed."""
        last = max(self.position(sent.stream), sent.offset + len(sent.records) - 1)
        self._positions[sent.stream] = last
        touched: set[tuple[str, int]] = set()
        for device, boot, low, high in sent.covers:
            if self._received.setdefault((device, boot), Ranges()).add(low, high):
                touched.add((device, boot))
        return last, touched

    def spans(self, device: str, boot: int) -> list[list[int]]:
        """Return the ranges of a (device, boot), to be stored."""
        return self._received[(device, boot)].spans

    def _is_new(self, record: dict[str, object], seen: set[tuple[str, int, int]]) -> bool:
        device, boot, seq = record.get("device"), record.get("boot"), record.get("seq")
        if not (isinstance(device, str) and isinstance(boot, int) and isinstance(seq, int)):
            return True
        had = self._received.get((device, boot))
        if (had is not None and seq in had) or (device, boot, seq) in seen:
            return False
        seen.add((device, boot, seq))
        return True
