"""The head of a release's manifest, and the release's names; its files are `entries`. (F5)"""

from collections import namedtuple

from fieldloom_contract.compat import Any
from fieldloom_contract.errors import Rejected
from fieldloom_contract.lines import is_number, is_of, number, take

# Versions are (major, minor, patch), `mpy` is "6.3", `expires` Unix seconds; no release below `floor` may be installed
# after this one ran well.
Head = namedtuple("Head", ("board", "version", "mpy", "expires", "floor"))

_NAME = "abcdefghijklmnopqrstuvwxyz0123456789-"


def board_name(told: Any, field: str = "board") -> str:
    """Return a board's name: 1 to 40 of a-z, 0-9 and -. Raises Rejected."""
    if not isinstance(told, str) or not 1 <= len(told) <= 40 or not is_of(told, _NAME):
        raise Rejected(field, "must have 1 to 40 characters of a-z, 0-9 and -")
    return told


def version(told: Any, field: str = "version") -> tuple[int, int, int]:
    """Return (major, minor, patch) of three numbers as 1.4.0. Raises Rejected."""
    parts = told.split(".") if isinstance(told, str) else []
    if len(parts) != 3 or not all(is_number(part, 99999) for part in parts):
        raise Rejected(field, "must be three numbers, as 1.4.0")
    return int(parts[0]), int(parts[1]), int(parts[2])


def shown(numbers: tuple[int, int, int]) -> str:
    """Return a version as text."""
    return ".".join([str(one) for one in numbers])


def parse_id(told: Any, field: str = "release") -> tuple[str, tuple[int, int, int]]:
    """Return (board, version) of a release's id, as `esp32-generic-1.4.0`. Raises Rejected."""
    board, dash, numbers = told.rpartition("-") if isinstance(told, str) else ("", "", "")
    if not dash:
        raise Rejected(field, "must be a board and a version, as esp32-generic-1.4.0")
    return board_name(board, field), version(numbers, field)


def release_id(head: Head) -> str:
    """Return the id of the release that a manifest describes."""
    return str(head.board) + "-" + shown(head.version)


def read_head(lines: Any) -> Head:
    """Return the head of a manifest from an iterator of its lines, which then stands at its files. Raises Rejected."""
    take(lines, "fieldloom-release", "1")
    board = board_name(take(lines, "board"))
    numbers = version(take(lines, "version"))
    mpy = take(lines, "mpy")
    major, dot, minor = mpy.partition(".")
    if not dot or not is_number(major, 255) or not is_number(minor, 255):
        raise Rejected("mpy", "must be two numbers, as 6.3")
    return Head(board, numbers, mpy, number(take(lines, "expires"), "expires"), version(take(lines, "floor"), "floor"))
