"""What the board holds until the gateway has it: a page in RAM, then the flash log. The stream's store. (F2)

A record is a line: its kind as one letter, its JSON. Lines are numbered by their place, so a page needs no index.
"""

import json
import os

from fieldloom_agent.log import PAGE, Log
from fieldloom_contract.errors import Rejected
from fieldloom_contract.fields import dumps
from fieldloom_contract.stream import Item
from fieldloom_contract.topics import EVENT, REPORTED, RESULT, TELEMETRY

LETTERS = {TELEMETRY: b"t", EVENT: b"e", RESULT: b"r", REPORTED: b"w"}
KINDS = {116: TELEMETRY, 101: EVENT, 114: RESULT, 119: REPORTED}
DROPPED = "/dropped.json"
NEWLINE = 10


class Buffer:
    """The records of this boot and of those before it. `seq` counts from 1 in each boot.

    Heap: a page of 2 KB, and the index of the log.
    """

    def __init__(self, boot, pages):
        self.boot = boot
        self._page = bytearray(PAGE)
        self._fill = 0
        self._first = 1  # the number of the page's first record
        self.next = 1
        self.dropped = _stored_drops()  # [boot, from, to, reason] that nobody was told of yet
        self._log = Log(self._drop, pages)

    def append(self, kind, record):
        """Hold a record under the next number. Raises Rejected for one that is longer than a page."""
        body = dumps(dict(record, boot=self.boot, seq=self.next))
        end = self._fill + len(body) + 2
        if len(body) + 2 > PAGE:
            raise Rejected("record", "is longer than " + str(PAGE) + " bytes")
        if end > PAGE:
            self.flush()
            end = len(body) + 2
        self._page[self._fill : self._fill + 1] = LETTERS[kind]
        self._page[self._fill + 1 : end - 1] = body
        self._page[end - 1] = NEWLINE
        self._fill = end
        self.next += 1

    def flush(self):
        """Write the page in RAM to flash: a power cut takes nothing from now on."""
        if self._fill:
            self._log.add(self.boot, self._first, self.next - 1, memoryview(self._page)[: self._fill])
        self._fill = 0
        self._first = self.next

    def waiting_in_ram(self):
        """Return how many records a power cut would take."""
        return self.next - self._first

    def report_drops(self, stamp):
        """Tell in the stream what was dropped; `stamp()` dates the events."""
        if not self.dropped:
            return
        for _ in range(len(self.dropped)):  # a report in a full log may push out more, for the next time
            boot, first, last, reason = self.dropped.pop(0)
            field, at = stamp()
            data = {"boot": boot, "from": first, "to": last, "reason": reason}
            self.append(EVENT, {field: at, "type": "records.dropped", "data": data})
        self.flush()
        _store_drops(self.dropped)

    # --- the stream's store ---------------------------------------------------------------------------------------

    def peek(self, after, records, size):
        """Return the items that follow `after`, as many as fit."""
        found = []
        items = self._items(after)
        for item in items:
            found.append(item)
            size -= len(item.body)
            if len(found) >= records or size <= 0:
                break
        items.close()
        return found

    def first(self, life):
        """Return the oldest seq of a life that is held, None without one."""
        for at in range(len(self._log)):
            boot, _, first, _ = self._log.entry(at)
            if boot == life:
                return first
        return self._first if life == self.boot and self._fill else None

    def discard(self, life, seq):
        """Forget all up to seq of a life and return how many records those were."""
        freed = self._log.discard(life, seq)
        if life == self.boot and self._fill and seq >= self._first:
            count = min(seq + 1, self.next) - self._first
            start = 0
            for _ in range(count):
                start = self._page.find(b"\n", start) + 1
            self._page[: self._fill - start] = self._page[start : self._fill]
            self._fill -= start
            self._first += count
            freed += count
        return freed

    def give_up(self, item, reason):
        """Drop an item that the gateway can't read, and note it for the stream."""
        self.discard(item.life, item.seq)
        self._drop(item.life, item.seq, item.seq, "refused: " + reason[:64])

    def _items(self, after):
        life, seq = after or (None, 0)
        reached = life is None or not (life == self.boot or self.first(life))
        for at in range(len(self._log)):
            boot, line, first, last = self._log.entry(at)
            reached = reached or boot == life
            if not boot or not reached or (boot == life and last <= seq):
                continue
            low = max(first, seq + 1) if boot == life else first
            number = line
            for text in self._log.lines(at):
                if low <= number <= last:
                    yield Item(boot, number, KINDS[text[0]], text[1:-1])
                number += 1
        low = max(self._first, seq + 1) if life == self.boot else self._first
        number, start = self._first, 0
        while start < self._fill:
            end = self._page.find(b"\n", start)
            if number >= low:
                yield Item(self.boot, number, KINDS[self._page[start]], bytes(memoryview(self._page)[start + 1 : end]))
            number += 1
            start = end + 1

    def _drop(self, boot, first, last, reason):
        if self.dropped and self.dropped[-1][0] == boot and self.dropped[-1][3] == reason:
            if self.dropped[-1][2] + 1 == first:
                first = self.dropped.pop()[1]
        self.dropped.append([boot, first, last, reason])
        _store_drops(self.dropped)


def _stored_drops():
    try:
        with open(DROPPED) as file:
            return json.load(file)
    except (OSError, ValueError):
        return []


def _store_drops(drops):
    if drops:
        with open(DROPPED, "w") as file:
            json.dump(drops, file)
    else:
        try:
            os.remove(DROPPED)
        except OSError:
            pass
