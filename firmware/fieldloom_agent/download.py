"""Brings a release to the other slot over the link that there is: what has changed, from where a reset stopped it. (F5)

A file that the other slot holds already stays, one that the running slot holds is copied, the rest comes in chunks. A
file in progress is `part-` and the start of its SHA-256, so its length is all that has to be known to go on.
"""

import asyncio
import os
import random

from fieldloom_agent import content, overlay, slots
from fieldloom_contract import release
from fieldloom_contract.errors import Rejected
from fieldloom_contract.topics import EVENT, UPDATE_REQUEST
from fieldloom_contract.update import place, request, unpack_chunk

WINDOW = 8192  # what is asked for at once; a reset costs no more of what has come
SILENCE_MS = 10000
BACK_OFF_MS = 2000
BACK_OFF_MAX_MS = 60000
TRIES = 12  # in a row without a byte while the link is up: some ten minutes
LOOK_MS = 10
BLOCK = 4096
SPARE_BLOCKS = 8  # what LittleFS needs beside the files
PART = "part-"


class Download:
    """One update on its way; `source` is the running slot's folder, `target` the other's. Heap: some 12 KB of code."""

    def __init__(self, board, wanted, source, target):
        self._board = board
        self._release = wanted
        self._source = source
        self._target = target
        self._file = None  # what chunks are written to while they are waited for
        self._place = self._at = self._size = None
        self._refusal = self._fault = None

    async def run(self):
        """Bring all of it, verify it and put it on trial; or tell why not."""
        try:
            await self._bring()
        except Rejected as error:
            self._fail(str(error))
        except Exception as error:
            self._fail(repr(error)[:128])

    def take(self, payload):
        """Write a chunk that follows what is there. Raises Rejected for a damaged one, which is asked for again."""
        chunk = unpack_chunk(payload)
        if self._file is None or chunk.place != self._place:
            return
        if chunk.size is None:
            self._refusal = bytes(chunk.data).decode()
        elif self._size is not None and chunk.size != self._size:
            self._fault = (
                "has " + str(chunk.size) + " bytes at the gateway, and " + str(self._size) + " by its manifest"
            )
        elif chunk.offset == self._at:
            self._size = chunk.size
            try:
                self._file.write(chunk.data)
            except OSError as error:
                self._fault = "can't be written: " + repr(error)
            self._at += len(chunk.data)

    async def _bring(self):
        board, wanted = self._board, self._release
        while board.clock.now() is None:  # dates are to be checked
            await asyncio.sleep_ms(SILENCE_MS // 10)
        content.make_parents(self._target, "")
        serial = await self._documents()
        await self._clear()
        self._check_room()
        await self._copy()
        count = size = 0
        for entry in self._missing():
            count, size = count + 1, size + entry.size
        data = {"release": wanted, "files": count, "bytes": size}
        board.record(EVENT, {"type": "update.started", "data": data})
        for entry in self._missing():
            await self._file_of(entry)
        for entry in content.entries(self._target):  # as it stands on flash
            if not content.is_there(self._target, entry):
                raise Rejected(entry.path, "does not read back as its manifest tells")
            await asyncio.sleep_ms(0)
        overlay.call("trust", "raise_serial", serial)
        board.update = None
        overlay.call("update", "put_on_trial", board, slots.load(), wanted)

    def _fail(self, reason):
        self._board.update = None
        overlay.call("update", "fail", self._board, slots.load(), reason)

    async def _documents(self):
        """Have the release's documents, and return the serial of its key. Raises Rejected."""
        try:
            return self._check()
        except (OSError, Rejected):  # none yet, or those of another release
            pass
        for name in release.DOCUMENTS:
            path = self._target + "/" + name
            content.remove(path)
            limits = {"manifest": release.MANIFEST_BYTES, "key": release.KEY_BYTES}
            await self._fetch(name, path, None, limits.get(name, release.SIGNATURE_BYTES))
        return self._check()

    def _check(self):
        now = self._board.clock.now() // 1000
        return overlay.call("trust", "check", self._target, self._release, self._board.settings.board, now)

    def _missing(self):
        """Yield the files of the manifest that the other slot does not hold yet."""
        for entry in content.entries(self._target):
            if not content.exists(self._path(entry)):
                yield entry

    async def _clear(self):
        """Remove from the other slot what is not of this release."""
        for name in list(content.files(self._target)):
            if name not in release.DOCUMENTS and not self._is_ours(name):
                content.remove(self._target + "/" + name)
            await asyncio.sleep_ms(0)

    def _is_ours(self, name):
        for entry in content.entries(self._target):
            if name == _part(entry):
                return True
            if name == entry.path:
                return content.is_there(self._target, entry)
        return False

    def _check_room(self):
        needed = SPARE_BLOCKS
        for entry in self._missing():
            needed += entry.size // BLOCK + 1
        room = os.statvfs("/")
        free = room[0] * room[3] // BLOCK
        if needed > free:
            told = str(needed * BLOCK // 1024) + " KB more and the board has " + str(free * BLOCK // 1024) + " KB free"
            raise Rejected("release", "needs " + told)

    async def _copy(self):
        """Copy what the running slot holds alike."""
        for entry in self._missing():
            if content.is_there(self._source, entry):
                content.copy(self._source, self._target, entry.path)
            await asyncio.sleep_ms(0)

    async def _file_of(self, entry):
        part = self._target + "/" + _part(entry)
        await self._fetch(release.CONTENT + entry.path, part, entry.size, entry.size)
        content.make_parents(self._target, entry.path)
        os.rename(part, self._path(entry))
        if not content.is_there(self._target, entry):
            content.remove(self._path(entry))
            raise Rejected(entry.path, "has another SHA-256 than its manifest tells")

    async def _fetch(self, name, path, size, most):
        """Bring a file to its size, None: as the gateway tells, up to `most`. Raises Rejected if nothing comes."""
        self._place, self._size = place(self._release, name), size
        self._at = content.length(path)
        tries = 0
        while True:
            before = self._at
            with open(path, "ab") as self._file:
                if self._at != self._size:
                    await self._window(name)
            self._file = None
            if self._fault is None and self._size is not None and self._size > most:
                self._fault = "is longer than " + str(most) + " bytes"
            if self._fault is not None:
                raise Rejected(name, self._fault)
            if self._at == self._size:
                return
            tries = 0 if self._at > before else tries + 1
            if tries == TRIES:
                raise Rejected(name, self._refusal or "the gateway does not answer")
            if tries:
                pause = min(BACK_OFF_MS << tries, BACK_OFF_MAX_MS)
                await asyncio.sleep_ms(pause // 2 + random.randrange(pause // 2))

    async def _window(self, name):
        """Ask for what follows, and wait until it is there or nothing comes any more."""
        clock, connection = self._board.clock, self._board.connection
        while not connection.is_up():
            await asyncio.sleep_ms(BACK_OFF_MS)
        end, reached, since = self._at + WINDOW, self._at, clock.up()
        self._refusal = None
        connection.tell(UPDATE_REQUEST, request(self._release, name, self._at, WINDOW))
        while self._at < end and self._at != self._size and self._refusal is None and self._fault is None:
            if self._at > reached:
                reached, since = self._at, clock.up()
            if clock.up() - since >= SILENCE_MS or not connection.is_up():
                return
            await asyncio.sleep_ms(LOOK_MS)

    def _path(self, entry):
        return self._target + "/" + entry.path


def _part(entry):
    return PART + entry.sha256[:16]
