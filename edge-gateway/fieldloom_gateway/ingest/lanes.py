"""The lanes of the outbox on one connection: the express one, the live one, and those that were sealed. (ADR 32, 33)"""

from collections.abc import Callable

from fieldloom_contract.stream import Message, Sender
from fieldloom_gateway.ingest.outbox import Lane, Outbox, encode

BATCH_BYTES = 128 * 1024  # any segment fits, and the broker takes 256 KiB
WINDOW_SEGMENTS = 1000
WINDOW_BYTES = 4 * 1024 * 1024
SEALED_BATCHES = 2
"""In flight of a sealed lane: the next is on its way while the cloud stores one, and what is new overtakes all else."""
TURNS = 8
"""Every so many batches a sealed lane comes first, and the live one in between, so that each gets on in any case."""


class Lanes:
    """Sends each lane by a Sender of its own.

    `jitter()` gives a number from 0 to 1; times are ms of one steady clock.
    """

    def __init__(self, outbox: Outbox, jitter: Callable[[], float], batch_bytes: int = BATCH_BYTES) -> None:
        self._outbox = outbox
        self._jitter = jitter
        self._batch_bytes = batch_bytes
        self._senders: list[tuple[Lane, Sender]] = []
        self._turn = 0

    def disconnected(self) -> None:
        """Stop: nothing is sent before `connected`."""
        self._senders = []

    def connected(self, now: int) -> None:
        """Begin on a new connection, with the lanes that there are now."""
        self._outbox.read()
        self._senders = [(lane, self._sender(lane)) for lane in self._outbox.lanes]
        for _, sender in self._senders:
            sender.connected(now)

    def poll(self, now: int) -> Message | None:
        """Return the next batch to send, None if there is none or the windows are full."""
        self._turn = (self._turn + 1) % TURNS
        senders = [sender for lane, sender in self._senders if not lane.is_through][:3]  # express, live, the oldest one
        if self._turn == 0:
            senders.reverse()
        elif self._turn == TURNS // 2:
            senders = senders[1:] + senders[:1]
        batches = (sender.poll(now) for sender in senders)
        return next((one for one in batches if one is not None), None)

    def acknowledge(self, stream: bytes, number: int, now: int) -> None:
        """Take note that the cloud has all up to a number of a stream on its disk."""
        for _, sender in self._senders:
            sender.acknowledge(stream, number, now)

    def _sender(self, lane: Lane) -> Sender:
        window = WINDOW_BYTES if lane.last is None else SEALED_BATCHES * self._batch_bytes
        return Sender(lane, encode, self._jitter, self._batch_bytes, WINDOW_SEGMENTS, window)
