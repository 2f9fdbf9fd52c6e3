"""What a process did to its files, in order: strace's log of it, read as operations on a disk.

A write counts from its call on (the disk may have it at once), a sync from its return on and only for what was written
before its call. What is mapped into memory is not seen: of our files that is SQLite's `-shm`, which holds no data and
is built anew by whoever opens the database first after a crash (sqlite.org/walformat.html, section 2).
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

CALLS = (
    "openat,creat,close,write,pwrite64,writev,pwritev,pwritev2,lseek,ftruncate,truncate,fallocate,rename,renameat,"
    "renameat2,unlink,unlinkat,link,linkat,fsync,fdatasync,sync_file_range,msync,copy_file_range,sendfile"
)
# These would move data past us: a run that makes one of them has to be taught to this module first.
UNKNOWN = {"writev", "pwritev", "pwritev2", "fallocate", "link", "linkat", "copy_file_range", "sendfile", "truncate"}
MARKS = "POWERCUT_MARKS"  # the file into which a traced process says what leaves it
SECONDS = 120


@dataclass(frozen=True)
class Write:
    file: int
    offset: int
    data: bytes


@dataclass(frozen=True)
class Resize:
    file: int
    size: int


@dataclass(frozen=True)
class Name:
    """A name begins to stand for a file, or (file None) for none any more."""

    path: str
    file: int | None


@dataclass(frozen=True)
class Rename:
    source: str
    target: str


@dataclass(frozen=True)
class Sync:
    """A file (None: the folder) is on the disk as far as the first `since` operations go."""

    file: int | None
    since: int


@dataclass(frozen=True)
class Mark:
    """Something left the process: what it says has to be true of the disk from here on."""

    words: tuple[str, ...]


Operation = Write | Resize | Name | Rename | Sync | Mark


def mark(*words: object) -> None:
    """Write into the trace, from the traced process, that something leaves it now; without a trace do nothing."""
    if MARKS in os.environ:
        os.write(_marks(), " ".join(str(word) for word in words).encode() + b"\n")


@cache
def _marks() -> int:
    return os.open(os.environ[MARKS], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def record(program: Path, data: Path, *arguments: str) -> list[Operation]:
    """Run a program of tests/powercut over a data folder and return what it did there and said by `mark`."""
    assert shutil.which("strace"), "strace is missing: run `make setup`"
    log, marks = data.with_suffix(".strace"), data.with_suffix(".marks")
    before = {path.name: number for number, path in enumerate(sorted(data.iterdir()))}
    traced = ["strace", "-f", "--seccomp-bpf", "-xx", "-s", "4194304", "-e", f"trace={CALLS}", "-o", str(log)]
    environment = {**os.environ, MARKS: str(marks), "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [*traced, sys.executable, str(program), str(data), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return _Reader(data, marks, before).read(log)


_CALL = re.compile(r"(\d+) +(?:<\.\.\. (\w+) resumed>)?(.*)", re.DOTALL)
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


class _Reader:
    """Follows one process's descriptors through its log."""

    def __init__(self, data: Path, marks: Path, before: dict[str, int]) -> None:
        self._data = str(data)
        self._marks = str(marks)
        self._names = dict(before)  # which file a name stands for
        self._files = len(before)
        self._sizes = {number: (data / name).stat().st_size for name, number in before.items()}
        self._open: dict[int, int] = {}  # descriptor -> file
        self._place: dict[int, int | None] = {}  # descriptor -> where the next write goes, None: at the end
        self._folders: set[int] = set()
        self._mark_fds: set[int] = set()
        self._begun: dict[str, tuple[str, int]] = {}  # thread -> a call that has not returned, and when it began
        self._done: list[Operation] = []

    def read(self, log: Path) -> list[Operation]:
        for line in log.read_text().splitlines():
            thread, resumed, text = _CALL.match(line).groups()
            if text.startswith(("+++", "---", "???(")):  # an end, a signal, a call that an end met before it was known
                continue
            if resumed:
                begun, since = self._begun.pop(thread)
                self._returned(begun + text, since, wrote=True)
            elif text.endswith("<unfinished ...>"):
                begun = text.removesuffix("<unfinished ...>")
                self._begun[thread] = (begun, len(self._done))
                self._writes(begun)
            else:
                self._returned(text, len(self._done), wrote=False)
        return self._done

    def _returned(self, text: str, since: int, wrote: bool) -> None:
        called, arguments, result = re.fullmatch(r"(\w+)\((.*)\) += (-?\d+|\?).*", text, re.DOTALL).groups()
        if not wrote:
            self._writes(text)
        if result == "?":
            return  # the process ended in it: what it writes is taken already, and nothing is safe by it
        if int(result) < 0:
            assert called not in {"write", "pwrite64", "fsync", "fdatasync"}, f"a call failed: {text[:200]}"
            return
        getattr(self, f"_{called}", lambda *_: None)(arguments, int(result), since)
        fd = int(arguments.split(",")[0]) if arguments.split(",")[0].isdigit() else -1
        assert called not in UNKNOWN or fd not in self._open, f"unknown to the replay: {text[:200]}"

    def _writes(self, text: str) -> None:
        """Take a write as soon as it is called; its data is in the log by then."""
        found = re.match(r"(write|pwrite64)\((\d+), ", text)
        if found is None:
            return
        fd = int(found[2])
        data = _bytes(text)
        if fd in self._mark_fds:
            self._done += [Mark(tuple(line.split())) for line in data.decode().splitlines()]
        if fd not in self._open:
            return
        file = self._open[fd]
        if found[1] == "pwrite64":
            offset = int(re.findall(r"\d+", text.rsplit('"', 1)[1])[1])  # after the data: its length, its place
        else:
            offset = self._sizes[file] if self._place[fd] is None else self._place[fd]
            self._place[fd] = None if self._place[fd] is None else offset + len(data)
        self._sizes[file] = max(self._sizes[file], offset + len(data))
        self._done.append(Write(file, offset, data))

    def _openat(self, arguments: str, fd: int, _: int) -> None:
        path, flags = _path(arguments), arguments.split('"')[2]
        if path == self._marks:
            self._mark_fds.add(fd)
        elif path.startswith(self._data) and Path(path).is_dir():
            self._folders.add(fd)
        elif path.startswith(self._data + "/") and ("O_WRONLY" in flags or "O_RDWR" in flags or "O_CREAT" in flags):
            self._opened(path.removeprefix(self._data + "/"), fd, flags)

    def _opened(self, name: str, fd: int, flags: str) -> None:
        if name.endswith("-shm"):
            return
        file = self._names.get(name)
        if file is None:
            file = self._names[name] = self._files
            self._files += 1
            self._sizes[file] = 0
            self._done.append(Name(name, file))
        if "O_TRUNC" in flags and self._sizes[file]:
            self._resize(file, 0)
        self._open[fd] = file
        self._place[fd] = None if "O_APPEND" in flags else 0

    def _close(self, arguments: str, _: int, __: int) -> None:
        fd = int(arguments)
        self._open.pop(fd, None)
        self._folders.discard(fd)
        self._mark_fds.discard(fd)

    def _lseek(self, arguments: str, result: int, _: int) -> None:
        fd = int(arguments.split(",", 1)[0])
        if fd in self._open and self._place[fd] is not None:
            self._place[fd] = result

    def _ftruncate(self, arguments: str, _: int, __: int) -> None:
        fd, size = (int(part) for part in arguments.split(", "))
        if fd in self._open:
            self._resize(self._open[fd], size)

    def _resize(self, file: int, size: int) -> None:
        self._sizes[file] = size
        self._done.append(Resize(file, size))

    def _fsync(self, arguments: str, _: int, since: int) -> None:
        fd = int(arguments)
        if fd in self._open or fd in self._folders:
            self._done.append(Sync(self._open.get(fd), since))

    _fdatasync = _fsync

    def _unlink(self, arguments: str, _: int, __: int) -> None:
        name = _path(arguments).removeprefix(self._data + "/")
        if self._names.pop(name, None) is not None:
            self._done.append(Name(name, None))

    _unlinkat = _unlink

    def _rename(self, arguments: str, _: int, __: int) -> None:
        source, target = (_decode(text).decode().removeprefix(self._data + "/") for text in _TEXT.findall(arguments))
        if source in self._names:
            self._names[target] = self._names.pop(source)
            self._done.append(Rename(source, target))

    _renameat = _renameat2 = _rename


def _decode(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def _bytes(text: str) -> bytes:
    return _decode(_TEXT.search(text)[1])


def _path(arguments: str) -> str:
    return os.path.normpath(_bytes(arguments).decode())
