"""The files of a release: what a line of its manifest tells of one, and how they are called on the way. (F5)"""

from collections import namedtuple

from fieldloom_contract.compat import const
from fieldloom_contract.errors import Rejected
from fieldloom_contract.lines import is_number, is_of, text

MANIFEST, MANIFEST_SIGNATURE, KEY, KEY_SIGNATURE = "manifest", "manifest.sig", "key", "key.sig"
DOCUMENTS = (KEY, KEY_SIGNATURE, MANIFEST_SIGNATURE, MANIFEST)
CONTENT = "files/"  # before the path of a file, in a request and in a built release

MANIFEST_BYTES = const(32768)
MAX_FILE_BYTES = const(262144)
MAX_PATH = const(96)

Entry = namedtuple("Entry", ("sha256", "size", "path"))  # the digest in hex

_HEX = "0123456789abcdef"
_PATH = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./"


def read_entry(line: bytes) -> Entry:
    """Return the file that a line of a manifest names. Raises Rejected."""
    parts = text(line, "file").split(" ")
    if len(parts) != 4 or parts[0] != "file":
        raise Rejected("file", "must be `file SHA256 SIZE PATH`")
    if len(parts[1]) != 64 or not is_of(parts[1], _HEX):
        raise Rejected("file", "has no SHA-256 in small hexadecimal digits")
    if not is_number(parts[2], MAX_FILE_BYTES):
        raise Rejected("file", "has no size from 0 to " + str(MAX_FILE_BYTES))
    return Entry(parts[1], int(parts[2]), path(parts[3]))


def path(told: str, field: str = "file") -> str:
    """Return a file's path below its slot, unchanged: no part of it leads elsewhere. Raises Rejected."""
    if not 1 <= len(told) <= MAX_PATH or not is_of(told, _PATH):
        raise Rejected(field, "has a path that is not of 1 to 96 letters, digits and _ . - /")
    for part in told.split("/"):
        if not part or part[0] == ".":
            raise Rejected(field, "has a path with an empty or hidden part")
    return told
