"""The flash log: pages of records, each written once and whole, the oldest dropped when there are too many. (F2)

A page is a file `NUMBER-BOOT-FIRST-LAST` (hexadecimal): lines of records and their CRC-32. LittleFS makes the write of
a file with its close atomic, so a page is there whole or not at all. Heap: the page that is read, and 16 bytes a page.
"""

import os
import struct
from binascii import crc32

from fieldloom_contract.compat import const

FOLDER = "/log"
PAGE = const(2048)  # LittleFS gives each page a block of 4096
PAGES = const(128)
ENTRY = "<IIII"  # boot (0: no such page), number of the first line, first record still held, last record
SIZE = const(16)


class Log:
    """Pages in order, oldest first. `dropped(boot, first, last, reason)` is told what a page took with it."""

    def __init__(self, dropped, pages=PAGES):
        self._dropped = dropped
        self._limit = pages
        self._head = 0  # the number of the first page
        self._index = b""
        self.page = bytearray(PAGE + 4)
        self._loaded = None
        self._read_folder()

    def __len__(self):
        return len(self._index) // SIZE

    def entry(self, at):
        """Return (boot, number of its first line, first record held, last record) of a page."""
        return struct.unpack_from(ENTRY, self._index, at * SIZE)

    def add(self, boot, first, last, content):
        """Write a page; what has no room pushes the oldest out."""
        while len(self) >= self._limit:
            self._push_out()
        while not self._write(boot, first, last, content):
            if not len(self):
                self._dropped(boot, first, last, "full")
                return
            self._push_out()
        self._index += struct.pack(ENTRY, boot, first, first, last)

    def load(self, at):
        """Read a page into `page` and return its lines' length; a damaged one is dropped and has none."""
        boot, line, first, last = self.entry(at)
        number = self._head + at
        if self._loaded is not None and self._loaded[0] == number:
            return self._loaded[1]
        self._loaded = None
        try:
            with open(_path(number, boot, line, last), "rb") as file:
                length = file.readinto(self.page) - 4
        except OSError:
            length = -1
        view = memoryview(self.page)
        if length < 0 or struct.unpack_from("<I", self.page, length)[0] != crc32(view[:length]) & 0xFFFFFFFF:
            self._dropped(boot, first, last, "damaged")
            self._remove(at)
            return 0
        self._loaded = (number, length)
        return length

    def discard(self, boot, seq):
        """Forget all up to seq of a boot and return how many records those were."""
        freed = 0
        for at in range(len(self)):
            owner, line, first, last = self.entry(at)
            if owner == boot and first <= seq:
                freed += min(seq, last) + 1 - first
                if last <= seq:
                    self._remove(at)
                else:
                    changed = struct.pack(ENTRY, owner, line, seq + 1, last)
                    self._index = self._index[: at * SIZE] + changed + self._index[(at + 1) * SIZE :]
        self._trim()
        return freed

    def _push_out(self):
        boot, _, first, last = self.entry(0)
        self._dropped(boot, first, last, "full")
        self._remove(0)
        self._trim()

    def _remove(self, at):
        """Delete a page's file; its place in the index stays until it is the first."""
        boot, line, _, last = self.entry(at)
        if boot:
            try:
                os.remove(_path(self._head + at, boot, line, last))
            except OSError:
                pass
        self._index = self._index[: at * SIZE] + bytes(SIZE) + self._index[(at + 1) * SIZE :]

    def _trim(self):
        gone = 0
        while gone < len(self) and not self.entry(gone)[0]:
            gone += 1
        self._index = self._index[gone * SIZE :]
        self._head += gone

    def _write(self, boot, first, last, content):
        path = _path(self._head + len(self), boot, first, last)
        try:
            with open(path, "wb") as file:
                file.write(content)
                file.write(struct.pack("<I", crc32(content) & 0xFFFFFFFF))
        except OSError:  # no room: LittleFS may leave an empty file
            try:
                os.remove(path)
            except OSError:
                pass
            return False
        return True

    def _read_folder(self):
        try:
            os.mkdir(FOLDER)
        except OSError:
            pass
        numbers = [int(entry[0].split("-")[0], 16) for entry in os.ilistdir(FOLDER) if entry[0].count("-") == 3]
        if not numbers:
            return
        self._head = min(numbers)
        index = bytearray((max(numbers) + 1 - self._head) * SIZE)
        for entry in os.ilistdir(FOLDER):
            if entry[0].count("-") == 3:
                number, boot, first, last = [int(part, 16) for part in entry[0].split("-")]
                struct.pack_into(ENTRY, index, (number - self._head) * SIZE, boot, first, first, last)
        self._index = bytes(index)


def _path(number, boot, first, last):
    return "%s/%x-%x-%x-%x" % (FOLDER, number, boot, first, last)
