"""What a gateway holds of releases, so that a site is updated over its link once, and without the cloud too. (F5)

A folder of contents by their SHA-256, of unfinished ones, and of indexes by release. Nothing in it is believed: a
content counts by its hash, each time that it comes from the disk. So nothing is synced either; what a power cut has
torn is fetched again.
"""

import hashlib
import os
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

from fieldloom_runtime.decoding import UNREADABLE
from fieldloom_runtime.pieces import Entry, Index, decode_index

MEMORY_BYTES = 2 * 1024 * 1024  # two of the largest releases
PART, INDEX = ".part", ".index"


class Cache:
    """For one thread. `limit` bounds the folder, in bytes; what was used longest ago goes first."""

    def __init__(self, folder: Path, limit: int) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._limit = limit
        self._indexes: dict[str, Index] = {}
        self._memory: OrderedDict[str, bytes] = OrderedDict()
        self.damaged = 0

    def index(self, release: str) -> Index | None:
        """Return what the files of a release are, None where nobody has told."""
        if release not in self._indexes:
            try:
                self._indexes[release] = decode_index(self._path(release + INDEX).read_bytes())
            except FileNotFoundError:
                return None
            except UNREADABLE:
                self._discard(release + INDEX)
                return None
        return self._indexes[release]

    def keep_index(self, release: str, body: bytes) -> None:
        """Take an index in place of an older one. Raises one of decoding.UNREADABLE."""
        self._indexes[release] = decode_index(body)
        fresh = self._path(release + PART)
        fresh.write_bytes(body)
        fresh.replace(self._path(release + INDEX))

    def read(self, release: str, file: str) -> bytes | None:
        """Return a file of a release, None where it is not here."""
        entry = (self.index(release) or {}).get(file)
        if entry is None:
            return None
        for name in (release + INDEX, entry.sha256):
            with suppress(FileNotFoundError):
                os.utime(self._path(name))  # used now, so it goes last
        return self.content(entry.sha256)

    def content(self, sha256: str) -> bytes | None:
        """Return what has this hash, None where it is not here."""
        body = self._memory.get(sha256)
        if body is None:
            body = self._from_disk(sha256)
        if body is not None:
            self._remember(sha256, body)
        return body

    def progress(self, entry: Entry) -> int:
        """Return how many bytes of an unfinished content are here."""
        try:
            return self._path(entry.sha256 + PART).stat().st_size
        except FileNotFoundError:
            return 0

    def append(self, entry: Entry, data: bytes) -> None:
        """Add what follows to an unfinished content."""
        with self._path(entry.sha256 + PART).open("ab") as file:
            file.write(data)

    def finish(self, entry: Entry) -> bool:
        """Take a content that is all there, and say whether it has its hash; one that has not is forgotten."""
        part = self._path(entry.sha256 + PART)
        part.touch()  # an empty file has no pieces
        if hashlib.sha256(part.read_bytes()).hexdigest() != entry.sha256:
            self._discard(part.name)
            return False
        part.replace(self._path(entry.sha256))
        self._make_room()
        return True

    def size(self) -> int:
        """Return how many bytes the folder holds."""
        return sum(place.stat().st_size for place in self._folder.iterdir())

    def _from_disk(self, sha256: str) -> bytes | None:
        try:
            body = self._path(sha256).read_bytes()
        except FileNotFoundError:
            return None
        if hashlib.sha256(body).hexdigest() != sha256:
            self._discard(sha256)
            return None
        return body

    def _remember(self, sha256: str, body: bytes) -> None:
        self._memory[sha256] = body
        self._memory.move_to_end(sha256)
        while sum(map(len, self._memory.values())) > MEMORY_BYTES:
            self._memory.popitem(last=False)

    def _make_room(self) -> None:
        places = sorted(self._folder.iterdir(), key=lambda place: place.stat().st_mtime_ns)
        room = self._limit - self.size()
        for place in places[:-1]:  # the newest is being asked for
            if room >= 0:
                return
            room += place.stat().st_size
            place.unlink()
            self._indexes.pop(place.name.removesuffix(INDEX), None)

    def _discard(self, name: str) -> None:
        self.damaged += 1
        self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self._folder / name
