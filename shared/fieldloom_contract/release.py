"""What a release of the firmware tells of itself: manifest, release key and root, each a text of short lines. (F5)

The offline root signs the release key, the release key signs the manifest, the manifest names every file by its
SHA-256. Nothing of a document is to be believed before its signature was found right. A board reads a manifest line by
line, since it has no memory for all of it; `documents` reads a whole one, and writes.
"""

from collections import namedtuple

from fieldloom_contract.compat import Any, const
from fieldloom_contract.errors import Rejected

MANIFEST, MANIFEST_SIGNATURE, KEY, KEY_SIGNATURE = "manifest", "manifest.sig", "key", "key.sig"
DOCUMENTS = (KEY, KEY_SIGNATURE, MANIFEST_SIGNATURE, MANIFEST)
CONTENT = "files/"  # before the path of a file, in a request and in a built release

SIGNATURE_BYTES = const(384)
EXPONENT = const(65537)
MANIFEST_BYTES = const(32768)
KEY_BYTES = const(2048)
MAX_FILE_BYTES = const(262144)
MAX_PATH = const(96)

# Versions are (major, minor, patch), `mpy` is "6.3", `expires` Unix seconds; no release below `floor` may be installed
# after this one ran well.
Head = namedtuple("Head", ("board", "version", "mpy", "expires", "floor"))
Entry = namedtuple("Entry", ("sha256", "size", "path"))  # the digest in hex
Key = namedtuple("Key", ("serial", "expires", "modulus"))

_NAME = "abcdefghijklmnopqrstuvwxyz0123456789-"
_PATH = _NAME + "ABCDEFGHIJKLMNOPQRSTUVWXYZ_./"
_HEX = "0123456789abcdef"
# EMSA-PKCS1-v1_5 (RFC 8017, 9.2): the DER of a DigestInfo with SHA-256, before the digest itself.
_DIGEST_INFO = b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20"


def board_name(text: Any, field: str = "board") -> str:
    """Return a board's name: 1 to 40 of a-z, 0-9 and -. Raises Rejected."""
    if not isinstance(text, str) or not 1 <= len(text) <= 40 or not _is_of(text, _NAME):
        raise Rejected(field, "must have 1 to 40 characters of a-z, 0-9 and -")
    return text


def version(text: Any, field: str = "version") -> tuple[int, int, int]:
    """Return (major, minor, patch) of three numbers as 1.4.0. Raises Rejected."""
    parts = text.split(".") if isinstance(text, str) else []
    if len(parts) != 3 or not all(_is_number(part, 99999) for part in parts):
        raise Rejected(field, "must be three numbers, as 1.4.0")
    return int(parts[0]), int(parts[1]), int(parts[2])


def shown(numbers: tuple[int, int, int]) -> str:
    """Return a version as text."""
    return ".".join([str(number) for number in numbers])


def parse_id(text: Any, field: str = "release") -> tuple[str, tuple[int, int, int]]:
    """Return (board, version) of a release's id, as `esp32-generic-1.4.0`. Raises Rejected."""
    board, dash, number = text.rpartition("-") if isinstance(text, str) else ("", "", "")
    if not dash:
        raise Rejected(field, "must be a board and a version, as esp32-generic-1.4.0")
    return board_name(board, field), version(number, field)


def release_id(head: Head) -> str:
    """Return the id of the release that a manifest describes."""
    return str(head.board) + "-" + shown(head.version)


def read_head(lines: Any) -> Head:
    """Return the head of a manifest from an iterator of its lines, which then stands at its files. Raises Rejected."""
    _take(lines, "fieldloom-release", "1")
    board = board_name(_take(lines, "board"))
    number = version(_take(lines, "version"))
    mpy = _take(lines, "mpy")
    major, dot, minor = mpy.partition(".")
    if not dot or not _is_number(major, 255) or not _is_number(minor, 255):
        raise Rejected("mpy", "must be two numbers, as 6.3")
    return Head(
        board, number, mpy, _number(_take(lines, "expires"), "expires"), version(_take(lines, "floor"), "floor")
    )


def read_entry(line: bytes) -> Entry:
    """Return the file that a line of a manifest names. Raises Rejected."""
    parts = _text(line, "file").split(" ")
    if len(parts) != 4 or parts[0] != "file":
        raise Rejected("file", "must be `file SHA256 SIZE PATH`")
    if len(parts[1]) != 64 or not _is_of(parts[1], _HEX):
        raise Rejected("file", "has no SHA-256 in small hexadecimal digits")
    if not _is_number(parts[2], MAX_FILE_BYTES):
        raise Rejected("file", "has no size from 0 to " + str(MAX_FILE_BYTES))
    return Entry(parts[1], int(parts[2]), path(parts[3]))


def path(text: str, field: str = "file") -> str:
    """Return a file's path below its slot, unchanged: no part of it leads elsewhere. Raises Rejected."""
    if not 1 <= len(text) <= MAX_PATH or not _is_of(text, _PATH):
        raise Rejected(field, "has a path that is not of 1 to 96 letters, digits and _ . - /")
    for part in text.split("/"):
        if not part or part[0] == ".":
            raise Rejected(field, "has a path with an empty or hidden part")
    return text


def parse_key(data: bytes) -> Key:
    """Return a release key: the highest serial wins, `expires` is in Unix seconds. Raises Rejected."""
    lines = _lines(data)
    _take(lines, "fieldloom-release-key", "1")
    serial, expires = _number(_take(lines, "serial"), "serial"), _number(_take(lines, "expires"), "expires")
    return Key(serial, expires, _modulus(lines))


def parse_root(data: bytes) -> int:
    """Return the modulus of a root's public part. Raises Rejected."""
    lines = _lines(data)
    _take(lines, "fieldloom-release-root", "1")
    return _modulus(lines)


def is_signed(modulus: int, digest: bytes, signature: bytes) -> bool:
    """Whether a signature (RSASSA-PKCS1-v1_5, RFC 8017 8.2.2, RSA-3072) is that of what has this SHA-256."""
    number = int.from_bytes(signature, "big")
    if len(signature) != SIGNATURE_BYTES or number >= modulus:
        return False
    padding = b"\xff" * (SIGNATURE_BYTES - 3 - len(_DIGEST_INFO) - len(digest))
    wanted = b"\x00\x01" + padding + b"\x00" + _DIGEST_INFO + digest
    return pow(number, EXPONENT, modulus) == int.from_bytes(wanted, "big")


def _is_of(text: str, letters: str) -> bool:
    for letter in text:
        if letter not in letters:
            return False
    return True


def _is_number(text: str, highest: int) -> bool:
    if not 1 <= len(text) <= 16 or not _is_of(text, "0123456789") or (text[0] == "0" and len(text) > 1):
        return False
    return int(text) <= highest


def _number(text: str, field: str) -> int:
    if not _is_number(text, 2**40):
        raise Rejected(field, "must be a whole number")
    return int(text)


def _text(line: bytes, field: str) -> str:
    try:
        return line.decode().rstrip("\n")
    except ValueError:
        raise Rejected(field, "is no text") from None


def _take(lines: Any, name: str, value: str | None = None) -> str:
    """Return the value of the next line, which has to be `name VALUE`. Raises Rejected."""
    found, _, told = _text(next(lines, b""), name).partition(" ")
    if found != name or (value is not None and told != value):
        raise Rejected(name, "is missing in its line" if value is None else "must be of version " + value)
    return told


def _lines(data: bytes) -> Any:
    if len(data) > KEY_BYTES:
        raise Rejected("key", "has more than " + str(KEY_BYTES) + " bytes")
    return iter(data.split(b"\n"))


def _modulus(lines: Any) -> int:
    told = _take(lines, "modulus")
    if len(told) != 2 * SIGNATURE_BYTES or not _is_of(told, _HEX) or told[0] not in "89abcdef":
        raise Rejected("modulus", "must be one of RSA-3072, in small hexadecimal digits")
    return int(told, 16)
