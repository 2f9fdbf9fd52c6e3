"""Snapshots on their way to members that lag behind, piece by piece, in place of PySyncObj's serializer. (D1)

The next piece leaves once the last one has arrived, so that a link is never full of an old state.
"""

from collections.abc import Callable
from dataclasses import dataclass

import msgspec
from pysyncobj.node import Node

from fieldloom_gateway.cluster.consensus.journal import Snapshot

PIECE_BYTES = 256 * 1024
SNAPSHOT_BYTES = 512 * 1024 * 1024
AGAIN_S = 2.0
"""How long a piece may stay unanswered before all is sent again."""

Piece = tuple[bytes, bool, bool, int, int]
"""Bytes, whether it is the first and the last, its place, and the snapshot's index."""


@dataclass
class _Leaving:
    """A snapshot that goes to one member: how much the member has, and when a piece left that it has not answered."""

    body: bytes
    index: int
    place: int = 0
    sent: float | None = None


class Pieces:
    """What leaves and what arrives; method names are PySyncObj's where it calls them."""

    def __init__(self, newest: Callable[[], Snapshot], now: Callable[[], float]) -> None:
        self._newest = newest
        self._now = now
        self._leaving: dict[str, _Leaving] = {}
        self._arriving = bytearray()
        self._index = 0
        self._whole: Snapshot | None = None

    def following(self, node: Node) -> Piece | None:
        """Return the next piece for a member; None while the last one has not arrived."""
        leaving = self._leaving.get(node.id)
        if leaving is None:
            snapshot = self._newest()
            leaving = self._leaving[node.id] = _Leaving(msgspec.msgpack.encode(snapshot), snapshot.index)
        if leaving.sent is not None:
            if self._now() - leaving.sent < AGAIN_S:
                return None
            leaving.place = 0
        leaving.sent = self._now()
        data = leaving.body[leaving.place : leaving.place + PIECE_BYTES]
        is_last = leaving.place + len(data) == len(leaving.body)
        if is_last:
            del self._leaving[node.id]
        return data, leaving.place == 0, is_last, leaving.place, leaving.index

    def cancelTransmisstion(self, node: Node) -> None:  # noqa: N802
        self._leaving.pop(node.id, None)

    def arrived(self, node: Node, place: int) -> None:
        """Take a member's word that it has a snapshot up to a place."""
        leaving = self._leaving.get(node.id)
        if leaving is not None and leaving.place < place <= len(leaving.body):
            leaving.place, leaving.sent = place, None

    def are_leaving(self, node: Node) -> bool:
        """Whether a snapshot is on its way to a member."""
        return node.id in self._leaving

    @property
    def is_waiting(self) -> bool:
        """Whether a member may get its next piece."""
        return any(leaving.sent is None for leaving in self._leaving.values())

    @property
    def place(self) -> int:
        """How many bytes of the snapshot that arrives are here."""
        return len(self._arriving)

    def setTransmissionData(self, piece: Piece) -> bool:  # noqa: N802
        """Take a piece; True when the snapshot is whole."""
        data, is_first, is_last, place, index = piece
        if is_first:
            self._arriving, self._index = bytearray(), index
        if place != len(self._arriving) or index != self._index or place + len(data) > SNAPSHOT_BYTES:
            return False
        self._arriving += data
        if not is_last:
            return False
        self._whole = msgspec.msgpack.decode(self._arriving, type=Snapshot)
        self._arriving = bytearray()
        return True

    def whole(self) -> Snapshot:
        """Return the snapshot that has just become whole."""
        snapshot, self._whole = self._whole, None
        if snapshot is None:
            raise LookupError("no snapshot has become whole")
        return snapshot
