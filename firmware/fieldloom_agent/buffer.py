"""What the board holds until the gateway has it: a page in RAM, then the flash log. The stream's store. (F2)

A record is a line: its kind as one letter, its JSON. Lines are numbered by their place, so a page needs no index.
"""

from fieldloom_agent import overlay
from fieldloom_agent.log import PAGE, Log
from fieldloom_contract.board_topics import EVENT, REPORTED, RESULT, TELEMETRY
from fieldloom_contract.compat import const
from fieldloom_contract.errors import Rejected
from fieldloom_contract.fields import dumps
from fieldloom_contract.stream import Item

KINDS = (TELEMETRY, EVENT, RESULT, REPORTED)
MARKS = b"terw"  # of each of them
NEWLINE = 10
_STORE_EVERY = const(64)  # of single drops in a row: so many a power cut may leave untold


class Buffer:
    """The records of this boot and of those before it. `seq` counts from 1 in each boot, which goes on after a sleep.

    When all is full, the oldest records are dropped, or with `newest` those that come then.

    Heap: a page of 2 KB, and the index of the log.
    """

    def __init__(self, boot, pages, newest=False, following=1):
        self.boot = boot
        self._newest = newest
        self._page = bytearray(PAGE)
        self._fill = 0
        self._count = 0  # records in the page
        self._first = self.next = following  # the number of the page's first record, and of the next one
        self.lost = 0  # records of this boot's time, for the figures
        self.dropped = overlay.call("drops", "stored")  # [boot, from, to, reason] that nobody was told of yet
        self._log = Log(self._drop, pages, newest)

    def append(self, kind, record):
        """Hold a record under the next number, or drop it. Raises Rejected for one that is longer than a page."""
        body = dumps(dict(record, boot=self.boot, seq=self.next))
        end = self._fill + len(body) + 2
        if len(body) + 2 > PAGE:
            raise Rejected("record", "is longer than " + str(PAGE) + " bytes")
        if end > PAGE or self._first + self._count != self.next:  # lines are numbered by their place
            if not self.has_room():
                self._drop(self.boot, self.next, self.next, "full")
                self.next += 1
                return
            self.flush()
            end = len(body) + 2
        self._page[self._fill] = MARKS[KINDS.index(kind)]
        self._page[self._fill + 1 : end - 1] = body
        self._page[end - 1] = NEWLINE
        self._fill = end
        self._count += 1
        self.next += 1

    def has_room(self):
        """Whether the page in RAM may go to flash without pushing itself out."""
        return not (self._newest and self._log.is_full())

    def flush(self, is_end=False):
        """Write the page in RAM to flash: a power cut takes nothing from now on.

        What has no room stays in RAM; at the end, before a reset, it is dropped and told.
        """
        if self._fill and (is_end or self.has_room()):
            last = self._first + self._count - 1
            self._log.add(self.boot, self._first, last, memoryview(self._page)[: self._fill])
            self._fill = 0
        if not self._fill:
            self._count, self._first = 0, self.next

    def waiting_in_ram(self):
        """Return how many records a power cut would take."""
        return self._count

    def waiting(self):
        """Return how many records are held."""
        count = self.waiting_in_ram()
        for at in range(len(self._log)):  # one after the other: a log of days has more entries than a heap has room for
            boot, _, first, last = self._log.entry(at)
            count += last + 1 - first if boot else 0
        return count

    def report_drops(self, stamp):
        """Tell in the stream what was dropped; `stamp()` dates the events."""
        if self.dropped and self.has_room():
            overlay.call("drops", "report", self, stamp)

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
            count = min(seq + 1 - self._first, self._count)
            start = 0
            for _ in range(count):
                start = self._page.find(b"\n", start) + 1
            self._page[: self._fill - start] = self._page[start : self._fill]
            self._fill -= start
            self._first += count
            self._count -= count
            freed += count
            if not self._fill:
                self._first = self.next
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
                    yield Item(boot, number, KINDS[MARKS.index(text[:1])], text[1:-1])
                number += 1
        low = max(self._first, seq + 1) if life == self.boot else self._first
        number, start = self._first, 0
        while start < self._fill:
            end = self._page.find(b"\n", start)
            if number >= low:
                line = bytes(memoryview(self._page)[start:end])
                yield Item(self.boot, number, KINDS[MARKS.index(line[:1])], line[1:])
            number += 1
            start = end + 1

    def _drop(self, boot, first, last, reason):
        self.lost += last + 1 - first
        if self.dropped and self.dropped[-1][0] == boot and self.dropped[-1][3] == reason:
            if self.dropped[-1][2] + 1 == first:
                is_single, first = first == last, self.dropped.pop()[1]
                if is_single and (last - first) % _STORE_EVERY:  # a write a record would wear the flash out
                    self.dropped.append([boot, first, last, reason])
                    return
        self.dropped.append([boot, first, last, reason])
        overlay.call("drops", "store", self.dropped)
