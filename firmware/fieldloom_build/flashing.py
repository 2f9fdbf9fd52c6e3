"""Brings a board's files to it over a serial port: only what changed, verified before it is started. (F6)"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from fieldloom_build.errors import BuildFailed
from fieldloom_build.inventory import SCRIPT, Inventory, Plan, fingerprint
from fieldloom_build.ports import Mpremote

# Runs on the board.
PREPARE = """
import os
for path in {remove}:
    os.remove(path)
for path in {folders}:
    try:
        os.mkdir(path)
    except OSError:
        pass
"""

# Runs on the board.
LOOK_IN_ROM = """
import os
try:
    os.stat("/rom/release.json")
    print("there")
except OSError:
    print("missing")
"""


@dataclass(frozen=True)
class Flashed:
    """What was done to a board, by paths on it."""

    copied: list[str]
    removed: list[str]
    unchanged: int


def look(board: Mpremote) -> Inventory:
    """Stop what the board runs and return what is on it. Raises BuildFailed."""
    found = Inventory.parse(board.connect(SCRIPT))
    found.check()
    return found


def check_rom(board: Mpremote) -> None:
    """Raise BuildFailed unless a release is in the board's ROM."""
    if "there" not in board.execute(LOOK_IN_ROM):
        raise BuildFailed(
            "the board's ROM holds no firmware: write the image of `fieldloom device rom` by `mpremote romfs deploy`, "
            "which takes a MicroPython with a romfs partition; or flash without --in-rom"
        )


def bring(
    board: Mpremote, found: Inventory, wanted: dict[str, bytes], begun: Callable[[str, int, int], None]
) -> Flashed:
    """Make the board's files those wanted; `begun(path, number, of)` tells each copy. Raises BuildFailed.

    The board is left at its prompt. Cut short, it may hold old and new files: flash it again.
    """
    plan = Plan.make(found, wanted)
    plan.check_room(found, wanted)
    if plan.copy or plan.remove:
        folders = sorted({str(folder) for path in plan.copy for folder in PurePosixPath(path).parents} - {"/"})
        board.execute(PREPARE.format(remove=plan.remove, folders=folders))
        _copy(board, plan.copy, wanted, begun)
        _verify(Inventory.parse(board.execute(SCRIPT)), wanted)
    return Flashed(plan.copy, plan.remove, len(wanted) - len(plan.copy))


def _copy(board: Mpremote, paths: list[str], wanted: dict[str, bytes], begun: Callable[[str, int, int], None]) -> None:
    if not paths:
        return
    with TemporaryDirectory() as scratch:  # for its owner alone: a key is among the files
        pairs = []
        for number, path in enumerate(paths):
            local = Path(scratch) / str(number)
            local.write_bytes(wanted[path])
            pairs.append((local, path))
        left = iter(range(1, len(paths) + 1))
        board.copy(pairs, lambda path: begun(path, next(left, len(paths)), len(paths)))


def _verify(found: Inventory, wanted: dict[str, bytes]) -> None:
    wrong = [path for path, content in wanted.items() if found.files.get(path) != fingerprint(content)]
    if wrong:
        raise BuildFailed(f"{wrong[0]} is not on the board as it was sent ({len(wrong)} such files): flash it again")
