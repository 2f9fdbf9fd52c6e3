"""Files of a release over the link that there is, each from where a reset or a broken link has stopped it. (F5)

A file in progress is `part-` and the start of its SHA-256, so its length is all that has to be known to go on.
"""

import asyncio
import os
import random

from fieldloom_agent import content
from fieldloom_contract.board_topics import EVENT, UPDATE_REQUEST
from fieldloom_contract.chunks import place, request, unpack_chunk
from fieldloom_contract.entries import CONTENT, DOCUMENTS, MANIFEST, MANIFEST_BYTES
from fieldloom_contract.errors import Rejected

WINDOW = 8192  # what is asked for at once; a reset costs no more of what has come
SILENCE_MS = 10000
BACK_OFF_MS = 2000
BACK_OFF_MAX_MS = 60000
TRIES = 12  # in a row without a byte while the link is up: some ten minutes
LOOK_MS = 10
KEY_BYTES = 2048  # what a key or a signature may have at the most


async def documents(board, release, target):
    """Fetch what a release tells of itself. Raises Rejected."""
    fetch = Fetch(board, release)
    content.make_parents(target, "")
    for name in DOCUMENTS:
        content.remove(target + "/" + name)
        await fetch.bring(name, target + "/" + name, None, MANIFEST_BYTES if name == MANIFEST else KEY_BYTES)
    board.update = None


async def files(board, release, target):
    """Fetch what is missing. Raises Rejected."""
    count = size = 0
    for entry in content.missing(target):
        count, size = count + 1, size + entry.size
    data = {"release": release, "files": count, "bytes": size}
    board.record(EVENT, {"type": "update.started", "data": data})
    fetch = Fetch(board, release)
    for entry in content.missing(target):
        part = target + "/" + content.part(entry)
        await fetch.bring(CONTENT + entry.path, part, entry.size, entry.size)
        content.make_parents(target, entry.path)
        os.rename(part, target + "/" + entry.path)
        if not content.is_there(target, entry):
            content.remove(target + "/" + entry.path)
            raise Rejected(entry.path, "has another SHA-256 than its manifest tells")
    board.update = None


class Fetch:
    """Takes the chunks of one file after the other."""

    def __init__(self, board, release):
        self._board = board
        self._release = release
        self._file = None  # what chunks are written to while they are waited for
        self._place = self._at = self._size = None
        self._refusal = self._fault = None
        board.update = self

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

    async def bring(self, name, path, size, most):
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
        while not connection.is_up:
            await asyncio.sleep_ms(BACK_OFF_MS)
        end, reached, since = self._at + WINDOW, self._at, clock.up()
        self._refusal = None
        connection.tell(UPDATE_REQUEST, request(self._release, name, self._at, WINDOW))
        while self._at < end and self._at != self._size and self._refusal is None and self._fault is None:
            if self._at > reached:
                reached, since = self._at, clock.up()
            if clock.up() - since >= SILENCE_MS or not connection.is_up:
                return
            await asyncio.sleep_ms(LOOK_MS)
