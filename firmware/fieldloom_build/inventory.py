"""What is on a board: its MicroPython, its room, the content hashes of its files; and what has to change. (F6)"""

import hashlib
import json
from dataclasses import dataclass

from fieldloom_build.errors import BoardFull, WrongMicroPython

BLOCK = 4096
OLDEST = (1, 22)
MPY = 6
# What lies below these is ours: a file that a release does not have would shadow or outlive it there.
# A board that was flashed has one release, in slot a, and no update under way; /lib is where the firmware was once.
OURS = (
    *("/a/", "/b/", "/slots.json", "/cert/"),
    *("/lib/fieldloom_agent/", "/lib/fieldloom_contract/", "/lib/umqtt/", "/release.json"),
)
# Runs on the board. A watchdog that a boot.py has armed would bite while files are copied; it can only be set anew.
SCRIPT = """
import binascii, hashlib, json, os, sys
try:
    import machine
    machine.WDT(timeout=600000)
except (ImportError, AttributeError, ValueError):
    pass
room = os.statvfs("/")
about = sys.implementation
print(json.dumps([about[0], list(about[1])[:2], getattr(about, "_mpy", 0) & 255, room[0] * room[4]]))
def look(folder):
    for entry in os.ilistdir(folder):
        path = folder + "/" + entry[0]
        if entry[1] == 0x4000:
            if folder or entry[0] in ("a", "b", "lib", "cert"):
                look(path)
            continue
        digest, size = hashlib.sha256(), 0
        with open(path, "rb") as file:
            while True:
                piece = file.read(512)
                if not piece:
                    break
                digest.update(piece)
                size += len(piece)
        print(json.dumps([path, size, binascii.hexlify(digest.digest()).decode()]))
look("")
"""


@dataclass(frozen=True)
class Inventory:
    """What a board told of itself; `files` by path as (size in bytes, SHA-256), `free` in bytes."""

    name: str
    version: tuple[int, ...]
    mpy: int
    free: int
    files: dict[str, tuple[int, str]]

    @classmethod
    def parse(cls, said: str) -> "Inventory":
        """Read what SCRIPT printed; what boot.py may print around it is skipped. Raises WrongMicroPython."""
        rows = []
        for line in said.splitlines():
            try:
                rows.append(json.loads(line))
            except ValueError:
                continue
        lists = [row for row in rows if isinstance(row, list)]
        if not lists or len(lists[0]) != 4:
            raise WrongMicroPython("the board did not say which MicroPython it runs: is it a MicroPython board?")
        name, version, mpy, free = lists[0]
        files = {path: (size, digest) for path, size, digest in lists[1:]}
        return cls(name, tuple(version), mpy, free, files)

    def check(self) -> None:
        """Raise WrongMicroPython unless the firmware runs there."""
        wanted = ".".join(map(str, OLDEST))
        has = f"{self.name} {'.'.join(map(str, self.version))}"
        if self.name != "micropython" or self.version < OLDEST:
            raise WrongMicroPython(
                f"the board runs {has}, and MicroPython {wanted} or later is needed: flash one of "
                "micropython.org/download, or all at once by --image"
            )
        if self.mpy != MPY:
            raise WrongMicroPython(f"the board's {has} takes .mpy files of version {self.mpy}, and ours are {MPY}")


@dataclass(frozen=True)
class Plan:
    """What has to change on a board: paths to copy, in this order, and to remove."""

    copy: list[str]
    remove: list[str]

    @classmethod
    def make(cls, found: Inventory, wanted: dict[str, bytes]) -> "Plan":
        """Compare by content. main.py comes last: a board without it starts nothing by halves."""
        changed = [path for path, content in wanted.items() if found.files.get(path) != fingerprint(content)]
        changed.sort(key=lambda path: (path == "/main.py", path))
        return cls(changed, sorted(path for path in found.files if path.startswith(OURS) and path not in wanted))

    def check_room(self, found: Inventory, wanted: dict[str, bytes]) -> None:
        """Raise BoardFull unless the board has room; a file is written beside its old content before that is freed."""
        old = sum(_on_flash(found.files[path][0]) for path in (*self.copy, *self.remove) if path in found.files)
        new = [_on_flash(len(wanted[path])) for path in self.copy]
        needed = sum(new) - old + max(new, default=0)
        if needed > found.free:
            raise BoardFull(
                f"the board has {found.free // 1024} KB free and {needed // 1024} KB more are needed: remove files "
                "of yours from it, or flash it anew by --image"
            )


def fingerprint(content: bytes) -> tuple[int, str]:
    """Return what an inventory holds of a file with this content."""
    return len(content), hashlib.sha256(content).hexdigest()


def _on_flash(size: int) -> int:
    return -(-size // BLOCK) * BLOCK
