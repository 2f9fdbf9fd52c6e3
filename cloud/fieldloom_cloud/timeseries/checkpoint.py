"""DuckDB's file, opened and checkpointed so that a power cut at any moment leaves one that opens. (T4, ADR 13)

At a checkpoint DuckDB 2.0 writes to free blocks, then switches its header; but the metadata blocks, which say where all
tables are, it writes anew in place, 256 KiB at a time. One that a cut left half has a wrong checksum: the file opens no
more. So we decide when to checkpoint, keep aside what those blocks held until the header has switched, and put it
back at a start that finds the old header. It costs two syncs a checkpoint.
"""

import os
from contextlib import suppress
from pathlib import Path

import duckdb

from fieldloom_runtime import files

JOURNAL_BYTES = 16 * 1024 * 1024
"""How long DuckDB's journal may grow until it is worked into the file: its own default."""

WORTH_BYTES = 32 * 1024 * 1024
"""How much of the file has to be free to make it worth being written anew."""

_NEVER = "1TB"
_HEADER, _HEADERS = 4096, 3 * 4096  # the file's, and two of the database, which take turns
_BLOCK = 256 * 1024


class File:
    """A database file and the one connection that writes to it."""

    def __init__(self, path: Path) -> None:
        """Open or create it. Raises duckdb.Error, and OSError where the file itself can't be written."""
        self._path = path
        self._aside = path.with_suffix(".before")
        _create(path)
        self._mend()
        self._connect()

    def _connect(self) -> None:
        self.connection = duckdb.connect(self._path, config={"checkpoint_threshold": _NEVER})
        self.connection.execute("PRAGMA disable_checkpoint_on_shutdown")

    def checkpoint_when_due(self) -> None:
        """Work the journal into the file if it has grown long. Raises duckdb.Error; what was committed stays."""
        journal = self._path.with_name(self._path.name + ".wal")
        with suppress(FileNotFoundError):
            if journal.stat().st_size >= JOURNAL_BYTES:
                self.checkpoint()

    def checkpoint(self) -> None:
        """Work the journal into the file. Raises duckdb.Error."""
        try:
            self._keep_aside()
            self.connection.execute("CHECKPOINT")
            self._aside.unlink()
        except OSError as error:
            raise duckdb.IOException(f"{self._aside}: {error}") from error

    def is_half_free(self) -> bool:
        """Whether half of a file that is worth the work holds nothing, since tables were dropped."""
        total, free = self.connection.execute(
            "SELECT total_blocks, free_blocks FROM pragma_database_size() WHERE database_name = current_database()"
        ).fetchall()[0]
        return bool(free * _BLOCK >= WORTH_BYTES and 2 * free >= total)

    def shrink(self) -> None:
        """Write what there is into a new file and put that in place; nobody may use the connection meanwhile.

        Raises duckdb.Error; then the old file stays. It takes the time of reading and writing all that is kept.
        """
        self.checkpoint()
        half = self._path.with_suffix(".new")
        half.unlink(missing_ok=True)
        name = self.connection.execute("SELECT current_database()").fetchall()[0][0]
        self.connection.execute(f"ATTACH '{_quoted(half)}' AS smaller")
        try:
            self.connection.execute(f'COPY FROM DATABASE "{name}" TO smaller')
            self.connection.execute("CHECKPOINT smaller")
        finally:
            self.connection.execute("DETACH smaller")
        self.connection.close()
        self._put_in_place(half)
        self._connect()

    def _put_in_place(self, half: Path) -> None:
        """Exchange the file. All of the old one's journal is in it: none may be left for the new one to read."""
        for path in (self._path, half):
            path.with_name(path.name + ".wal").unlink(missing_ok=True)
        files.sync_folder(self._path.parent)
        half.chmod(0o600)
        with half.open("rb+") as file:
            os.fsync(file.fileno())
        half.rename(self._path)
        files.sync_folder(self._path.parent)

    def close(self) -> None:
        """Let go of the file; what is in the journal is read at the next start."""
        self.connection.close()

    def _keep_aside(self) -> None:
        blocks = self.connection.execute("SELECT block_id FROM pragma_metadata_info() ORDER BY 1").fetchall()
        half = self._aside.with_suffix(".half")
        half.touch(mode=0o600)
        with self._path.open("rb") as file, half.open("wb") as aside:
            aside.write(file.read(_HEADERS))
            for (block,) in blocks:
                file.seek(_HEADERS + block * _BLOCK)
                aside.write(block.to_bytes(8, "big") + file.read(_BLOCK))
            aside.flush()
            os.fsync(aside.fileno())
        half.rename(self._aside)
        files.sync_folder(self._path.parent)

    def _mend(self) -> None:
        """Undo a checkpoint that a cut ended before the header switched; one that came through needs nothing."""
        if not self._aside.exists():
            return
        kept = self._aside.read_bytes()
        with self._path.open("r+b") as file:
            if _iteration(file.read(_HEADERS)) == _iteration(kept):
                for at in range(_HEADERS, len(kept), 8 + _BLOCK):
                    file.seek(_HEADERS + int.from_bytes(kept[at : at + 8], "big") * _BLOCK)
                    file.write(kept[at + 8 : at + 8 + _BLOCK])
                file.flush()
                os.fsync(file.fileno())
        self._aside.unlink()


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def _iteration(headers: bytes) -> int:
    """Return which checkpoint a file shows: the higher number of its two headers, behind their checksums."""
    return max(int.from_bytes(headers[at + 8 : at + 16], "little") for at in (_HEADER, 2 * _HEADER))


def _create(path: Path) -> None:
    """Make the database if there is none; it gets its name when it is whole: DuckDB opens no half one either."""
    half = path.with_suffix(".new")
    half.unlink(missing_ok=True)  # a cut may have left one, of this or of `shrink`
    if path.exists():
        return
    duckdb.connect(half).close()
    half.rename(path)
