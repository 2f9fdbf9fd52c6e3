"""The flash log: pages of records, each written once and whole, the oldest or the newest dropped when it is full. (F2)

A page is a file `NUMBER-BOOT-FIRST-LAST` (hexadecimal): lines of records, and their CRC-32 as the last one. LittleFS
makes the write of a file with its close atomic, so a page is there whole or not at all. Heap: 10 bytes a page.
"""

import os
import struct
from binascii import crc32

from fieldloom_contract.compat import const

FOLDER = "/log"
PAGE = const(2048)  # LittleFS gives each page a block of 4096
PAGES = 128
ENTRY = "<IIBB"  # boot (0: the page is gone), number of the first line, how many lines are held no more, how many are
SIZE = const(10)


class Log:
    """Pages in order, oldest first. `dropped(boot, first, last, reason)` is told what a page took with it.

    The index is a ring of entries, allocated once; a page that is gone keeps its empty entry until it is the oldest.
    """

    def __init__(self, dropped, pages=PAGES, newest=False):
        self._dropped = dropped
        self._newest = newest
        self._limit = pages
        self._head = 0  # the number of the oldest page
        self._count = 0
        self._index = bytearray(pages * SIZE)
        self._sound = None  # the number of the page whose checksum was found right
        self._read_folder()

    def __len__(self):
        return self._count

    def entry(self, at):
        """Return (boot, number of its first line, first record held, last record) of a page; boot 0: it is gone."""
        boot, line, gone, held = struct.unpack_from(ENTRY, self._index, self._place(at))
        return boot, line, line + gone, line + gone + held - 1

    def is_full(self):
        """Whether a new page has no place of its own."""
        return self._count >= self._limit

    def add(self, boot, first, last, content):
        """Write a page; what has no room pushes the oldest out, or with `newest` is dropped itself."""
        if not self._newest:
            self._push_in(boot, first, last, content)
        elif self.is_full() or not self._write(boot, first, last, content):
            self._dropped(boot, first, last, "full")

    def _push_in(self, boot, first, last, content):
        while self._count >= self._limit:
            self._push_out()
        while not self._write(boot, first, last, content):
            if not self._count:
                self._dropped(boot, first, last, "full")
                return
            self._push_out()

    def lines(self, at):
        """Return the lines of a page, each with its end; a damaged page is dropped and has none."""
        boot, line, first, last = self.entry(at)
        number = self._head + at
        try:
            file = open(_path(number, boot, line, last), "rb")
            if number == self._sound or _is_sound(file):
                self._sound = number
                return file
            file.close()
        except OSError:
            pass
        self._dropped(boot, first, last, "damaged")
        self._remove(at)
        return ()

    def discard(self, boot, seq):
        """Forget all up to seq of a boot and return how many records those were."""
        freed = 0
        for at in range(self._count):
            owner, line, first, last = self.entry(at)
            if owner == boot and first <= seq:
                freed += min(seq, last) + 1 - first
                if last <= seq:
                    self._remove(at)
                else:
                    self._enter(at, owner, line, seq + 1, last)
        self._trim()
        return freed

    def _place(self, at):
        return (self._head + at) % self._limit * SIZE

    def _enter(self, at, boot, line, first, last):
        struct.pack_into(ENTRY, self._index, self._place(at), boot, line, first - line, last + 1 - first)

    def _push_out(self):
        boot, _, first, last = self.entry(0)
        if boot:
            self._dropped(boot, first, last, "full")
        self._remove(0)
        self._trim()

    def _remove(self, at):
        boot, line, _, last = self.entry(at)
        if boot:
            _delete(_path(self._head + at, boot, line, last))
        self._enter(at, 0, 0, 0, -1)

    def _trim(self):
        while self._count and not self.entry(0)[0]:
            self._head += 1
            self._count -= 1

    def _write(self, boot, first, last, content):
        """Hold a page more, unless it has no room on flash."""
        path = _path(self._head + self._count, boot, first, last)
        try:
            with open(path, "wb") as file:
                file.write(content)
                file.write("%08x" % (crc32(content) & 0xFFFFFFFF))
        except OSError:  # no room: LittleFS may leave an empty file
            _delete(path)
            return False
        self._count += 1
        self._enter(self._count - 1, boot, first, first, last)
        return True

    def _read_folder(self):
        try:
            os.mkdir(FOLDER)
        except OSError:
            pass
        newest = -1
        self._head = 1 << 30
        for number, _, _, _ in _pages():
            newest = max(newest, number)
            self._head = min(self._head, number)
        self._head = max(0, min(self._head, newest + 1), newest + 1 - self._limit)
        self._count = newest + 1 - self._head
        for number, boot, first, last in _pages():
            if number >= self._head:
                self._enter(number - self._head, boot, first, first, last)
            else:  # the log has become smaller
                self._dropped(boot, first, last, "full")
                _delete(_path(number, boot, first, last))


def _pages():
    """Yield (number, boot, first, last) of each page on flash."""
    for entry in os.ilistdir(FOLDER):
        parts = entry[0].split("-")
        if len(parts) == 4:
            yield [int(part, 16) for part in parts]


def _delete(path):
    try:
        os.remove(path)
    except OSError:
        pass


def _is_sound(file):
    """Whether the last line is the checksum of those before it; the file stands at its start again."""
    checksum, line = 0, b""
    for following in file:
        checksum = crc32(line, checksum)
        line = following
    file.seek(0)
    return line == b"%08x" % (checksum & 0xFFFFFFFF)


def _path(number, boot, first, last):
    return "%s/%x-%x-%x-%x" % (FOLDER, number, boot, first, last)
