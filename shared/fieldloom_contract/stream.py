"""The acknowledged stream: numbered records flow one hop up and stay with their sender until the next hop has them.

A sender keeps a record until it is acknowledged *cumulatively* ("all up to here is on my disk") and goes back to the
oldest one when nobody answers; a receiver drops what it has seen. A *life* is what a sequence of numbers belongs to: a
device's boot on the first hop, a stream id on the second. Both halves are pure: time comes in, payloads come out. (T5)

The sender's store is a port with four calls; the records of earlier lives come first in it:
- `peek(after, records, size)`: the items that follow `after = (life, seq)` (None: from the front), as many as fit;
- `first(life)`: the oldest seq of a life that is held;
- `discard(life, seq)`: drop all up to seq of a life, and say how many those were;
- `give_up(item, reason)`: drop an item that the other side can't read, and report it in the stream.
"""

from binascii import crc32
from collections import namedtuple

from fieldloom_contract.compat import Any
from fieldloom_contract.limits import (
    DEAD_LINK_MS,
    RESEND_MAX_MS,
    RESEND_MS,
    WINDOW_BYTES,
    WINDOW_RECORDS,
)

# One record in a sender's store; `kind` is the topic's verb, `body` its encoded form.
Item = namedtuple("Item", ("life", "seq", "kind", "body"))
Message = namedtuple("Message", ("kind", "payload"))
# A message without an answer: its last record, how many there are, their bytes, and what a refusal calls it.
_Flying = namedtuple("_Flying", ("life", "seq", "records", "size", "fingerprint"))


def fingerprint(payload: bytes) -> int:
    """Return the CRC-32 by which a refusal names the message that it means."""
    return crc32(payload) & 0xFFFFFFFF


class Sender:
    """Sends what a store holds through a window, again until it is acknowledged. Times in ms of one steady clock.

    `encode(items, first)` makes the payload of a message; `jitter()` gives a number from 0 to 1.
    """

    def __init__(
        self,
        store: Any,
        encode: Any,
        jitter: Any,
        message_bytes: int = WINDOW_BYTES,
        window_records: int = WINDOW_RECORDS,
        window_bytes: int = WINDOW_BYTES,
    ) -> None:
        self._store = store
        self._encode = encode
        self._jitter = jitter
        self._message_bytes = message_bytes
        self._window_records = window_records
        self._window_bytes = window_bytes
        self._connected = False
        self._flight: list[_Flying] = []  # messages without an answer, oldest first
        self._suspects: list[tuple[int | bytes, int]] = []  # (life, seq) up to which records are sent one by one
        self._wait = RESEND_MS
        self._due = 0
        self._silent_since: int | None = None

    @property
    def outstanding(self) -> int:
        """How many records are in flight."""
        return sum([flying.records for flying in self._flight])

    def connected(self, now: int) -> None:
        """Begin on a new connection: nothing is in flight on it."""
        self._connected = True
        self._silent_since = None
        self._flight.clear()
        self._due = now

    def disconnected(self) -> None:
        """Stop: nothing is sent before `connected`."""
        self._connected = False
        self._flight.clear()

    def poll(self, now: int) -> Message | None:
        """Return the next message to send, or None when the window is full, all is sent or there is no connection."""
        if not self._connected:
            return None
        if self._flight and now >= self._due:
            self._flight.clear()
            self._wait = min(self._wait * 2, RESEND_MAX_MS)
        items = self._next_items()
        if not items:
            return None
        last = items[-1]
        payload = self._encode(items, self._store.first(last.life))
        if not self._flight:
            self._arm(now)
        if self._silent_since is None:
            self._silent_since = now
        size = sum([len(item.body) for item in items])
        self._flight.append(_Flying(last.life, last.seq, len(items), size, fingerprint(payload)))
        return Message(last.kind, payload)

    def acknowledge(self, life: int | bytes, seq: int, now: int) -> int:
        """Drop all up to seq of a life: the other side has it on its disk. Return how many records that freed."""
        freed: int = self._store.discard(life, seq)
        self._flight[:] = [flying for flying in self._flight if flying.life != life or flying.seq > seq]
        self._settle_suspects(life, seq)
        if freed:
            self._wait = RESEND_MS
            self._arm(now)
        self._heard(now)
        return freed

    def refuse(self, reason: str, refused: int | None, now: int) -> None:
        """Take note that a message could not be read; `refused` is its fingerprint, None if the receiver tells none.

        The first refusal makes the sender send record by record; one of a single record gives that record up. A late
        refusal, of a message that is not the one in flight, changes nothing.
        """
        if not self._suspects:
            self._suspects[:] = [(flying.life, flying.seq) for flying in self._flight]
            self._flight.clear()
        elif len(self._flight) == 1 and refused in (None, self._flight[0].fingerprint):
            self._give_up(self._flight[0], reason)
            self._flight.clear()
        self._heard(now)

    def is_dead(self, now: int) -> bool:
        """Whether records are outstanding and nobody has answered for too long: the link is to be made anew."""
        return bool(self._flight) and self._silent_since is not None and now - self._silent_since >= DEAD_LINK_MS

    def _arm(self, now: int) -> None:
        self._due = now + self._wait + int(self._wait * self._jitter() / 4)

    def _heard(self, now: int) -> None:
        self._silent_since = now if self._flight else None

    def _give_up(self, flying: _Flying, reason: str) -> None:
        for item in self._store.peek(None, 1, 0):
            if item.life == flying.life and item.seq == flying.seq:
                self._store.give_up(item, reason)
                self._settle_suspects(item.life, item.seq)

    def _settle_suspects(self, life: int | bytes, seq: int) -> None:
        self._suspects[:] = [suspect for suspect in self._suspects if suspect[0] != life or suspect[1] > seq]

    def _still_held(self, suspect: tuple[int | bytes, int]) -> bool:
        """Whether any record up to a suspect is in the store; a policy may have dropped them all."""
        first = self._store.first(suspect[0])
        return first is not None and first <= suspect[1]

    def _next_items(self) -> list[Item]:
        """Return the run of records of one life and one kind that the window and a message have room for."""
        self._suspects[:] = [suspect for suspect in self._suspects if self._still_held(suspect)]
        if self._suspects and self._flight:
            return []
        records = 1 if self._suspects else self._window_records - self.outstanding
        room = min(self._window_bytes - sum([flying.size for flying in self._flight]), self._message_bytes)
        if records <= 0 or (self._flight and room <= 0):
            return []
        after = (self._flight[-1].life, self._flight[-1].seq) if self._flight else None
        run: list[Item] = []
        for item in self._store.peek(after, records, room):
            if run and (item.life != run[0].life or item.kind != run[0].kind):
                break
            if len(item.body) > room and (run or self._flight):
                break
            run.append(item)
            room -= len(item.body)
        return run
